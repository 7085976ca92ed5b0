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
import type { Settings } from "./settings.js";
import { EVICT_LEADER, EvictLeader, type StoreHolder } from "./evict-leader.js";
import type { MetaOperation } from "./meta-store.js";
import { type Scheduler, type SchedulerHost, settingsRefused, type SettingsReply } from "./scheduler.js";
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

export type SchedulerCallback = (change: SchedulerChange) => void;
type Refused = SchedulerChange & { readonly kind: "refused" };

/** A change that may be made: what is stored, and what happens then. */
interface Plan {
  readonly kind: "plan";
  /** Of the change, once made. */
  readonly applied: boolean;
  /** The list of schedulers as it will be. */
  readonly list: (entries: readonly SchedulerEntry[]) => SchedulerEntry[];
  readonly operations: readonly MetaOperation[];
  readonly apply: () => void;
}

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

const refused = (status: 400 | 404 | 500, reason: string): Refused => ({
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
  readonly #settings: Settings;
  /** What schedulers stored of their own, from the loading until they are made. */
  readonly #stored = new Map<string, Body>();

  constructor(host: SchedulerHost, runner: SchedulerRunner, settings: Settings) {
    this.#host = host;
    this.#runner = runner;
    this.#settings = settings;
  }

  get #view(): SchedulerHost["controller"]["view"] {
    return this.#host.controller.view;
  }

  get #config(): PdConfig {
    return this.#view.config;
  }

  /** Reads what schedulers stored of their own. */
  load(callback: (error: Error | undefined) => void): void {
    const { metaStore, keys, env } = this.#view.cluster.context;
    const visit = (key: Uint8Array, value: Uint8Array): void => {
      const name = fromUtf8(key.subarray(keys.schedulerConfigs.length));
      try {
        this.#stored.set(name, JSON.parse(fromUtf8(value)) as Body);
      } catch {
        env.log.warn("stored settings of a scheduler are no JSON and are dropped", { scheduler: name });
      }
    };
    readPrefix(metaStore, keys.schedulerConfigs, visit, callback);
  }

  /** Makes the schedulers that the settings list; once they, the stores and what was stored are loaded. */
  addListed(): void {
    for (const entry of this.#config.schedulers) this.#loadOne(entry, this.#stored);
    this.#stored.clear();
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
    if (scheduler instanceof EvictSlowStore) scheduler.onChanged = () => this.#saveFound(scheduler);
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
  add(given: string, storeId: unknown, body: Body, callback: SchedulerCallback): void {
    this.#change(() => this.#planAdd(given, storeId, body), callback);
  }

  #planAdd(given: string, storeId: unknown, body: Body): Plan | Refused {
    const name = MAKERS.has(given) ? given : MAKERS.has(nameOf(given)) ? nameOf(given) : given;
    if (given === SCATTER_RANGE_TYPE || given === SCATTER_RANGE_TYPE + SUFFIX) return this.#planRange(body);
    if (!MAKERS.has(name)) {
      const known = UNAVAILABLE.has(name) || UNAVAILABLE.has(name + SUFFIX);
      return refused(400, known ? `scheduler ${name} is not available in this version` : "unknown scheduler");
    }
    if (name === EVICT_LEADER || name === GRANT_LEADER) return this.#planHolder(name, storeId);
    if (this.#runner.get(name) !== undefined) return refused(400, EXISTED);
    const scheduler = this.#make(name) as Scheduler;
    if (name === SHUFFLE_HOT_REGION && body["limit"] !== undefined) {
      const reply = scheduler.change({ limit: body["limit"] });
      if (reply.status !== 200) return refused(400, String(reply.body));
    }
    return this.#planNew(scheduler, { type: typeOf(name), args: null, disable: false });
  }

  #planNew(scheduler: Scheduler, entry: SchedulerEntry): Plan {
    return {
      kind: "plan",
      applied: false,
      list: (entries) => withEntry(entries, entry),
      operations: this.#putOwn(scheduler.name, scheduler.settings()),
      apply: () => this.#runner.add(scheduler),
    };
  }

  #planRange(body: Body): Plan | Refused {
    const { range_name: range, start_key: start, end_key: end } = body;
    if (typeof range !== "string" || range === "") return refused(500, "missing range name");
    if (typeof start !== "string" || typeof end !== "string")
      return refused(500, "missing start_key or end_key");
    const name = scatterRangeName(range);
    if (this.#runner.get(name) !== undefined) return refused(400, EXISTED);
    const scheduler = new ScatterRange(this.#host, range);
    const reply = scheduler.change({ "start-key": start, "end-key": end });
    if (reply.status !== 200) return refused(500, String(reply.body));
    return this.#planNew(scheduler, { type: SCATTER_RANGE_TYPE, args: [start, end, range], disable: false });
  }

  #planHolder(name: string, storeId: unknown): Plan | Refused {
    if (typeof storeId !== "number") return refused(400, "missing store id");
    const known = this.#runner.get(name);
    const store = this.#view.store(storeId);
    if (store === undefined || store.isRemoved) {
      const reason = `[PD:core:ErrStoreNotFound]store ${storeId} not found`;
      return refused(known === undefined ? 400 : 500, reason);
    }
    const after = this.#try(name, (trial) => void (isHolder(trial) && trial.addStore(store)));
    return {
      ...this.#planHeld(name, after.storeIds, after.settings),
      applied: known !== undefined,
      apply: () => {
        const scheduler = known ?? (this.#make(name) as Scheduler);
        if (isHolder(scheduler)) scheduler.addStore(store);
        if (known === undefined) this.#runner.add(scheduler);
        this.#runner.kick();
      },
    };
  }

  /** What is stored of a scheduler that holds these stores; one without stores is no more. */
  #planHeld(name: string, storeIds: readonly number[], settings: Body | undefined): Plan {
    const type = typeOf(name);
    const entry = { type, args: storeIds.map(String), disable: false };
    const isGone = storeIds.length === 0;
    return {
      kind: "plan",
      applied: false,
      list: (entries) =>
        isGone ? entries.filter((other) => other.type !== type) : withEntry(entries, entry),
      operations: isGone ? [this.#deleteOwn(name)] : this.#putOwn(name, settings),
      apply: () => {},
    };
  }

  /** A scheduler, or one store of it: `evict-leader-scheduler-3`. */
  remove(name: string, callback: SchedulerCallback): void {
    const one = new RegExp(`^(${EVICT_LEADER}|${GRANT_LEADER})-([0-9]+)$`).exec(name);
    if (one !== null) return this.removeStore(one[1] as string, Number(one[2]), callback);
    this.#change(() => this.#planRemoval(name), callback);
  }

  #planRemoval(name: string): Plan | Refused {
    if (this.#runner.get(name) === undefined) return refused(404, NOT_FOUND);
    const range = this.#rangeOf(name);
    const type = range === undefined ? typeOf(name) : SCATTER_RANGE_TYPE;
    const isGone = (entry: SchedulerEntry): boolean =>
      entry.type === type && (range === undefined || entry.args?.[2] === range);
    return {
      kind: "plan",
      applied: false,
      list: (entries) =>
        isDefault(type)
          ? withEntry(entries, { type, args: null, disable: true })
          : entries.filter((entry) => !isGone(entry)),
      operations: [this.#deleteOwn(name)],
      apply: () => void this.#runner.remove(name),
    };
  }

  /** Takes one store away from evict-leader or grant-leader, which end with their last. */
  removeStore(name: string, storeId: number, callback: SchedulerCallback): void {
    this.#change(() => {
      const scheduler = this.#runner.get(name);
      if (!isHolder(scheduler)) return refused(404, NOT_FOUND);
      if (!scheduler.storeIds.includes(storeId)) return refused(404, NO_CONFIG);
      const after = this.#try(name, (trial) => void (isHolder(trial) && trial.removeStore(storeId)));
      const isLast = after.storeIds.length === 0;
      return {
        ...this.#planHeld(name, after.storeIds, after.settings),
        applied: isLast,
        apply: () => {
          scheduler.removeStore(storeId);
          if (isLast) this.#runner.remove(name);
        },
      };
    }, callback);
  }

  /** Stored first, then made. */
  #change(prepare: () => Plan | Refused, callback: SchedulerCallback): void {
    let refusal: Refused | undefined;
    let applied = false;
    this.#settings.change(
      () => {
        const plan = prepare();
        if (plan.kind === "refused") {
          refusal = plan;
          return plan.reason;
        }
        applied = plan.applied;
        return {
          edit: (config) => {
            config.schedulers = plan.list(config.schedulers);
            return undefined;
          },
          operations: () => plan.operations,
          apply: plan.apply,
        };
      },
      (outcome) => {
        if (outcome.kind === "failed") callback(refused(500, outcome.error.message));
        else callback(refusal ?? { kind: "ok", applied });
      },
    );
  }

  /** What a scheduler's settings would be after a change, tried on one like it that never runs. */
  #try<T>(
    name: string,
    change: (trial: Scheduler) => T,
  ): { readonly result: T; readonly settings: Body | undefined; readonly storeIds: readonly number[] } {
    const live = this.#runner.get(name)?.settings();
    const range = this.#rangeOf(name);
    const trial = range === undefined ? MAKERS.get(name)?.(this.#host) : new ScatterRange(this.#host, range);
    if (trial === undefined) throw new Error(`no scheduler ${name}`);
    // What it found out is its own and stays as it is.
    const found = Object.fromEntries(
      Object.entries(live ?? {}).filter(([item]) => FOUND_ITEMS.includes(item)),
    );
    const without = Object.fromEntries(
      Object.entries(live ?? {}).filter(([item]) => !FOUND_ITEMS.includes(item)),
    );
    if (live !== undefined) trial.loadSettings(without);
    const result = change(trial);
    const settings = trial.settings();
    const storeIds = isHolder(trial) ? [...trial.storeIds] : [];
    trial.stop();
    return { result, settings: settings === undefined ? undefined : { ...settings, ...found }, storeIds };
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

  /** `POST /scheduler-config/{name}/config`; answers undefined while it does not run. */
  change(name: string, body: Body, callback: (reply: SettingsReply | undefined) => void): void {
    let reply: SettingsReply | undefined;
    this.#change(
      () => {
        const scheduler = this.#runner.get(name);
        if (scheduler === undefined) return refused(404, NOT_FOUND);
        const after = this.#try(name, (trial) => trial.change(body));
        reply = after.result;
        if (reply.status !== 200) return refused(400, String(reply.body));
        const plan: Plan = isHolder(scheduler)
          ? this.#planHeld(name, after.storeIds, after.settings)
          : {
              kind: "plan",
              applied: false,
              list: (entries) => [...entries],
              operations: this.#putOwn(name, after.settings),
              apply: () => {},
            };
        const apply = (): void => {
          scheduler.change(body);
          this.#runner.kick();
        };
        return { ...plan, apply };
      },
      (change) => {
        const failed = change.kind === "refused" && reply?.status === 200;
        callback(failed ? settingsRefused(change.reason, change.status) : reply);
      },
    );
  }

  /** As `GET /scheduler-config/evict-leader-scheduler/list` shows it; undefined while it does not run. */
  evictLeaderConfig(): Record<string, unknown> | undefined {
    return this.#runner.get(EVICT_LEADER)?.settings();
  }

  /** Whose leaders an administrator has moved away. */
  evictedStores(): readonly number[] {
    const scheduler = this.#runner.get(EVICT_LEADER);
    return isHolder(scheduler) ? scheduler.storeIds : [];
  }

  /** A buried store needs no eviction any more. */
  forgetStore(storeId: number): void {
    for (const name of [EVICT_LEADER, GRANT_LEADER]) {
      const scheduler = this.#runner.get(name);
      if (isHolder(scheduler) && scheduler.storeIds.includes(storeId))
        this.removeStore(name, storeId, () => {});
    }
  }

  #putOwn(name: string, settings: Body | undefined): MetaOperation[] {
    if (settings === undefined) return [];
    const { keys } = this.#view.cluster.context;
    return [{ kind: "put", key: keys.schedulerConfig(name), value: utf8(JSON.stringify(settings)) }];
  }

  #deleteOwn(name: string): MetaOperation {
    return { kind: "delete", key: this.#view.cluster.context.keys.schedulerConfig(name) };
  }

  /** What a scheduler found out: it acts on it at once, and the next leader should know. */
  #saveFound(scheduler: Scheduler): void {
    const { context } = this.#view.cluster;
    writeGuarded(context, this.#putOwn(scheduler.name, scheduler.settings()), (error) => {
      if (error === undefined) return;
      context.env.log.warn("storing the settings of a scheduler failed", { error: error.message });
    });
  }
}

/** Of evict-slow-store: no settings, but what it does at the moment. */
const FOUND_ITEMS = ["evict-stores", "paused-network-slow-stores"];

function withEntry(entries: readonly SchedulerEntry[], entry: SchedulerEntry): SchedulerEntry[] {
  const others = entries.filter(
    (other) =>
      other.type !== entry.type || (entry.type === SCATTER_RANGE_TYPE && other.args?.[2] !== entry.args?.[2]),
  );
  return [...others, entry];
}
