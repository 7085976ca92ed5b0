/** How often the leaders of replicas that lag are looked at, and that what they wait for is told at once. */
import { expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import type { Peer } from "../region/peer.js";
import { CatchUpWatch } from "./catch-up-watch.js";

/** A leader of which `match` is what one other replica is known to hold, of a log cut at 5. */
function leader(): { readonly peer: Peer; match: number; looks: number } {
  const state = { match: 0, looks: 0, peer: undefined as unknown as Peer };
  state.peer = {
    isLeader: true,
    isRemoved: false,
    peerId: 21,
    storage: { firstIndex: () => 6 },
    peerById: (id: number) => ({ id, storeId: 2, role: "voter" }),
    node: {
      withProgress: (visit: (id: number, progress: { match: number }) => void) => {
        state.looks++;
        visit(22, { match: state.match });
      },
    },
  } as unknown as Peer;
  return state;
}

test("a replica that has caught up is told of at once, and not looked at any more", () => {
  const env = new ManualEnv();
  const told: Peer[] = [];
  const watch: CatchUpWatch = new CatchUpWatch(env, (peer) => {
    told.push(peer);
    watch.watch(peer, 0);
  });
  const one = leader();
  watch.watch(one.peer, 1);
  env.advance(100);
  expect(told).toEqual([]);
  one.match = 7;
  env.advance(50);
  expect(told).toEqual([one.peer]);
  const { looks } = one;
  env.advance(10_000);
  expect(one.looks).toBe(looks);
});

test("a replica that stays behind is looked at more and more seldom, each second at last", () => {
  const env = new ManualEnv();
  const watch = new CatchUpWatch(env, () => {});
  const one = leader();
  watch.watch(one.peer, 1);
  env.advance(100);
  expect(one.looks).toBeGreaterThanOrEqual(3);
  env.advance(60_000);
  const { looks } = one;
  env.advance(10_000);
  expect(one.looks - looks).toBeGreaterThanOrEqual(9);
  expect(one.looks - looks).toBeLessThanOrEqual(10);
});
