/**
 * Spreads load: moves hot peers, or their leaders, from stores that carry more than their share to stores that carry
 * less, one kind of load a round. What its operators will change counts as changed until the figures show it, else
 * the same load would be moved again and again. (pd-rules 9.28 to 9.39)
 */
import { randomBelow } from "../../base/index.js";
import { Operator } from "../operator.js";
import { OperatorBuilder } from "../operator-builder.js";
import { peerOnStore, type RegionInfo } from "../region-info.js";
import { BaseScheduler, type SchedulerHost, type SettingsReply } from "../scheduler.js";
import { HOT_READ, HOT_WRITE, type HotPeer } from "../statistics/hot-peer-cache.js";
import {
  addRates,
  type Dimension,
  DIMENSIONS,
  dimensionIndex,
  NO_RATES,
  type Rates,
} from "../statistics/rates.js";
import type { StoreInfo } from "../store-info.js";
import { compareVersions, parseVersion } from "../version.js";
import {
  type Expectation,
  expectationOf,
  highestRates,
  HOT_TYPES,
  type HotType,
  isLeaderType,
  isRead,
  makeLoad,
  PendingInfluence,
  type StoreLoad,
} from "./hot-load.js";
import { type DimensionScore, dimensionScore, formulas, progressiveRank } from "./hot-rank.js";
import { hotSplit, keyAtHalfLoad, keyAtMiddle } from "./hot-split.js";
import { HotSettings, type Priorities } from "./hot-settings.js";

export const HOT_REGION = "balance-hot-region-scheduler";
const INTERVAL_MIN_MS = 1000;
const INTERVAL_MAX_MS = 1300;
const CPU_SINCE = "8.5.7";
const TOP_PEER = 10;
const FIRST_UNIFORM = 0.05;
const SECOND_UNIFORM = 0.1;
const STORE_FIGURES_LAG_MS = 10_000;
const REGION_FIGURES_LAG_MS = 60_000;
const ALLOWED_USE = "hotRegion";
/** A round of hundreds of stores with thousands of hot peers ends after so long, with the best move seen. */
const TURN_MS = 8;

interface Mover {
  readonly region: RegionInfo;
  readonly peer: HotPeer;
}

interface Move extends Mover {
  /** Goes back from target to source in exchange. */
  readonly revert: Mover | undefined;
  /** What goes over, less what comes back, in the two dimensions that count. */
  readonly rates: readonly [number, number];
  readonly source: StoreLoad;
  readonly target: StoreLoad;
  readonly rank: number;
  readonly scores: readonly [DimensionScore, DimensionScore];
  readonly type: HotType;
  readonly firstPriority: Dimension;
}

interface Round {
  readonly type: HotType;
  readonly loads: readonly StoreLoad[];
  readonly expectation: Expectation;
  readonly priorities: Priorities;
  /** Of all stores, in each dimension. */
  readonly highestMin: Rates;
  readonly highestMax: Rates;
  /** Of each store and dimension, once looked up. */
  readonly topRates: Map<StoreLoad, number[]>;
  /** Peers that may move, once looked up. */
  readonly movable: Map<StoreLoad, readonly HotPeer[]>;
  /** A move that does not fit alone may be made up for by another in return. */
  readonly exchanges: boolean;
  readonly endMs: number;
}

export class HotRegion extends BaseScheduler {
  readonly name = HOT_REGION;
  override readonly intervalMinMs: number = INTERVAL_MIN_MS;
  override readonly intervalMaxMs: number = INTERVAL_MAX_MS;
  readonly #settings = new HotSettings();
  readonly #pending = new PendingInfluence();
  readonly #history = new Map<string, Rates[]>();
  /** How many peers the last round of a type looked at before its time was over, when it found no move. */
  readonly #seenInVain = new Map<HotType, number>();
  /** Types of which the last round found nothing that fits alone: the next may exchange. (9.37) */
  readonly #exchanges = new Set<HotType>();
  #sampledMs = Number.NEGATIVE_INFINITY;

  constructor(host: SchedulerHost) {
    super(host, "hot-region");
  }

  override settings(): Record<string, unknown> {
    return this.#settings.toJson();
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    this.#settings.load(stored);
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    return this.#settings.change(body);
  }

  run(): number {
    this.#sample();
    const type = HOT_TYPES[randomBelow(this.view.env.random, HOT_TYPES.length)] as HotType;
    return this.runType(type);
  }

  /** One round of one kind of load; reads try both ways and take the better. */
  runType(type: HotType): number {
    const direction = isRead(type) ? "read" : "write";
    if (this.#settings.forbidden === direction) return 0;
    const types: readonly HotType[] = isRead(type) ? ["read-leader", "read-peer"] : [type];
    let best: Move | undefined;
    for (const one of types) {
      const move = this.#solve(this.#round(one));
      if (move instanceof Operator) return this.submit(move) === undefined ? 1 : 0;
      this.#setExchanges(one, move);
      if (move !== undefined && (best === undefined || move.rank > best.rank)) best = move;
    }
    return best === undefined ? 0 : this.#start(best);
  }

  /** A round that its time ended has not seen all single moves yet: those come first. */
  #setExchanges(type: HotType, move: Move | undefined): void {
    const none = move === undefined && !this.#seenInVain.has(type);
    const wants = none || move?.rank === 2 || move?.revert !== undefined;
    if (wants && this.#settings.version !== "v1") this.#exchanges.add(type);
    else this.#exchanges.delete(type);
  }

  // What is.

  #round(type: HotType): Round {
    const loads = this.#loads(type);
    const expectation = expectationOf(loads);
    const priorities = this.#priorities(type, expectation);
    const highest = (side: "min" | "max"): Rates =>
      loads.reduce((most: Rates, load) => highestRates(most, load[side]), NO_RATES);
    return {
      type,
      loads,
      expectation,
      priorities,
      topRates: new Map(),
      movable: new Map(),
      exchanges: this.#exchanges.has(type),
      endMs: this.view.nowMs() + TURN_MS,
      highestMin: highest("min"),
      highestMax: highest("max"),
    };
  }

  #loads(type: HotType): StoreLoad[] {
    const { view } = this;
    const { statistics } = this.host;
    const direction = isRead(type) ? "read" : "write";
    const nowMs = view.nowMs();
    const degree = view.config.number("schedule.hot-region-cache-hits-threshold");
    const pending = this.#pending.sum(type, this.#settings.number("pending-weight"), nowMs);
    const loads: StoreLoad[] = [];
    for (const store of view.stores()) {
      if (store.isUnhealthy(nowMs)) continue;
      if (isLeaderType(type) && store.leaderInPauses + store.leaderOutPauses > 0) continue;
      const hot = statistics.hot(direction).hotPeers(store.id, degree, nowMs);
      const peers = isLeaderType(type) ? hot.filter((peer) => peer.isLeader) : hot;
      const own = statistics.figures(store.id).rates(direction);
      let current = own;
      if (type === "write-leader") {
        const sum = peers.reduce((total: Rates, peer) => addRates(total, peer.rates), NO_RATES);
        current = [sum[0], sum[1], own[2], 0];
      }
      const history = this.#history.get(`${type} ${store.id}`) ?? [];
      loads.push(makeLoad(store, current, pending.get(store.id) ?? NO_RATES, peers, history));
    }
    return loads;
  }

  #sample(): void {
    const nowMs = this.view.nowMs();
    const { samples, sampleMs } = this.#settings;
    if (samples === 0 || nowMs - this.#sampledMs < sampleMs) return;
    this.#sampledMs = nowMs;
    for (const type of HOT_TYPES) {
      const loads = this.#loads(type);
      this.#showLoads(type, loads);
      for (const { store, current } of loads) {
        const key = `${type} ${store.id}`;
        const list = this.#history.get(key) ?? [];
        list.push(current);
        if (list.length > samples) list.shift();
        this.#history.set(key, list);
      }
    }
  }

  /** Rates of each store, and of the average one under `exp-`. */
  #showLoads(type: HotType, loads: readonly StoreLoad[]): void {
    const { metrics } = this.view.cluster.context;
    const show = (store: string, prefix: string, rates: Rates): void => {
      for (const [i, dimension] of (["byte", "key", "query"] as const).entries()) {
        const labels = { type: `${prefix}${dimension}-rate-${type}`, store };
        metrics.set("pd_scheduler_hot_peers_summary", labels, rates[i] as number);
      }
    };
    for (const { store, current } of loads) show(String(store.id), "", current);
    show("tikv", "exp-", expectationOf(loads).mean);
  }

  /** A dimension that no store reports says nothing: the next one stands in. */
  #priorities(type: HotType, { mean }: Expectation): Priorities {
    const name = isRead(type)
      ? "read-priorities"
      : type === "write-leader"
        ? "write-leader-priorities"
        : "write-peer-priorities";
    const wanted = [...this.#settings.priorities(name)];
    const version = parseVersion(this.view.config.clusterVersion);
    const since = parseVersion(CPU_SINCE);
    const hasCpu = version !== undefined && since !== undefined && compareVersions(version, since) >= 0;
    if (!hasCpu && wanted[0] === "cpu") wanted[0] = "query";
    const reported = (dimension: Dimension): boolean => mean[dimensionIndex(dimension)] > 0;
    const chosen = wanted.filter(reported);
    for (const dimension of ["byte", "key", "query"] as const) {
      if (chosen.length < 2 && !chosen.includes(dimension) && reported(dimension)) chosen.push(dimension);
    }
    for (const dimension of DIMENSIONS) {
      if (chosen.length < 2 && !chosen.includes(dimension)) chosen.push(dimension);
    }
    return [chosen[0] as Dimension, chosen[1] as Dimension];
  }

  // What is best.

  /**
   * The stores with the highest load first: a round that runs out of time has looked at those. One that ran out of it
   * and found nothing is followed by one that begins where it ended.
   */
  #solve(round: Round): Move | Operator | undefined {
    const first = dimensionIndex(round.priorities[0]);
    const targets = round.loads.filter((load) => this.#isTarget(load, round));
    const sources = round.loads
      .filter((load) => this.#isSource(load, round))
      .sort((left, right) => right.min[first] - left.min[first]);
    const seenBefore = this.#seenInVain.get(round.type) ?? 0;
    this.#seenInVain.delete(round.type);
    let seen = 0;
    let best: Move | undefined;
    for (const source of sources) {
      for (const peer of this.#movable(source, round)) {
        if (seen++ < seenBefore) continue;
        const region = this.view.cluster.regions.byId(peer.regionId);
        if (region !== undefined && this.#mayMove(region, peer, round.type)) {
          const split = this.#splitTooHot(round, source, peer, region);
          if (split !== undefined) return split;
          best = this.#bestTarget(round, source, targets, { region, peer }, best);
        }
        if (this.view.nowMs() <= round.endMs) continue;
        if (best === undefined) this.#seenInVain.set(round.type, seen);
        return best;
      }
    }
    return best;
  }

  /** A region that carries so much of its store that it would only move the problem. (9.38) */
  #splitTooHot(round: Round, source: StoreLoad, peer: HotPeer, region: RegionInfo): Operator | undefined {
    if (!this.view.config.regionSizes.hasBuckets) return undefined;
    const { type, priorities } = round;
    const share = this.#settings.number("split-thresholds");
    const checked = type === "write-leader" ? [priorities[0]] : priorities;
    const isTooHot = checked.some((name) => {
      const i = dimensionIndex(name);
      return peer.rates[i] > share * source.current[i];
    });
    if (!isTooHot) return undefined;
    const direction = isRead(type) ? "read" : "write";
    const degree = this.view.config.number("schedule.hot-region-cache-hits-threshold");
    const buckets = this.host.statistics.buckets.hot(region.meta.id, degree);
    const split = hotSplit(
      this.view,
      region,
      direction,
      keyAtHalfLoad(region, buckets, direction, priorities),
    );
    if (typeof split !== "string") return split;
    this.host.notes.note("region", region.meta.id, this.name, split);
    return undefined;
  }

  /** Figures are compared first: whether a store may take a peer costs more to know. */
  #bestTarget(
    round: Round,
    source: StoreLoad,
    targets: readonly StoreLoad[],
    main: Mover,
    before: Move | undefined,
  ): Move | undefined {
    let best = before;
    const isSafe = this.#safeguard(main.region, source.store.id);
    for (const target of targets) {
      const move = this.#judge(round, source, target, main, undefined);
      if (move === undefined) continue;
      if (this.#wins(move, best, round)) {
        const problem = this.#targetProblem(main, target.store, round.type, isSafe);
        if (problem === undefined) best = move;
        else this.#noteNot(main.region, target.store, problem);
      }
      if (round.exchanges && (move.rank === 2 || move.rank === 0))
        best = this.#bestExchange(round, move, best, isSafe);
    }
    return best;
  }

  /** With a smaller hot peer in return: where one peer alone would tilt the stores the other way. (9.37) */
  #bestExchange(
    round: Round,
    move: Move,
    before: Move | undefined,
    isSafe: (target: StoreInfo) => boolean,
  ): Move | undefined {
    let best = before;
    const { source, target, region: mainRegion } = move;
    for (const peer of this.#movable(target, round)) {
      if (peer.regionId === mainRegion.meta.id) continue;
      if (this.view.nowMs() > round.endMs) return best;
      const region = this.view.cluster.regions.byId(peer.regionId);
      if (region === undefined) continue;
      const isThere = peerOnStore(region, source.store.id) !== undefined;
      if (isThere !== isLeaderType(round.type)) continue;
      const revert = { region, peer };
      const exchange = this.#judge(round, source, target, move, revert);
      if (exchange === undefined || !this.#wins(exchange, best, round)) continue;
      if (!this.#mayMove(region, peer, round.type)) continue;
      const problem =
        this.#targetProblem(move, target.store, round.type, isSafe) ??
        this.#targetProblem(revert, source.store, round.type, this.#safeguard(region, target.store.id));
      if (problem === undefined) best = exchange;
    }
    return best;
  }

  /** Fits, and better than what was found before. Two moves must be worth it more than one. */
  #wins(move: Move, best: Move | undefined, round: Round): boolean {
    if (move.rank < (move.revert === undefined ? 1 : 3) || this.#isUniform(move.rank, round)) return false;
    return best === undefined || this.#isBetter(move, best, round);
  }

  #safeguard(region: RegionInfo, fromStore: number): (target: StoreInfo) => boolean {
    let safeguard: ((target: StoreInfo) => boolean) | undefined;
    return (target) => {
      safeguard ??= this.view.safeguard(region, fromStore);
      return safeguard(target);
    };
  }

  #noteNot(region: RegionInfo, target: StoreInfo, problem: string): void {
    this.host.notes.note("region", region.meta.id, this.name, `not to store ${target.id}: ${problem}`);
  }

  #judge(
    round: Round,
    source: StoreLoad,
    target: StoreLoad,
    { region, peer }: Mover,
    revert: Mover | undefined,
  ): Move | undefined {
    if (target === source) return undefined;
    const [firstFormula, secondFormula] = formulas(this.#settings.number("great-dec-ratio"));
    const rateOf = (which: 0 | 1): number => {
      const dimension = dimensionIndex(round.priorities[which]);
      return peer.rates[dimension] - (revert?.peer.rates[dimension] ?? 0);
    };
    const rates = [rateOf(0), rateOf(1)] as const;
    if (rates[0] < this.#minRate(round.priorities[0]) && rates[1] < this.#minRate(round.priorities[1]))
      return undefined;
    const score = (which: 0 | 1): DimensionScore => {
      const name = round.priorities[which];
      const dimension = dimensionIndex(name);
      const higher = source.min[dimension] >= target.max[dimension] ? source : target;
      const input = {
        source,
        target,
        dimension,
        rate: rates[which],
        minRate: this.#minRate(name),
        topRate: topRate(round.topRates, higher, dimension),
      };
      return dimensionScore(input, which === 0 ? firstFormula : secondFormula);
    };
    const scores = [score(0), score(1)] as const;
    const rank = progressiveRank(scores[0], scores[1], round.type === "write-leader");
    if (rank < 0 || (rank === 0 && !round.exchanges)) return undefined;
    const { type, priorities } = round;
    return { region, peer, revert, rates, source, target, rank, scores, type, firstPriority: priorities[0] };
  }

  #minRate(name: Dimension): number {
    return this.#settings.number(`min-hot-${name}-rate`);
  }

  /** Above the expectation, now and in all samples kept. */
  #isSource(load: StoreLoad, { type, expectation, priorities }: Round): boolean {
    if (load.peers.length === 0) return false;
    const ratio = this.#settings.number("src-tolerance-ratio");
    const checked = type === "write-leader" ? [priorities[0]] : priorities;
    return checked.some((name) => {
      const i = dimensionIndex(name);
      if (load.min[i] <= ratio * expectation.mean[i]) return false;
      return load.history.every((rates, k) => {
        const mean = expectation.history[k];
        return mean === undefined || rates[i] > ratio * mean[i];
      });
    });
  }

  #isTarget(load: StoreLoad, { type, expectation, priorities }: Round): boolean {
    const ratio = this.#settings.number("dst-tolerance-ratio");
    const checked = type === "write-leader" ? [priorities[0]] : priorities;
    return checked.some((name) => {
      const i = dimensionIndex(name);
      if (load.max[i] * ratio >= expectation.mean[i]) return false;
      return load.history.every((rates, k) => {
        const mean = expectation.history[k];
        return mean === undefined || rates[i] * ratio < mean[i];
      });
    });
  }

  #movable(store: StoreLoad, round: Round): readonly HotPeer[] {
    let peers = round.movable.get(store);
    if (peers === undefined) {
      peers = this.#findMovable(store, round);
      round.movable.set(store, peers);
    }
    return peers;
  }

  /** With more than a few, those that lead in one of the two dimensions. */
  #findMovable(source: StoreLoad, { priorities, type }: Round): readonly HotPeer[] {
    const most = this.#settings.number("max-peer-number");
    const free = source.peers.filter(
      (peer) => !this.#pending.has(peer.regionId) && !this.#isCooling(peer, type),
    );
    if (free.length <= most) return free;
    const top = new Set<HotPeer>();
    for (const name of priorities) {
      const i = dimensionIndex(name);
      const sorted = [...free].sort((left, right) => right.rates[i] - left.rates[i]);
      for (const peer of sorted.slice(0, most)) top.add(peer);
    }
    return [...top];
  }

  /** After its leader moved a region rests until figures of the new leader count. (10.10) */
  #isCooling(peer: HotPeer, type: HotType): boolean {
    const reports = this.view.config.number("schedule.hot-region-cache-hits-threshold");
    const { reportSeconds } = isRead(type) ? HOT_READ : HOT_WRITE;
    return this.view.nowMs() - peer.leaderMovedMs < reports * reportSeconds * 1000;
  }

  #mayMove(region: RegionInfo, peer: HotPeer, type: HotType): boolean {
    if (!this.isFree(region) || this.denied(region) || region.downPeers.length > 0) return false;
    if (!this.view.isReplicated(region)) return false;
    if (type.endsWith("peer") && this.view.senderProblem(region, "high") !== undefined) return false;
    const leads = region.leader?.storeId === peer.storeId;
    if (type === "read-peer" && leads) return false;
    if (isLeaderType(type)) return leads && region.pendingPeers.length === 0;
    return peerOnStore(region, peer.storeId) !== undefined;
  }

  #targetProblem(
    { region, peer }: Mover,
    target: StoreInfo,
    type: HotType,
    isSafe: (target: StoreInfo) => boolean,
  ): string | undefined {
    const { view } = this;
    const there = peerOnStore(region, target.id);
    if (isLeaderType(type)) {
      if (there === undefined) {
        // A read may take its leader to a store that has no peer yet.
        if (!isRead(type)) return "it has no peer there";
        return view.leaderTargetProblem(target) ?? this.#peerProblem(target, isSafe);
      }
      if (there.role !== "voter") return "its peer there is no voter";
      return (
        view.leaderTargetProblem(target) ??
        view.specialUseProblem(target, ALLOWED_USE) ??
        (view.leaderSafeguard(region)(target) ? undefined : "a placement rule forbids it to lead")
      );
    }
    if (there !== undefined || peer.storeId === target.id) return "StoreAlreadyHasPeer";
    return this.#peerProblem(target, isSafe);
  }

  #peerProblem(target: StoreInfo, isSafe: (target: StoreInfo) => boolean): string | undefined {
    const { view } = this;
    if (target.isEvictedAsSlow || target.isEvictedAsStopping) return "StoreRejectLeader";
    return (
      view.regionTargetProblem(target, ALLOWED_USE) ??
      view.temporaryTargetProblem(target) ??
      (isSafe(target) ? undefined : "StoreNotMatchRule")
    );
  }

  /** Stores that are all alike in a dimension gain nothing by it. */
  #isUniform(rank: number, { expectation, priorities }: Round): boolean {
    const first = expectation.deviation[dimensionIndex(priorities[0])] < FIRST_UNIFORM;
    const second = expectation.deviation[dimensionIndex(priorities[1])] < SECOND_UNIFORM;
    if (first && second) return true;
    return (first && (rank === 2 || rank === 3)) || (second && rank === 1);
  }

  #isBetter(move: Move, best: Move, { priorities, highestMin, highestMax }: Round): boolean {
    if (move.rank !== best.rank) return move.rank > best.rank;
    const isAlone = move.revert === undefined;
    if (isAlone !== (best.revert === undefined)) return isAlone;
    const which = move.rank === 1 ? 1 : 0;
    const name = priorities[which];
    const i = dimensionIndex(name);
    const share = this.#settings.rankStep(name);
    // In steps, so that hardly fuller stores do not win over those with less under way.
    const gain = (of: StoreLoad, than: StoreLoad, side: "min" | "max", most: number): number => {
      const steps = ({ [side]: rates }: StoreLoad): number =>
        most > 0 ? Math.floor(rates[i] / (most * share)) : 0;
      const fuller = steps(of) - steps(than);
      const quieter = than.pending[i] - of.pending[i];
      return side === "min"
        ? fuller || quieter || of.min[i] - than.min[i]
        : -fuller || quieter || than.max[i] - of.max[i];
    };
    const bySource = move.source === best.source ? 0 : gain(move.source, best.source, "min", highestMin[i]);
    if (bySource !== 0) return bySource > 0;
    const byTarget = move.target === best.target ? 0 : gain(move.target, best.target, "max", highestMax[i]);
    if (byTarget !== 0) return byTarget > 0;
    if (move.scores[which] !== best.scores[which]) return move.scores[which] > best.scores[which];
    const isBigger = move.rates[which] > best.rates[which];
    return move.scores[which] === 2 ? isBigger : !isBigger;
  }

  // What is done.

  #start(move: Move): number {
    const { source, target, revert } = move;
    const plans = [{ mover: move as Mover, from: source.store.id, to: target.store.id }];
    if (revert !== undefined) plans.push({ mover: revert, from: target.store.id, to: source.store.id });
    const cut = this.#splitTooLarge(move);
    if (cut > 0) return cut;
    const operators = plans.map(({ mover, from, to }) => this.#operator(move, mover, from, to));
    const unbuilt = operators.find((operator) => typeof operator === "string");
    if (unbuilt !== undefined) return this.#noteRefusal(move.region, unbuilt);
    for (const [i, plan] of plans.entries()) {
      const operator = operators[i] as Operator;
      const refused = this.submit(operator);
      if (refused !== undefined) return this.#noteRefusal(plan.mover.region, refused, i);
      this.host.notes.clear("region", plan.mover.region.meta.id, this.name);
      this.#started(move, operator, plan.mover.peer, plan.from, plan.to);
    }
    return plans.length;
  }

  /** Before they move: with buckets a store can cut where the load is. (9.38) */
  #splitTooLarge({ type, region, revert }: Move): number {
    if (isLeaderType(type) || !this.view.config.regionSizes.hasBuckets) return 0;
    const sizeMax = this.view.config.number("schedule.max-movable-hot-peer-size");
    let started = 0;
    for (const one of revert === undefined ? [region] : [region, revert.region]) {
      if (one.sizeMib <= sizeMax) continue;
      const keys = this.host.statistics.buckets.metaOf(one.meta.id)?.keys ?? [];
      const split = hotSplit(this.view, one, isRead(type) ? "read" : "write", keyAtMiddle(one, keys));
      if (typeof split !== "string" && this.submit(split) === undefined) started++;
    }
    return started;
  }

  #noteRefusal(region: RegionInfo, reason: string, started = 0): number {
    this.host.notes.note("region", region.meta.id, this.name, reason);
    return started;
  }

  #started(move: Move, operator: Operator, peer: HotPeer, fromStore: number, toStore: number): void {
    // Sums over regions follow the regions' heartbeats; queries of leaders come with the stores'. (9.31)
    const isOfRegions = move.type === "write-leader" && move.firstPriority !== "query";
    const lagMs = isOfRegions ? REGION_FIGURES_LAG_MS : STORE_FIGURES_LAG_MS;
    this.#pending.add({
      operator,
      type: move.type,
      fromStore,
      toStore,
      rates: [...peer.rates],
      zombieMs: lagMs * this.#settings.number("max-zombie-rounds"),
    });
    const { metrics } = this.view.cluster.context;
    const labels = { type: move.type, rw: isRead(move.type) ? "read" : "write", dim: "all" };
    const count = (storeId: number, to: string): void =>
      metrics.increment("pd_scheduler_hot_region_direction", {
        ...labels,
        store: String(storeId),
        direction: to,
      });
    count(fromStore, "out");
    count(toStore, "in");
  }

  #operator({ type, rank }: Move, { region, peer }: Mover, from: number, to: number): Operator | string {
    const word = isRead(type) ? "read" : "write";
    const details = {
      rank,
      "byte-rate": peer.rates[0],
      "key-rate": peer.rates[1],
      "query-rate": peer.rates[2],
    };
    const sizeMax = this.view.config.number("schedule.max-movable-hot-peer-size");
    const leads = region.leader?.storeId === from;
    if (isLeaderType(type) && peerOnStore(region, to) !== undefined) {
      const builder = new OperatorBuilder(this.view, `transfer-hot-${word}-leader`, region, { details });
      const built = builder.setLeader(to).build(["hot-region"], "high");
      return built.kind === "built" ? built.operator : built.reason;
    }
    if (region.sizeMib > sizeMax) return `hot, but larger than max-movable-hot-peer-size ${sizeMax} MiB`;
    const desc = `move-hot-${word}-${leads ? "leader" : "peer"}`;
    const role = peerOnStore(region, from)?.role === "learner" ? "learner" : "voter";
    const builder = new OperatorBuilder(this.view, desc, region, { details });
    builder.addPeer(to, role).removePeer(from);
    if (leads) builder.setLeader(to);
    const built = builder.build(["hot-region"], "high");
    return built.kind === "built" ? built.operator : built.reason;
  }
}

function topRate(known: Map<StoreLoad, number[]>, load: StoreLoad, dimension: 0 | 1 | 2 | 3): number {
  let rates = known.get(load);
  if (rates === undefined) {
    rates = [];
    known.set(load, rates);
  }
  rates[dimension] ??= tenthOf(load, dimension);
  return rates[dimension];
}

function tenthOf(load: StoreLoad, dimension: 0 | 1 | 2 | 3): number {
  const rates = load.peers.map((peer) => peer.rates[dimension]).sort((left, right) => right - left);
  return rates[TOP_PEER - 1] ?? rates.at(-1) ?? 0;
}
