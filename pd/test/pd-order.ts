/**
 * Clients of several simulated PDs that ask all of them for ids, timestamps and splits, and check each answer; and
 * runs of steps that do to the PDs and their etcd what happens to processes. (invariants 25 and 26)
 */
import { PdService, type pdpb } from "../../proto/index.js";
import { MetaKeys } from "../keys.js";
import { decodeUint64 } from "../numbers.js";
import { composeTimestamp } from "../timestamp-oracle.js";
import { type Answer, PdCluster, type PdProcess } from "./pd-cluster.js";

export const PDS = 3;
const SPLIT_EVERY = 5;

export type Step =
  | { readonly kind: "kill" | "pause" | "resume" | "restart" | "cut" | "heal"; readonly pd: number }
  | { readonly kind: "handOver" | "loseQuorum" | "regainQuorum" | "compact" }
  | { readonly kind: "jumpWall"; readonly pd: number; readonly ms: number }
  | { readonly kind: "wait"; readonly ms: number };

/** Asks every PD, not only those that lead: whoever answers must answer rightly. */
export class Traffic {
  readonly #cluster: PdCluster;
  #greatest = 0n;
  readonly #ids = new Set<number>();
  readonly #open: {
    readonly floor: bigint;
    readonly answer: Answer<pdpb.TsoResponse>;
    readonly count: number;
  }[] = [];
  readonly #openIds: Answer<pdpb.AllocIDResponse>[] = [];
  readonly #openSplits: Answer<pdpb.AskBatchSplitResponse>[] = [];
  #asked = 0;
  answered = 0;
  splits = 0;
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
    this.#asked += 1;
    if (this.#asked % SPLIT_EVERY !== 0) return;
    const region = { id: 2, regionEpoch: { confVer: 1, version: 1 }, peers: [{ id: 3, storeId: 1 }] };
    this.#openSplits.push(this.#cluster.call(process, PdService.AskBatchSplit, { region, splitCount: 2 }));
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
      for (let id = message.id - 6; id <= message.id; id++) this.#took(id);
    }
    for (const answer of this.#openSplits.splice(0)) {
      const [message] = answer.messages;
      if (message === undefined && answer.status === undefined) this.#openSplits.push(answer);
      for (const { newRegionId, newPeerIds } of message?.ids ?? []) {
        for (const id of [newRegionId, ...newPeerIds]) this.#took(id);
        this.splits += 1;
      }
    }
  }

  #took(id: number): void {
    if (this.#ids.has(id)) throw new Error(`id ${id} was handed out twice`);
    this.#ids.add(id);
    this.given += 1;
  }
}

export function take(cluster: PdCluster, one: Step): void {
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

export function runSteps(seed: number, steps: readonly Step[]): Traffic {
  const cluster = new PdCluster(PDS, seed, { delayMs: 4, loseAnswerOneIn: 40, timeoutMs: 400 });
  cluster.waitForLeader();
  cluster.bootstrapPatiently();
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
