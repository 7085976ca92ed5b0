/**
 * A store of another cluster that was given one of our addresses. Ids of clusters look alike, so what it says
 * could be said by a leader here: entries that nobody here proposed, in a term above ours.
 */
import { type Env, utf8 } from "../base/index.js";
import { eraftpb, TikvService } from "../proto/index.js";
import { clusterMetadata } from "../store/raft-streams.js";
import { leaders } from "./administration.js";
import type { SimCluster } from "./cluster.js";
import type { SimNode } from "./node.js";

const OTHER_CLUSTER = 999_999n;
/** Its process runs on: were it another each time, answers to the last one's calls would never arrive. */
const speakers = new WeakMap<SimCluster, { readonly node: SimNode; readonly env: Env }>();

export function strangerSpeaks(cluster: SimCluster, target: number, detail: number): undefined {
  const all = leaders(cluster);
  const led = all[target % Math.max(1, all.length)];
  if (led === undefined) return undefined;
  const { peer } = led;
  const from = peer.region.peers.find(({ id }) => id === peer.peerId);
  const others = peer.region.peers.filter(({ id }) => id !== peer.peerId);
  const to = others[detail % Math.max(1, others.length)];
  const store = cluster.stores.find((each) => each.store?.id === to?.storeId);
  if (from === undefined || to === undefined || store === undefined) return undefined;
  let speaker = speakers.get(cluster);
  if (speaker === undefined) {
    const node = cluster.world.addNode("stranger");
    speaker = { node, env: node.boot() };
    speakers.set(cluster, speaker);
  }
  const door = cluster.network.door(speaker.node, speaker.env);
  let isRefused = false;
  const call = door.channel(store.address).open(
    TikvService.BatchRaft,
    {
      onMessage() {},
      onEnd: ({ code }) => {
        isRefused ||= code !== 0;
        if (isRefused) cluster.world.probe("a store of another cluster was refused");
      },
    },
    { metadata: clusterMetadata(OTHER_CLUSTER) },
  );
  const index = peer.node.lastIndex + 1;
  const entry = {
    entryType: eraftpb.EntryType.EntryNormal,
    term: peer.term + 1,
    index,
    data: utf8("not ours"),
  };
  const message = {
    msgType: eraftpb.MessageType.MsgAppend,
    from: from.id,
    to: to.id,
    term: peer.term + 1,
    logTerm: peer.term,
    index: index - 1,
    commit: index,
    entries: [entry],
  };
  call.send({
    msgs: [
      {
        regionId: peer.regionId,
        fromPeer: { id: from.id, storeId: from.storeId },
        toPeer: { id: to.id, storeId: to.storeId },
        regionEpoch: peer.region.epoch,
        message,
      },
    ],
  });
  return undefined;
}
