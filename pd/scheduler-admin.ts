/**
 * The list of schedulers as users change it, kept in the settings: default ones are switched off rather than taken
 * out, because they would come back at the next start. What a scheduler has of its own is stored beside, under its
 * name. (pd-rules 9.2, 9.8, 9.50, 11.35 to 11.38)
 */
import { fromUtf8, utf8 } from "../base/index.js";
import { BALANCE_LEADER, BalanceLeader } from "./balance-leader.js";
import { BALANCE_REGION, BalanceRegion } from "./balance-region.js";
import { DEFAULT_SCHEDULERS, type PdConfig, type SchedulerEntry } from "./config.js";
import { readPrefix, writeGuarded } from "./context.js";
import { EVICT_LEADER, EvictLeader, type StoreHolder } from "./evict-leader.js";
import type { MetaOperation } from "./meta-store.js";
import type { Scheduler, SchedulerHost, SettingsReply } from "./scheduler.js";
import type { PausedScheduler, SchedulerRunner, SchedulerStatus } from "./scheduler-runner.js";
import { EVICT_SLOW_STORE, EvictSlowStore } from "./schedulers/evict-slow-store.js";
import { EVICT_STOPPING_STORE, EvictStoppingStore } from "./schedulers/evict-stopping-store.js";
import { GRANT_LEADER, GrantLeader } from "./schedulers/grant-leader.js";
import { HOT_REGION, HotRegion } from "./schedulers/hot-region.js";
import { LABEL, LabelScheduler } from "./schedulers/label.js";
import { ScatterRange, scatterRangeName } from "./schedulers/scatter-range.js";
import {
  RANDOM_MERGE,
  RandomMerge,
  SHUFFLE_HOT_REGION,
  SHUFFLE_LEADER,
  SHUFFLE_REGION,
  ShuffleHotRegion,
  ShuffleLeader,
  ShuffleRegion,
} from "./schedulers/shuffle.js";

export type SchedulerChange =
  /** Made, or (`applied`) a store was added to one that runs. */
  | { readonly kind: "ok"; readonly applied: boolean }
  | { readonly kind: "refused"; readonly status: 400 | 404 | 500; readonly reason: string };

const NOT_FOUND = "[PD:scheduler:ErrSchedulerNotFound]scheduler not found";
const EXISTED = "[PD:scheduler:ErrSchedulerExisted]scheduler existed";
const NO_CONFIG = "[PD:scheduler:ErrScheduleConfigNotExist]the config does not exist";
const SUFFIX = "-scheduler";
const HOT_TYPE = "hot-region";
const SCATTER_RANGE_TYPE = "scatter-range";

/** In the order in which they are listed. */
const MAKERS: ReadonlyMap<string, (host: SchedulerHost) => Scheduler> = new Map<
  string,
  (host: SchedulerHost) => Scheduler
>([
  [EVICT_LEADER, (host) => new EvictLeader(host)],
  [GRANT_LEADER, (host) => new GrantLeader(host)],
  [BALANCE_REGION, (host) => new BalanceRegion(host)],
  [BALANCE_LEADER, (host) => new BalanceLeader(host)],
  [HOT_REGION, (host) => new HotRegion(host)],
  [EVICT_SLOW_STORE, (host) => new EvictSlowStore(host)],
  [EVICT_STOPPING_STORE, (host) => new EvictStoppingStore(host)],
  [LABEL, (host) => new LabelScheduler(host)],
  [SHUFFLE_LEADER, (host) => new ShuffleLeader(host)],
  [SHUFFLE_REGION, (host) => new ShuffleRegion(host)],
  [SHUFFLE_HOT_REGION, (host) => new ShuffleHotRegion(host)],
  [RANDOM_MERGE, (host) => new RandomMerge(host)],
]);
/** Of PD, but not of this version: said so rather than "unknown". */
const UNAVAILABLE: ReadonlySet<string> = new Set(
  "evict-slow-trend grant-hot-region balance-witness transfer-witness-leader balance-range"
    .split(" ")
    .map((type) => type + SUFFIX),
);

const refused = (status: 400 | 404 | 500, reason: string): SchedulerChange => ({
  kind: "refused",
  status,
  reason,
});
const OK: SchedulerChange = { kind: "ok", applied: false };
/** Under which the settings list it: only hot-region's name is another than its type. */
const typeOf = (name: string): string => (name === HOT_REGION ? HOT_TYPE : name.slice(0, -SUFFIX.length));
const nameOf = (type: string): string => (type === HOT_TYPE ? HOT_REGION : type + SUFFIX);
const isDefault = (type: string): boolean => DEFAULT_SCHEDULERS.some((entry) => entry.type === type);
const isHolder = (scheduler: Scheduler | undefined): scheduler is Scheduler & StoreHolder =>
  scheduler instanceof EvictLeader || scheduler instanceof GrantLeader;

type Body = Readonly<Record<string, unknown>>;

export class SchedulerAdmin {
  readonly #host: SchedulerHost;
  readonly #runner: SchedulerRunner;
  readonly #save: () => void;

  constructor(host: SchedulerHost, runner: SchedulerRunner, save: () => void) {
    this.#host = host;
    this.#runner = runner;
    this.#save = save;
  }

  get #view(): SchedulerHost["controller"]["view"] {
    return this.#host.controller.view;
  }

  get #config(): PdConfig {
    return this.#view.config;
  }

  /** What the settings list; once, when stores and settings are loaded. */
  load(callback: (error: Error | undefined) => void): void {
    const { metaStore, keys, env } = this.#view.cluster.context;
    const own = new Map<string, Body>();
    const visit = (key: Uint8Array, value: Uint8Array): void => {
      const name = fromUtf8(key.subarray(keys.schedulerConfigs.length));
      try {
        own.set(name, JSON.parse(fromUtf8(value)) as Body);
      } catch {
        env.log.warn("stored settings of a scheduler are no JSON and are dropped", { scheduler: name });
      }
    };
    readPrefix(metaStore, keys.schedulerConfigs, visit, (error) => {
      if (error === undefined) for (const entry of this.#config.schedulers) this.#loadOne(entry, own);
      callback(error);
    });
  }

  #loadOne({ type, args, disable }: SchedulerEntry, own: ReadonlyMap<string, Body>): void {
    if (disable) return;
    const name = type === SCATTER_RANGE_TYPE ? scatterRangeName(args?.[2] ?? "") : nameOf(type);
    const scheduler = this.#make(name);
    if (scheduler === undefined) return;
    const stored = own.get(name);
    if (stored !== undefined) scheduler.loadSettings(stored);
    else if (isHolder(scheduler)) {
      for (const id of args ?? []) {
        const store = this.#view.store(Number(id));
        if (store !== undefined) scheduler.addStore(store);
      }
    }
    this.#runner.add(scheduler);
  }

  #make(name: string): Scheduler | undefined {
    const range = this.#rangeOf(name);
    const scheduler =
      range === undefined ? MAKERS.get(name)?.(this.#host) : new ScatterRange(this.#host, range);
    if (scheduler instanceof EvictSlowStore) scheduler.onChanged = () => this.#saveOwn(scheduler);
    return scheduler;
  }

  #rangeOf(name: string): string | undefined {
    const prefix = scatterRangeName("");
    return name.startsWith(prefix) ? name.slice(prefix.length) : undefined;
  }

  names(): string[] {
    const running = this.#runner.names();
    const ranges = running.filter((name) => this.#rangeOf(name) !== undefined);
    return [...[...MAKERS.keys()].filter((name) => running.includes(name)), ...ranges];
  }

  disabledNames(): string[] {
    return this.#config.schedulers.filter((entry) => entry.disable).map((entry) => nameOf(entry.type));
  }

  paused(): PausedScheduler[] {
    return this.#runner.paused();
  }

  get(name: string): Scheduler | undefined {
    return this.#runner.get(name);
  }

  /** The body of `POST /schedulers`. Names with and without "-scheduler". */
  add(given: string, storeId: unknown, body: Body = {}): SchedulerChange {
    const name = MAKERS.has(given) ? given : MAKERS.has(nameOf(given)) ? nameOf(given) : given;
    if (given === SCATTER_RANGE_TYPE || given === SCATTER_RANGE_TYPE + SUFFIX) return this.#addRange(body);
    if (!MAKERS.has(name)) {
      const known = UNAVAILABLE.has(name) || UNAVAILABLE.has(name + SUFFIX);
      return refused(400, known ? `scheduler ${name} is not available in this version` : "unknown scheduler");
    }
    const known = this.#runner.get(name);
    if (name === EVICT_LEADER || name === GRANT_LEADER) return this.#addHolder(name, storeId);
    if (known !== undefined) return refused(400, EXISTED);
    const scheduler = this.#make(name) as Scheduler;
    if (name === SHUFFLE_HOT_REGION && body["limit"] !== undefined) {
      const reply = scheduler.change({ limit: body["limit"] });
      if (reply.status !== 200) return refused(400, String(reply.body));
    }
    this.#install(scheduler, null);
    return OK;
  }

  #install(scheduler: Scheduler, args: readonly string[] | null): void {
    this.#runner.add(scheduler);
    const type = this.#rangeOf(scheduler.name) === undefined ? typeOf(scheduler.name) : SCATTER_RANGE_TYPE;
    this.#record({ type, args, disable: false });
    this.#saveOwn(scheduler);
  }

  #addHolder(name: string, storeId: unknown): SchedulerChange {
    if (typeof storeId !== "number") return refused(400, "missing store id");
    const known = this.#runner.get(name);
    const store = this.#view.store(storeId);
    if (store === undefined || store.isRemoved) {
      const reason = `[PD:core:ErrStoreNotFound]store ${storeId} not found`;
      return refused(known === undefined ? 400 : 500, reason);
    }
    const scheduler = known ?? (this.#make(name) as Scheduler);
    if (isHolder(scheduler)) scheduler.addStore(store);
    if (known === undefined) this.#runner.add(scheduler);
    this.#recordHolder(name);
    this.#runner.kick();
    return { kind: "ok", applied: known !== undefined };
  }

  #addRange(body: Body): SchedulerChange {
    const { range_name: range, start_key: start, end_key: end } = body;
    if (typeof range !== "string" || range === "") return refused(500, "missing range name");
    if (typeof start !== "string" || typeof end !== "string")
      return refused(500, "missing start_key or end_key");
    const name = scatterRangeName(range);
    if (this.#runner.get(name) !== undefined) return refused(400, EXISTED);
    const scheduler = new ScatterRange(this.#host, range);
    const reply = scheduler.change({ "start-key": start, "end-key": end });
    if (reply.status !== 200) return refused(500, String(reply.body));
    this.#install(scheduler, [start, end, range]);
    return OK;
  }

  /** A scheduler, or one store of it: `evict-leader-scheduler-3`. */
  remove(name: string): SchedulerChange {
    const one = new RegExp(`^(${EVICT_LEADER}|${GRANT_LEADER})-([0-9]+)$`).exec(name);
    if (one !== null) return this.removeStore(one[1] as string, Number(one[2]));
    const range = this.#rangeOf(name);
    if (!this.#runner.remove(name)) return refused(404, NOT_FOUND);
    const type = range === undefined ? typeOf(name) : SCATTER_RANGE_TYPE;
    this.#deleteOwn(name);
    if (isDefault(type)) {
      this.#record({ type, args: null, disable: true });
      return OK;
    }
    this.#config.schedulers = this.#config.schedulers.filter(
      (entry) => entry.type !== type || (range !== undefined && entry.args?.[2] !== range),
    );
    this.#save();
    return OK;
  }

  /** Takes one store away from evict-leader or grant-leader, which end with their last. */
  removeStore(name: string, storeId: number): SchedulerChange {
    const scheduler = this.#runner.get(name);
    if (!isHolder(scheduler)) return refused(404, NOT_FOUND);
    if (!scheduler.removeStore(storeId)) return refused(404, NO_CONFIG);
    const isLast = scheduler.storeIds.length === 0;
    if (isLast) this.#runner.remove(name);
    this.#recordHolder(name);
    return { kind: "ok", applied: isLast };
  }

  /** One scheduler, or `all`; 0 seconds resumes. */
  pause(name: string, seconds: number): SchedulerChange {
    const names = name === "all" ? this.#runner.names() : [name];
    const found = names.map((each) => this.#runner.pause(each, seconds));
    return found.every(Boolean) ? OK : refused(500, NOT_FOUND);
  }

  status(name: string): SchedulerStatus {
    return this.disabledNames().includes(name) ? "disabled" : this.#runner.status(name);
  }

  heldBy(name: string): string {
    if (this.disabledNames().includes(name)) return "it is switched off: it was removed";
    return this.#runner.heldBy(name);
  }

  /** `POST /scheduler-config/{name}/config`; undefined while it does not run. */
  change(name: string, body: Body): SettingsReply | undefined {
    const scheduler = this.#runner.get(name);
    if (scheduler === undefined) return undefined;
    const reply = scheduler.change(body);
    if (reply.status === 200) {
      if (isHolder(scheduler)) this.#recordHolder(name);
      else this.#saveOwn(scheduler);
      this.#runner.kick();
    }
    return reply;
  }

  /** As `GET /scheduler-config/evict-leader-scheduler/list` shows it; undefined while it does not run. */
  evictLeaderConfig(): Record<string, unknown> | undefined {
    return this.#runner.get(EVICT_LEADER)?.settings();
  }

  /** A buried store needs no eviction any more. */
  forgetStore(storeId: number): void {
    this.removeStore(EVICT_LEADER, storeId);
    this.removeStore(GRANT_LEADER, storeId);
  }

  #recordHolder(name: string): void {
    const scheduler = this.#runner.get(name);
    if (isHolder(scheduler) && scheduler.storeIds.length > 0) {
      this.#saveOwn(scheduler);
      return this.#record({ type: typeOf(name), args: scheduler.storeIds.map(String), disable: false });
    }
    this.#deleteOwn(name);
    this.#config.schedulers = this.#config.schedulers.filter((entry) => entry.type !== typeOf(name));
    this.#save();
  }

  #record(entry: SchedulerEntry): void {
    const others = this.#config.schedulers.filter(
      (other) =>
        other.type !== entry.type ||
        (entry.type === SCATTER_RANGE_TYPE && other.args?.[2] !== entry.args?.[2]),
    );
    this.#config.schedulers = [...others, entry];
    this.#save();
  }

  #saveOwn(scheduler: Scheduler): void {
    const settings = scheduler.settings();
    if (settings === undefined) return;
    const { keys } = this.#view.cluster.context;
    this.#write({
      kind: "put",
      key: keys.schedulerConfig(scheduler.name),
      value: utf8(JSON.stringify(settings)),
    });
  }

  #deleteOwn(name: string): void {
    this.#write({ kind: "delete", key: this.#view.cluster.context.keys.schedulerConfig(name) });
  }

  #write(operation: MetaOperation): void {
    const { context } = this.#view.cluster;
    writeGuarded(context, [operation], (error) => {
      if (error === undefined) return;
      context.env.log.warn("storing the settings of a scheduler failed", { error: error.message });
    });
  }
}
