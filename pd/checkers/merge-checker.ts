/**
 * Proposes to merge small regions with a neighbour. It proposes only when every store has said that it can merge,
 * by the label `merge=true`: a store that cannot would ignore the order and the operator would time out.
 * (pd-rules 8.14 to 8.19)
 */
import { compareBytes, decodeMemcomparable, toHex } from "../../base/index.js";
import { mergeOperators } from "../merge-operator.js";
import { EMPTY_REGION_SIZE_MIB, peerOnStore, type RegionInfo } from "../region-info.js";
import { isSplitForMerge } from "../region-sizes.js";
import type { SchedulingView } from "../scheduling-view.js";
import { type CheckResult, HEALTHY, waiting } from "./check-result.js";

const KEYS_PER_MIB = 10_000;
const TARGET_SIZE_MIN_MIB = 500;
const TARGET_SIZE_FACTOR = 4;
const SPLITS_MAX = 100_000;
const POSSIBLE_KEPT_MS = 1000;
const MERGE_LABEL = "merge";

export class MergeChecker {
  readonly #view: SchedulingView;
  readonly #isHot: (regionId: number) => boolean;
  /** Regions that were split lately, with the time until which they are left alone. */
  readonly #splits = new Map<number, number>();
  readonly #startedMs: number;
  #possible = false;
  #possibleAskedMs = Number.NEGATIVE_INFINITY;

  constructor(view: SchedulingView, isHot: (regionId: number) => boolean) {
    this.#view = view;
    this.#isHot = isHot;
    this.#startedMs = view.nowMs();
  }

  /** Every store can merge. Asked for each region, so kept for a second. */
  get isPossible(): boolean {
    const nowMs = this.#view.nowMs();
    if (nowMs - this.#possibleAskedMs >= POSSIBLE_KEPT_MS) {
      this.#possibleAskedMs = nowMs;
      this.#possible = storesCanMerge(this.#view);
    }
    return this.#possible;
  }

  recordSplit(regionIds: readonly number[]): void {
    const untilMs = this.#view.nowMs() + this.#intervalMs;
    for (const id of regionIds) this.#splits.set(id, untilMs);
    for (const [id, until] of this.#splits) {
      if (until > this.#view.nowMs() && this.#splits.size <= SPLITS_MAX) break;
      this.#splits.delete(id);
    }
  }

  check(region: RegionInfo): CheckResult {
    if (this.#view.nowMs() - this.#startedMs < this.#intervalMs) {
      return waiting("PD has led for less than split-merge-interval, and its record of splits is young");
    }
    const problem = this.#sourceProblem(region);
    if (problem !== undefined) return problem;
    const target = this.#target(region);
    if (typeof target === "string") return waiting(target);
    const sizes = this.#view.config.regionSizes;
    const limit = Math.max(TARGET_SIZE_MIN_MIB, TARGET_SIZE_FACTOR * sizes.maxMib);
    if (target.sizeMib > limit) return waiting(`the neighbour ${target.meta.id} is larger than ${limit} MiB`);
    const merged = { mib: target.sizeMib + region.sizeMib, keys: target.keys + region.keys };
    if (isSplitForMerge(sizes, merged, { mib: this.#sizeMaxMib, keys: this.#keysMax })) {
      return waiting(`merged with ${target.meta.id} it would be split again into pieces as small`);
    }
    const made = mergeOperators(this.#view, region, target, "merge-region", ["merge"]);
    if (typeof made === "string") return waiting(made);
    return { kind: "operator", operator: made[0], partner: made[1] };
  }

  get #intervalMs(): number {
    return this.#view.config.number("schedule.split-merge-interval");
  }

  get #sizeMaxMib(): number {
    return this.#view.config.number("schedule.max-merge-region-size");
  }

  get #keysMax(): number {
    return this.#view.config.number("schedule.max-merge-region-keys") || this.#sizeMaxMib * KEYS_PER_MIB;
  }

  #isFreshlySplit(regionId: number): boolean {
    return (this.#splits.get(regionId) ?? Number.NEGATIVE_INFINITY) > this.#view.nowMs();
  }

  /** Healthy means: too large to be worth a word. */
  #sourceProblem(region: RegionInfo): CheckResult | undefined {
    if (region.sizeMib > this.#sizeMaxMib || region.keys > this.#keysMax) return HEALTHY;
    if (this.#isFreshlySplit(region.meta.id)) return waiting("the region was split lately");
    if (region.leader === undefined) return waiting("the region has no leader");
    if (region.downPeers.length > 0 || region.pendingPeers.length > 0) return waiting("a peer is not well");
    if (!this.#view.isReplicated(region)) return waiting("the region does not meet its placement rules");
    return this.#isHot(region.meta.id) ? waiting("the region is hot") : undefined;
  }

  /** The smaller neighbour of those that will do. */
  #target(region: RegionInfo): RegionInfo | string {
    const { regions } = this.#view.cluster;
    const next = regions.next(region);
    const nextProblem = this.#neighbourProblem(region, next, "next");
    if (this.#view.config.flag("schedule.enable-one-way-merge")) return nextProblem ?? (next as RegionInfo);
    const previous = regions.previous(region);
    const previousProblem = this.#neighbourProblem(region, previous, "previous");
    if (nextProblem !== undefined) return previousProblem ?? (previous as RegionInfo);
    if (previousProblem !== undefined) return next as RegionInfo;
    const [left, right] = [previous as RegionInfo, next as RegionInfo];
    return left.sizeMib < right.sizeMib ? left : right;
  }

  #neighbourProblem(region: RegionInfo, other: RegionInfo | undefined, which: string): string | undefined {
    const name = `the ${which} region`;
    if (other === undefined) return `there is no ${which} region`;
    if (this.#isFreshlySplit(other.meta.id)) return `${name} was split lately`;
    if (this.#isHot(other.meta.id)) return `${name} is hot`;
    const forbidden = mergeProblem(this.#view, region, other);
    if (forbidden !== undefined) return forbidden;
    for (const peer of other.meta.peers) {
      const store = this.#view.store(peer.storeId);
      const gone = store === undefined || store.isRemoving || store.isRemoved;
      if (gone && peerOnStore(region, peer.storeId) === undefined)
        return `${name} has a peer on a leaving store`;
    }
    if (other.downPeers.length > 0 || other.pendingPeers.length > 0) return `a peer of ${name} is not well`;
    return this.#view.isReplicated(other) ? undefined : `${name} does not meet its placement rules`;
  }
}

/** Every store has said so. */
export function storesCanMerge(view: SchedulingView): boolean {
  const stores = view.stores();
  return stores.length > 0 && stores.every((store) => store.label(MERGE_LABEL) === "true");
}

/** Borders and labels that keep two neighbours apart. (8.16) */
export function mergeProblem(view: SchedulingView, left: RegionInfo, right: RegionInfo): string | undefined {
  const leftFirst = compareBytes(left.meta.startKey, right.meta.startKey) < 0;
  const [first, second] = leftFirst ? [left.meta, right.meta] : [right.meta, left.meta];
  if (first.endKey.length === 0 || compareBytes(first.endKey, second.startKey) !== 0) {
    return "the two regions are not adjacent";
  }
  const { labels, rules } = view.cluster;
  if (view.usesRules && rules.splitKeys(first.startKey, second.endKey).length > 0) {
    return "a border of placement rules lies between them";
  }
  if (labels.splitKeys(first.startKey, second.endKey).length > 0)
    return "a border of labels lies between them";
  if (labels.deniesMerge(first) || labels.deniesMerge(second)) return "a label denies the merge";
  const keepsTables =
    view.config.keyType === "table" && !view.config.flag("schedule.enable-cross-table-merge");
  if (keepsTables && tableOf(first.startKey) !== tableOf(second.startKey)) return "they are of two tables";
  return undefined;
}

const TABLE_KEY = "t".charCodeAt(0);
const TABLE_PREFIX_BYTES = 9;

/** TiDB's table id in a border of its form, as text; empty for other keys. */
function tableOf(border: Uint8Array): string {
  const key = decodeMemcomparable(border);
  const isTable = key.length >= TABLE_PREFIX_BYTES && key[0] === TABLE_KEY;
  return isTable ? toHex(key.subarray(1, TABLE_PREFIX_BYTES)) : "";
}

export const isEmptyRegion = (region: RegionInfo): boolean => region.sizeMib <= EMPTY_REGION_SIZE_MIB;
