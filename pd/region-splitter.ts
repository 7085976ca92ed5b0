/**
 * Splits regions at given keys and waits until PD has seen the parts. A key at which a region already starts is done:
 * a caller that repeats its request must not be told that it failed. (pd-rules 5.5 to 5.8)
 */
import { compareBytes, equalBytes } from "../base/index.js";
import type { OperatorController } from "./operator-controller.js";
import { peerOnStore, type RegionInfo, voters } from "./region-info.js";
import { splitOperator } from "./split-operator.js";

const LOOK_MS = 50;
const ROUND_MAX_MS = 60_000;
const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 60_000;
const RETRIES_MAX = 30;
const SPLITTER_DESC = "region-splitter";

export interface SplitOutcome {
  /** 0 to 100, rounded down; 0 without keys. */
  readonly percentage: number;
  /** Regions that start at one of the keys. */
  readonly regionIds: readonly number[];
}

export class RegionSplitter {
  readonly #controller: OperatorController;
  readonly #onUnreplicated: (regionId: number) => void;
  #stopped = false;

  constructor(controller: OperatorController, onUnreplicated: (regionId: number) => void) {
    this.#controller = controller;
    this.#onUnreplicated = onUnreplicated;
  }

  stop(): void {
    this.#stopped = true;
  }

  split(keys: readonly Uint8Array[], retryLimit: number, callback: (outcome: SplitOutcome) => void): void {
    const sorted = [...keys].sort(compareBytes);
    const wanted = sorted.filter((key, i) => i === 0 || !equalBytes(key, sorted[i - 1] as Uint8Array));
    const rounds = Math.min(retryLimit, RETRIES_MAX) + 1;
    const run = (round: number): void => {
      const left = wanted.filter((key) => this.#regionAt(key) === undefined);
      if (left.length === 0 || round >= rounds || this.#stopped) return callback(this.#outcome(wanted));
      this.#start(left);
      const { env } = this.#controller.view;
      this.#wait(left, env.clock.monotonicMs() + ROUND_MAX_MS, () => {
        if (left.every((key) => this.#regionAt(key) !== undefined)) return run(rounds);
        if (round + 1 >= rounds) return run(rounds);
        env.timers.set(Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** round), () => run(round + 1));
      });
    };
    run(0);
  }

  #outcome(wanted: readonly Uint8Array[]): SplitOutcome {
    const regionIds: number[] = [];
    for (const key of wanted) {
      const region = this.#regionAt(key);
      if (region !== undefined) regionIds.push(region.meta.id);
    }
    const left = wanted.length - regionIds.length;
    const percentage = wanted.length === 0 ? 0 : Math.floor(100 - (100 * left) / wanted.length);
    return { percentage, regionIds };
  }

  /** The region that starts at the key. */
  #regionAt(key: Uint8Array): RegionInfo | undefined {
    const region = this.#controller.view.cluster.regions.find(key);
    return region !== undefined && equalBytes(region.meta.startKey, key) ? region : undefined;
  }

  /** One operator for each region that has keys in it. */
  #start(keys: readonly Uint8Array[]): void {
    const { view } = this.#controller;
    const groups = new Map<number, { region: RegionInfo; keys: Uint8Array[] }>();
    for (const key of keys) {
      const region = view.cluster.regions.find(key);
      if (region?.leader === undefined) continue;
      if (!view.isReplicated(region)) {
        this.#onUnreplicated(region.meta.id);
        if (this.#canBeCompleted(region)) continue;
      }
      const group = groups.get(region.meta.id) ?? { region, keys: [] };
      group.keys.push(key);
      groups.set(region.meta.id, group);
    }
    for (const group of groups.values()) {
      const made = splitOperator(view, SPLITTER_DESC, group.region, "usekey", group.keys);
      if (typeof made !== "string") this.#controller.add(made);
    }
  }

  /**
   * A region that is being completed is split afterwards. Where every store has a peer already (fewer stores than
   * replicas), waiting would last for ever: such a region is split as it is.
   */
  #canBeCompleted(region: RegionInfo): boolean {
    const { view } = this.#controller;
    const hasLearner = voters(region).length < region.meta.peers.length;
    return hasLearner || view.stores().some((store) => peerOnStore(region, store.id) === undefined);
  }

  /** Until all keys are boundaries, or nothing is under way any more that could make them so. */
  #wait(keys: readonly Uint8Array[], deadlineMs: number, done: () => void): void {
    const { view } = this.#controller;
    view.env.timers.set(LOOK_MS, () => {
      const left = keys.filter((key) => this.#regionAt(key) === undefined);
      const underWay = left.some((key) => {
        const region = view.cluster.regions.find(key);
        return region !== undefined && this.#controller.operator(region.meta.id)?.desc === SPLITTER_DESC;
      });
      if (!underWay || this.#stopped || view.nowMs() >= deadlineMs) return done();
      this.#wait(keys, deadlineMs, done);
    });
  }
}
