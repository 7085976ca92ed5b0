/**
 * Clients of several simulated PDs that ask all of them for ids and timestamps and check each answer, beside regions
 * that split and take orders (`region-world.ts`); and runs of steps that do to the PDs and their etcd what happens to
 * processes. Checked all the time: order (invariants 25 and 26), that at most one PD serves, and that nobody writes but
 * who holds the leader key; in the end, that PD knows the regions and settings as they are.
 */
import { fromUtf8 } from "../../base/index.js";
import { PdService, type pdpb } from "../../proto/index.js";
import { MetaKeys } from "../keys.js";
import { decodeUint64 } from "../numbers.js";
import { composeTimestamp } from "../timestamp-oracle.js";
import { type Answer, PdCluster, type PdProcess, type Seams } from "./pd-cluster.js";
import { RegionWorld } from "./region-world.js";

export const PDS = 3;
const STEP_MS = 20;
const WORLD_EVERY_MS = 200;

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
      for (let id = message.id - 6; id <= message.id; id++) this.took(id);
    }
  }

  took(id: number): void {
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

const LEADER = /^\/pd\/\d+\/leader$/;
/** Keys that PDs write without leading: to lead, and to tell of themselves. */
const UNGUARDED = /^\/pd\/cluster_id$|^\/pd\/\d+\/(leader$|leader_transfer$|member\/)/;

/** A write of a PD takes effect only while the leader key is one that this PD put. */
function watchWrites(cluster: PdCluster): void {
  const owners = new Map<number, object>();
  cluster.etcd.onChanged = (store, operations) => {
    const taken = operations.find(({ kind, key }) => kind === "put" && LEADER.test(fromUtf8(key)));
    if (taken?.kind === "put") owners.set(taken.leaseId ?? 0, store);
    for (const { key } of operations) {
      const name = fromUtf8(key);
      if (UNGUARDED.test(name)) continue;
      const held = cluster.etcd.peek(new MetaKeys(cluster.clusterId).leader)?.leaseId;
      const isMine = taken !== undefined || (held !== undefined && owners.get(held) === store);
      if (!isMine) throw new Error(`${name} was written by a PD that does not lead`);
    }
  };
}

export interface RunFigures {
  readonly answered: number;
  readonly ids: number;
  readonly splits: number;
  readonly operators: number;
  readonly settings: number;
}

export function runSteps(seed: number, steps: readonly Step[], seams: Seams = {}): RunFigures {
  const cluster = new PdCluster(PDS, seed, { delayMs: 4, loseAnswerOneIn: 40, timeoutMs: 400 }, {}, seams);
  watchWrites(cluster);
  cluster.waitForLeader();
  cluster.bootstrapPatiently();
  const traffic = new Traffic(cluster);
  const world = new RegionWorld(cluster, (id) => traffic.took(id));
  let livedMs = 0;
  const live = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      cluster.env.advance(STEP_MS);
      livedMs += STEP_MS;
      for (const process of cluster.processes) traffic.ask(process, 1 + (passed % 5) * 30_000);
      traffic.collect();
      const serving = cluster.leaders();
      if (serving.length > 1)
        throw new Error(`${serving.map(({ name }) => name).join(" and ")} serve at once`);
      if (livedMs % WORLD_EVERY_MS === 0) world.live();
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
    if (process.pd === undefined) cluster.restart(process.name);
  }
  for (const process of cluster.processes) process.store.knobs.loseAnswerOneIn = 0;
  live(6_000);
  cluster.waitForLeader();
  const before = traffic.answered;
  live(2_000);
  if (traffic.answered === before) throw new Error("no timestamps after all was well again");
  world.check(cluster.leader());
  const { splits, operators, settings } = world;
  return { answered: traffic.answered, ids: traffic.given, splits, operators, settings };
}
