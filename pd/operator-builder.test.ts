/** The order of steps that the builder makes of a wish. (PD: builder_test.go, create_operator_test.go) */
import { describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { metapb } from "../proto/index.js";
import { type BuilderOptions, type BuildResult, OperatorBuilder } from "./operator-builder.js";
import { MockCluster } from "./test/mock-cluster.js";
import { type FakeRegion, World } from "./test/world.js";
import { stepText } from "./step-command.js";

const ROLE = metapb.PeerRole;

function setUp(
  placement: readonly number[],
  joint = true,
  edit: (region: FakeRegion) => void = () => {},
): (wish: (builder: OperatorBuilder) => unknown, options?: BuilderOptions) => BuildResult {
  const world = new World({ stores: 6, schedule: { "enable-joint-consensus": String(joint) } });
  const region = must(world.addRegions([placement])[0], "no region");
  edit(region);
  const record = world.report(region);
  return (wish, options = {}) => {
    const builder = new OperatorBuilder(world.view, "test", record, options);
    wish(builder);
    return builder.build(["admin"]);
  };
}

const steps = (result: BuildResult): string[] => {
  if (result.kind === "refused") return [result.reason];
  return result.operator.steps.map((step) =>
    stepText(step)
      .replaceAll(/peer [0-9]+ /g, "")
      .replace(" store ", " "),
  );
};

describe("with joint consensus", () => {
  test("one change alone is made without it (TestBuild)", () => {
    const build = setUp([1, 2, 3]);
    expect(steps(build((builder) => builder.addPeer(4, "voter")))).toEqual([
      "add learner on 4",
      "promote learner on 4 to voter",
    ]);
    expect(steps(build((builder) => builder.removePeer(3)))).toEqual(["remove peer on 3"]);
  });

  test("a leader that leaves hands over to a voter that stays before the change", () => {
    const build = setUp([1, 2, 3]);
    const made = steps(build((builder) => builder.addPeer(4, "voter").removePeer(1)));
    expect(made).toHaveLength(5);
    expect(made[0]).toMatch(/^add learner on 4/);
    expect(made[1]).toMatch(/^transfer leader from 1 to store [23]$/);
    expect(made[2]).toMatch(/^use joint consensus/);
    expect(made[3]).toMatch(/^leave joint state/);
    expect(made[4]).toBe("remove peer on 1");
  });

  test("a new peer leads only inside or after the joint state", () => {
    const build = setUp([1, 2, 3]);
    const leaving = steps(build((builder) => builder.addPeer(4, "voter").removePeer(1).setLeader(4)));
    expect(leaving.map((text) => text.split(" ")[0])).toEqual(["add", "use", "transfer", "leave", "remove"]);
    const staying = steps(build((builder) => builder.addPeer(4, "voter").removePeer(3).setLeader(4)));
    expect(staying.map((text) => text.split(" ")[0])).toEqual(["add", "use", "leave", "transfer", "remove"]);
  });

  test("two voters become one through a joint state, so that the one that stays can be elected", () => {
    const build = setUp([1, 2]);
    const made = steps(build((builder) => builder.removePeer(2)));
    expect(made.map((text) => text.split(" ")[0])).toEqual(["use", "remove"]);
  });

  test("a leader that leaves alone hands over first", () => {
    const made = steps(setUp([1, 2, 3])((builder) => builder.removePeer(1)));
    expect(made).toEqual([expect.stringMatching(/^transfer leader from 1/), "remove peer on 1"]);
  });
});

describe("without joint consensus", () => {
  test("a peer is added before another is removed (TestMoveRegionWithoutJointConsensus)", () => {
    const build = setUp([1, 2, 3], false);
    const move = steps(build((builder) => builder.addPeer(4, "voter").removePeer(3)));
    expect(move.map((text) => text.split(" ")[0])).toEqual(["add", "promote", "remove"]);
    const many = steps(
      build((builder) => builder.addPeer(4, "voter").addPeer(5, "voter").removePeer(2).removePeer(1)),
    );
    expect(many.map((text) => text.split(" ")[0])).toEqual([
      "add",
      "promote",
      "transfer",
      "remove",
      "add",
      "promote",
      "remove",
    ]);
  });
});

describe("the builder refuses", () => {
  const reason = (result: BuildResult): string =>
    result.kind === "refused" ? result.reason.replace(/^.*unable to create operator, /, "") : "built";

  test("what is not there, is there already, or leaves no voter (TestPrepareBuild)", () => {
    const build = setUp([1, 2]);
    expect(reason(build((builder) => builder.addPeer(2, "voter")))).toMatch(/already exists/);
    expect(reason(build((builder) => builder.removePeer(5)))).toMatch(/not found/);
    expect(reason(build((builder) => builder.removePeer(1).removePeer(2)))).toMatch(/have no voter/);
    expect(reason(build((builder) => builder.setLeader(2).removePeer(2)))).toMatch(/is target leader/);
    expect(reason(build(() => {}))).toBe("no operator step is built");
  });

  test("a leader that is pending, down or a learner (TestTargetUnhealthyPeer)", () => {
    const pending = setUp([1, 2, 3], true, (region) => region.pending.push(must(region.peers[1], "").id));
    expect(reason(pending((builder) => builder.setLeader(2)))).toMatch(/unhealthy/);
    const down = setUp([1, 2, 3], true, (region) => region.down.push(must(region.peers[1], "").id));
    expect(reason(down((builder) => builder.setLeader(2)))).toMatch(/unhealthy/);
    const learner = setUp([1, 2, 3], true, (region) => {
      must(region.peers[1], "").role = ROLE.Learner;
    });
    expect(reason(learner((builder) => builder.setLeader(2)))).toMatch(/not voter/);
  });

  test("a region that lies across borders of rules, unless a leader is forced or joint state left (6.9)", () => {
    const mock = new MockCluster();
    mock.addStores(1, 2, 3, 4);
    mock.setRules({ id: "left", count: 3, end_key: "6d" }, { id: "right", count: 3, start_key: "6d" });
    const region = mock.put(1, [1, 2, 3]);
    const build = (options: BuilderOptions): BuildResult =>
      new OperatorBuilder(mock.view, "test", region, options).setLeader(2).build(["leader"]);
    expect(reason(build({}))).toMatch(/match no placement rule/);
    expect([reason(build({ forceLeader: true })), reason(build({ ignoresRules: true }))]).toEqual([
      "built",
      "built",
    ]);
  });

  test("a region in joint state, unless it is only to be led by another", () => {
    const build = setUp([1, 2, 3], true, (region) => {
      must(region.peers[2], "").role = ROLE.IncomingVoter;
    });
    expect(reason(build((builder) => builder.addPeer(4, "voter")))).toMatch(/in joint state/);
    expect(reason(build((builder) => builder.setLeader(2), { allowJointState: true }))).toBe("built");
  });
});

describe("leaving a joint state (TestCreateLeaveJointStateOperator)", () => {
  test("moves the leader off a peer that will be demoted first", () => {
    const world = new World({ stores: 4 });
    const region = must(world.addRegions([[1, 2, 3]])[0], "no region");
    must(region.peers[0], "").role = ROLE.DemotingVoter;
    must(region.peers[2], "").role = ROLE.IncomingVoter;
    const options = { allowJointState: true };
    const built = new OperatorBuilder(
      world.view,
      "test",
      world.report(region),
      options,
    ).buildLeaveJointState();
    expect(steps(built)).toEqual([
      expect.stringMatching(/^transfer leader from 1 to store [23]$/),
      expect.stringMatching(/^leave joint state/),
    ]);
  });
});
