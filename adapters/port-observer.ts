/** What a port tells about its calls and about what it turned away, for metrics. */
import type { MethodDefinition, RpcCode } from "../proto/rpc.js";

export interface PortObserver {
  started(method: MethodDefinition<unknown, unknown>): void;
  ended(method: MethodDefinition<unknown, unknown>, code: RpcCode, durationMs: number): void;
  /** A connection or request that got no further, by reason. */
  refused(reason: RefusalReason): void;
}

/** The values of the label `reason`. */
export type RefusalReason =
  | "too many connections"
  | "silent connection"
  | "not HTTP/2"
  | "malformed HTTP"
  | "malformed request"
  | "malformed frames"
  | "stream reset at once";

export const NO_OBSERVER: PortObserver = {
  started() {},
  ended() {},
  refused() {},
};
