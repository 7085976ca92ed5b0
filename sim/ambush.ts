/**
 * Faults at the worst moment. A fault that comes at a random time seldom meets the instant that matters: a vote that
 * has just left, an order to campaign that is on its way. An ambush waits until a message of a chosen kind leaves a
 * store, and then something happens to its sender or to its receiver.
 */
import { eraftpb, type raft_serverpb, type tikvpb } from "../proto/index.js";
import type { SimCluster, SimStore } from "./cluster.js";
import type { Fault } from "./faults.js";
import type { Frame } from "./network.js";
import { MS } from "./world.js";

type Raft = eraftpb.IMessage;
const { MessageType, EntryType } = eraftpb;
/** First byte of an entry that holds a split or another admin command. (`region/command.ts`) */
const ADMIN = 2;

interface Moment {
  readonly name: string;
  isNow(message: Raft): boolean;
}

const ofType = (name: string, type: eraftpb.MessageType): Moment => ({
  name,
  isNow: ({ msgType }) => msgType === type,
});

/** The ones that come again and again are least of all. */
export const MOMENTS: readonly Moment[] = [
  ofType("an order to campaign", MessageType.MsgTimeoutNow),
  ofType("a request for a vote", MessageType.MsgRequestVote),
  ofType("a vote", MessageType.MsgRequestVoteResponse),
  ofType("a snapshot", MessageType.MsgSnapshot),
  ofType("a question for a read index", MessageType.MsgReadIndex),
  ofType("a read index", MessageType.MsgReadIndexResp),
  ofType("an acknowledgement", MessageType.MsgAppendResponse),
  {
    name: "a change of peers",
    isNow: ({ entries }) => entries?.some(({ entryType }) => entryType !== EntryType.EntryNormal) === true,
  },
  {
    name: "an admin command",
    isNow: ({ entries }) =>
      entries?.some(({ entryType, data }) => entryType === EntryType.EntryNormal && data?.[0] === ADMIN) ===
      true,
  },
];

/** Messages of Raft in a frame; of a snapshot's stream the one in its first chunk. */
function messagesOf({ path, message }: Frame): readonly raft_serverpb.IRaftMessage[] {
  if (path.endsWith("/BatchRaft")) return (message as tikvpb.IBatchRaftMessage).msgs ?? [];
  if (!path.endsWith("/Snapshot")) return [];
  const first = (message as raft_serverpb.ISnapshotChunk).message;
  return first == null ? [] : [first];
}

/** Does it to the store, and tells how it ends. */
export type Deed = (cluster: SimCluster, victim: SimStore) => (() => void) | undefined;

/** `target` chooses the moment, `detail` the victim, how often the moment passes first, and how soon it happens. */
export const ambush =
  (deed: Deed): Fault["begin"] =>
  (cluster, { target, detail, durationMs }) => {
    const { network, world } = cluster;
    const moment = MOMENTS[target % MOMENTS.length] as Moment;
    const isSender = detail % 2 === 0;
    let passes = (detail >>> 1) % 4;
    const delayUs = [0, 0, 200, 2 * MS][(detail >>> 3) % 4] as number;
    const watcher = (frame: Frame): void => {
      const isNow = messagesOf(frame).some(({ message }) => message != null && moment.isNow(message));
      if (!isNow || passes-- > 0) return;
      const node = isSender ? frame.from : frame.to;
      const victim = cluster.stores.find((store) => store.node === node);
      if (victim === undefined) return;
      network.watchers.delete(watcher);
      world.at(delayUs, "ambush", () => {
        world.note(`the ambush at ${moment.name} meets ${node.name}`);
        world.probe(`ambush at ${moment.name}`);
        const end = deed(cluster, victim);
        if (end !== undefined) world.at(durationMs * MS, "end of ambush", end);
      });
    };
    network.watchers.add(watcher);
    return undefined;
  };
