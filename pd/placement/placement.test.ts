/** Rules, the list of them by key, and the fit of regions. (PD: placement/*_test.go) */
import { describe, expect, test } from "vitest";
import { must, utf8 } from "../../base/index.js";
import { Cluster } from "../cluster.js";
import type { Peer } from "../region-info.js";
import { MockCluster } from "../test/mock-cluster.js";
import { fitRegion, isolationScore } from "./fit.js";
import { matchesConstraints } from "./label-constraint.js";
import { groupOf, type Rule, type RuleGroup, ruleFromJson, ruleKey, ruleToJson } from "./rule.js";
import { checkApplyRules, prepareRulesForApply, RuleList } from "./rule-list.js";

const HEX_B = "62";
const HEX_D = "64";
const HEX_F = "66";

function zones(mock: MockCluster, count: number, perZone = 3): void {
  for (let id = 1; id <= count; id++) {
    mock.addStore(id, {
      zone: `z${Math.ceil(id / perZone)}`,
      host: `h${id}`,
      disk: id % 2 === 0 ? "ssd" : "hdd",
    });
  }
}

const storeList = (peers: readonly Peer[]): string =>
  peers
    .map((peer) => peer.storeId)
    .sort((left, right) => left - right)
    .join();

const ids = (rules: readonly Rule[]): string[] => rules.map(ruleKey);

describe("a rule", () => {
  test("is checked alone: keys, role, count, constraints (TestAdjustRule)", () => {
    const good = { group_id: "g", id: "i", start_key: "123abc", end_key: "123abf", role: "voter", count: 3 };
    expect(ruleToJson(ruleFromJson(good) as Rule)).toMatchObject(good);
    const bad: readonly [object, RegExp][] = [
      [{ group_id: "" }, /group ID should not be empty/],
      [{ id: "" }, /ID should not be empty/],
      [{ start_key: "123ab" }, /decode string 123ab error/],
      [{ end_key: "1123abf" }, /decode string 1123abf error/],
      [{ start_key: "123abf", end_key: "123abc" }, /endKey should be greater/],
      [{ start_key: "123abc", end_key: "123abc" }, /endKey should be greater/],
      [{ role: "master" }, /invalid role master/],
      [{ count: 0 }, /invalid count 0/],
      [{ count: -1 }, /invalid count -1/],
      [{ count: 1.5 }, /invalid count/],
      [{ role: "leader", count: 2 }, /multiple leaders by count 2/],
      [{ label_constraints: [{ key: "zone", op: "foo", values: [] }] }, /invalid op foo/],
      [{ label_constraints: "zone" }, /must be a list/],
      [{ isolation_level: "zone" }, /not one of location_labels/],
      [{ role: 7 }, /role must be text/],
    ];
    for (const [change, reason] of bad) expect(ruleFromJson({ ...good, ...change })).toMatch(reason);
    expect(ruleFromJson(null)).toMatch(/a rule is an object/);
  });

  test("says by labels which stores may hold its peers (TestLabelConstraint)", () => {
    const mock = new MockCluster();
    const stores: Record<string, string>[] = [
      { zone: "zone1" },
      { zone: "zone2" },
      { zone: "zone1", disk: "ssd" },
      { zone: "zone2", disk: "hdd", engine: "tiflash" },
      { $mode: "readonly", zone: "zone1" },
      { exclusive: "yes" },
      { engine: "tikv" },
    ];
    for (const [i, labels] of stores.entries()) mock.addStore(i + 1, labels);
    const matching = (...constraints: { key: string; op: string; values?: string[] }[]): number[] => {
      const { labelConstraints } = mock.rule({ id: "x", label_constraints: constraints });
      return stores.map((_, i) => i + 1).filter((id) => matchesConstraints(mock.store(id), labelConstraints));
    };
    expect(matching()).toEqual([1, 2, 3, 7]);
    expect(matching({ key: "zone", op: "in", values: ["zone1"] })).toEqual([1, 3]);
    expect(matching({ key: "ZONE", op: "in", values: ["zone1", "zone2"] })).toEqual([1, 2, 3]);
    expect(matching({ key: "zone", op: "notIn", values: ["zone1"] })).toEqual([2, 7]);
    expect(matching({ key: "disk", op: "exists" })).toEqual([3]);
    expect(matching({ key: "disk", op: "notExists" })).toEqual([1, 2, 7]);
    // A dedicated store receives only what names its label.
    expect(matching({ key: "engine", op: "in", values: ["tiflash"] })).toEqual([4]);
    expect(matching({ key: "$mode", op: "in", values: ["readonly"] })).toEqual([5]);
    expect(matching({ key: "exclusive", op: "exists" })).toEqual([6]);
    expect(matching({ key: "zone", op: "in", values: ["zone1"] }, { key: "disk", op: "exists" })).toEqual([
      3,
    ]);
  });
});

describe("the list of rules", () => {
  const mock = new MockCluster();
  const rule = (groupId: string, id: string, more: object = {}): Rule =>
    mock.rule({ group_id: groupId, id, ...more });
  const groups = (...list: RuleGroup[]): ReadonlyMap<string, RuleGroup> =>
    new Map(list.map((group) => [group.id, group]));

  test("drops by override within a group and by group (TestPrepareRulesForApply)", () => {
    const plain = (id: string): RuleGroup => groupOf(id);
    expect(ids(prepareRulesForApply([rule("g1", "a"), rule("g1", "b"), rule("g2", "a")], plain))).toEqual([
      "g1/a",
      "g1/b",
      "g2/a",
    ]);
    const overriding = [
      rule("g1", "a"),
      rule("g1", "b", { override: true }),
      rule("g1", "c"),
      rule("g2", "a"),
      rule("g2", "b", { override: true }),
    ];
    expect(ids(prepareRulesForApply(overriding, plain))).toEqual(["g1/b", "g1/c", "g2/b"]);
    const byGroup = (id: string): RuleGroup => ({ id, index: 0, override: id === "g2" });
    const three = [rule("g1", "a"), rule("g2", "a"), rule("g2", "b"), rule("g3", "a")];
    expect(ids(prepareRulesForApply(three, byGroup))).toEqual(["g2/a", "g2/b", "g3/a"]);
  });

  test("is cut at every border, each piece with its rules in order (TestBuildRuleList)", () => {
    const built = RuleList.build(
      [
        rule("g", "default"),
        rule("g", "b-d", { start_key: HEX_B, end_key: HEX_D, index: 1 }),
        rule("a", "d-", { start_key: HEX_D }),
      ],
      groups(),
    );
    if (built.kind === "refused") throw new Error(built.reason);
    const { segments } = built.list;
    expect(segments.map(({ startKey, rules }) => [new TextDecoder().decode(startKey), ids(rules)])).toEqual([
      ["", ["g/default"]],
      ["b", ["g/default", "g/b-d"]],
      ["d", ["a/d-", "g/default"]],
    ]);
    expect(ids(built.list.segmentAt(utf8("c")).applied)).toEqual(["g/default", "g/b-d"]);
    expect(RuleList.build([], groups())).toEqual({ kind: "refused", reason: "no rule left" });
  });

  test("orders groups by their index first", () => {
    const built = RuleList.build(
      [rule("a", "1"), rule("b", "1")],
      groups({ id: "a", index: 2, override: false }, { id: "b", index: 1, override: false }),
    );
    expect(built.kind === "built" ? ids(built.list.segmentAt(utf8("")).applied) : []).toEqual(["b/1", "a/1"]);
  });

  test("needs a voter or leader, and one leader at most, and names who contradicts whom (TestCheckApplyRules)", () => {
    const leader = (id: string): Rule => rule("g", id, { role: "leader" });
    expect(checkApplyRules([leader("a")])).toBeUndefined();
    expect(checkApplyRules([rule("g", "v", { count: 3 })])).toBeUndefined();
    expect(checkApplyRules([leader("a"), rule("g", "v")])).toBeUndefined();
    expect(checkApplyRules([leader("a"), leader("b")])).toBe("multiple leader replicas: rules g/a and g/b");
    const rest = [rule("g", "f", { role: "follower" }), rule("g", "l", { role: "learner" })];
    expect(checkApplyRules(rest)).toMatch(/at least one leader or voter: only rules g\/f and g\/l/);
  });
});

describe("the manager of rules", () => {
  test("begins with one rule made of the settings (TestDefault)", () => {
    const mock = new MockCluster({ "max-replicas": 5, "location-labels": "zone,host" });
    expect(mock.cluster.rules.rules().map(ruleToJson)).toEqual([
      ruleToJson(mock.rule({ id: "default", count: 5, location_labels: ["zone", "host"] })),
    ]);
    mock.set("max-replicas", 3);
    expect(mock.cluster.rules.rule("pd", "default")?.count).toBe(3);
  });

  test("stores what changes and reads it again (TestSaveLoad)", () => {
    const mock = new MockCluster();
    const changed = mock.setRules(
      { id: "default", count: 5 },
      { group_id: "foo", id: "baz", start_key: HEX_B, end_key: HEX_D },
    );
    expect(changed.kind).toBe("ok");
    mock.cluster.rules.change({ setGroups: [{ id: "foo", index: 3, override: true }] }, () => {});
    mock.env.settle();
    const again = new Cluster(mock.context);
    again.rules.load(() => {});
    mock.env.settle();
    expect(again.rules.rules().map(ruleToJson)).toEqual(mock.cluster.rules.rules().map(ruleToJson));
    expect(again.rules.group("foo")).toEqual({ id: "foo", index: 3, override: true });
    expect(again.rules.rule("pd", "default")).toMatchObject({ count: 5, version: 1 });
  });

  test("drops stored rules that are none", () => {
    const mock = new MockCluster();
    mock.context.metaStore.put(
      mock.context.keys.rule({ groupId: "x", id: "y" }),
      utf8("{nonsense"),
      () => {},
    );
    mock.env.settle();
    const again = new Cluster(mock.context);
    again.rules.load(() => {});
    mock.env.settle();
    expect(ids(again.rules.rules())).toEqual(["pd/default"]);
    let left: unknown = "?";
    mock.context.metaStore.get(mock.context.keys.rule({ groupId: "x", id: "y" }), (_error, entry) => {
      left = entry;
    });
    mock.env.settle();
    expect(left).toBeUndefined();
  });

  test("knows the rules of keys, of ranges, and where to split (TestKeys)", () => {
    const mock = new MockCluster();
    mock.setRules(
      { id: "default", count: 3 },
      { id: "bd", start_key: HEX_B, end_key: HEX_D, override: true, count: 2, index: 1 },
      { id: "df", start_key: HEX_D, end_key: HEX_F, role: "learner", index: 1 },
    );
    const { rules } = mock.cluster;
    const at = (key: string): string[] => ids(rules.rulesAt(utf8(key)));
    expect([at("a"), at("b"), at("d"), at("f")]).toEqual([
      ["pd/default"],
      ["pd/default", "pd/bd"],
      ["pd/default", "pd/df"],
      ["pd/default"],
    ]);
    const keys = (start: string, end: string): string[] =>
      rules.splitKeys(utf8(start), utf8(end)).map((key) => new TextDecoder().decode(key));
    expect(keys("", "")).toEqual(["b", "d", "f"]);
    expect(keys("b", "f")).toEqual(["d"]);
    expect(keys("b", "d")).toEqual([]);
    const applied = (start: string, end: string): string[] =>
      ids(rules.appliedTo({ ...mock.region(1, [1]).meta, startKey: utf8(start), endKey: utf8(end) }));
    expect(applied("b", "d")).toEqual(["pd/bd"]);
    expect(applied("d", "e")).toEqual(["pd/default", "pd/df"]);
    // Across a border: none until it is split.
    expect(applied("c", "e")).toEqual([]);
    expect(applied("f", "")).toEqual(["pd/default"]);
  });

  test("refuses to leave a range without rules, and stays as it was (TestRangeGap)", () => {
    const mock = new MockCluster();
    const { rules } = mock.cluster;
    const refusals: string[] = [];
    const look = (change: { kind: string; reason?: string }): void =>
      void refusals.push(change.reason ?? change.kind);
    rules.change({ deleteRules: [{ groupId: "pd", id: "default" }] }, look);
    rules.change({ setRules: [mock.rule({ id: "default", start_key: HEX_B })] }, look);
    mock.env.settle();
    expect(refusals[0]).toMatch(/no rule left/);
    expect(refusals[1]).toMatch(/no rule for range {, 62}/);
    expect(rules.rule("pd", "default")?.startKey.length).toBe(0);
    // In one batch with what fills the gap it is fine.
    const both = mock.setRules({ id: "default", start_key: HEX_B }, { id: "foo", end_key: HEX_B });
    expect(both.kind).toBe("ok");
  });

  test("lets groups be ordered and override (TestGroupConfig)", () => {
    const mock = new MockCluster();
    const { rules } = mock.cluster;
    expect(rules.groups()).toEqual([groupOf("pd")]);
    mock.setRules({ id: "default", count: 3 }, { group_id: "g2", id: "2", count: 5 });
    const change = (groups: readonly RuleGroup[], gone: readonly string[] = []): void => {
      rules.change({ setGroups: groups, deleteGroups: gone }, () => {});
      mock.env.settle();
    };
    change([{ id: "g2", index: 100, override: true }]);
    expect(rules.groups().map(({ id }) => id)).toEqual(["pd", "g2"]);
    const region = mock.region(1, [1]).meta;
    expect(ids(rules.appliedTo(region))).toEqual(["g2/2"]);
    change([{ id: "pd", index: 200, override: false }]);
    expect(ids(rules.appliedTo(region))).toEqual(["g2/2", "pd/default"]);
    change([], ["g2", "pd"]);
    expect(ids(rules.appliedTo(region))).toEqual(["g2/2", "pd/default"]);
    expect(rules.groups()).toEqual([groupOf("g2"), groupOf("pd")]);
  });

  test("accepts rules that cannot be met yet and says what is missing", () => {
    const mock = new MockCluster();
    zones(mock, 4, 2);
    const warnings = (...rules: readonly Readonly<Record<string, unknown>>[]): readonly string[] => {
      const change = mock.setRules(...rules);
      return change.kind === "ok" ? change.warnings : [change.reason];
    };
    expect(warnings({ id: "default", count: 3 })).toEqual([]);
    expect(warnings({ id: "default", count: 5 })).toEqual([
      "rule pd/default wants 5 stores, and there are 4",
    ]);
    const ssd = [{ key: "disk", op: "in", values: ["ssd"] }];
    expect(warnings({ id: "default", count: 3, label_constraints: ssd })).toEqual([
      "rule pd/default wants 3 stores with disk in [ssd], and there are 2",
    ]);
    const apart = { location_labels: ["zone", "host"], isolation_level: "zone" };
    expect(warnings({ id: "default", count: 3, ...apart })).toEqual([
      "rule pd/default wants 3 different places at level zone, and there are 2",
    ]);
    expect(warnings({ id: "default", count: 3 }, { id: "more", count: 2 })[0]).toMatch(
      /rules pd\/default and pd\/more want 5 peers together .* there are 4 stores/,
    );
    const leaders = warnings({ id: "default", role: "leader" }, { id: "second", role: "leader" });
    expect(leaders[0]).toMatch(/multiple leader replicas: rules pd\/default and pd\/second/);
    expect(mock.cluster.rules.rules()).toHaveLength(2);
  });

  test("settings of replication act through the default rule or not at all", () => {
    const mock = new MockCluster();
    mock.setRules({ id: "default", count: 3, start_key: HEX_B }, { id: "low", count: 3, end_key: HEX_B });
    expect(mock.config.set("replication", "max-replicas", 5)).toMatchObject({
      reason: expect.stringMatching(/not only default rule exists/),
    });
    mock.setRules({ id: "default", count: 2, location_labels: ["rack"] });
    expect(mock.config.set("replication", "max-replicas", 5)).toMatchObject({
      reason: expect.stringMatching(/do not consistent with replication config/),
    });
    expect(mock.config.maxReplicas).toBe(2);
  });
});

describe("the fit of a region", () => {
  function world(): MockCluster {
    const mock = new MockCluster();
    // Like PD's: zones of three hosts, of which every second has an SSD.
    zones(mock, 9, 3);
    return mock;
  }

  const fitOf = (mock: MockCluster, rules: readonly object[], ...args: Parameters<MockCluster["region"]>) =>
    fitRegion(
      mock.region(...args),
      rules.map((json, i) => mock.rule({ id: String(i), ...json })),
      (id) => mock.cluster.store(id),
    );

  test("gives peers to rules by labels, role and health (TestFitRegion)", () => {
    const mock = world();
    const stores = (fit: ReturnType<typeof fitOf>): string =>
      [...fit.ruleFits.map((one) => storeList(one.peers)), `orphans ${storeList(fit.orphans)}`].join(" / ");
    const zone = (...values: string[]): object[] => [{ key: "zone", op: "in", values }];
    const voters = (count: number, more: object = {}): object => ({ count, ...more });
    // Enough, too many, too few.
    expect(stores(fitOf(mock, [voters(3)], 1, [1, 4, 7]))).toBe("1,4,7 / orphans ");
    expect(stores(fitOf(mock, [voters(2)], 1, [1, 4, 7]))).toBe("1,4 / orphans 7");
    expect(fitOf(mock, [voters(5)], 1, [1, 4, 7]).isSatisfied).toBe(false);
    // By constraint.
    const two = [
      voters(1, { label_constraints: zone("z1") }),
      voters(2, { label_constraints: zone("z2", "z3") }),
    ];
    expect(stores(fitOf(mock, two, 1, [1, 4, 7]))).toBe("1 / 4,7 / orphans ");
    expect(stores(fitOf(mock, two, 1, [1, 2, 7]))).toBe("1 / 7 / orphans 2");
    // A leader rule takes the leader, whichever peer it is.
    const led = [voters(1, { role: "leader" }), voters(2, { role: "follower" })];
    expect(stores(fitOf(mock, led, 1, [1, 4, 7], { leader: 4 }))).toBe("4 / 1,7 / orphans ");
    // A learner serves a voter rule loosely, and the reverse.
    const roles = { 7: "learner" } as const;
    const loose = fitOf(mock, [voters(3)], 1, [1, 4, 7], { roles });
    expect(loose.ruleFits[0]?.differentRole.map((peer) => peer.storeId)).toEqual([7]);
    expect(loose.isSatisfied).toBe(false);
    const learner = fitOf(mock, [voters(2), voters(1, { role: "learner" })], 1, [1, 4, 7], { roles });
    expect([stores(learner), learner.isSatisfied]).toEqual(["1,4 / 7 / orphans ", true]);
    // An unhealthy peer is the one left over.
    expect(stores(fitOf(mock, [voters(2)], 1, [1, 4, 7], { down: [1] }))).toBe("4,7 / orphans 1");
    expect(stores(fitOf(mock, [voters(2)], 1, [1, 4, 7], { pending: [4], down: [1] }))).toBe(
      "4,7 / orphans 1",
    );
    // The combination that stands farthest apart.
    const apart = voters(3, { location_labels: ["zone", "host"] });
    expect(stores(fitOf(mock, [apart], 1, [1, 2, 4, 7]))).toBe("1,4,7 / orphans 2");
    // A peer on an unknown store serves nothing.
    expect(stores(fitOf(mock, [voters(3)], 1, [1, 4, 99]))).toBe("1,4 / orphans 99");
    expect(fitOf(mock, [], 1, [1, 4, 7]).isSatisfied).toBe(false);
  });

  test("scores isolation by the level at which stores differ (TestIsolationScore)", () => {
    const mock = world();
    mock.addStore(20, { host: "h20" });
    const score = (...stores: number[]): number =>
      isolationScore(
        stores.map((id) => mock.store(id)),
        ["zone", "host"],
      );
    expect(score(1, 2)).toBe(1);
    expect(score(1, 4)).toBe(100);
    expect(score(1, 2, 3)).toBe(3);
    expect(score(1, 2, 4)).toBe(201);
    expect(score(1, 4, 7)).toBe(300);
    expect(score(1, 1)).toBe(0);
    // Without the label a store is where everybody is.
    expect(score(1, 20)).toBe(1);
    expect(isolationScore([mock.store(1), mock.store(4)], [])).toBe(0);
  });

  test("says whether another store may take a peer's place (TestReplace)", () => {
    const mock = world();
    const apart = { count: 3, location_labels: ["zone", "host"] };
    const may = (fit: ReturnType<typeof fitOf>, from: number, to: number): boolean =>
      fit.replace(from, mock.store(to));
    const fit = fitOf(mock, [apart], 1, [1, 4, 7]);
    expect(may(fit, 1, 2)).toBe(true);
    expect(may(fit, 1, 5)).toBe(false);
    expect(may(fit, 1, 4)).toBe(true);
    expect(may(fit, 9, 2)).toBe(false);
    // Closer together already: another place as bad will do, a better one too.
    const close = fitOf(mock, [apart], 1, [1, 2, 7]);
    expect([may(close, 2, 3), may(close, 2, 4), may(close, 7, 8), may(close, 7, 3)]).toEqual([
      true,
      true,
      true,
      false,
    ]);
    // Constraints hold for the new store as well.
    const ssd = { count: 3, label_constraints: [{ key: "disk", op: "in", values: ["ssd"] }] };
    const onSsd = fitOf(mock, [ssd], 1, [2, 4, 6]);
    expect([may(onSsd, 2, 8), may(onSsd, 2, 3)]).toEqual([true, false]);
    // In another rule's fit: only of the same role.
    const rules = [
      { count: 1, role: "leader" },
      { count: 2, role: "follower" },
    ];
    const led = fitOf(mock, rules, 1, [1, 4, 7]);
    expect(must(led.fitOf(4), "").rule.role).toBe("follower");
    expect(may(led, 4, 7)).toBe(true);
  });
});
