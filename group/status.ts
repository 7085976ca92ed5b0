/** A member's status, put together when somebody asks. */
import type { GroupCore } from "./core.js";
import type { GroupCounters, GroupStatus, MemberStatus } from "./events.js";

function countersOf(core: GroupCore): GroupCounters {
  const { proposals, reads, applier, outbox, keeper, sender, receiver } = core;
  return {
    proposals: proposals.proposed,
    entriesProposed: proposals.entries,
    commandsApplied: applier.commands,
    proposalsWaiting: proposals.waiting,
    readsWaiting: reads.waiting,
    readRounds: reads.rounds,
    readsLeased: reads.leased,
    turns: core.turns,
    syncedWrites: core.syncedWrites,
    unsyncedWrites: core.unsyncedWrites,
    packetsSent: outbox.packetsSent,
    packetsReceived: core.admission.packets,
    packetsRefused: core.admission.refused,
    bytesSent: outbox.bytesSent,
    bytesReceived: core.admission.bytes,
    elections: core.elections,
    snapshotsCreated: keeper.created,
    snapshotsInstalled: core.snapshotsInstalled,
    snapshotBytesSent: sender.bytes,
    snapshotBytesReceived: receiver.bytes,
  };
}

export function statusOf(core: GroupCore): GroupStatus {
  const { raw, state, storage, applier, phase, id } = core;
  const isOpen = phase !== "opening" && phase !== "stopped";
  const snapshot = isOpen ? storage.snapshot() : undefined;
  const progress = new Map<number, Pick<MemberStatus, "match" | "isActive" | "state">>();
  if (core.isLeader) {
    raw?.withProgress((member, { match, recentActive, state }) => {
      progress.set(member, { match, isActive: member === id || recentActive, state });
    });
  }
  return {
    phase,
    groupId: core.groupId,
    id,
    address: core.parts.transport.address,
    role: state.members.get(id)?.role ?? "none",
    raftState: raw?.basicStatus().state ?? "none",
    leader: core.leaderId,
    leaderAddress: state.members.get(core.leaderId)?.address ?? "",
    term: raw?.term ?? 0,
    commitIndex: raw?.commitIndex ?? 0,
    appliedIndex: applier.appliedIndex,
    firstIndex: isOpen ? storage.firstIndex() : 0,
    lastIndex: isOpen ? storage.lastIndex() : 0,
    logBytes: isOpen ? storage.logBytes() : 0,
    snapshot:
      snapshot === undefined
        ? undefined
        : { index: snapshot.index, term: snapshot.term, bytes: snapshot.bytes },
    members: [...state.members.values()]
      .sort((left, right) => left.id - right.id)
      .map((member) => ({ ...member, ...progress.get(member.id) })),
    isJoint: applier.confState.votersOutgoing.length > 0,
    sessions: state.sessions.count,
    counters: countersOf(core),
  };
}
