/** From Raft's wish to send a snapshot to the stream that carries it, and back to Raft how it went. */
import { misbehaves } from "../base/index.js";
import type { raft_serverpb } from "../proto/index.js";
import type { Peer } from "../region/peer.js";
import type { PeerMeta } from "../region/region.js";
import type { StoreAddresses } from "./addresses.js";
import { SnapshotSender } from "./snapshot-sender.js";
import type { Store } from "./store.js";

export function sendSnapshot(
  store: Pick<Store, "engine" | "env" | "figures" | "snapshots">,
  addresses: StoreAddresses,
  peer: Peer,
  to: PeerMeta,
  message: raft_serverpb.IRaftMessage,
): void {
  const { engine, env, figures, snapshots } = store;
  const failed = (reason: string): void => {
    env.log.info("snapshot not sent", { regionId: peer.regionId, to: to.id, reason });
    peer.reportSnapshot(to.id, "failure");
  };
  snapshots.stats.wanted(to.id);
  if (!snapshots.hasRoom) return failed("too many snapshots are being sent");
  if (misbehaves(env, "a snapshot is not sent")) return failed("mischief");
  // Entries applied since Raft asked would be in the data and not in the snapshot's index: applied twice over
  // there.
  const index = message.message?.snapshot?.metadata?.index;
  if (index !== peer.appliedIndex || peer.storage.appliesUnderWay > 0) {
    return failed(`its index ${index} is behind what is applied, ${peer.appliedIndex}`);
  }
  const startMs = env.clock.monotonicMs();
  // Taken here and now: applied state and data agree only within this turn.
  const snapshot = SnapshotSender.open(engine);
  const { region } = peer;
  addresses.resolve(to.storeId, (address) => {
    if (address === undefined) {
      snapshot.close();
      return failed(`store ${to.storeId} has no address`);
    }
    snapshots.send({
      region,
      toPeerId: to.id,
      address,
      message,
      snapshot,
      done: (succeeded, reason) => {
        if (!succeeded) return failed(reason);
        figures.time("snapshotSent", env.clock, startMs);
        env.log.info("snapshot sent", { regionId: region.id, to: to.id });
        if (!peer.isRemoved) peer.reportSnapshot(to.id, "finish");
      },
    });
  });
}
