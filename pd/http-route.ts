/** The form of a route of PD's HTTP API; `{name}` in a path stands for any one segment. */
import type { HttpCall } from "./http-call.js";

/** What a route needs: nothing, a serving leader, or a bootstrapped cluster as well. */
export type RouteScope = "any" | "leader" | "cluster";

export interface Route {
  readonly method: "GET" | "POST" | "DELETE" | "PATCH" | "PUT" | "ANY";
  readonly path: string;
  readonly scope: RouteScope;
  handle(call: HttpCall): void;
}

export const API = "/pd/api/v1";

/** Routes below the API's root that share a scope. */
export const route = (
  method: Route["method"],
  path: string,
  handle: (call: HttpCall) => void,
  scope: RouteScope = "cluster",
): Route => ({ method, path: `${API}${path}`, scope, handle });
