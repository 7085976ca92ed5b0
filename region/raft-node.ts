/** How a region's Raft node is set up. */
import type { Random } from "../base/index.js";
import { RawNode } from "../raft/index.js";
import type { RegionConfig } from "./config.js";
import type { PeerStorage } from "./peer-storage.js";

export function raftNode(id: number, storage: PeerStorage, config: RegionConfig, random: Random): RawNode {
  return new RawNode({
    id,
    storage,
    applied: storage.applyState.appliedIndex,
    electionTicks: config.raftElectionTicks,
    heartbeatTicks: config.raftHeartbeatTicks,
    preVote: true,
    checkQuorum: true,
    readOnlyOption: "safe",
    asyncStorageWrites: true,
    // A commit travels with the next entries or heartbeat: told at once it doubles the messages of a busy region.
    skipBroadcastCommit: true,
    // A leader that an entry of its predecessor demotes or removes must not lead on without a vote of its own.
    stepDownOnRemoval: true,
    // A proposal of a peer that has just stepped down must fail here: its waiters are kept by its own log index.
    disableProposalForwarding: true,
    maxSizePerMessageBytes: config.raftMessageBytesMax,
    maxInflightMessages: config.raftInflightMessagesMax,
    maxInflightBytes: config.raftInflightBytesMax,
    maxUncommittedEntriesBytes: config.uncommittedBytesMax,
    random,
  });
}
