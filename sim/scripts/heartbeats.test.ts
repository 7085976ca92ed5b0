/** What PD is told of regions and stores, and what a store knows of its regions. Names in brackets are TiKV's. */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../base/index.js";
import { messages, region, type Script, script } from "../test/script.js";

type Reports = ReturnType<Script["watchHeartbeats"]>;
const down = (reports: Reports): number[] =>
  (reports.at(-1)?.downPeers ?? []).map(({ peer }) => peer?.storeId ?? 0);
const pending = (reports: Reports): number[] =>
  (reports.at(-1)?.pendingPeers ?? []).map(({ storeId }) => storeId);

describe("the report of a region", () => {
  it("names a peer that is silent for long as down, and no longer when it is back [test_server_down_peers_without_hibernate_regions]", async () => {
    const s = await script();
    const reports = s.watchHeartbeats();
    s.crash(3);
    const before = s.world.nowUs;
    await s.until("PD hears that it is down", () => down(reports).includes(s.storeId(3)));
    expect((s.world.nowUs - before) / 1_000).toBeGreaterThan(3_900);
    expect(reports.at(-1)?.downPeers?.[0]?.downSeconds ?? 0).toBeGreaterThanOrEqual(4);
    await s.restart(3);
    await s.until("PD hears that it is back", () => down(reports).length === 0);
    expect(s.leader()).toBe(1);
  });

  it("names as down also who was silent before this leader came", async () => {
    const s = await script();
    const lost = s.storeId(3);
    for (const store of [1, 2, 3]) s.crash(store);
    for (const store of [1, 2]) await s.restart(store);
    const reports = s.watchHeartbeats();
    await s.until("PD hears that it is down", () => down(reports).includes(lost));
    expect(s.leader()).toBeGreaterThan(0);
  });

  it("of a new leader names nobody as down who had no reason to talk to it before", async () => {
    const s = await script();
    await s.pass(6_000);
    const reports = s.watchHeartbeats();
    await s.transferLeader(2);
    await s.pass(2_000);
    expect(reports.length).toBeGreaterThan(1);
    expect(reports.flatMap(({ downPeers }) => downPeers ?? [])).toEqual([]);
  });

  it("names a peer as pending until its snapshot is loaded [test_node_pending_peers]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    const reports = s.watchHeartbeats();
    const slow = s.filter(messages().type("snapshot").to(4).hold());
    await s.mustChange([["addLearner", 4]]);
    await s.until("it is pending", () => pending(reports).includes(s.storeId(4)));
    s.release(slow);
    await s.until("it is not pending any more", () => pending(reports).length === 0, 500);
    expect(s.valueOn(4, "k")).toBe("1");
  });

  it("names it as pending while it loads one, too [test_pending_peers]", async () => {
    const s = await script({ config: { snapshotChunkBytesMax: 100 } });
    s.isolate(3);
    await s.putMany("k", 10, "x".repeat(60));
    await s.compactLog();
    s.misbehave("a snapshot loads slowly", 1_000);
    s.heal();
    const reports = s.watchHeartbeats();
    await s.until("it is loading", () => s.mustPeer(3).isApplyingSnapshot);
    s.holdWrites(3);
    await s.pass(2_100);
    expect([pending(reports), s.mustPeer(3).isApplyingSnapshot]).toEqual([[s.storeId(3)], true]);
    s.releaseWrites(3);
    s.behave();
    await s.caughtUp(3);
    await s.until("it is not pending any more", () => pending(reports).length === 0);
  });

  it("covers an interval that begins where the last one ended [test_region_heartbeat_timestamp]", async () => {
    const s = await script({ config: { quietAfterTicks: 0 } });
    const reports = s.watchHeartbeats();
    await s.pass(6_500);
    const intervals = reports.map(({ interval }) => [
      Number(interval?.startTimestamp),
      Number(interval?.endTimestamp),
    ]);
    expect(intervals.length).toBeGreaterThan(2);
    for (const [i, [start, end]] of intervals.entries()) {
      expect((end ?? 0) - (start ?? 0)).toBeGreaterThanOrEqual(1);
      if (i > 0) expect(Math.abs((start ?? 0) - (intervals[i - 1]?.[1] ?? 0))).toBeLessThanOrEqual(1);
    }
  });

  it("carries the term, by which PD tells an old leader from the new [test_region_heartbeat_term]", async () => {
    const s = await script();
    const reports = s.watchHeartbeats();
    await s.pass(1_500);
    const { term } = s.mustPeer(1);
    expect(reports.at(-1)?.term).toBe(term);
    await s.transferLeader(2);
    await s.until("the new leader has reported", () => (reports.at(-1)?.term ?? 0) > term);
    expect(reports.at(-1)?.leader?.storeId).toBe(s.storeId(2));
    expect(s.pd.cluster.regions.byId(s.first)?.leader?.storeId).toBe(s.storeId(2));
  });

  it("of a new leader gives no size that it had counted long ago [test_region_heartbeat_leader_change]", async () => {
    const s = await script({ config: { splitCheckTickMs: 300 } });
    await s.putMany("k", 10, "x".repeat(100));
    const counted = (store: number): boolean => s.mustPeer(store).approximateKeys > 0;
    await s.transferLeader(2);
    await s.until("store 2 has counted", () => counted(2));
    await s.transferLeader(1);
    await s.putMany("m", 40, "x".repeat(100));
    const reports = s.watchHeartbeats();
    await s.transferLeader(2);
    const sizes = (): number[] =>
      reports
        .filter(({ leader }) => leader?.storeId === s.storeId(2))
        .map(({ approximateSize }) => approximateSize);
    await s.until("it has reported", () => sizes().length > 0);
    expect(sizes()[0]).toBe(0);
    await s.until("it reports what it counted", () => (sizes().at(-1) ?? 0) > 5_000);
  });

  it("brings PD the size as it grows [test_server_update_region_size]", async () => {
    const s = await script({ config: { splitCheckTickMs: 100 } });
    const reports = s.watchHeartbeats();
    const size = (): number => reports.at(-1)?.approximateSize ?? 0;
    await s.putMany("k", 10, "x".repeat(100));
    await s.until("PD hears of the first", () => size() > 1_000);
    const before = size();
    await s.putMany("m", 20, "x".repeat(100));
    await s.until("PD hears of more", () => size() > before + 2_000);
    expect(s.pd.cluster.regions.byId(s.first)?.meta.id).toBe(s.first);
  });
});

describe("the statistics of a store", () => {
  it("count its regions and what was written since the last [test_node_simple_store_stats]", async () => {
    const s = await script({ stores: 1 });
    await s.split("m");
    await s.pass(1_500);
    const reports = s.watchStoreHeartbeats();
    await s.putMany("k", 10, "x".repeat(100));
    await s.until("two have come", () => reports.length >= 3);
    const sum = (of: (stats: NonNullable<(typeof reports)[0]["stats"]>) => unknown): number =>
      reports.reduce((total, { stats }) => total + (stats == null ? 0 : Number(of(stats))), 0);
    expect(reports.at(-1)?.stats).toMatchObject({
      storeId: s.storeId(1),
      regionCount: 2,
      sendingSnapCount: 0,
    });
    expect(sum((stats) => stats.keysWritten)).toBe(10);
    expect(sum((stats) => stats.bytesWritten)).toBeGreaterThan(1_000);
    expect(Number(reports.at(-1)?.stats?.interval?.endTimestamp)).toBeGreaterThan(0);
  });
});

describe("a store's own view", () => {
  it("finds regions by range and by id as they split and move [test_node_cluster_region_info_accessor]", async () => {
    const s = await script();
    const within = (start: string, end: string): number[] =>
      s
        .running(2)
        .regionsWithin(utf8(start), utf8(end))
        .map(({ id }) => id);
    expect(within("", "")).toEqual([s.first]);
    const left = await s.split("m");
    const middle = await s.split("p");
    await s.caughtUp(2, middle);
    await s.caughtUp(2, left);
    expect([within("", ""), within("a", "b"), within("n", "z"), within("m", "p")]).toEqual([
      [left, middle, s.first],
      [left],
      [middle, s.first],
      [middle],
    ]);
    await s.removePeer(2, middle);
    expect(within("", "")).toEqual([left, s.first]);
  });

  it("shows a region with its leader [test_region_detail]", async () => {
    const s = await script();
    await s.put("k", "1");
    const [leader, follower] = [s.running(1).regionStatus(s.first), s.running(3).regionStatus(s.first)];
    expect(leader).toMatchObject({ isLeader: true, leaderId: s.mustPeer(1).peerId, region: { id: s.first } });
    expect(follower).toMatchObject({
      isLeader: false,
      leaderId: s.mustPeer(1).peerId,
      term: s.mustPeer(1).term,
    });
    expect(s.running(1).regionStatus(77)).toBeUndefined();
  });
});

it("a snapshot whose load the disk refuses is loaded after the restart that follows [test_on_apply_snap_failed]", async () => {
  const s = await script({ config: { snapshotChunkBytesMax: 100 } });
  s.isolate(3);
  await s.putMany("k", 10, "x".repeat(60));
  await s.compactLog();
  s.misbehave("a snapshot loads slowly", 1_000);
  s.heal();
  await s.until("it is loading", () => s.mustPeer(3).isApplyingSnapshot);
  const { incarnation } = s.at(3).node;
  s.failDisk(3);
  await s.until(
    "the process has ended and begun again",
    () => s.at(3).node.incarnation > incarnation && s.at(3).store?.isServing,
  );
  s.behave();
  await s.caughtUp(3);
  expect([s.valueOn(3, "k9"), s.stateOn(3), s.chunksOn(3)]).toEqual(["x".repeat(60), "normal", 0]);
  expect(s.filter(region(s.first)).hits).toBe(0);
});
