/** A dozen times somebody asks why nothing happens: the answer names what stands in the way and what ends it. */
import { describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { DecisionNotes } from "./decision-notes.js";
import { times } from "./test/mock-cluster.js";
import { World, type WorldOptions } from "./test/world.js";

const API = "/pd/api/v1";
const NO_BALANCE = { "region-schedule-limit": 0, "leader-schedule-limit": 0 };
type Answer = Record<string, unknown> & { readonly verdict: string };

let world: World;
const begin = (stores: number, more: Partial<WorldOptions> = {}, regions = 4): void => {
  world = new World({ stores, obeys: true, ...more });
  world.addRegions(times(regions, [1, 2, 3]));
};
const ask = (method: string, path: string, body: unknown = "") =>
  world.harness.http(method, `${API}${path}`, body);
const explain = (what: string): Answer => ask("GET", `/explain/${what}`).json as Answer;
const regionOn = (storeId: number): number =>
  must(
    [...world.regions.values()].find(({ peers }) => peers.some((peer) => peer.storeId === storeId)),
    "no region there",
  ).id;

describe("explain says", () => {
  test("which limit holds up a store that leaves", () => {
    begin(4, { schedule: NO_BALANCE }, 30);
    world.advance(10_000);
    ask("POST", "/store/4/limit", { type: "add-peer", rate: 0.001 });
    ask("DELETE", "/store/1");
    world.advance(40_000);
    const { removing } = explain("store/1") as unknown as { removing: { reasons: { reason: string }[] } };
    expect(removing.reasons[0]?.reason).toMatch(/store 4 has used up its add-peer limit of 0.001 a minute/);
    expect(explain(`region/${regionOn(1)}`).verdict).toMatch(/store 1, 2, 3 has a peer of it already/);
  });

  test("what a store that leaves waits for when nothing is on it any more", () => {
    begin(4, { schedule: NO_BALANCE });
    world.advance(1000);
    world.harness.heartbeatStore(4, { regionCount: 2 });
    ask("DELETE", "/store/4");
    expect(explain("store/4").verdict).toMatch(/no peer on it any more; it is buried in a moment$/);
    world.harness.env.advance(2000);
    expect(explain("store/4").verdict).toMatch(/it counts 2 peers that PD does not know of$/);
  });

  test("that a limit of operators holds it up", () => {
    begin(4, { schedule: { ...NO_BALANCE, "replica-schedule-limit": 0 } });
    ask("DELETE", "/store/1");
    world.advance(30_000);
    expect(JSON.stringify(explain("store/1")["removing"])).toMatch(/replica-schedule-limit 0 is reached/);
  });

  test("which stores a rule lacks", () => {
    begin(4, { labels: (id) => ({ zone: id === 1 ? "a" : "b" }) });
    const rule = {
      group_id: "pd",
      id: "default",
      role: "voter",
      count: 3,
      start_key: "",
      end_key: "",
      label_constraints: [{ key: "zone", op: "in", values: ["a"] }],
    };
    expect(ask("POST", "/config/rule", rule).text).toMatch(
      /wants 3 stores with zone in \[a\], and there are 1/,
    );
    world.advance(20_000);
    expect(explain("region/2").verdict).toMatch(
      /no store for another peer of rule pd\/default \(zone in \[a\]\).*store 4 does not match/,
    );
  });

  test("that a hot region is left to the hot-region scheduler", () => {
    begin(3);
    const { write } = world.scheduling.statistics;
    for (let i = 0; i < 5; i++) {
      for (const storeId of [1, 2, 3]) {
        const report = { regionId: 2, storeId, isLeader: storeId === 1, stores: [1, 2, 3] };
        write.report({ ...report, amounts: [1e9, 1e6, 0, 0], seconds: 60, nowMs: world.view.nowMs() });
      }
      world.advance(60_000);
    }
    expect(explain("region/2").verdict).toMatch(/hot: only the hot-region scheduler moves it/);
  });

  test("that merging is off", () => {
    begin(3, { labels: () => ({ merge: "true" }), schedule: { "merge-schedule-limit": 0 } });
    expect(explain("region/101")["merge"]).toMatch(/merging is off/);
  });

  test("that a label denies scheduling, of the region and of each store", () => {
    begin(4);
    ask("POST", "/config/region-label/rule", {
      id: "d",
      labels: [{ key: "schedule", value: "deny" }],
      rule_type: "key-range",
      data: [{ start_key: "", end_key: "" }],
    });
    world.advance(20_000);
    expect(explain("region/2").verdict).toMatch(/a label denies all other scheduling/);
    expect(JSON.stringify(explain("scheduler/balance-region-scheduler")["stores"])).toMatch(
      /RegionLabelReject/,
    );
  });

  test("that all scheduling is halted", () => {
    begin(3);
    ask("POST", "/config", { "halt-scheduling": "true" });
    world.advance(6_000);
    expect(explain("region/2").verdict).toMatch(/halt-scheduling/);
    expect(explain("store/1").verdict).toMatch(/halt-scheduling/);
    expect(explain("scheduler/balance-leader-scheduler")).toMatchObject({ status: "halted" });
  });

  test("for how long a silent store's peers are left where they are", () => {
    begin(4, { schedule: NO_BALANCE });
    world.advance(10_000);
    world.deadStores.add(3);
    for (const region of world.regions.values())
      region.down = region.peers.filter(({ storeId }) => storeId === 3).map(({ id }) => id);
    world.advance(60_000);
    const text = /silent for 60 s: its peers are replaced once that is max-store-down-time 30m0s/;
    expect(explain("region/2").verdict).toMatch(text);
    expect(explain("store/3").verdict).toMatch(text);
  });

  test("at which step an operator ran out of time", () => {
    begin(4, { obeys: false });
    ask("POST", "/config", { "halt-scheduling": "false", ...NO_BALANCE });
    ask("POST", "/operators", { name: "transfer-leader", region_id: 2, to_store_id: 2 });
    world.advance(120_000);
    const text = /timeout after 60 s, waiting for: transfer leader from store 1 to store 2/;
    expect(explain("operator/2")["reason"]).toMatch(text);
    expect(explain("region/2").verdict).toMatch(text);
  });

  test("what holds back the schedulers that could move a region that is complete", () => {
    begin(4, {}, 4);
    world.advance(20_000);
    const said = (): Record<string, string> =>
      (explain("region/2") as unknown as { schedulers: Record<string, string> }).schedulers;
    expect(explain("region/2").verdict).toMatch(/^complete: .*balance moves it only to even out stores$/);
    expect(said()["balance-region-scheduler"]).toMatch(/store \d: balanced/);
    ask("POST", "/config", { "region-schedule-limit": 0 });
    world.advance(6_000);
    const text = /balance-region-scheduler is held back: region-schedule-limit 0 is reached/;
    expect(explain("region/2").verdict).toMatch(text);
    expect(said()["balance-region-scheduler"]).toBe("held back: region-schedule-limit 0 is reached");
    ask("DELETE", "/schedulers/balance-leader-scheduler");
    expect(explain("region/2").verdict).toMatch(/balance-leader-scheduler is not there/);
  });

  test("codes of schedulers in words, and which schedulers there are", () => {
    begin(3);
    world.advance(20_000);
    const { stores } = explain("scheduler/balance-leader-scheduler") as unknown as {
      stores: readonly { reason: string; code: string | null }[];
    };
    expect(stores.length).toBeGreaterThan(0);
    for (const { reason, code } of stores) expect(reason).not.toBe(code);
    expect(ask("GET", "/explain/scheduler/nobody").text).toMatch(/there are .*balance-region-scheduler/);
  });

  test("nothing of earlier decisions about a store that is buried", () => {
    begin(4);
    world.advance(10_000);
    ask("DELETE", "/store/1");
    world.advance(60_000);
    expect(explain("store/1")).toMatchObject({ state: "removed", "gives-peers": "StoreRemoved", notes: [] });
  });

  test("until when a scheduler is paused", () => {
    begin(3);
    world.advance(5_000);
    ask("POST", "/schedulers/balance-region-scheduler", { delay: 600 });
    world.advance(2_000);
    expect(explain("scheduler/balance-region-scheduler")["held-by"]).toMatch(
      /^it is paused by hand until 20\d\d-/,
    );
  });

  test("why no store can be the target", () => {
    begin(4, { schedule: NO_BALANCE });
    world.advance(5_000);
    ask("DELETE", "/store/3");
    for (let i = 0; i < 6; i++) {
      world.harness.heartbeatStore(4, { available: 1 });
      world.harness.env.advance(3_000);
    }
    expect(explain(`region/${regionOn(3)}`).verdict).toMatch(
      /store 4 is low on space \(low-space-ratio 0.8\)/,
    );
    expect(explain("store/4").verdict).toMatch(/low on space/);
  });
});

test("notes are of bounded number, whatever is noted, and the oldest subjects go first", () => {
  const notes = new DecisionNotes(() => 0);
  for (let id = 0; id < 150_000; id++) notes.note("region", id, "rule-checker", "because");
  expect(notes.of("region", 149_999)).toHaveLength(1);
  expect(notes.of("region", 0)).toEqual([]);
  let kept = 0;
  for (let id = 0; id < 150_000; id++) kept += notes.of("region", id).length;
  expect(kept).toBeLessThanOrEqual(100_000);
});
