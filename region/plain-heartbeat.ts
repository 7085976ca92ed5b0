/** Which messages let a quiet peer sleep. */
import type { Message } from "../raft/index.js";
import type { Peer } from "./peer.js";

/** One that asks for nothing and tells nothing that the peer does not know. */
export function isPlainHeartbeat({ type, term, from, context, commit }: Message, to: Peer): boolean {
  if (term !== to.term || context.length > 0) return false;
  if (type === "MsgHeartbeatResp") return to.isLeader;
  return type === "MsgHeartbeat" && from === to.leaderId && commit <= to.node.commitIndex;
}
