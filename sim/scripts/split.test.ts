/** Splits: what they give to whom, when they come about, and what clients and PD are told. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../base/index.js";
import type { RegionError } from "../../region/errors.js";
import { messages, region, regionStates, type Script, script } from "../test/script.js";

const rangeOf = (s: Script, id: number): string => {
  const { startKey, endKey } = s.region(id);
  return `${fromUtf8(startKey)}-${fromUtf8(endKey)}`;
};
const ids = (error: RegionError | null | undefined) =>
  error?.epochNotMatch?.currentRegions?.map(({ id }) => id);

/** PD's regions in key order, as `start-end`. */
const pdRanges = (s: Script): string[] =>
  s.pd.cluster.regions
    .scan(new Uint8Array(0), new Uint8Array(0), 100)
    .map(({ meta }) => `${fromUtf8(meta.startKey)}-${fromUtf8(meta.endKey)}`);

describe("a split at a key", () => {
  it("divides range and data, raises the version, and tells clients where to go [test_server_base_split_region]", async () => {
    const s = await script();
    await s.put("a", "1");
    await s.put("p", "2");
    const before = s.region().epoch;
    const left = await s.split("m");
    expect([rangeOf(s, left), rangeOf(s, s.first)]).toEqual(["-m", "m-"]);
    for (const id of [left, s.first]) {
      expect(s.region(id).epoch).toEqual({ version: before.version + 1, confVer: before.confVer });
    }
    expect([await s.readOn(1, "a", {}, left), await s.readOn(1, "p")]).toEqual(["1", "2"]);
    const outside = await s.answerTo(s.sendGet(1, "a"));
    expect(outside.regionError?.keyNotInRegion?.regionId).toBe(s.first);
    const old = await s.answerTo(s.sendGet(1, "a", { regionEpoch: before }));
    expect(ids(old.regionError)).toEqual([s.first, left]);
    for (const store of [2, 3]) await s.until("all have split", () => s.regionsOn(store).length === 2);
    await s.put("b", "3");
    expect(await s.get("b")).toBe("3");
    await s.mustSettle();
  });

  it("may be followed by another of the new part [test_server_split_region_twice]", async () => {
    const s = await script();
    for (const key of ["a", "h", "p"]) await s.put(key, key);
    const left = await s.split("m");
    const { version } = s.region(left).epoch;
    const leftmost = await s.split("g", left);
    expect([rangeOf(s, leftmost), rangeOf(s, left), rangeOf(s, s.first)]).toEqual(["-g", "g-m", "m-"]);
    expect([s.region(left).epoch.version, s.region().epoch.version]).toEqual([version + 1, version]);
    for (const key of ["a", "h", "p"]) expect(await s.get(key)).toBe(key);
    await s.mustSettle();
  });

  it("many times over leaves all data and a true map at PD [test_node_split_region]", async () => {
    const s = await script();
    for (let i = 0; i < 10; i++) await s.put(`k${i}`, "v");
    for (let i = 1; i < 10; i++) await s.split(`k${i}`, s.regionOf(`k${i}`));
    for (let i = 0; i < 10; i++) expect(await s.get(`k${i}`)).toBe("v");
    await s.mustSettle();
    const borders = Array.from({ length: 9 }, (_, i) => `k${i + 1}`);
    expect(pdRanges(s)).toEqual(["", ...borders].map((start, i) => `${start}-${borders[i] ?? ""}`));
  });

  it("under a version that has passed is refused with the parts [test_split_with_epoch_not_match]", async () => {
    const s = await script();
    const peer = s.leaderPeer();
    const old = peer.region.epoch;
    const left = await s.split("m");
    const stale = s.splitCommand("t");
    const refusals: unknown[] = [];
    for (const epoch of [old, { ...peer.region.epoch, confVer: old.confVer - 1 }]) {
      peer.admin(epoch, stale, (error) => refusals.push(ids(error)));
    }
    await s.pass(50);
    expect(refusals).toEqual([[s.first, left], [s.first]]);
    expect(s.regionsOn(1)).toEqual([left, s.first]);
  });

  it("answers those who know the old region with its parts from the right to the left [test_server_split_epoch_not_match_right_derive]", async () => {
    const s = await script();
    const old = s.region().epoch;
    const left = await s.split("g");
    const middle = await s.split("m");
    const answer = await s.answerTo(s.sendGet(1, "z", { regionEpoch: old }));
    expect(ids(answer.regionError)).toEqual([s.first, middle, left]);
  });

  it("gives the new region a leader at once, not after an election timeout [test_node_quick_election_after_split]", async () => {
    const s = await script();
    const before = s.world.nowUs;
    const left = await s.split("m");
    expect((s.world.nowUs - before) / 1_000).toBeLessThan(100);
    expect(s.leader(left)).toBe(1);
  });

  it("ends the old leader's right to read what it gave away [test_node_split_update_region_right_derive]", async () => {
    const s = await script();
    await s.put("a", "old");
    expect(await s.readOn(1, "a")).toBe("old");
    const left = await s.split("m");
    await s.transferLeader(2, left);
    await s.put("a", "new");
    expect(await s.readOn(1, "a")).toContain("is not in region key range");
    expect(await s.readOn(1, "a", {}, left)).toContain("not leader");
    expect(await s.readOn(2, "a", {}, left)).toBe("new");
  });

  it("of both ways leaves nobody who reads the other's keys by an old lease [test_node_stale_read_during_splitting_left_derive, test_node_stale_read_during_splitting_right_derive]", async () => {
    for (const rightDerive of [false, true]) {
      const s = await script();
      const [here, there] = rightDerive ? ["p", "a"] : ["a", "p"];
      await s.put(there, "old");
      expect(await s.readOn(1, there)).toBe("old");
      const old = s.context(1);
      const command = s.splitCommand("m", s.first, rightDerive);
      // The leader applies the split late; the others have made the new region long before, and elect.
      s.holdWrites(1, regionStates());
      s.sendAdmin(command);
      const born = command.splits[0]?.newRegionId ?? 0;
      await s.until("the others have split", () =>
        [2, 3].every((store) => s.peer(store, born) !== undefined),
      );
      await s.until("the new region has a leader", () => s.leader(born) > 1);
      await s.mustLead(s.leader(born), born);
      const written = s.sendPut(s.leader(born), there, "new", born);
      expect((await s.answerTo(written)).regionError ?? null).toBeNull();
      const late = s.sendGet(1, there, old);
      await s.pass(50);
      // It may wait or be refused. It must not answer "old".
      expect(late.answer?.value ?? undefined).toBeUndefined();
      s.releaseWrites(1);
      expect((await s.answerTo(late)).regionError).toBeTruthy();
      await s.until("all have split", () => s.mustPeer(1).region.epoch.version === 2);
      expect(await s.readOn(s.leader(), here)).toBe("(none)");
    }
  });

  it("lets no read that was waiting see anything wrong [test_node_split_during_read_index]", async () => {
    const s = await script();
    await s.put("a", "1");
    await s.put("p", "1");
    await s.pass(900);
    const acks = s.filter(messages().to(1).type("heartbeatResponse").hold());
    const reads = ["a", "p"].flatMap((key) => [0, 1].map(() => s.sendGet(1, key)));
    await s.pass(2);
    const split = s.sendSplit(["m"]);
    await s.pass(20);
    s.release(acks);
    expect((await s.answerTo(split)).error).toBeUndefined();
    for (const read of reads) {
      const { value, notFound, regionError } = await s.answerTo(read);
      const text = regionError == null ? fromUtf8(value ?? new Uint8Array(0)) : "refused";
      expect(["1", "refused"]).toContain(text);
      expect(notFound ?? false).toBe(false);
    }
    expect([await s.get("a"), await s.get("p")]).toEqual(["1", "1"]);
  });
});

describe("the size of a region", () => {
  const config = { regionSplitBytes: 2_000, regionMaxBytes: 3_000, splitCheckTickMs: 200 };

  it("beyond the largest makes parts of at most the size to split at [test_auto_split_region]", async () => {
    const s = await script({ config });
    for (let i = 10; i < 60; i++) await s.put(`k${i}`, "x".repeat(100));
    await s.until("there are several regions", () => s.regionsOn(1).length >= 3);
    await s.pass(1_000);
    for (const id of s.regionsOn(1)) expect(s.leaderPeer(id).approximateBytes).toBeLessThanOrEqual(3_000);
    for (let i = 10; i < 60; i++) expect(await s.get(`k${i}`)).toBe("x".repeat(100));
    await s.mustSettle();
  });

  it("is looked at again only when enough was written since the last look [test_split_region_diff_check]", async () => {
    const s = await script({
      stores: 1,
      config: { regionSplitBytes: 16_000, regionMaxBytes: 16_500, splitCheckTickMs: 1_500 },
    });
    const peer = s.leaderPeer();
    const put = (key: string): Promise<void> => s.put(key, "x".repeat(100));
    await s.until("the empty region is counted", () => peer.approximateBytes > 0);
    for (let i = 100; peer.approximateBytes < 15_900 || i < 140; i++) await put(`k${i}`);
    // What is written over counts as growth until a look corrects it.
    for (let i = 100; i < 110; i++) await put(`k${i}`);
    await s.until("a look has corrected the size", () => peer.traffic.bytesWrittenSinceCheck === 0);
    const size = peer.approximateBytes;
    for (let i = 0; peer.approximateBytes < 16_500 && peer.traffic.bytesWrittenSinceCheck < 850; i++)
      await put(`m${i}`);
    expect([size < 16_500, peer.approximateBytes >= 16_500]).toEqual([true, true]);
    await s.pass(3_500);
    expect(s.regionsOn(1)).toHaveLength(1);
    for (let i = 0; i < 12; i++) await put(`n${i}`);
    await s.until("now it is split", () => s.regionsOn(1).length === 2);
  });

  it("counts by the settings after a restart, whatever they were before [test_node_split_region_after_reboot_with_config_change]", async () => {
    const s = await script({
      stores: 1,
      config: { ...config, regionSplitBytes: 20_000, regionMaxBytes: 30_000 },
    });
    for (let i = 10; i < 50; i++) await s.put(`k${i}`, "x".repeat(100));
    await s.pass(1_000);
    expect(s.regionsOn(1)).toHaveLength(1);
    s.crash(1);
    s.reconfigure(config);
    await s.restart(1);
    await s.until("it is split", () => s.regionsOn(1).length > 1);
    expect(await s.get("k10")).toBe("x".repeat(100));
  });

  it("is shared among the parts, so that PD's sum stays true [test_region_size_after_split]", async () => {
    const s = await script({ config: { splitCheckTickMs: 100 } });
    for (let i = 10; i < 30; i++) await s.put(`k${i}`, "x".repeat(100));
    const counted = (id: number): boolean => s.leaderPeer(id).approximateKeys > 0;
    await s.transferLeader(2);
    await s.until("the region is counted", () => counted(s.first));
    const whole = s.leaderPeer();
    const [bytes, keys] = [whole.approximateBytes, whole.approximateKeys];
    const left = await s.split("k20");
    await s.until("the parts are counted", () => counted(left) && counted(s.first));
    const parts = [s.first, left].map((id) => s.mustPeer(2, id));
    const sum = (of: (peer: (typeof parts)[0]) => number): number => parts.map(of).reduce((a, b) => a + b, 0);
    expect([keys, parts.map((peer) => peer.approximateKeys)]).toEqual([20, [10, 10]]);
    expect(Math.abs(sum((peer) => peer.approximateBytes) - bytes)).toBeLessThanOrEqual(2);
  });

  it("reaches PD from the look at it, though nothing is to be split [test_report_approximate_size_after_split_check]", async () => {
    const s = await script({ config: { splitCheckTickMs: 100 } });
    for (let i = 0; i < 10; i++) await s.put(`k${i}`, "x".repeat(100));
    await s.transferLeader(2);
    const reports = s.watchHeartbeats();
    await s.until("a leader that counted nothing yet reports a size", () =>
      reports.some(({ approximateSize }) => approximateSize > 1_000),
    );
    expect(s.regionsOn(1)).toHaveLength(1);
    await s.until("keys, too", () => reports.some(({ approximateKeys }) => approximateKeys === 10));
  });

  it("is looked at until a split succeeds that failed before [test_split_by_split_check_on_size]", async () => {
    const s = await script({ config });
    s.misbehave("a split is given up", 2);
    for (let i = 10; i < 60; i++) await s.put(`k${i}`, "x".repeat(100));
    await s.until("it is split", () => s.regionsOn(1).length >= 3);
    expect(await s.get("k59")).toBe("x".repeat(100));
  });
});

describe("the peers of a new region", () => {
  it("have caught up a moment after the split, and PD knows it [test_catch_up_peers_after_split]", async () => {
    const s = await script();
    const reports = s.watchHeartbeats();
    const left = await s.split("m");
    const last = () => reports.findLast((report) => report.region?.id === left);
    await s.until("no peer is pending", () => last()?.pendingPeers?.length === 0, 500);
    expect(last()?.leader?.storeId).toBe(s.storeId(1));
  });

  it("that are not made yet are reported as pending [test_pending_peer_in_heartbeat_during_split]", async () => {
    const s = await script();
    const reports = s.watchHeartbeats();
    const slow = s.filter(region(s.first).to(3).hold());
    const left = await s.split("m");
    const pending = () =>
      reports.findLast((report) => report.region?.id === left)?.pendingPeers?.map(({ storeId }) => storeId);
    await s.until("PD hears of the new region", () => pending() !== undefined);
    await s.pass(1_500);
    expect(pending()).toEqual([s.storeId(3)]);
    s.release(slow);
    await s.until("no peer is pending", () => pending()?.length === 0);
  });

  it("follow the leader's split without waiting for another write [test_delay_split_region]", async () => {
    const s = await script();
    const left = await s.split("m");
    await s.until("all have split", () => [2, 3].every((store) => s.peer(store, left) !== undefined), 50);
    expect(s.regionsOn(3)).toEqual([left, s.first]);
  });

  it("keep their leader when that of the old region moves [test_region_split_after_new_leader_elected]", async () => {
    const s = await script();
    const left = await s.split("m");
    const { term } = s.mustPeer(1, left);
    await s.transferLeader(2);
    await s.pass(3_000);
    expect([s.leader(left), s.mustPeer(1, left).term, s.leader()]).toEqual([1, term, 2]);
  });

  it("campaign at once when another has come to lead the old region before they had a leader [test_region_split_after_parent_leader_transfer]", async () => {
    const s = await script();
    await s.put("a", "1");
    const command = s.splitCommand("m");
    const born = command.splits[0]?.newRegionId ?? 0;
    s.holdWrites(1, regionStates());
    s.sendAdmin(command);
    await s.until("the others have split", () => [2, 3].every((store) => s.peer(store, born) !== undefined));
    expect(s.tryTransferLeader(2)).toBeUndefined();
    await s.until("store 2 leads the old region", () => s.mustPeer(2).isLeader);
    await s.until("and the new one", () => s.leader(born) > 0, 100);
    s.releaseWrites(1);
    expect(await s.get("a")).toBe("1");
    await s.mustSettle();
  });

  it.each([
    { what: "left", key: utf8("a") },
    { what: "right", key: utf8("p") },
  ])("serve the $what part to a client that knew only the whole", async ({ key }) => {
    const s = await script();
    await s.settled(s.client().put(key, utf8("1")));
    await s.split("m");
    expect(await s.settled(s.client().get(key))).toEqual(utf8("1"));
  });
});
