/**
 * At what sizes the stores split regions. PD asks one store after the other for its settings until one answers, at
 * the start of a term and then each minute; what it learned stays when nobody answers, and is stored with PD's own
 * settings. (pd-rules 11.34)
 */
import type { Env, TimerHandle } from "../base/index.js";
import type { Cluster } from "./cluster.js";
import type { Settings } from "./settings.js";
import type { StoreInfo } from "./store-info.js";

export interface RegionSizes {
  /** A region of this size is split. MiB. */
  readonly maxMib: number;
  /** What the pieces then have. MiB; 0: stores do not split by size. */
  readonly splitMib: number;
  readonly maxKeys: number;
  readonly splitKeys: number;
  /** Stores report how the load is spread within regions. */
  readonly hasBuckets: boolean;
}

export const DEFAULT_REGION_SIZES: RegionSizes = {
  maxMib: 144,
  splitMib: 96,
  maxKeys: 1_440_000,
  splitKeys: 960_000,
  hasBuckets: false,
};

/** Gets `/config` of a store's status address, `host:port`. Calls back once. */
export type FetchStoreConfig = (
  statusAddress: string,
  callback: (error: Error | undefined, body: string) => void,
) => void;

const EVERY_MS = 60_000;
/** Until a store has answered for the first time. */
const FIRST_EVERY_MS = 10_000;
const TIMEOUT_MS = 5_000;
const STORES_PER_ROUND = 3;

const SIZE_UNITS_MIB: Readonly<Record<string, number>> = {
  "": 1 / 1024 ** 2,
  k: 1 / 1024,
  m: 1,
  g: 1024,
  t: 1024 ** 2,
  p: 1024 ** 3,
};

/** TiKV's form, such as "96MiB", or bytes; whole MiB, as PD counts. */
export function mibOfText(value: unknown): number | undefined {
  const found = /^([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtp]?)(?:i?b)?)$/i.exec(String(value).trim());
  if (found === null) return undefined;
  const mib = Number(found[1]) * (SIZE_UNITS_MIB[(found[2] ?? "").toLowerCase()] as number);
  return Number.isSafeInteger(Math.floor(mib)) ? Math.floor(mib) : undefined;
}

/** What a store's settings say; an item that it does not have has PD's default. Text is the reason why not. */
export function regionSizesOf(config: unknown): RegionSizes | string {
  const section = (config as { readonly coprocessor?: unknown } | null)?.coprocessor;
  if (typeof section !== "object" || section === null) return "it has no section coprocessor";
  const items = section as Readonly<Record<string, unknown>>;
  const sizes: { -readonly [Name in keyof RegionSizes]: RegionSizes[Name] } = { ...DEFAULT_REGION_SIZES };
  for (const [item, name] of [
    ["region-max-size", "maxMib"],
    ["region-split-size", "splitMib"],
  ] as const) {
    if (items[item] === undefined || items[item] === "") continue;
    const mib = mibOfText(items[item]);
    if (mib === undefined) return `its coprocessor.${item} is no size`;
    sizes[name] = mib;
  }
  for (const [item, name] of [
    ["region-max-keys", "maxKeys"],
    ["region-split-keys", "splitKeys"],
  ] as const) {
    const keys = items[item] ?? sizes[name];
    if (typeof keys !== "number" || !Number.isSafeInteger(keys) || keys < 0)
      return `its coprocessor.${item} is no count`;
    sizes[name] = keys;
  }
  // 0 as a bound would make every region too large.
  if (sizes.maxMib === 0) sizes.maxMib = DEFAULT_REGION_SIZES.maxMib;
  if (sizes.maxKeys === 0) sizes.maxKeys = DEFAULT_REGION_SIZES.maxKeys;
  sizes.hasBuckets = items["enable-region-bucket"] === true;
  return sizes;
}

/** What `PdConfig` stored; the defaults where it stored none. */
export function storedRegionSizes(stored: unknown): RegionSizes {
  const sizes = { ...DEFAULT_REGION_SIZES, ...(stored as Partial<RegionSizes> | undefined) };
  const { maxMib, splitMib, maxKeys, splitKeys } = sizes;
  const valid = [maxMib, splitMib, maxKeys, splitKeys].every(
    (value) => Number.isSafeInteger(value) && value >= 0,
  );
  return valid ? sizes : DEFAULT_REGION_SIZES;
}

export interface RegionAmount {
  readonly mib: number;
  readonly keys: number;
}

/** The stores would split it, and a piece would be as small as what is merged: for ever to and fro. (8.17) */
export function isSplitForMerge(sizes: RegionSizes, region: RegionAmount, merged: RegionAmount): boolean {
  const { maxMib, splitMib, maxKeys, splitKeys } = sizes;
  return (
    leavesRest(region.mib, maxMib, splitMib, merged.mib) ||
    leavesRest(region.keys, maxKeys, splitKeys, merged.keys)
  );
}

function leavesRest(amount: number, max: number, split: number, merge: number): boolean {
  if (amount < max || split === 0) return false;
  const rest = amount % split;
  return rest > 0 && rest <= merge;
}

const sameSizes = (left: RegionSizes, right: RegionSizes): boolean =>
  (Object.keys(left) as (keyof RegionSizes)[]).every((name) => left[name] === right[name]);

export class RegionSizesWatch {
  readonly #cluster: Cluster;
  readonly #env: Env;
  readonly #settings: Settings;
  readonly #fetch: FetchStoreConfig | undefined;
  #timer: TimerHandle | undefined;
  #stopped = true;
  #hasAnswer = false;
  #hasWarned = false;
  /** The store that answered last is asked first. */
  #lastStore = 0;

  constructor(cluster: Cluster, settings: Settings, fetch: FetchStoreConfig | undefined) {
    this.#cluster = cluster;
    this.#env = cluster.context.env;
    this.#settings = settings;
    this.#fetch = fetch;
  }

  start(): void {
    if (this.#fetch === undefined) return;
    this.#stopped = false;
    this.#round();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#env.timers.clear(this.#timer);
  }

  #round(): void {
    const stores = this.#candidates().slice(0, STORES_PER_ROUND);
    this.#ask(stores, (problem) => {
      if (this.#stopped) return;
      if (problem !== undefined) this.#warnOf(stores, problem);
      const afterMs = this.#hasAnswer ? EVERY_MS : FIRST_EVERY_MS;
      this.#timer = this.#env.timers.set(afterMs, () => this.#round());
    });
  }

  /** Once, and not of stores that have not come up yet. */
  #warnOf(stores: readonly StoreInfo[], reason: string): void {
    const speaking = stores.find((store) => !store.isDisconnected(this.#cluster.nowMs()));
    if (speaking === undefined || this.#hasWarned) return;
    this.#hasWarned = true;
    const text =
      "no store tells at what sizes it splits regions: are their status addresses reachable from PD?";
    const { id, statusAddress } = speaking.meta;
    this.#env.log.warn(text, { store: id, statusAddress, reason });
  }

  /** Those that speak first. */
  #candidates(): StoreInfo[] {
    const nowMs = this.#cluster.nowMs();
    const order = (store: StoreInfo): number =>
      (store.isDisconnected(nowMs) ? 2 : 0) + (store.id === this.#lastStore ? 0 : 1);
    return this.#cluster
      .liveStores()
      .filter((store) => store.isUp && store.meta.statusAddress !== "")
      .filter((store) => !store.label("engine").startsWith("tiflash"))
      .sort((left, right) => order(left) - order(right) || left.id - right.id);
  }

  /** One after the other until one answers; `done` gets the last one's reason when none did. */
  #ask(stores: readonly StoreInfo[], done: (problem: string | undefined) => void, before?: string): void {
    const [store, ...others] = stores;
    if (store === undefined || this.#stopped) return done(before);
    let isOver = false;
    const end = (problem: string | undefined): void => {
      if (isOver) return;
      isOver = true;
      this.#env.timers.clear(timeout);
      if (problem === undefined) return done(undefined);
      this.#env.log.debug("a store's settings are not known", { store: store.id, reason: problem });
      this.#ask(others, done, problem);
    };
    const timeout = this.#env.timers.set(TIMEOUT_MS, () => end("it does not answer"));
    this.#fetch?.(store.meta.statusAddress, (error, body) => {
      if (isOver || this.#stopped) return;
      end(error === undefined ? this.#take(store, body) : error.message);
    });
  }

  /** Why the answer is of no use. */
  #take(store: StoreInfo, body: string): string | undefined {
    let config: unknown;
    try {
      config = JSON.parse(body);
    } catch {
      return "its answer is not JSON";
    }
    const sizes = regionSizesOf(config);
    if (typeof sizes === "string") return sizes;
    this.#hasAnswer = true;
    this.#lastStore = store.id;
    if (sameSizes(sizes, this.#cluster.context.config.regionSizes)) return undefined;
    const edit = (to: { regionSizes: RegionSizes }): undefined => {
      to.regionSizes = sizes;
    };
    this.#settings.change(
      () => ({ edit }),
      (outcome) => {
        // Asked again at the next round.
        if (outcome.kind === "ok") this.#env.log.info("stores split regions at other sizes", { ...sizes });
      },
    );
    return undefined;
  }
}
