/** A small cluster that has reported itself, for tests of what PD shows. */
import { utf8 as key } from "../../base/index.js";
import { PdService } from "../../proto/index.js";
import { type Harness, storeMessage } from "./harness.js";

/**
 * Three stores; region 2 up to "m" on all of them, hot for writes; region 10 from "m" on with a learner and a
 * pending peer.
 */
export function threeStores(harness: Harness): void {
  harness.bootstrap();
  const startTimestamp = Math.floor(harness.env.clock.wallMs() / 1000) - 50;
  for (const id of [1, 2, 3]) {
    const more = { peerAddress: `127.0.0.1:${20160 + id}`, gitHash: "abc", startTimestamp };
    harness.putStore(storeMessage(id, more));
    harness.heartbeatStore(id, {
      usedSize: 3 * 2 ** 29,
      slowScore: 1,
      slowTrend: { causeValue: 1, causeRate: 0, resultValue: 0, resultRate: 0 },
      interval: { startTimestamp: 100, endTimestamp: 110 },
      bytesWritten: 2000,
    });
  }
  const peers = [1, 2, 3].map((storeId) => ({ id: storeId + 2, storeId }));
  const regionHeartbeat = harness.open(PdService.RegionHeartbeat);
  const interval = { startTimestamp: 100, endTimestamp: 160 };
  const busy = {
    header: harness.header,
    region: { id: 2, endKey: key("m"), regionEpoch: { confVer: 3, version: 2 }, peers },
    leader: peers[0] ?? null,
    term: 6,
    approximateSize: 50 * 2 ** 20,
    approximateKeys: 1000,
    bytesWritten: 120_000,
    keysWritten: 60,
    interval,
  };
  // Three in a row make it hot.
  for (let i = 0; i < 3; i++) regionHeartbeat.send(busy);
  const others = [1, 2].map((storeId) => ({ id: storeId + 10, storeId }));
  const learner = { id: 13, storeId: 3, role: 1 };
  regionHeartbeat.send({
    header: harness.header,
    region: {
      id: 10,
      startKey: key("m"),
      regionEpoch: { confVer: 4, version: 2 },
      peers: [...others, learner],
    },
    leader: others[1] ?? null,
    pendingPeers: [learner],
    downPeers: [{ peer: learner, downSeconds: 7 }],
    term: 6,
    approximateSize: 2 ** 20,
    interval,
  });
  harness.env.settle();
}
