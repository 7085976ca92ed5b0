/** Peers that were removed while they could not hear of it, and what PD's picture proves about them. */
import { describe, expect, it } from "vitest";
import type { metapb } from "../proto/index.js";
import type { Peer } from "../region/peer.js";
import { regionOf } from "../region/test/fixtures.js";
import { StalePeers } from "./stale-peers.js";

const LEADER_MISSING_MS = 1_000;

/** A peer 21 of region 2 in the epoch (1, 1) that heard its leader as told. */
function scene(known: metapb.IRegion | null, silentMs: () => number | undefined = () => undefined) {
  const destroyed: string[] = [];
  const asked: number[] = [];
  const peer = {
    regionId: 2,
    peerId: 21,
    leaderId: 22,
    isLeader: false,
    isRemoved: false,
    isApplyingSnapshot: false,
    region: regionOf(2, 3),
    silentMs,
  } as unknown as Peer;
  const stale = new StalePeers({
    pd: {
      getRegionById: (id: number, callback: (error: undefined, region: metapb.IRegion | null) => void) => {
        asked.push(id);
        callback(undefined, known);
      },
    } as never,
    leaderMissingMs: LEADER_MISSING_MS,
    destroyPeer: (_peer, reason) => void destroyed.push(reason),
  });
  const pass = (untilMs: number): void => {
    for (let nowMs = 0; nowMs <= untilMs; nowMs += 100) stale.tick([peer], nowMs);
  };
  return { destroyed, asked, pass };
}

const without = (confVer: number, version: number): metapb.IRegion => ({
  id: 2,
  regionEpoch: { confVer, version },
  peers: [{ id: 22, storeId: 2 }],
});

describe("a peer without a leader", () => {
  it("asks PD after the time, and goes when PD knows a newer region without it", () => {
    const early = scene(without(5, 1));
    early.pass(900);
    expect(early.asked).toEqual([]);
    const late = scene(without(5, 1));
    late.pass(1_000);
    expect(late.destroyed).toHaveLength(1);
  });

  it("stays when PD knows it, knows nothing, or knows less than the peer itself", () => {
    const own = { ...without(5, 1), peers: [{ id: 21, storeId: 1 }] };
    for (const known of [own, null, without(5, 0), without(0, 1)]) {
      const { asked, destroyed, pass } = scene(known);
      pass(1_000);
      expect([asked, destroyed]).toEqual([[2], []]);
    }
  });

  it("asks again only after the same time again", () => {
    const { asked, pass } = scene(null);
    pass(3_500);
    expect(asked).toHaveLength(3);
  });

  it("does not ask while it hears its leader, though it cannot campaign", () => {
    const { asked, pass } = scene(without(5, 1), () => 300);
    pass(5_000);
    expect(asked).toEqual([]);
  });
});
