/**
 * Regions that fall quiet, and every way in which they wake: nothing may be slower, lost or stale for it. Numbers are
 * those of raftstore rules 12.5.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import type { kvrpcpb } from "../proto/index.js";
import type { Progress } from "../raft/index.js";
import { addressOf, peerOf, regionOf, Stores } from "./test/harness.js";

const ALL = [1, 2, 3];
let stores: Stores;

const quiet = (id: number, region = 2): boolean => stores.peer(id, region).isQuiet;
const leaders = (region = 2): number[] =>
  ALL.filter((id) => stores.store(id).peers.get(region)?.isLeader === true);
const addresses = (except: number): string[] => ALL.filter((id) => id !== except).map(addressOf);
/** Raft messages that stores take in while that time passes, signs of life aside. */
function messagesIn(ms: number): number {
  let heard = 0;
  const spied = ALL.map((id) => stores.peer(id)).map((peer) => {
    const step = peer.step.bind(peer);
    peer.step = (message) => {
      heard++;
      step(message);
    };
    return () => {
      peer.step = step;
    };
  });
  stores.pass(ms);
  for (const undo of spied) undo();
  return heard;
}
/** The leader's lease is over, as of any region that was quiet for longer than it lasts. */
function sleep(): void {
  for (let waited = 0; waited < 20_000 && !ALL.every((id) => quiet(id)); waited += 100) stores.pass(100);
  expect(ALL.map((id) => quiet(id))).toEqual([true, true, true]);
  stores.pass(2_000);
  expect(ALL.map((id) => quiet(id))).toEqual([true, true, true]);
}

beforeEach(() => {
  stores = Stores.led(3);
  stores.put("k", "v");
  sleep();
});

describe("a quiet region", () => {
  test("neither ticks nor sends, and its leader stays", () => {
    const { term } = stores.peer();
    expect(messagesIn(60_000)).toBe(0);
    expect(ALL.map((id) => stores.peer(id).idleTicks)).toEqual(ALL.map((id) => stores.peer(id).idleTicks));
    expect([leaders(), stores.peer().term, ALL.every((id) => quiet(id))]).toEqual([[1], term, true]);
    expect(stores.store().status()["quietRegions"]).toBe(1);
  });

  test("is woken by a write, which is on all replicas at once, and falls quiet again (1)", () => {
    expect(stores.put("k", "w")).toEqual({});
    expect(quiet(1)).toBe(false);
    stores.pass(300);
    expect(ALL.map((id) => stores.peer(id).appliedIndex)).toEqual(ALL.map(() => stores.peer().appliedIndex));
    sleep();
  });

  test("has no lease: a read asks a quorum, and fails when there is none (2)", () => {
    expect(stores.peer().mayReadLocally(stores.env.nowMs)).toBe(false);
    expect(stores.get("k")).toBe("v");
    sleep();
    stores.links.isolate(addressOf(1), addresses(1));
    const answers: kvrpcpb.IRawGetResponse[] = [];
    stores.store().raw.get({ key: utf8("k"), context: stores.context() }, (answer) => answers.push(answer));
    stores.pass(5_000);
    expect(answers[0]?.regionError).toBeDefined();
  });

  test("is not woken by a client that asks a follower, who names the leader (3)", () => {
    const answer: kvrpcpb.IRawGetResponse = stores.raw(
      "get",
      { key: utf8("k"), context: stores.context(2) },
      2,
    );
    expect(answer.regionError?.notLeader?.leader?.storeId).toBe(1);
    expect(ALL.every((id) => quiet(id))).toBe(true);
  });

  test("serves a read of a replica, by the leader's index (4)", () => {
    const context = { ...stores.context(3), replicaRead: true };
    expect(stores.raw("get", { key: utf8("k"), context }, 3)).toEqual({ value: utf8("v") });
    sleep();
  });

  test("elects another leader when the leader's store dies, no later than one that ticks (5, 6)", () => {
    stores.crash(1);
    stores.members.splice(0, 1);
    const { members } = stores;
    for (let ms = 0; ms < 3_500; ms += 100) stores.pass(100);
    const [next] = members.filter(({ id }) => stores.peer(id).isLeader).map(({ id }) => id);
    expect(next).toBeDefined();
    expect(stores.get("k", next)).toBe("v");
  });

  test("elects another within 1.4 s of the last word of a store that died, whatever was drawn", () => {
    const heardMs = stores.env.clock.monotonicMs();
    // Drawn timeouts are as long as they can be: only their shortening helps.
    for (const id of [2, 3]) stores.peer(id).node.setRandomizedElectionTimeout(19);
    stores.crash(1);
    stores.members.splice(0, 1);
    while (stores.env.clock.monotonicMs() - heardMs < 1_400) stores.pass(100);
    expect([2, 3].filter((id) => stores.peer(id).isLeader)).toHaveLength(1);
  });

  test("elects another when whoever is first in line cannot be reached", () => {
    // The line begins at region id modulo voters alive: of peers on stores 2 and 3 the first is on store 2.
    for (const id of [2, 3]) stores.peer(id).node.setRandomizedElectionTimeout(19);
    stores.crash(1);
    stores.members.splice(0, 1);
    stores.peer(2).node.setRandomizedElectionTimeout(10_000);
    stores.peer(2).node.electAfter = () => {};
    stores.pass(1_750);
    expect(stores.peer(3).isLeader).toBe(true);
  });

  test("asks again soon when the one that is asked has not missed the leader for an election timeout", () => {
    stores.crash(1);
    stores.members.splice(0, 1);
    while (quiet(3)) stores.pass(100);
    // First in line is the replica on store 2; the other counts as if it had heard the leader half a timeout ago.
    const voter = stores.peer(3);
    voter.node.restartTicks();
    for (let i = 0; i < 5; i++) voter.node.tick();
    stores.pass(900);
    expect([2, 3].filter((id) => stores.peer(id).isLeader)).toEqual([2]);
  });

  test("counts the whole silence of its leader when a candidate wakes it before that store is dead here", () => {
    for (const id of [2, 3]) stores.peer(id).node.setRandomizedElectionTimeout(19);
    stores.crash(1);
    stores.members.splice(0, 1);
    stores.pass(700);
    expect(quiet(3)).toBe(true);
    stores.peer(2).campaign();
    stores.pass(500);
    expect(quiet(3)).toBe(false);
    expect(stores.peer(2).isLeader).toBe(false);
    stores.peer(2).campaign();
    stores.pass(100);
    expect(stores.peer(2).isLeader).toBe(true);
  });

  test("whose two replicas alive stood at the same time does not wait for chance to choose between them", () => {
    stores.crash(1);
    stores.members.splice(0, 1);
    while (quiet(2) || quiet(3)) stores.pass(100);
    for (const id of [2, 3]) stores.peer(id).node.campaign({ skipsPreVote: true });
    // Each has voted for itself; drawn timeouts are ten ticks at least.
    stores.pass(800);
    expect([2, 3].filter((id) => stores.peer(id).isLeader)).toHaveLength(1);
  });

  test("whose leader's store died lets writers and readers wait for the next leader", () => {
    stores.crash(1);
    stores.members.splice(0, 1);
    while (quiet(2) || quiet(3)) stores.pass(100);
    const heard: string[] = [];
    for (const id of [2, 3]) {
      const { raw } = stores.store(id);
      const tell = (what: string, answer: kvrpcpb.IRawPutResponse): void => {
        const error = answer.regionError;
        heard.push(`${id} ${what} ${error == null ? "done" : error.notLeader?.leader?.storeId}`);
      };
      raw.put({ key: utf8("k"), value: utf8("w"), context: stores.context(id) }, (each) => tell("put", each));
      raw.get({ key: utf8("k"), context: stores.context(id) }, (each) => tell("get", each));
    }
    expect(heard).toEqual([]);
    stores.pass(1_000);
    expect(stores.peer(2).isLeader).toBe(true);
    expect(heard.sort()).toEqual(["2 get done", "2 put done", "3 get 2", "3 put 2"]);
  });

  test("whose leader's store is back before anybody was elected lets nobody wait any longer", () => {
    for (const id of [2, 3]) {
      stores.peer(id).node.setRandomizedElectionTimeout(10_000);
      stores.peer(id).node.electAfter = () => {};
      stores.links.cut(addressOf(1), addressOf(id));
    }
    while (quiet(2) || quiet(3)) stores.pass(100);
    const answers: kvrpcpb.IRawPutResponse[] = [];
    const request = { key: utf8("k"), value: utf8("w"), context: stores.context(3) };
    stores.store(3).raw.put(request, (answer) => answers.push(answer));
    stores.links.mend();
    stores.pass(900);
    expect(answers.map(({ regionError }) => regionError?.notLeader?.leader?.storeId)).toEqual([1]);
  });

  test("elects another leader when the leader's process stands still, and the old one serves nothing stale (6)", () => {
    stores.member(1).pause.pause();
    stores.pass(4_000);
    const [next] = [2, 3].filter((id) => stores.peer(id).isLeader);
    expect(next).toBeDefined();
    stores.raw("put", { key: utf8("k"), value: utf8("new") }, next as number);
    const stale: kvrpcpb.IRawGetResponse[] = [];
    stores.store().raw.get({ key: utf8("k"), context: stores.context() }, (answer) => stale.push(answer));
    stores.member(1).pause.resume();
    stores.pass(3_000);
    expect(stale[0]?.value ?? undefined).not.toEqual(utf8("v"));
    expect(leaders()).toEqual([next]);
    expect(stores.peer(1).appliedIndex).toBe(stores.peer(next).appliedIndex);
  });

  test("elects another leader when its leader can be heard but does not hear (7)", () => {
    for (const other of [2, 3]) stores.links.cut(addressOf(other), addressOf(1));
    stores.pass(6_000);
    const [next] = leaders().filter((id) => id !== 1);
    expect(next).toBeDefined();
    expect(stores.raw("put", { key: utf8("k"), value: utf8("w") }, next as number)).toEqual({});
  });

  test("elects another leader when its leader hears and cannot be heard (7)", () => {
    for (const other of [2, 3]) stores.links.cut(addressOf(1), addressOf(other));
    stores.pass(6_000);
    const [next] = leaders().filter((id) => id !== 1);
    expect(next).toBeDefined();
    stores.links.mend();
    stores.pass(3_000);
    expect(leaders()).toHaveLength(1);
  });

  test("wakes as a whole when a follower wakes for a reason of its own (8)", () => {
    stores.peer(3).campaign();
    stores.pass(400);
    expect(quiet(1)).toBe(false);
    expect([leaders(), stores.get("k")]).toEqual([[1], "v"]);
    sleep();
  });

  test("makes the peers that are added to it, learners too (13)", () => {
    stores = Stores.led(4, {}, 3);
    stores.put("k", "v");
    for (let ms = 0; ms < 6_000; ms += 100) stores.pass(100);
    expect(quiet(1)).toBe(true);
    const changes = [{ kind: "addLearner", peer: peerOf(24, 4, "learner") }] as const;
    let refused: unknown = "no answer";
    stores.peer().admin(stores.peer().region.epoch, { kind: "changePeer", changes }, (error) => {
      refused = error;
    });
    stores.pass(3_000);
    expect(refused).toBeUndefined();
    expect(stores.peer(4).appliedIndex).toBe(stores.peer().appliedIndex);
    stores.pass(6_000);
    expect([1, 2, 3, 4].map((id) => quiet(id))).toEqual([true, true, true, true]);
  });

  test("splits, and all parts are led and fall quiet (14)", () => {
    const errors: unknown[] = [];
    const { region } = stores.peer();
    stores
      .store()
      .splits.splitAt(stores.peer(), region.epoch, [utf8("c"), utf8("x")], (error) => errors.push(error));
    stores.pass(1_000);
    expect(errors).toEqual([undefined]);
    expect([leaders(1000), leaders(1004), leaders(2)].every(({ length }) => length === 1)).toBe(true);
    stores.pass(8_000);
    for (const region of [...stores.store().peers.all()]) expect(region.isQuiet).toBe(true);
  });

  test("goes on as before when a follower's store is restarted (15)", () => {
    const { term } = stores.peer();
    stores.restart(3);
    stores.pass(5_000);
    expect([leaders(), stores.peer().term]).toEqual([[1], term]);
    sleep();
  });

  test("is led again when its leader's store is restarted, and when all are (15, 16)", () => {
    stores.restart(1);
    stores.pass(5_000);
    expect(leaders()).toHaveLength(1);
    for (const id of ALL) stores.restart(id);
    stores.pass(6_000);
    expect(leaders()).toHaveLength(1);
    sleep();
  });

  test("may sleep without a replica that is dead, and brings it up to date when it is back (18)", () => {
    stores.links.isolate(addressOf(3), addresses(3));
    stores.put("k", "w");
    stores.pass(8_000);
    expect([quiet(1), quiet(2)]).toEqual([true, true]);
    expect(stores.peer(3).appliedIndex).toBeLessThan(stores.peer().appliedIndex);
    stores.links.mend();
    stores.pass(4_000);
    expect(leaders()).toHaveLength(1);
    expect(stores.peer(3).appliedIndex).toBe(stores.peer(leaders()[0]).appliedIndex);
  });

  test("loses its leader's sleep when no quorum is alive, and the leader steps down", () => {
    for (const id of [2, 3]) stores.member(id).pause.pause();
    stores.pass(4_000);
    expect(leaders()).toEqual([]);
    for (const id of [2, 3]) stores.member(id).pause.resume();
    stores.pass(5_000);
    expect(leaders()).toHaveLength(1);
  });

  test("keeps nothing of its replicas' progress, nor when one of their stores cannot be reached", () => {
    const progress = (): Readonly<Progress>[] => {
      const found: Readonly<Progress>[] = [];
      stores.peer().node.withProgress((_id, one) => found.push(one));
      return found;
    };
    const isKept = (): boolean => {
      const [one] = progress();
      return progress().includes(one as Progress);
    };
    expect(isKept()).toBe(false);
    stores.crash(3);
    stores.pass(5_000);
    expect([quiet(1), stores.store().transport.unreachable.get(3), isKept()]).toEqual([
      true,
      expect.any(Number),
      false,
    ]);
    expect(progress().map(({ state }) => state)).toEqual(progress().map(() => "StateReplicate"));
    stores.put("k", "w");
    expect(isKept()).toBe(true);
    stores.restart(3);
    stores.pass(4_000);
    expect(stores.peer(3).appliedIndex).toBe(stores.peer().appliedIndex);
  });

  test("tells PD of a replica that is down, though nobody asks that replica (19)", () => {
    stores.crash(3);
    stores.pass(stores.config.peerDownMs + 2 * stores.config.pdHeartbeatTickMs);
    expect(quiet(1)).toBe(true);
    const last = stores.pd.heartbeats.filter(({ region }) => region?.id === 2).at(-1);
    expect(last?.downPeers?.map(({ peer }) => peer?.id)).toEqual([23]);
    expect(last?.downPeers?.[0]?.downSeconds).toBeGreaterThanOrEqual(60);
    stores.restart(3);
    stores.pass(3_000);
    const later = stores.pd.heartbeats.filter(({ region }) => region?.id === 2).at(-1);
    expect(later?.downPeers).toEqual([]);
  });

  test("reports to PD seldom, but still", () => {
    const count = (): number => stores.pd.heartbeats.length;
    const before = count();
    stores.pass(4 * stores.config.pdHeartbeatTickMs);
    expect(count()).toBe(before);
    stores.pass(stores.config.pdQuietHeartbeatTickMs);
    expect(count()).toBe(before + 1);
  });

  test("hands its leadership on as asked (22)", () => {
    expect(stores.peer().transferLeader(stores.peer(2).peerId)).toBeUndefined();
    stores.pass(500);
    expect(leaders()).toEqual([2]);
    sleep();
  });

  test("that a paused store still believes in is given up by it when it was removed meanwhile (25)", () => {
    stores.member(3).pause.pause();
    stores.pass(2_000);
    const changes = [{ kind: "remove", peer: peerOf(23, 3) }] as const;
    let refused: unknown = "no answer";
    stores.peer().admin(stores.peer().region.epoch, { kind: "changePeer", changes }, (error) => {
      refused = error;
    });
    stores.pass(8_000);
    expect(refused).toBeUndefined();
    stores.links.cut(addressOf(1), addressOf(3));
    stores.links.mend();
    stores.member(3).pause.resume();
    stores.pass(10_000);
    expect(stores.store(3).peers.get(2)).toBeUndefined();
  });
});

describe("a region stays awake", () => {
  test("while a replica that is alive lags (17)", () => {
    const store = stores.store(3);
    const peer = stores.peer(3);
    const step = peer.step.bind(peer);
    peer.step = (message) => {
      if (message.type !== "MsgApp") step(message);
    };
    stores.put("k", "w");
    stores.pass(10_000);
    expect(quiet(1)).toBe(false);
    peer.step = step;
    sleep();
    expect(store.peers.get(2)?.appliedIndex).toBe(stores.peer().appliedIndex);
  });

  test("while a replica that it hears lags, though nothing else was heard of its store (seed 165)", () => {
    const { liveness } = stores.store(1).quiet;
    const isAlive = liveness.isAlive.bind(liveness);
    liveness.isAlive = (storeId) => storeId !== 3 && isAlive(storeId);
    const peer = stores.peer(3);
    const step = peer.step.bind(peer);
    peer.step = (message) => {
      if (message.type !== "MsgApp") step(message);
    };
    stores.put("k", "w");
    stores.pass(10_000);
    expect(quiet(1)).toBe(false);
    peer.step = step;
    stores.pass(1_000);
    expect(stores.peer(3).appliedIndex).toBe(stores.peer().appliedIndex);
  });

  test("while it is used, by reads alone too", () => {
    stores.get("k");
    for (let i = 0; i < 100; i++) {
      stores.pass(90);
      stores.get("k");
      expect(quiet(1)).toBe(false);
    }
  });

  test("where the setting says so", () => {
    stores = Stores.led(3, { quietAfterTicks: 0 });
    stores.pass(20_000);
    expect(ALL.some((id) => quiet(id))).toBe(false);
    expect(messagesIn(1_000)).toBeGreaterThan(0);
  });
});

test("a region of one replica falls quiet too, and wakes", () => {
  stores = Stores.led(1, {}, 1, regionOf(2, 1));
  stores.pass(8_000);
  expect(quiet(1)).toBe(true);
  expect([stores.put("k", "v"), stores.get("k")]).toEqual([{}, "v"]);
});
