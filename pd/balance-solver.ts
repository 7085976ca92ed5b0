/**
 * Whether moving a leader or a peer from one store to another is worth it. The tolerance and the forced sign of
 * what is under way keep things from going to and fro: a store that just received does not give, one that just gave
 * does not take. (pd-rules 9.14 to 9.19)
 *
 * PD's tolerance for leaders counted is 5, because its counts come with the stores' heartbeats and are old; ours come
 * with each region's heartbeat, so that small clusters may be balanced to a leader or two.
 */
import { addInfluence, type Influence, NO_INFLUENCE, type Operator } from "./operator.js";
import type { RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";
import type { StoreInfo } from "./store-info.js";
import type { StoreRegions } from "./store-regions.js";

const WEIGHT_MIN = 1e-6;
const LEADER_TOLERANCE_MAX = 5;
const LEADER_TOLERANCE_SHARE = 0.05;
const REGION_TOLERANCE_SHARE = 0.005;
/** A peer that moves is counted several times: its data will follow for a while. */
const REGION_INFLUENCE_FACTOR = 5;

export type BalanceKind = "leader" | "region";

/** Of which regions the stores are balanced: all, or those of a range. */
export interface RegionSource {
  readonly count: number;
  readonly averageSizeMib: number;
  onStore(storeId: number): StoreRegions;
}

export class BalanceSolver {
  readonly #view: SchedulingView;
  readonly #kind: BalanceKind;
  readonly #source: RegionSource;
  readonly influence: Influence;
  readonly tolerance: number;
  /** Each pair of stores may be compared in a round, in which nothing else changes: as they are, and after a move. */
  readonly #present = new Map<number, number>();
  readonly #giving = new Map<number, number>();
  readonly #taking = new Map<number, number>();

  /** A ratio of 0 is that of the settings. */
  constructor(
    view: SchedulingView,
    kind: BalanceKind,
    source: RegionSource = view.cluster.regions,
    tolerantSizeRatio = 0,
  ) {
    this.#view = view;
    this.#kind = kind;
    this.#source = source;
    this.influence = view.influence();
    this.tolerance = this.#tolerance(tolerantSizeRatio);
  }

  /** One more begins in this round. */
  add(operator: Operator, region: RegionInfo): void {
    addInfluence(this.influence, operator, region);
    for (const known of [this.#present, this.#giving, this.#taking]) known.clear();
  }

  /** With what is under way, signs kept: the order in which stores are looked at. */
  score(store: StoreInfo): number {
    return kept(this.#present, store, () => this.#scoreWith(store, this.#underWay(store)));
  }

  /**
   * Strictly better even if everything under way went against it. A region of `sizeMib` above the average must
   * not make its new store the fuller one.
   */
  isWorthwhile(source: StoreInfo, target: StoreInfo, sizeMib = 0): boolean {
    if (sizeMib > this.tolerance) return this.#given(source, sizeMib) > this.#taken(target, sizeMib);
    const given = kept(this.#giving, source, () => this.#given(source, this.tolerance));
    return given > kept(this.#taking, target, () => this.#taken(target, this.tolerance));
  }

  #given(store: StoreInfo, tolerance: number): number {
    return this.#scoreWith(store, -(this.#factor * Math.abs(this.#underWay(store)) + tolerance));
  }

  #taken(store: StoreInfo, tolerance: number): number {
    return this.#scoreWith(store, this.#factor * Math.abs(this.#underWay(store)) + tolerance);
  }

  get #factor(): number {
    return this.#kind === "region" ? REGION_INFLUENCE_FACTOR : 1;
  }

  /** Higher first; of two equal ones the newer store first. */
  byScore(left: StoreInfo, right: StoreInfo): number {
    return this.score(right) - this.score(left) || right.id - left.id;
  }

  get #countsLeaders(): boolean {
    return this.#kind === "leader" && this.#view.config.text("schedule.leader-schedule-policy") === "count";
  }

  #amount(store: StoreInfo): number {
    const regions = this.#source.onStore(store.id);
    if (this.#countsLeaders) return regions.leaders.size;
    return this.#kind === "leader" ? regions.leaderSizeMib : regions.regionSizeMib;
  }

  #underWay(store: StoreInfo): number {
    const on = this.influence.get(store.id) ?? NO_INFLUENCE;
    if (this.#countsLeaders) return on.leaderCount;
    return this.#kind === "leader" ? on.leaderSizeMib : on.regionSizeMib;
  }

  #scoreWith(store: StoreInfo, delta: number): number {
    const amount = this.#amount(store);
    if (this.#kind === "region") return this.#view.regionScoreWith(store, amount, delta);
    return (amount + delta) / Math.max(store.leaderWeight, WEIGHT_MIN);
  }

  #tolerance(own: number): number {
    const regions = this.#source;
    const stores = this.#view.stores();
    const set = own > 0 ? own : this.#view.config.number("schedule.tolerant-size-ratio");
    if (this.#countsLeaders) {
      if (set > 0) return Math.floor(set);
      const average = regions.count / Math.max(1, stores.length);
      return Math.max(1, Math.min(LEADER_TOLERANCE_MAX, Math.ceil(average * LEADER_TOLERANCE_SHARE)));
    }
    let most = 0;
    for (const store of stores) most = Math.max(most, regions.onStore(store.id).regionCount);
    const ratio = set > 0 ? set : Math.max(1, REGION_TOLERANCE_SHARE * most);
    return Math.floor(regions.averageSizeMib * ratio);
  }
}

function kept(known: Map<number, number>, store: StoreInfo, score: () => number): number {
  let found = known.get(store.id);
  if (found === undefined) {
    found = score();
    known.set(store.id, found);
  }
  return found;
}
