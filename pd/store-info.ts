/**
 * What PD knows of one store: its stored metadata, the last heartbeat's figures, weights, limits and pauses.
 *
 * `disconnected`, `unhealthy` and `down` are derived from the time since the last heartbeat, by the monotonic clock:
 * a wall clock that jumps must not declare stores dead. (pd-rules 3.16, 3.23 to 3.26, 9.44)
 */
import type { metapb, pdpb } from "../proto/index.js";
import { HarmonicAverage } from "./statistics/averages.js";
import { type LimitKind, SlidingWindows, TokenBucket } from "./store-limit.js";

export type NodeState = "preparing" | "serving" | "removing" | "removed";
const NODE_STATES: readonly NodeState[] = ["preparing", "serving", "removing", "removed"];

export const DISCONNECTED_MS = 20_000;
export const UNHEALTHY_MS = 600_000;
/** How often heartbeats reach the meta store. (3.10) */
export const SAVE_INTERVAL_MS = 300_000;
const SLOW_SCORE = 80;
const FEW_REGIONS = 100;
const ROOM_FOR_FEW_REGIONS_BYTES = 8 * 2 ** 30;

export class StoreInfo {
  /** As stored; `state`, `nodeState` and `lastHeartbeat` in it are kept in step with the fields below. */
  meta: metapb.Store;
  stats: pdpb.StoreStats | undefined;
  /** By the monotonic clock; -Infinity when none came since PD's start. */
  lastHeartbeatMs: number;
  lastSavedMs = Number.NEGATIVE_INFINITY;
  lastAwakenedMs = Number.NEGATIVE_INFINITY;
  leaderWeight = 1;
  regionWeight = 1;
  /** Counted: several schedulers may pause the same store. (9.44) */
  leaderInPauses = 0;
  leaderOutPauses = 0;
  /** A scheduler found the store slow and takes its leaders away. (9.41) */
  isEvictedAsSlow = false;
  /** Heartbeats in a row in which it reached all others slowly. (3.14) */
  networkSlowReports = 0;
  /** The store said that it stops, and a scheduler takes its leaders away. (9.42) */
  isEvictedAsStopping = false;
  /** Over the last 60 heartbeats. (10.1) */
  readonly availableAverage: HarmonicAverage = new HarmonicAverage();
  readonly snapshotWindows: SlidingWindows = new SlidingWindows();
  /** What the limits were before the store was set offline. */
  limitsBeforeRemoval: { readonly "add-peer": number; readonly "remove-peer": number } | undefined;
  readonly #buckets = new Map<LimitKind, TokenBucket>();
  #labelsSeen: readonly metapb.StoreLabel[] | undefined;
  #labels = new Map<string, string>();
  #exclusive: readonly string[] = [];

  constructor(meta: metapb.Store, lastHeartbeatMs: number) {
    this.meta = meta;
    this.lastHeartbeatMs = lastHeartbeatMs;
  }

  get id(): number {
    return this.meta.id;
  }

  get nodeState(): NodeState {
    return NODE_STATES[this.meta.nodeState] ?? "preparing";
  }

  /** Sets both state fields; they always agree. */
  setNodeState(state: NodeState): void {
    this.meta.nodeState = NODE_STATES.indexOf(state);
    this.meta.state = state === "removed" ? 2 : state === "removing" ? 1 : 0;
  }

  get isUp(): boolean {
    return this.nodeState === "preparing" || this.nodeState === "serving";
  }

  get isRemoving(): boolean {
    return this.nodeState === "removing";
  }

  get isRemoved(): boolean {
    return this.nodeState === "removed";
  }

  silentMs(nowMs: number): number {
    return nowMs - this.lastHeartbeatMs;
  }

  isDisconnected(nowMs: number): boolean {
    return this.silentMs(nowMs) > DISCONNECTED_MS;
  }

  isUnhealthy(nowMs: number): boolean {
    return this.silentMs(nowMs) > UNHEALTHY_MS;
  }

  isDown(nowMs: number, maxDownMs: number): boolean {
    return this.silentMs(nowMs) > maxDownMs;
  }

  get isBusy(): boolean {
    return this.stats?.isBusy === true;
  }

  get averageAvailableBytes(): number {
    return this.availableAverage.get() || (this.stats?.available ?? 0);
  }

  get isSlow(): boolean {
    return (this.stats?.slowScore ?? 0) >= SLOW_SCORE;
  }

  get isStopping(): boolean {
    return this.stats?.isStopping === true;
  }

  /** A ratio, except while the store is nearly empty and has room. (3.24) */
  isLowSpace(lowSpaceRatio: number, regionCount: number): boolean {
    const capacity = this.stats?.capacity ?? 0;
    const available = this.stats?.available ?? 0;
    if (capacity === 0) return false;
    if (regionCount < FEW_REGIONS && available > ROOM_FOR_FEW_REGIONS_BYTES) return false;
    return available / capacity < 1 - lowSpaceRatio;
  }

  /** Empty when the store has no such label. */
  label(key: string): string {
    return this.#labelMap().get(key.toLowerCase()) ?? "";
  }

  /** Labels whose stores receive only what names them. (7.10) */
  get exclusiveLabels(): readonly string[] {
    this.#labelMap();
    return this.#exclusive;
  }

  /** By key in lower case; asked for with every fit of a region, so it is kept until the labels are others. */
  #labelMap(): ReadonlyMap<string, string> {
    if (this.#labelsSeen !== this.meta.labels) {
      this.#labelsSeen = this.meta.labels;
      this.#labels = new Map();
      for (const { key, value } of this.meta.labels) {
        if (!this.#labels.has(key.toLowerCase())) this.#labels.set(key.toLowerCase(), value);
      }
      this.#exclusive = [...this.#labels].filter(isExclusiveLabel).map(([key]) => key);
    }
    return this.#labels;
  }

  bucket(kind: LimitKind, perMinute: number, nowMs: number): TokenBucket {
    const current = this.#buckets.get(kind);
    if (current !== undefined && current.perMinute === perMinute) return current;
    const made = new TokenBucket(perMinute, nowMs);
    this.#buckets.set(kind, made);
    return made;
  }
}

/** Keys of columnar engines and of dedicated machines; a row store says nothing by `engine=tikv`. */
const isExclusiveLabel = ([key, value]: readonly [string, string]): boolean =>
  value !== "" && (key.startsWith("$") || key === "exclusive" || (key === "engine" && value !== "tikv"));

/** Text of a store in error messages, in the form PD's users know. */
export function describeStore(store: metapb.Store): string {
  const fields: string[] = [`id:${store.id}`, `address:"${store.address}"`];
  const add = (name: string, value: string): void => void (value !== "" && fields.push(`${name}:"${value}"`));
  for (const label of store.labels) fields.push(`labels:<key:"${label.key}" value:"${label.value}" >`);
  add("version", store.version);
  add("peer_address", store.peerAddress);
  add("status_address", store.statusAddress);
  return `${fields.join(" ")} `;
}

/** First level at which two stores differ makes the greatest difference; the same place everywhere is 0. (7.16) */
export function locationScore(
  labels: readonly string[],
  others: readonly StoreInfo[],
  store: StoreInfo,
): number {
  let score = 0;
  for (const other of others) {
    if (other.id === store.id) continue;
    const level = labels.findIndex((key) => {
      const left = store.label(key);
      const right = other.label(key);
      return left !== "" && right !== "" && left !== right;
    });
    if (level >= 0) score += 100 ** (labels.length - level - 1);
  }
  return score;
}

/** Merged by key without regard to case; the new value wins, an empty one deletes. (3.4) */
export function mergeLabels(
  known: readonly metapb.StoreLabel[],
  given: readonly metapb.StoreLabel[],
): metapb.StoreLabel[] {
  const merged = known.map((label) => ({ key: label.key, value: label.value }));
  for (const label of given) {
    const existing = merged.find((other) => other.key.toLowerCase() === label.key.toLowerCase());
    if (existing === undefined) merged.push({ key: label.key, value: label.value });
    else existing.value = label.value;
  }
  return merged.filter((label) => label.value !== "") as metapb.StoreLabel[];
}
