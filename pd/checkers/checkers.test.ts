/** What the checkers decide for one region. (PD: checker/*_test.go, placement rules on) */
import { describe, expect, test } from "vitest";
import { utf8 } from "../../base/index.js";
import { readPrefix } from "../context.js";
import type { RegionInfo } from "../region-info.js";
import { labelRuleFromJson, type RegionLabelRule } from "../region-labeler.js";
import { MockCluster, type MockRegion, stepsOf } from "../test/mock-cluster.js";
import { RegionChecker } from "./region-checker.js";

const MINUTE_MS = 60_000;
const TEXT = new TextDecoder();

function world(config: Readonly<Record<string, unknown>> = {}): MockCluster {
  return new MockCluster({ "location-labels": "zone,host", ...config });
}

/** Stores 1.. with a zone each, or as given. */
function zoned(mock: MockCluster, zones: readonly string[]): void {
  for (const [i, zone] of zones.entries()) mock.addStore(i + 1, { zone, host: `h${i + 1}` });
}

function check(mock: MockCluster, region: RegionInfo): string {
  const { result } = new RegionChecker(mock.view, () => false).check(region);
  if (result.kind === "waiting") return `waits: ${result.reason}`;
  return result.kind === "healthy" ? "healthy" : `${result.operator.desc}: ${result.operator.brief}`;
}

function steps(mock: MockCluster, region: RegionInfo): string[] {
  const { result } = new RegionChecker(mock.view, () => false).check(region);
  if (result.kind !== "operator") throw new Error(JSON.stringify(result));
  return [`${result.operator.desc} ${result.operator.priority}`, ...stepsOf(result.operator)];
}

const put = (mock: MockCluster, stores: readonly number[], more: MockRegion = {}): RegionInfo =>
  mock.put(1, stores, { sizeMib: 50, ...more });

describe("the rule checker", () => {
  test("adds a peer that a rule lacks, as a learner first (TestAddRulePeer)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c"]);
    expect(steps(mock, put(mock, [1, 2]))).toEqual([
      "add-rule-peer high",
      "add learner peer on store 3",
      "promote learner peer on store 3 to voter",
    ]);
    mock.setRules({ id: "default", count: 2 }, { id: "learner", role: "learner", count: 1 });
    expect(steps(mock, put(mock, [1, 2]))).toEqual(["add-rule-peer high", "add learner peer on store 3"]);
  });

  test("adds none that the isolation level forbids (TestAddRulePeerWithIsolationLevel)", () => {
    const mock = world({ "isolation-level": "zone" });
    zoned(mock, ["a", "a", "b"]);
    expect(check(mock, put(mock, [1, 3]))).toMatch(/waits: no store for another peer .* apart at level zone/);
    mock.addStore(4, { zone: "c", host: "h4" });
    expect(check(mock, put(mock, [1, 3]))).toBe("add-rule-peer: add peer: store [4]");
  });

  test("prefers places far apart, then the emptiest store", () => {
    const mock = world();
    zoned(mock, ["a", "a", "b", "c", "c"]);
    mock.put(100, [5], { start: "x", sizeMib: 500 });
    expect(check(mock, put(mock, [1, 3], { end: "x" }))).toBe("add-rule-peer: add peer: store [4]");
  });

  test("replaces peers of down and leaving stores, waits for pending ones (TestFixPeer)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c", "d"]);
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("healthy");
    // Down by the word of the leader alone, or of PD alone, is not down.
    expect(check(mock, put(mock, [1, 2, 3], { down: [2] }))).toBe("healthy");
    mock.silence(2, 31 * MINUTE_MS);
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("healthy");
    expect(check(mock, put(mock, [1, 2, 3], { down: [2] }))).toBe(
      "replace-rule-down-peer: mv peer: store [2] to [4]",
    );
    mock.silence(2, 0);
    mock.store(2).setNodeState("removing");
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("replace-rule-offline-peer: mv peer: store [2] to [4]");
    expect(steps(mock, put(mock, [2, 1, 3]))).toEqual([
      "replace-rule-offline-leader-peer high",
      "add learner peer on store 4",
      "transfer leader from store 2 to store 1",
      "use joint consensus, promote learner peer on store 4 to voter, demote voter peer on store 2 to learner",
      "leave joint state, promote learner peer on store 4 to voter, demote voter peer on store 2 to learner",
      "remove peer on store 2",
    ]);
    // Nothing to replace it with: said, and marked as without a store.
    mock.silence(4, 31 * MINUTE_MS);
    expect(check(mock, put(mock, [1, 2, 3]))).toMatch(/the peer on offline store 2 stays: no store/);
    const { result } = new RegionChecker(mock.view, () => false).check(put(mock, [1, 2, 3]));
    expect(result).toMatchObject({ kind: "waiting", noStore: true });
  });

  test("removes what no rule wants once all is well (TestFixOrphanPeers)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c", "d"]);
    expect(check(mock, put(mock, [1, 2, 3, 4]))).toBe("remove-orphan-peer: rm peer: store [4]");
    // A peer that is counted on is pending: the orphan may be needed.
    expect(check(mock, put(mock, [1, 2, 3, 4], { pending: [4] }))).toBe(
      "remove-orphan-peer: rm peer: store [4]",
    );
    mock.setRules({
      id: "default",
      count: 3,
      label_constraints: [{ key: "zone", op: "in", values: ["a", "b", "c"] }],
    });
    expect(check(mock, put(mock, [1, 2, 3, 4], { pending: [3] }))).toMatch(/waits: .* kept/);
    expect(check(mock, put(mock, [1, 2, 3, 4], { down: [3] }))).toMatch(/waits: .* kept/);
  });

  test("keeps one spare while others are not well, and gives up unhealthy orphans first (TestFixToManyOrphanPeers)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c", "d", "e", "f"]);
    const rule = {
      id: "default",
      count: 3,
      label_constraints: [{ key: "zone", op: "in", values: ["a", "b", "c"] }],
    };
    mock.setRules(rule);
    const troubled = { pending: [1], leader: 2 };
    expect(check(mock, put(mock, [1, 2, 3, 4, 5, 6], troubled))).toBe(
      "remove-orphan-peer: rm peer: store [5]",
    );
    expect(check(mock, put(mock, [1, 2, 3, 4, 5, 6], { pending: [1, 4], leader: 2 }))).toBe(
      "remove-unhealthy-orphan-peer: rm peer: store [4]",
    );
    expect(check(mock, put(mock, [1, 2, 3, 4], troubled))).toMatch(/kept/);
    mock.silence(6, 21_000);
    expect(check(mock, put(mock, [1, 2, 3, 4, 5, 6], troubled))).toBe(
      "remove-orphan-peer: rm peer: store [6]",
    );
  });

  test("of two spares the one that cannot be reached goes, whichever is first", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c", "d", "e"]);
    mock.setRules({
      id: "default",
      count: 3,
      label_constraints: [{ key: "zone", op: "in", values: ["a", "b", "c"] }],
    });
    mock.silence(4, 60_000);
    const region = put(mock, [1, 2, 3, 4, 5], { pending: [1] });
    expect(check(mock, region)).toBe("remove-orphan-peer: rm peer: store [4]");
  });

  test("peers that leave one store together go to be led by several", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c", "d"]);
    for (let id = 1; id <= 4; id++) {
      mock.put(id, [1, 2, 3], { start: id === 1 ? "" : `k${id}`, end: `k${id + 1}`, sizeMib: 1 });
    }
    mock.store(1).setNodeState("removing");
    const checker = new RegionChecker(mock.view, () => false);
    const leaders: number[] = [];
    for (const region of [...mock.cluster.regions.all()]) {
      const { result } = checker.check(region);
      if (result.kind !== "operator") throw new Error(JSON.stringify(result));
      mock.controller.add(result.operator);
      for (const step of result.operator.steps)
        if (step.kind === "transferLeader") leaders.push(step.toStore);
    }
    expect(leaders.sort((left, right) => left - right)).toEqual([2, 2, 3, 3]);
  });

  test("a healthy orphan takes the place of a peer whose store is gone (TestPriorityFixOrphanPeer)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c", "d"]);
    mock.silence(3, 25_000);
    expect(check(mock, put(mock, [1, 2, 3, 4], { down: [3] }))).toBe(
      "remove-orphan-peer: rm peer: store [3]",
    );
    mock.setRules({
      id: "default",
      count: 3,
      label_constraints: [{ key: "zone", op: "in", values: ["a", "b", "c", "d"] }],
    });
    // The orphan is a learner: it is promoted in the same plan.
    const learner = { down: [3], roles: { 4: "learner" } } as const;
    expect(steps(mock, put(mock, [1, 2, 3, 4], learner))[0]).toBe(
      "replace-down-peer-with-orphan-peer medium",
    );
    // A disconnected store alone, before the leader noticed.
    expect(check(mock, put(mock, [1, 2, 3, 4], { leader: 1 }))).toBe(
      "remove-replaced-orphan-peer: rm peer: store [3]",
    );
    // First health, then orphans: a missing peer of a rule is added although there is an orphan.
    mock.silence(3, 0);
    mock.addStore(5, { zone: "e", host: "h5" });
    mock.setRules({
      id: "default",
      count: 3,
      label_constraints: [{ key: "zone", op: "in", values: ["a", "b", "c"] }],
    });
    expect(check(mock, put(mock, [1, 2, 4]))).toBe("add-rule-peer: add peer: store [3]");
  });

  test("promotes and demotes to the role of the rule (TestFixRole)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c"]);
    expect(check(mock, put(mock, [1, 2, 3], { roles: { 3: "learner" } }))).toBe(
      "fix-peer-role: promote peer: store [3]",
    );
    expect(check(mock, put(mock, [1, 2, 3], { roles: { 3: "learner" }, pending: [3] }))).toMatch(/unhealthy/);
    mock.setRules({ id: "default", count: 2 }, { id: "learner", role: "learner", count: 1 });
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("fix-demote-voter: demote peer: store [3]");
    // Of three voters the leader is not the one to be demoted as long as another serves.
    expect(check(mock, put(mock, [3, 2, 1]))).toBe("fix-demote-voter: demote peer: store [3]");
  });

  test("moves the lead to the store that the rule names (TestFixRoleLeader)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c"]);
    const inZone = (zone: string): object[] => [{ key: "zone", op: "in", values: [zone] }];
    mock.setRules(
      { id: "default", role: "leader", label_constraints: inZone("b") },
      { id: "rest", role: "voter", count: 2 },
    );
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("fix-leader-role: transfer leader: store 1 to 2");
    mock.store(2).leaderInPauses = 1;
    expect(check(mock, put(mock, [1, 2, 3]))).toMatch(/store 2 must lead by rule pd\/default .* and may not/);
    mock.store(2).leaderInPauses = 0;
    mock.setRules(
      { id: "default", role: "follower", label_constraints: inZone("a") },
      { id: "rest", role: "voter", count: 2 },
    );
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("fix-follower-role: transfer leader: store 1 to 2");
  });

  test("moves to a strictly better place only (TestBetterReplacement)", () => {
    const mock = world();
    zoned(mock, ["a", "a", "b", "b", "c"]);
    expect(check(mock, put(mock, [1, 2, 3]))).toMatch(
      /move-to-better-location: mv peer: store \[[12]\] to \[5\]/,
    );
    expect(check(mock, put(mock, [1, 3, 5]))).toBe("healthy");
    // The better place is busy for a moment: nothing else instead.
    mock.setStats(5, { isBusy: true });
    expect(check(mock, put(mock, [1, 2, 3]))).toMatch(/takes no peer just now/);
    mock.setStats(5, { isBusy: false });
    mock.set("enable-location-replacement", "false");
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("healthy");
  });

  test("is kept waiting, and said so, by stores that only pass by (TestPendingList)", () => {
    const mock = world({ "isolation-level": "zone" });
    zoned(mock, ["a", "b"]);
    const checker = new RegionChecker(mock.view, () => false);
    expect(checker.check(put(mock, [1, 2])).result).toMatchObject({
      kind: "waiting",
      noStore: true,
      soon: false,
    });
    mock.addStore(3, { zone: "c", host: "h3" });
    mock.silence(3, 30_000);
    expect(checker.check(put(mock, [1, 2])).result).toMatchObject({ kind: "waiting", soon: true });
    mock.silence(3, 0);
    expect(checker.check(put(mock, [1, 2])).result).toMatchObject({ kind: "operator" });
  });

  test("moves another rule's peer out of the only place there is", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c"]);
    mock.setRules(
      { id: "default", count: 2, index: 1 },
      { id: "inB", count: 1, index: 2, label_constraints: [{ key: "zone", op: "in", values: ["b"] }] },
    );
    expect(check(mock, put(mock, [1, 2]))).toBe("replace-rule-swap-fit-peer: mv peer: store [2] to [3]");
  });
});

describe("other checkers", () => {
  test("a joint state that was left over is ended (TestLeaveJointState)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c", "d"]);
    const cases: readonly [MockRegion["roles"], number, string[]][] = [
      [
        { 3: "incomingVoter" },
        1,
        ["leave-joint-state high", "leave joint state, promote learner peer on store 3 to voter"],
      ],
      [
        { 1: "demotingVoter", 3: "incomingVoter" },
        2,
        [
          "leave-joint-state high",
          "leave joint state, promote learner peer on store 3 to voter, demote voter peer on store 1 to learner",
        ],
      ],
      [
        { 1: "demotingVoter" },
        1,
        [
          "leave-joint-state high",
          "transfer leader from store 1 to store 2",
          "leave joint state, demote voter peer on store 1 to learner",
        ],
      ],
    ];
    for (const [roles, leader, wanted] of cases) {
      expect(steps(mock, put(mock, [1, 2, 3], { roles: roles ?? {}, leader }))).toEqual(wanted);
    }
  });

  test("a learner is promoted where rules are off (TestPromoteLearner)", () => {
    const mock = world({ "enable-placement-rules": "false" });
    zoned(mock, ["a", "b", "c"]);
    expect(check(mock, put(mock, [1, 2, 3], { roles: { 3: "learner" } }))).toBe(
      "promote-learner: promote peer: store [3]",
    );
    expect(check(mock, put(mock, [1, 2, 3], { roles: { 3: "learner" }, pending: [3] }))).toMatch(/not ready/);
    const checker = new RegionChecker(mock.view, () => false);
    checker.pause("learner", 60);
    const { result } = checker.check(put(mock, [1, 2, 3], { roles: { 3: "learner" } }));
    expect(result).toMatchObject({ reason: "the learner checker is paused" });
  });

  test("a region across a border of labels, then of rules, is cut there (TestSplit)", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c"]);
    expect(check(mock, put(mock, [1, 2, 3]))).toBe("healthy");
    mock.setRules({ id: "default", count: 3 }, { id: "low", end_key: "63", role: "learner" });
    expect(check(mock, put(mock, [1, 2, 3]))).toBe(
      "rule-split-region: split: region 1 use policy USEKEY and keys [63]",
    );
    mock.cluster.labels.change([labelRule("x", [["61", "65"]])], [], () => {});
    mock.env.settle();
    expect(check(mock, put(mock, [1, 2, 3]))).toBe(
      "labeler-split-region: split: region 1 use policy USEKEY and keys [61 65]",
    );
    expect(check(mock, put(mock, [1, 2, 3], { roles: { 3: "incomingVoter" } }))).toMatch(/leave-joint-state/);
  });

  test("a pause is kept by all: joint state stays as it is, and merging goes on without repairs", () => {
    const mock = world({ "split-merge-interval": "0s" });
    for (const id of [1, 2, 3]) mock.addStore(id, { zone: `z${id}`, host: `h${id}`, merge: "true" });
    const checker = new RegionChecker(mock.view, () => false);
    const result = (region: RegionInfo): string => {
      const found = checker.check(region).result;
      if (found.kind === "operator") return found.operator.desc;
      return found.kind === "waiting" ? found.reason : found.kind;
    };
    checker.pause("joint-state", 60);
    const joint = mock.put(1, [1, 2, 3], { end: "b", roles: { 3: "incomingVoter" } });
    expect(result(joint)).toBe("the joint-state checker is paused");
    mock.put(2, [1, 2, 3], { start: "b", sizeMib: 60 });
    checker.pause("rule", 60);
    expect(result(mock.put(1, [1, 2, 3], { end: "b", sizeMib: 5, confVer: 2 }))).toBe("merge-region");
    expect(result(mock.put(1, [1, 2], { end: "b", sizeMib: 5, confVer: 3 }))).toBe(
      "the rule checker is paused",
    );
  });

  test("each may be paused for a while, and only by its name", () => {
    const mock = world();
    zoned(mock, ["a", "b", "c"]);
    const checker = new RegionChecker(mock.view, () => false);
    const region = put(mock, [1, 2]);
    checker.pause("rule", 60);
    expect(checker.check(region).result).toMatchObject({ reason: "the rule checker is paused" });
    mock.env.advance(61_000);
    for (const id of [1, 2, 3]) mock.silence(id, 0);
    expect(checker.check(region).result.kind).toBe("operator");
    checker.pause("rule", 60);
    checker.pause("rule", 0);
    expect(checker.isPaused("rule")).toBe(false);
  });
});

function labelRule(
  id: string,
  ranges: readonly (readonly [string, string])[],
  labels: object = { schedule: "deny" },
  more: object = {},
): RegionLabelRule {
  const rule = labelRuleFromJson(
    {
      id,
      labels: Object.entries(labels).map(([key, value]) => ({ key, value, ...more })),
      rule_type: "key-range",
      data: ranges.map(([start, end]) => ({ start_key: start, end_key: end })),
      ...more,
    },
    1000,
  );
  if (typeof rule === "string") throw new Error(rule);
  return rule;
}

describe("labels of regions", () => {
  test("are set, read, replaced and deleted, and survive a restart (TestGetSetRule)", () => {
    const mock = world();
    const { labels } = mock.cluster;
    const change = (sets: readonly RegionLabelRule[], deletes: readonly string[] = []): void => {
      labels.change(sets, deletes, () => {});
      mock.env.settle();
    };
    change([labelRule("1", [["12", "56"]]), labelRule("2", [["34", "78"]]), labelRule("3", [["ab", "cd"]])]);
    expect(labels.rules().map(({ id }) => id)).toEqual(["1", "2", "3"]);
    change([labelRule("2", [["00", "01"]])], ["1"]);
    expect(labels.rules().map(({ id, ranges }) => [id, ranges[0]?.startHex])).toEqual([
      ["2", "00"],
      ["3", "ab"],
    ]);
    // A set wins over a delete of the same id.
    change([labelRule("3", [["ee", "ff"]])], ["3"]);
    expect(labels.rule("3")?.ranges[0]?.startHex).toBe("ee");
    expect(labels.rule("nobody")).toBeUndefined();
    labels.load(() => {});
    mock.env.settle();
    expect(labels.rules().map(({ id }) => id)).toEqual(["2", "3"]);
    const bad: readonly [object, RegExp][] = [
      [{ id: "" }, /empty rule id/],
      [{ labels: [] }, /no region labels/],
      [{ labels: [{ key: "", value: "v" }] }, /empty region label key/],
      [{ labels: [{ key: "k", value: "" }] }, /empty region label value/],
      [{ labels: [{ key: "k", value: "v", ttl: "soon" }] }, /invalid ttl/],
      [{ rule_type: "other" }, /invalid rule type/],
      [{ data: [] }, /no key ranges/],
      [{ data: [{ start_key: "34", end_key: "12" }] }, /endKey should be greater/],
      [{ data: [{ start_key: "xx", end_key: "" }] }, /decode string xx error/],
    ];
    const good = {
      id: "g",
      labels: [{ key: "k", value: "v" }],
      rule_type: "key-range",
      data: [{ start_key: "", end_key: "" }],
    };
    for (const [wrong, reason] of bad) expect(labelRuleFromJson({ ...good, ...wrong }, 0)).toMatch(reason);
  });

  test("are found by range; of two rules the higher index wins (TestIndex)", () => {
    const mock = world();
    const { labels } = mock.cluster;
    labels.change(
      [
        labelRule("whole", [["", ""]], { k1: "v1" }, { index: 1 }),
        labelRule("r1", [["30", "80"]], { k2: "v2" }, { index: 2 }),
        labelRule("r2", [["30", "60"]], { k1: "v4" }, { index: 3 }),
        labelRule("r3", [["50", "70"]], { k2: "v5" }, { index: 1 }),
      ],
      [],
      () => {},
    );
    mock.env.settle();
    const at = (start: string, end: string): string => {
      const meta = { ...mock.region(1, [1]).meta, startKey: utf8(start), endKey: utf8(end) };
      return labels
        .labelsOf(meta)
        .map(({ key, value }) => `${key}=${value}`)
        .sort()
        .join(" ");
    };
    const char = (hex: string): string => TEXT.decode(Uint8Array.from([Number.parseInt(hex, 16)]));
    expect(at("", char("20"))).toBe("k1=v1");
    expect(at(char("30"), char("40"))).toBe("k1=v4 k2=v2");
    expect(at(char("50"), char("60"))).toBe("k1=v4 k2=v2");
    expect(at(char("60"), char("70"))).toBe("k1=v1 k2=v2");
    expect(at(char("70"), char("7f"))).toBe("k1=v1 k2=v2");
    expect(at(char("20"), char("40"))).toBe("");
    expect(labels.splitKeys(utf8(char("40")), utf8(char("65"))).map((key) => TEXT.decode(key))).toEqual([
      char("50"),
      char("60"),
    ]);
  });

  test("end with their time to live", () => {
    const mock = world();
    const { labels } = mock.cluster;
    const wallMs = mock.env.clock.wallMs();
    const json = {
      id: "short",
      labels: [{ key: "schedule", value: "Deny", ttl: "1m" }],
      rule_type: "key-range",
      data: [{ start_key: "", end_key: "" }],
    };
    const rule = labelRuleFromJson(json, wallMs) as RegionLabelRule;
    labels.change([rule], [], () => {});
    mock.env.settle();
    const { meta } = mock.region(1, [1]);
    expect(labels.deniesSchedule(meta)).toBe(true);
    mock.env.advance(61_000);
    expect([labels.deniesSchedule(meta), labels.rules()]).toEqual([false, []]);
    const lasting = { key: "k", value: "v" };
    const partly = labelRuleFromJson(
      { ...json, id: "partly", labels: [{ ...json.labels[0], ttl: "2m", start_at: "" }, lasting] },
      mock.env.clock.wallMs(),
    ) as RegionLabelRule;
    labels.change([partly], [], () => {});
    mock.env.settle();
    mock.env.advance(121_000);
    labels.forgetExpired();
    mock.env.settle();
    // Of what is stored, too.
    const stored: unknown[] = [];
    const { metaStore, keys } = mock.context;
    readPrefix(
      metaStore,
      keys.regionLabels,
      (_key, value) => stored.push(JSON.parse(TEXT.decode(value))),
      () => {},
    );
    mock.env.settle();
    expect(stored).toMatchObject([{ id: "partly", labels: [lasting] }]);
    expect(
      labelRuleFromJson(
        { ...json, labels: [{ ...json.labels[0], start_at: "2020-01-01T00:00:00Z" }] },
        wallMs,
      ),
    ).toMatch(/already expired/);
  });
});
