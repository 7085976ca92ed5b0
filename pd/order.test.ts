/**
 * Order of ids and timestamps over several PDs, whatever happens to them: kills, pauses, cuts, lost answers of
 * etcd, loss of its majority, hand-overs, wall clocks that jump. (invariants 25 and 26)
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PdService, type pdpb } from "../proto/index.js";
import { MetaKeys } from "./keys.js";
import { decodeUint64 } from "./numbers.js";
import { type Answer, PdCluster, type PdProcess } from "./test/pd-cluster.js";
import { composeTimestamp } from "./timestamp-oracle.js";

type Step =
  | { readonly kind: "kill" | "pause" | "resume" | "restart" | "cut" | "heal"; readonly pd: number }
  | { readonly kind: "handOver" | "loseQuorum" | "regainQuorum" | "compact" }
  | { readonly kind: "jumpWall"; readonly pd: number; readonly ms: number }
  | { readonly kind: "wait"; readonly ms: number };

const PDS = 3;
const pd = fc.integer({ min: 0, max: PDS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("kill", "pause", "cut" as const), pd }) },
  { weight: 9, arbitrary: fc.record({ kind: fc.constantFrom("resume", "restart", "heal" as const), pd }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("handOver", "compact" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("loseQuorum" as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("regainQuorum" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("jumpWall" as const),
      pd,
      ms: fc.integer({ min: -100_000, max: 100_000 }),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 2_500 }) }),
  },
);

/** Asks every PD, not only those that lead: whoever answers must answer rightly. */
class Traffic {
  readonly #cluster: PdCluster;
  #greatest = 0n;
  readonly #ids = new Set<number>();
  readonly #open: {
    readonly floor: bigint;
    readonly answer: Answer<pdpb.TsoResponse>;
    readonly count: number;
  }[] = [];
  readonly #openIds: Answer<pdpb.AllocIDResponse>[] = [];
  answered = 0;
  given = 0;

  constructor(cluster: PdCluster) {
    this.#cluster = cluster;
  }

  ask(process: PdProcess, count: number): void {
    const { pd: driver } = process;
    if (driver === undefined || !driver.isReady) return;
    const answer = this.#cluster.call(process, PdService.Tso, { count });
    this.#open.push({ floor: this.#greatest, answer, count });
    this.#openIds.push(this.#cluster.call(process, PdService.AllocID, { count: 7 }));
  }

  collect(): void {
    for (const one of this.#open.splice(0)) {
      const [message] = one.answer.messages;
      if (message === undefined) {
        if (one.answer.status === undefined) this.#open.push(one);
        continue;
      }
      const { physical = 0, logical = 0 } = message.timestamp ?? {};
      const last = composeTimestamp({ physicalMs: physical, logical });
      const first = last - BigInt(one.count) + 1n;
      if (first <= one.floor) throw new Error(`timestamp ${first} after ${one.floor} was received`);
      const stored = this.#cluster.etcd.peek(new MetaKeys(this.#cluster.clusterId).timestamp);
      const windowMs = stored === undefined ? 0 : Number(decodeUint64(stored.value) / 1_000_000n);
      if (physical > windowMs) throw new Error(`timestamp ${last} is above the stored window`);
      if (last > this.#greatest) this.#greatest = last;
      this.answered += 1;
    }
    for (const answer of this.#openIds.splice(0)) {
      const [message] = answer.messages;
      if (message === undefined) {
        if (answer.status === undefined) this.#openIds.push(answer);
        continue;
      }
      if (message.header?.error) continue;
      for (let id = message.id - 6; id <= message.id; id++) {
        if (this.#ids.has(id)) throw new Error(`id ${id} was handed out twice`);
        this.#ids.add(id);
      }
      this.given += 7;
    }
  }
}

function take(cluster: PdCluster, one: Step): void {
  const process = "pd" in one ? (cluster.processes[one.pd] as PdProcess) : undefined;
  switch (one.kind) {
    case "kill":
      if (process?.pd !== undefined) cluster.kill(process.name);
      return;
    case "restart":
      if (process !== undefined && process.pd === undefined) cluster.restart(process.name);
      return;
    case "pause":
      return process?.env.pause();
    case "resume":
      return process?.env.resume();
    case "cut":
    case "heal":
      if (process !== undefined) process.store.knobs.isCut = one.kind === "cut";
      return;
    case "jumpWall":
      if (process !== undefined) process.env.wallOffsetMs += one.ms;
      return;
    case "handOver": {
      const body = new Uint8Array(0);
      const request = { method: "POST", path: "/pd/api/v1/leader/resign", query: {}, headers: {}, body };
      return cluster.leaders()[0]?.pd?.handleHttp(request, () => {});
    }
    case "loseQuorum":
      return cluster.etcd.setQuorum(false);
    case "regainQuorum":
      return cluster.etcd.setQuorum(true);
    case "compact":
      return cluster.etcd.compact();
    case "wait":
      break;
  }
}

function run(seed: number, steps: readonly Step[]): Traffic {
  const cluster = new PdCluster(PDS, seed, { delayMs: 4, loseAnswerOneIn: 40, timeoutMs: 400 });
  cluster.waitForLeader();
  const traffic = new Traffic(cluster);
  const live = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 20) {
      cluster.env.advance(20);
      for (const process of cluster.processes) traffic.ask(process, 1 + (passed % 5) * 30_000);
      traffic.collect();
    }
  };
  for (const one of steps) {
    take(cluster, one);
    live(one.kind === "wait" ? one.ms : 60);
  }
  // All is well again: somebody leads soon, alone, and serves.
  cluster.etcd.setQuorum(true);
  for (const process of cluster.processes) {
    process.env.resume();
    process.store.knobs.isCut = false;
    process.store.knobs.loseAnswerOneIn = 0;
    if (process.pd === undefined) cluster.restart(process.name);
  }
  live(6_000);
  cluster.waitForLeader();
  const before = traffic.answered;
  live(1_000);
  if (traffic.answered === before) throw new Error("no timestamps after all was well again");
  return traffic;
}

describe("ids and timestamps of several PDs", () => {
  test("come from a new leader only when it has stored its window, however slow etcd is [TestDelaySyncTimestamp]", () => {
    const cluster = new PdCluster(3, 3, { timeoutMs: 4_000 });
    cluster.waitForLeader();
    const traffic = new Traffic(cluster);
    const live = (ms: number): void => {
      for (let passed = 0; passed < ms; passed += 20) {
        cluster.env.advance(20);
        // `collect` compares each answer with the window that etcd holds.
        for (const process of cluster.processes) traffic.ask(process, 1 + (passed % 5) * 1_000);
        traffic.collect();
      }
    };
    live(2_000);
    for (let round = 0; round < 4; round++) {
      const old = cluster.leader();
      // The old window reaches far ahead of the clock of whoever follows.
      old.env.wallOffsetMs += 2_000;
      live(500);
      for (const process of cluster.processes) process.store.knobs.delayMs = process === old ? 1 : 400;
      cluster.kill(old.name);
      live(6_000);
      for (const process of cluster.processes) process.store.knobs.delayMs = 1;
      cluster.restart(old.name);
      live(1_000);
      const before = traffic.answered;
      live(1_000);
      expect(traffic.answered).toBeGreaterThan(before);
    }
  });

  test("are never handed out twice nor in a wrong order, whatever happens", { timeout: 120_000 }, () => {
    let answered = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.array(step, { maxLength: 40 }), (seed, steps) => {
        answered += run(seed, steps).answered;
      }),
      { numRuns: Number(globalThis.process?.env?.["ORDER_RUNS"] ?? 25), seed: 20_261_127 },
    );
    expect(answered).toBeGreaterThan(1_000);
  });
});
