/** When leaders report to PD, and that a second of a store at rest costs what is due and not what there is. */
import { beforeEach, describe, expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import type { Peer } from "../region/peer.js";
import { regionOf } from "../region/test/fixtures.js";
import { Traffic } from "../region/traffic.js";
import { DEFAULT_STORE_CONFIG } from "./index.js";
import { PdReporter, type PdReporterHost } from "./pd-reporter.js";

interface Led {
  readonly peer: Peer;
  isLeader: boolean;
  isQuiet: boolean;
  looks: number;
}

/** The peer on store 1 of a region with so many replicas. */
function led(id: number, replicas: number): Led {
  const region = regionOf(id, replicas);
  const [own] = region.peers;
  const traffic = new Traffic();
  const state: Led = { isLeader: true, isQuiet: false, looks: 0, peer: undefined as unknown as Peer };
  const peer = {
    regionId: id,
    region,
    peerId: own?.id,
    meta: own,
    term: 6,
    isRemoved: false,
    approximateBytes: 1,
    approximateKeys: 1,
    get isQuiet() {
      return state.isQuiet;
    },
    get isLeader() {
      state.looks++;
      return state.isLeader;
    },
    storage: { firstIndex: () => 6 },
    peerById: (of: number) => region.peers.find((meta) => meta.id === of),
    silentMs: () => 0,
    node: {
      withProgress: (visit: (of: number, progress: { match: number }) => void) => {
        for (const meta of region.peers) visit(meta.id, { match: 9 });
      },
    },
    takeFlow: () => traffic.takeFlow(),
  };
  return Object.assign(state, { peer: peer as unknown as Peer });
}

let env: ManualEnv;
let all: Led[];
/** Region ids, in the order reported. */
let reports: { readonly id: number; readonly atMs: number; readonly down: readonly number[] }[];
/** Milliseconds since these stores died. */
let deadSinceMs: Map<number, number>;
let reporter: PdReporter;

const deadMs = (store: number): number => env.nowMs - (deadSinceMs.get(store) ?? env.nowMs);

beforeEach(() => {
  env = new ManualEnv();
  all = [];
  reports = [];
  deadSinceMs = new Map();
  reporter = new PdReporter({
    env,
    config: DEFAULT_STORE_CONFIG,
    peers: { all: () => all.map(({ peer }) => peer), size: 0 },
    awake: () => all.filter(({ isQuiet }) => !isQuiet).map(({ peer }) => peer),
    figures: {},
    pd: {
      clusterId: 1n,
      storeHeartbeat: () => {},
      openRegionHeartbeat: () => ({
        send: ({
          region,
          downPeers,
        }: {
          region: { id: number };
          downPeers: { peer: { storeId: number } }[];
        }) =>
          reports.push({ id: region.id, atMs: env.nowMs, down: downPeers.map(({ peer }) => peer.storeId) }),
        close() {},
      }),
    },
    liveness: { deadMs, deadFor: (ms: number) => [...deadSinceMs.keys()].filter((id) => deadMs(id) >= ms) },
    capacity: () => undefined,
    slowScore: () => 1,
    snapshotCounts: () => ({ sending: 0, receiving: 0 }),
    takeSnapshotStats: () => [],
    storeId: 1,
    startSeconds: 0,
  } as unknown as PdReporterHost);
  reporter.start();
});

/** Leaders that report once and fall quiet. */
function quietLeaders(count: number, replicas = 3): void {
  for (let i = 0; i < count; i++) all.push(led(100 + i, replicas));
  reporter.reportAll();
  env.settle();
  for (const one of all) one.isQuiet = true;
  expect(reports).toHaveLength(count);
  reports = [];
}

function pass(seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    env.advance(1_000);
    reporter.tick(env.nowMs);
    env.settle();
  }
}

describe("a leader that has nothing to say", () => {
  test("reports every ten seconds while it is awake, and at once if it never did", () => {
    all.push(led(5, 3));
    pass(1);
    expect(reports.map(({ id }) => id)).toEqual([5]);
    pass(30);
    expect(reports).toHaveLength(4);
  });

  test("reports every five minutes while it is quiet, each of many", () => {
    quietLeaders(300);
    pass(299);
    expect(reports).toEqual([]);
    pass(1);
    expect(new Set(reports.map(({ id }) => id)).size).toBe(300);
    pass(299);
    expect(reports).toHaveLength(300);
    pass(1);
    expect(reports).toHaveLength(600);
  });

  test("costs nothing in between: in a minute none of a thousand quiet ones is looked at", () => {
    quietLeaders(1_000);
    for (const one of all) one.looks = 0;
    pass(60);
    expect(all.reduce((sum, { looks }) => sum + looks, 0)).toBe(0);
  });

  test("does not report in one second with thousands that began together", () => {
    quietLeaders(2_000);
    pass(304);
    const perSecond = new Map<number, number>();
    for (const { atMs } of reports) perSecond.set(atMs, (perSecond.get(atMs) ?? 0) + 1);
    expect(Math.max(...perSecond.values())).toBeLessThanOrEqual(512);
    expect(new Set(reports.map(({ id }) => id)).size).toBe(2_000);
  });
});

describe("a quiet leader", () => {
  test("with a replica on a store that is down says so every ten seconds, and others do not", () => {
    quietLeaders(20);
    all.push(led(7, 2));
    reporter.reportAll();
    env.settle();
    for (const one of all) one.isQuiet = true;
    reports = [];
    deadSinceMs.set(3, env.nowMs);
    pass(DEFAULT_STORE_CONFIG.peerDownMs / 1_000 - 1);
    expect(reports).toEqual([]);
    pass(3);
    expect(reports).toHaveLength(20);
    expect(reports.every(({ down }) => down.join() === "3")).toBe(true);
    pass(60);
    const mine = reports.filter(({ id }) => id === 100).length;
    expect(mine).toBeGreaterThanOrEqual(6);
    expect(mine).toBeLessThanOrEqual(7);
    expect(reports.some(({ id }) => id === 7)).toBe(false);
    deadSinceMs.clear();
    reports = [];
    pass(60);
    expect(reports).toEqual([]);
  });

  test("that leads no longer reports no more, and does not hold up those behind it", () => {
    quietLeaders(3);
    (all[0] as Led).isLeader = false;
    pass(310);
    expect(reports.map(({ id }) => id)).toEqual([101, 102]);
    for (const one of all) one.looks = 0;
    pass(100);
    expect(all.map(({ looks }) => looks)).toEqual([0, 0, 0]);
  });

  test("that is gone is forgotten", () => {
    quietLeaders(2);
    reporter.forget((all[0] as Led).peer);
    pass(310);
    expect(reports.map(({ id }) => id)).toEqual([101]);
  });
});
