/**
 * A snapshot that arrives again and again, much later: the sender's first attempt was believed lost, and was not. What
 * was streamed to a store is kept and sent to it again, as its sender would.
 */
import type { Engine } from "../base/index.js";
import { raft_serverpb, TikvService } from "../proto/index.js";
import { readIdent } from "../store/bootstrap.js";
import { clusterMetadata } from "../store/raft-streams.js";
import type { SimCluster } from "./cluster.js";
import type { Action } from "./nemesis.js";
import type { Frame } from "./network.js";
import type { SimNode } from "./node.js";
import { MS } from "./world.js";

/** Records until the stream of one snapshot is followed by another, or this much time has passed. */
const RECORD_US = 500 * MS;
/** So often the receiver is looked at, and so many times, for the moment when its log no longer reaches back. */
const LOOK_US = 20 * MS;
const LOOKS_MAX = 400;
/** It arrives that many times its delay later: in the midst of the same trouble, and when all is over. */
const REPEATS = [1, 2, 4] as const;

export function snapshotComesLate(cluster: SimCluster, { detail, durationMs }: Action): undefined {
  const { network, world } = cluster;
  let passes = detail % 3;
  let route: Route | undefined;
  const chunks: Uint8Array[] = [];
  const watcher = ({ path, from, to, message, bytes }: Frame): void => {
    if (!path.endsWith("/Snapshot")) return;
    const isFirst = (message as raft_serverpb.ISnapshotChunk).message != null;
    if (route === undefined) {
      if (!isFirst || passes-- > 0) return;
      route = { from, to };
      world.at(RECORD_US, "snapshot recorded", () => network.watchers.delete(watcher));
      for (const times of REPEATS) {
        world.at(RECORD_US + times * durationMs * MS, "snapshot again", () => {
          sendAgain(cluster, from, to, chunks);
        });
      }
      const found = { from, to };
      world.at(RECORD_US, "snapshot again", () => sendBehindTheLog(cluster, found, chunks, LOOKS_MAX));
    } else if (isFirst && from === route.from && to === route.to) {
      network.watchers.delete(watcher);
      return;
    }
    if (from === route.from && to === route.to) chunks.push(bytes.slice());
  };
  network.watchers.add(watcher);
  return undefined;
}

interface Route {
  readonly from: SimNode;
  readonly to: SimNode;
}

/**
 * Once more in the same term, when the receiver has cut its log beyond the snapshot: the log can no longer tell that it
 * holds all of it.
 */
function sendBehindTheLog(
  cluster: SimCluster,
  { from, to }: Route,
  chunks: readonly Uint8Array[],
  looks: number,
): void {
  const { world, stores } = cluster;
  const first = chunks[0];
  if (first === undefined || looks === 0) return;
  const { message } = raft_serverpb.SnapshotChunk.decode(first);
  const index = message?.message?.snapshot?.metadata?.index ?? 0;
  const peer = stores.find(({ node }) => node === to)?.store?.peers.get(message?.regionId ?? 0);
  if (peer !== undefined && peer.storage.applyState.truncatedIndex > index) {
    if (peer.term !== message?.message?.term) return;
    world.probe("a snapshot arrived a second time, behind the receiver's log");
    return sendAgain(cluster, from, to, chunks);
  }
  world.at(LOOK_US, "snapshot again", () => sendBehindTheLog(cluster, { from, to }, chunks, looks - 1));
}

function sendAgain(cluster: SimCluster, from: SimNode, to: SimNode, chunks: readonly Uint8Array[]): void {
  const { network, world, stores } = cluster;
  const target = stores.find(({ node }) => node === to);
  // What the sender was told at its start: its own stream would say so.
  const sender = stores.find(({ node }) => node === from);
  const clusterId = sender && readIdent(sender.disk.memory as Engine)?.clusterId;
  const { env } = from;
  const isPossible = from.isUp && !from.isPaused && to.isUp && !network.isBlocked(from, to);
  if (target === undefined || clusterId === undefined || env === undefined || !isPossible) return;
  world.probe("a snapshot arrived a second time");
  world.note(`a snapshot from ${from.name} arrives a second time at ${to.name}`);
  const call = network
    .door(from, env)
    .channel(target.address)
    .open(
      TikvService.Snapshot,
      { onMessage: () => world.probe("a snapshot was taken in a second time"), onEnd() {} },
      { metadata: clusterMetadata(clusterId) },
    );
  for (const bytes of chunks) call.send(raft_serverpb.SnapshotChunk.decode(bytes));
  call.halfClose();
}
