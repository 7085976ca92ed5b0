/**
 * Random faults against whole stores, and the question whether every answer that was given can be explained by
 * one order
 * of events: crashes, cut links, stores that stand still, splits, moves, leaders handed over, over engines that
 * write at
 * once and later. A failing seed is run alone with `SEED=n npx vitest run store/history`; `SEEDS=500` runs more
 * of them.
 */
import { describe, expect, test } from "vitest";
import { randomBelow, SeededRandom, utf8 } from "../base/index.js";
import type { kvrpcpb } from "../proto/index.js";
import { containsKey } from "../region/region.js";
import { peerOf } from "../region/test/fixtures.js";
import { addressOf, Stores } from "./test/harness.js";
import { type Operation, unexplained } from "./test/linearizability.js";

const KEYS = ["b", "h", "q", "w"];
const STORES = [1, 2, 3, 4];

class Run {
  readonly random: SeededRandom;
  readonly stores: Stores;
  readonly histories = new Map<string, Operation[]>(KEYS.map((key) => [key, []]));
  readonly down = new Set<number>();
  #values = 0;
  acknowledged = 0;
  reads = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    Stores.writeDelayMs = seed % 2 === 0 ? 0 : 1 + randomBelow(this.random, 8);
    this.stores = Stores.led(4, { logGcThreshold: 5, logGcTickMs: 300, peerDownMs: 5_000 }, 3);
    Stores.writeDelayMs = 0;
    if (seed % 3 !== 0) this.stores.links.delayMs = () => 1 + randomBelow(this.random, 15);
  }

  pick<T>(from: readonly T[]): T {
    return from[randomBelow(this.random, from.length)] as T;
  }
  chance(oneIn: number): boolean {
    return randomBelow(this.random, oneIn) === 0;
  }

  /** A client that asks one store, right or wrong. */
  operate(): void {
    const key = this.pick(KEYS);
    // Mostly one that takes itself for the leader: two may.
    const leads = (store: number): boolean =>
      !this.down.has(store) &&
      [...this.stores.store(store).peers.all()].some(
        (each) => each.isLeader && containsKey(each.region, utf8(key)),
      );
    const leaders = STORES.filter(leads);
    const id = leaders.length === 0 || this.chance(4) ? this.pick(STORES) : this.pick(leaders);
    if (this.down.has(id)) return;
    const peer = [...this.stores.store(id).peers.all()].find(
      (each) => each.isInitialized && containsKey(each.region, utf8(key)),
    );
    if (peer === undefined) return;
    const context: kvrpcpb.IContext = {
      regionId: peer.regionId,
      regionEpoch: peer.region.epoch,
      peer: { id: peer.peerId, storeId: id },
      replicaRead: this.chance(3),
    };
    const beganAt = this.stores.env.nowMs;
    const { raw } = this.stores.store(id);
    const gate = this.stores.member(id).pause;
    if (this.chance(2)) {
      const value = `v${++this.#values}`;
      const operation: Operation = { kind: "write", value, beganAt, endedAt: undefined };
      this.histories.get(key)?.push(operation);
      context.replicaRead = false;
      gate.run(() =>
        raw.put({ key: utf8(key), value: utf8(value), context }, ({ regionError }) => {
          gate.run(() => this.#written(key, operation, regionError));
        }),
      );
    } else {
      gate.run(() =>
        raw.get({ key: utf8(key), context }, ({ regionError, value }) => {
          if (regionError != null) return;
          const read = value == null ? undefined : String.fromCharCode(...value);
          this.reads++;
          const endedAt = this.stores.env.nowMs;
          this.histories.get(key)?.push({ kind: "read", value: read, beganAt, endedAt });
        }),
      );
    }
  }

  #written(key: string, operation: Operation, error: kvrpcpb.IRawPutResponse["regionError"]): void {
    if (error == null) {
      operation.endedAt = this.stores.env.nowMs;
      this.acknowledged++;
    } else if (error.staleCommand == null && error.regionNotFound == null) {
      // Everything else promises that it had no effect and never will.
      const history = this.histories.get(key) as Operation[];
      history.splice(history.indexOf(operation), 1);
    }
  }

  disturb(): void {
    const id = this.pick(STORES);
    const what = randomBelow(this.random, 12);
    if (what === 0 && !this.down.has(id) && this.down.size < 2) {
      this.down.add(id);
      this.stores.crash(id);
    } else if (what <= 3 && this.down.size > 0) {
      const back = this.pick([...this.down]);
      this.down.delete(back);
      this.stores.start(back, this.stores.member(back).engine);
    } else if (what === 4) {
      const other = this.pick(STORES);
      this.stores.links.cut(addressOf(id), addressOf(other));
      if (this.chance(2)) this.stores.links.cut(addressOf(other), addressOf(id));
    } else if (what === 5) {
      this.stores.links.isolate(addressOf(id), STORES.map(addressOf));
    } else if (what === 6) this.stores.links.mend();
    else if (what === 7 && !this.down.has(id)) this.stores.member(id).pause.pause();
    else if (what === 8) for (const each of this.stores.members) each.pause.resume();
    else if (!this.down.has(id)) this.#administer(id, what);
  }

  #administer(id: number, what: number): void {
    const peers = [...this.stores.store(id).peers.all()].filter((peer) => peer.isLeader);
    if (peers.length === 0 || this.stores.member(id).pause.isPaused) return;
    const peer = this.pick(peers);
    const { region } = peer;
    if (what === 9) {
      const key = this.pick(["d", "k", "m", "s", "x"]);
      if (containsKey(region, utf8(key))) {
        this.stores.store(id).splits.splitAt(peer, region.epoch, [utf8(key)], () => {});
      }
    } else if (what === 10) {
      peer.transferLeader(this.pick(region.peers).id);
    } else {
      const free = STORES.filter((store) => region.peers.every((each) => each.storeId !== store));
      const learner = region.peers.find((each) => each.role === "learner");
      const store = free[0];
      if (learner !== undefined) {
        const promoted = { ...learner, role: "voter" } as const;
        this.#change(peer, "addVoter", promoted);
      } else if (store !== undefined && region.peers.length < 4) {
        this.#change(peer, "addLearner", peerOf(this.stores.pd.nextId++, store, "learner"));
      } else this.#change(peer, "remove", this.pick(region.peers));
    }
  }

  #change(
    peer: ReturnType<Stores["peer"]>,
    kind: "addVoter" | "addLearner" | "remove",
    target: ReturnType<typeof peerOf>,
  ): void {
    peer.admin(peer.region.epoch, { kind: "changePeer", changes: [{ kind, peer: target }] }, () => {});
  }

  heal(): void {
    this.stores.links.mend();
    for (const member of this.stores.members) member.pause.resume();
    for (const id of this.down) this.stores.start(id, this.stores.member(id).engine);
    this.down.clear();
    this.stores.pass(15_000);
  }

  /** Reads every key once from its leader; which must be there. */
  final(key: string): string | undefined {
    const beganAt = this.stores.env.nowMs;
    for (let tries = 0; tries < 50; tries++) {
      for (const { id, store } of this.stores.members) {
        const peer = [...store.peers.all()].find(
          (each) => each.isLeader && containsKey(each.region, utf8(key)),
        );
        if (peer === undefined) continue;
        const answer = this.stores.raw("get", { key: utf8(key) }, id, peer.regionId);
        if (answer.regionError != null) continue;
        const value = answer.value == null ? undefined : String.fromCharCode(...answer.value);
        this.histories.get(key)?.push({ kind: "read", value, beganAt, endedAt: this.stores.env.nowMs });
        return value;
      }
      this.stores.pass(200);
    }
    throw new Error(`nobody serves key ${key} after all faults are gone`);
  }
}

function runSeed(seed: number): Run {
  const run = new Run(seed);
  for (let step = 0; step < 1000; step++) {
    const operations = randomBelow(run.random, 4);
    for (let i = 0; i < operations; i++) run.operate();
    if (run.chance(20)) run.disturb();
    run.stores.pass(10 + 10 * randomBelow(run.random, 5));
  }
  run.heal();
  for (const key of KEYS) run.final(key);
  return run;
}

describe("under random faults", () => {
  const only = process.env["SEED"];
  const count = Number(process.env["SEEDS"] ?? 16);
  const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(only)];

  test.each(seeds)("every answer can be explained by one order of events (seed %i)", (seed) => {
    const run = runSeed(seed);
    for (const member of run.stores.members) expect(member.fatal).toBeUndefined();
    for (const [key, history] of run.histories) {
      expect(unexplained(history), `key ${key}`).toBeUndefined();
    }
    expect(run.acknowledged).toBeGreaterThan(5);
    expect(run.reads).toBeGreaterThan(5);
  });
});

describe("the judge", () => {
  const write = (value: string, beganAt: number, endedAt?: number): Operation => ({
    kind: "write",
    value,
    beganAt,
    endedAt,
  });
  const read = (value: string | undefined, beganAt: number, endedAt: number): Operation => ({
    kind: "read",
    value,
    beganAt,
    endedAt,
  });

  test("accepts reads of writes under way, either way, and of unknown writes, late", () => {
    expect(unexplained([write("1", 0, 10), read(undefined, 1, 2), read("1", 3, 4)])).toBeUndefined();
    expect(
      unexplained([write("1", 0, 10), write("2", 11), read("1", 20, 21), read("2", 90, 91)]),
    ).toBeUndefined();
    expect(unexplained([write("1", 0, 10), write("2", 0, 10), read("1", 20, 21)])).toBeUndefined();
  });

  test("refuses lost writes, stale reads, reads that go back, and values from nowhere", () => {
    expect(unexplained([write("1", 0, 10), read(undefined, 11, 12)])).toBeDefined();
    expect(unexplained([write("1", 0, 10), write("2", 11, 20), read("1", 21, 22)])).toBeDefined();
    expect(unexplained([write("1", 0, 50), read("1", 1, 2), read(undefined, 3, 4)])).toBeDefined();
    expect(unexplained([write("1", 0, 10), read("9", 11, 12)])).toBeDefined();
    expect(unexplained([write("1", 0), read("1", 1, 2), read(undefined, 3, 4)])).toBeDefined();
  });
});
