/**
 * PD's HTTP API: which handler answers which method and path. Everything else is 404, a known path with another
 * method 405, both as plain text; most routes need a bootstrapped cluster and a serving leader. (pd-rules 11,
 * routes of PD)
 *
 * Segments between slashes are matched while still percent-encoded, so that a key may contain an encoded slash.
 */
import { ADMIN_ROUTES } from "./http-admin.js";
import { HttpCall, type HttpParts, type HttpReply, type HttpRequest, NOT_BOOTSTRAPPED } from "./http-call.js";
import { CLUSTER_ROUTES } from "./http-cluster.js";
import { CONFIG_ROUTES } from "./http-config.js";
import { EXPLAIN_ROUTES } from "./http-explain.js";
import { HOT_ROUTES } from "./http-hot.js";
import { MEMBER_ROUTES } from "./http-members.js";
import { OPERATOR_ROUTES } from "./http-operators.js";
import { REGION_ROUTES } from "./http-regions.js";
import type { Route } from "./http-route.js";
import { RULE_ROUTES } from "./http-rules.js";
import { SCHEDULER_ROUTES } from "./http-schedulers.js";
import { STORE_ROUTES } from "./http-stores.js";

export type { HttpParts, HttpReply, HttpRequest } from "./http-call.js";

export const ROUTES: readonly CompiledRoute[] = [
  ...REGION_ROUTES,
  ...STORE_ROUTES,
  ...CONFIG_ROUTES,
  ...RULE_ROUTES,
  ...OPERATOR_ROUTES,
  ...CLUSTER_ROUTES,
  ...ADMIN_ROUTES,
  ...MEMBER_ROUTES,
  ...SCHEDULER_ROUTES,
  ...HOT_ROUTES,
  ...EXPLAIN_ROUTES,
].map((route) => ({ ...route, segments: route.path.split("/") }));

export interface CompiledRoute extends Route {
  readonly segments: readonly string[];
}

export function handleHttp(parts: HttpParts, request: HttpRequest, reply: HttpReply): void {
  const segments = withoutTrailingSlash(request.path).split("/");
  if (segments.slice(1).some(isNoName)) return reply(404, "text/plain; charset=utf-8", NOT_FOUND);
  let pathKnown = false;
  for (const route of ROUTES) {
    const params = matchPath(route.segments, segments);
    if (params === undefined) continue;
    pathKnown = true;
    if (route.method !== "ANY" && route.method !== request.method) continue;
    const call = new HttpCall(parts, request, params, reply);
    if (route.scope !== "any" && !parts.leadership.isServing()) {
      return call.text(503, "no leader: this PD does not serve at the moment, try again\n");
    }
    if (route.scope === "cluster" && !parts.cluster.isBootstrapped) return call.fail(500, NOT_BOOTSTRAPPED);
    return route.handle(call);
  }
  // HEAD is a GET whose body nobody reads: probes use it.
  if (pathKnown && request.method === "HEAD") {
    const asGet = { ...request, method: "GET" };
    return handleHttp(parts, asGet, (status, contentType) => reply(status, contentType, ""));
  }
  if (pathKnown) return reply(405, "text/plain; charset=utf-8", "405 method not allowed\n");
  reply(404, "text/plain; charset=utf-8", NOT_FOUND);
}

const NOT_FOUND = "404 page not found\n";

/** Nothing between two slashes, and what a file system would take for a directory. */
const isNoName = (segment: string): boolean => segment === "" || /^(\.|%2e){1,2}$/i.test(segment);

const withoutTrailingSlash = (path: string): string =>
  path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;

/** The variable segments; undefined when the path is another one. */
function matchPath(pattern: readonly string[], segments: readonly string[]): string[] | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: string[] = [];
  for (const [i, wanted] of pattern.entries()) {
    const segment = segments[i] as string;
    if (wanted.startsWith("{")) params.push(segment);
    else if (wanted !== segment) return undefined;
  }
  return params;
}
