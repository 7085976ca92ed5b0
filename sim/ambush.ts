/**
 * Faults at the worst moment. A fault that comes at a random time seldom meets the instant that matters: a vote that
 * has just left, an order to campaign that is on its way, a region's new state that is being written. An ambush waits
 * until a message of a chosen kind leaves a store, and then something happens to its sender or to its receiver; or
 * until a process writes a record of a chosen kind, and then something happens to that process.
 */
import { eraftpb, type raft_serverpb, type tikvpb } from "../proto/index.js";
import type { SimCluster, SimProcess } from "./cluster.js";
import type { DiskOperation } from "./engine.js";
import type { Action } from "./nemesis.js";
import type { Frame } from "./network.js";
import { MS } from "./world.js";

type Raft = eraftpb.IMessage;
const { MessageType, EntryType } = eraftpb;
/** First byte of an entry that holds a split or another admin command. (`region/command.ts`) */
const ADMIN = 2;

interface Moment {
  readonly name: string;
  isNow(frame: Frame): boolean;
}

const ofRaft = (name: string, isNow: (message: Raft) => boolean): Moment => ({
  name,
  isNow: (frame) => messagesOf(frame).some(({ message }) => message != null && isNow(message)),
});

const ofType = (name: string, type: eraftpb.MessageType): Moment =>
  ofRaft(name, ({ msgType }) => msgType === type);

const ofPath = (name: string, method: string): Moment => ({
  name,
  isNow: ({ path }) => path.endsWith(`/${method}`),
});

/** The ones that come again and again are least of all. */
export const MOMENTS: readonly Moment[] = [
  ofType("an order to campaign", MessageType.MsgTimeoutNow),
  ofType("a request for a vote", MessageType.MsgRequestVote),
  ofType("a vote", MessageType.MsgRequestVoteResponse),
  ofType("a question before an election", MessageType.MsgRequestPreVote),
  ofType("a snapshot", MessageType.MsgSnapshot),
  ofType("a question for a read index", MessageType.MsgReadIndex),
  ofType("a read index", MessageType.MsgReadIndexResp),
  ofType("an acknowledgement", MessageType.MsgAppendResponse),
  ofRaft(
    "a heartbeat's answer for a read",
    ({ msgType, context }) => msgType === MessageType.MsgHeartbeatResponse && (context?.length ?? 0) > 0,
  ),
  ofRaft(
    "the first entry of a term",
    ({ entries }) => entries?.some(({ data }) => (data?.length ?? 0) === 0) === true,
  ),
  ofRaft(
    "a change of peers",
    ({ entries }) => entries?.some(({ entryType }) => entryType !== EntryType.EntryNormal) === true,
  ),
  ofRaft(
    "an admin command",
    ({ entries }) =>
      entries?.some(({ entryType, data }) => entryType === EntryType.EntryNormal && data?.[0] === ADMIN) ===
      true,
  ),
  ofPath("a question for the ids of a split", "AskBatchSplit"),
  ofPath("a report to PD", "RegionHeartbeat"),
];

/** Messages of Raft in a frame; of a snapshot's stream the one in its first chunk. */
function messagesOf({ path, message }: Frame): readonly raft_serverpb.IRaftMessage[] {
  if (path.endsWith("/BatchRaft")) return (message as tikvpb.IBatchRaftMessage).msgs ?? [];
  if (!path.endsWith("/Snapshot")) return [];
  const first = (message as raft_serverpb.ISnapshotChunk).message;
  return first == null ? [] : [first];
}

/** Does it to the process, and tells how it ends. */
export type Deed = (cluster: SimCluster, victim: SimProcess) => (() => void) | undefined;
type Begin = (cluster: SimCluster, action: Action) => undefined;

function strike(
  cluster: SimCluster,
  victim: SimProcess,
  moment: string,
  delayUs: number,
  deed: () => (() => void) | undefined,
  durationMs: number,
): void {
  const { world } = cluster;
  world.at(delayUs, "ambush", () => {
    world.note(`the ambush at ${moment} meets ${victim.node.name}`);
    world.probe(`ambush at ${moment}`);
    const end = deed();
    if (end !== undefined) world.at(durationMs * MS, "end of ambush", end);
  });
}

/** `target` chooses the moment, `detail` the victim, how often the moment passes first, and how soon it happens. */
export const ambush =
  (deed: Deed): Begin =>
  (cluster, { target, detail, durationMs }) => {
    const { network } = cluster;
    const moment = MOMENTS[target % MOMENTS.length] as Moment;
    const isSender = detail % 2 === 0;
    let passes = (detail >>> 1) % 4;
    const delayUs = [0, 0, 200, 2 * MS][(detail >>> 3) % 4] as number;
    const watcher = (frame: Frame): void => {
      if (!moment.isNow(frame) || passes-- > 0) return;
      const node = isSender ? frame.from : frame.to;
      const victim = cluster.processes.find((each) => each.node === node);
      if (victim === undefined) return;
      network.watchers.delete(watcher);
      strike(cluster, victim, moment.name, delayUs, () => deed(cluster, victim), durationMs);
    };
    network.watchers.add(watcher);
    return undefined;
  };

interface Record {
  readonly name: string;
  isIn(operation: DiskOperation): boolean;
}

const ofRaftSpace = (name: string, prefix: number, suffix: number, isPut = true): Record => ({
  name,
  isIn: ({ space, key, value }) =>
    space === "raft" && key[1] === prefix && key[10] === suffix && (value !== undefined) === isPut,
});

/** Keys as of `region/keys.ts`. */
const RECORDS: readonly Record[] = [
  ofRaftSpace("a region's state is written", 3, 1),
  ofRaftSpace("an applied index is written", 2, 3),
  ofRaftSpace("a term or a vote is written", 2, 2),
  ofRaftSpace("a log is cut", 2, 1, false),
  ofRaftSpace("an entry is written", 2, 1),
];

/** At a write of the process that `target` chooses; of PD any. The write is under way, just done, or a little older. */
export const ambushAtWrite =
  (deed: Deed): Begin =>
  (cluster, { target, detail, durationMs }) => {
    const victim = cluster.processes[target % cluster.processes.length] as SimProcess;
    const record = RECORDS[detail % RECORDS.length] as Record;
    let passes = (detail >>> 4) % 12;
    const { disk } = victim;
    const share = [0, 0.5, 1, 1.5][(detail >>> 8) % 4] as number;
    const watcher = (operations: readonly DiskOperation[] | undefined): void => {
      const isNow = victim === cluster.pd || operations?.some((each) => record.isIn(each)) === true;
      if (operations === undefined || !isNow || passes-- > 0) return;
      disk.watchers.delete(watcher);
      const moment = victim === cluster.pd ? "PD writes" : record.name;
      const delayUs = Math.round(share * (disk.knobs.syncUs + disk.knobs.jitterUs / 2));
      strike(cluster, victim, moment, delayUs, () => deed(cluster, victim), durationMs);
    };
    disk.watchers.add(watcher);
    return undefined;
  };

/** A store stands still between taking data and answering, or before a write, for as long as an election may take. */
export function stopInTurn(cluster: SimCluster, { target, detail, durationMs }: Action): undefined {
  const { node, disk } = cluster.stores[target % cluster.stores.length] as SimProcess;
  let passes = detail % 6;
  const watcher = (operations: readonly DiskOperation[] | undefined): void => {
    if ((operations === undefined) !== ((detail >>> 4) % 3 !== 0) || passes-- > 0) return;
    disk.watchers.delete(watcher);
    if (!node.isUp || node.isPaused) return;
    cluster.world.note(`${node.name} stands still in its turn`);
    cluster.world.probe("a store stood still in the middle of a turn");
    node.stall(durationMs * MS);
  };
  disk.watchers.add(watcher);
  return undefined;
}
