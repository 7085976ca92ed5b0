/** Where entries go that leave the log, if somebody wants to keep them: for audits, or to follow what happened. */
import type { Entry } from "../raft/index.js";
import type { Done } from "./storage.js";

export interface CompactedLog {
  /** Takes contiguous entries before they are deleted. An error is logged, and the log stays uncut. */
  write(entries: readonly Entry[], done: Done): void;
}
