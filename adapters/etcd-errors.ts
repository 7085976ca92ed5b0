/** What a failed call to etcd means for its caller. */
import { RaftwerkError } from "../base/index.js";

/** `refused`: etcd answered no; `notSent`: it never heard of the call; `unknown`: it may have acted. */
export type FailureKind = "refused" | "notSent" | "unknown";

const NOT_SENT = /No connection established|ECONNREFUSED|Name resolution failed|was already closed/;
/** Words of etcd's own refusals; a call that meets one had no effect. */
const REFUSED = new RegExp(
  [
    "duplicate key|too many operations|request is too large|message larger than max|key is not provided",
    "lease (already exists|not found)",
    "required revision has been compacted|future revision",
    "permission denied|authentication failed|user name is empty|invalid auth token",
    "database space exceeded|too many requests",
    "certificate|SSL|self.signed|unable to verify",
  ].join("|"),
  "i",
);

export function failureKind(error: unknown): FailureKind {
  const text = error instanceof Error ? error.message : String(error);
  if (REFUSED.test(text)) return "refused";
  return NOT_SENT.test(text) ? "notSent" : "unknown";
}

export function refusedByEtcd(error: unknown): RaftwerkError {
  const text = error instanceof Error ? error.message : String(error);
  if (/database space exceeded/.test(text)) {
    const advice = "compact and defragment it, then disarm its alarm (etcdctl alarm disarm)";
    return new RaftwerkError("diskFull", `etcd takes no more data: ${text}; ${advice}`, {
      retry: "safe",
      cause: error,
    });
  }
  if (/too many requests|invalid auth token/i.test(text)) {
    return new RaftwerkError("pdUnavailable", `etcd refused for now: ${text}`, {
      retry: "safe",
      cause: error,
    });
  }
  return new RaftwerkError("invalidArgument", `etcd refused: ${text}`, { retry: "never", cause: error });
}
