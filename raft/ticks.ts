/** Time: one call per tick of the embedder's clock. Timeouts are counted in ticks, nothing here reads a clock. */
import { promotable } from "./election.js";
import { makeMessage } from "./message.js";
import type { Raft } from "./raft.js";
import { abortTransfer } from "./roles.js";
import { step } from "./step.js";
import { NONE } from "./types.js";

/** True when there may be something to do: a message was stepped. */
export function tick(raft: Raft): boolean {
  return raft.state === "StateLeader" ? tickLeader(raft) : tickOther(raft);
}

function tickOther(raft: Raft): boolean {
  raft.electionElapsed++;
  if (raft.electionElapsed < raft.randomizedElectionTimeout || !promotable(raft)) return false;
  raft.electionElapsed = 0;
  step(raft, makeMessage({ type: "MsgHup", from: raft.id }));
  return true;
}

function tickLeader(raft: Raft): boolean {
  let stepped = false;
  raft.heartbeatElapsed++;
  raft.electionElapsed++;
  if (raft.electionElapsed >= raft.config.electionTicks) {
    raft.electionElapsed = 0;
    if (raft.config.checkQuorum) {
      step(raft, makeMessage({ type: "MsgCheckQuorum", from: raft.id }));
      stepped = true;
    }
    // The target had a whole election timeout: take proposals again.
    if (raft.state === "StateLeader" && raft.leadTransferee !== NONE) abortTransfer(raft);
  }
  if (raft.state !== "StateLeader") return true;
  if (raft.heartbeatElapsed >= raft.config.heartbeatTicks) {
    raft.heartbeatElapsed = 0;
    step(raft, makeMessage({ type: "MsgBeat", from: raft.id }));
    stepped = true;
  }
  return stepped;
}
