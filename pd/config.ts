/**
 * PD's settings under PD's names: what can be changed at run time (`schedule`, `replication`, `pd-server`), with type
 * and bounds of each item. Booleans are text in JSON ("true"), as PD's clients expect; durations are text like
 * "30m0s". The whole is stored after each change. (pd-rules 11.26 to 11.30, annex A)
 */
import { formatDurationMs, parseDurationMs } from "./duration.js";
import { DEFAULT_REGION_SIZES, type RegionSizes, storedRegionSizes } from "./region-sizes.js";
import { Serial } from "./serial.js";

export interface StoreLimitConfig {
  readonly "add-peer": number;
  readonly "remove-peer": number;
}

export interface SchedulerEntry {
  readonly type: string;
  readonly args: readonly string[] | null;
  readonly disable: boolean;
}

/** The items that scalar settings have; store limits and the scheduler list are kept apart. */
interface ItemSpec {
  readonly type: "count" | "ratio" | "boolean" | "duration" | "text" | "labels";
  readonly initial: number | boolean | string | readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
}

const count = (initial: number, max?: number): ItemSpec =>
  max === undefined ? { type: "count", initial } : { type: "count", initial, max };
const ratio = (initial: number, min = 0, max = Number.MAX_VALUE): ItemSpec => ({
  type: "ratio",
  initial,
  min,
  max,
});
const flag = (initial: boolean): ItemSpec => ({ type: "boolean", initial });
const duration = (text: string): ItemSpec => ({ type: "duration", initial: parseDurationMs(text) ?? 0 });
const text = (initial: string, oneOf?: readonly string[]): ItemSpec =>
  oneOf === undefined ? { type: "text", initial } : { type: "text", initial, oneOf };

const SCHEDULE_ITEMS = {
  "max-snapshot-count": count(64),
  "max-pending-peer-count": count(64),
  "max-merge-region-size": count(54),
  "max-merge-region-keys": count(0),
  "split-merge-interval": duration("1h"),
  "switch-witness-interval": duration("1h"),
  "enable-one-way-merge": flag(false),
  "enable-cross-table-merge": flag(true),
  "patrol-region-interval": duration("10ms"),
  "max-store-down-time": duration("30m"),
  "max-store-preparing-time": duration("48h"),
  "leader-schedule-limit": count(4),
  "leader-schedule-policy": text("count", ["count", "size"]),
  "region-schedule-limit": count(2048),
  "witness-schedule-limit": count(4),
  "replica-schedule-limit": count(64),
  "merge-schedule-limit": count(8),
  "hot-region-schedule-limit": count(4),
  "affinity-schedule-limit": count(0),
  "split-scatter-schedule-limit": count(4),
  "hot-region-cache-hits-threshold": count(3),
  "tolerant-size-ratio": ratio(0),
  "low-space-ratio": ratio(0.8, 0, 1),
  "high-space-ratio": ratio(0.7, 0, 1),
  "region-score-formula-version": text("v2", ["v1", "v2", ""]),
  "scheduler-max-waiting-operator": count(5),
  "enable-remove-down-replica": flag(true),
  "enable-replace-offline-replica": flag(true),
  "enable-make-up-replica": flag(true),
  "enable-remove-extra-replica": flag(true),
  "enable-location-replacement": flag(true),
  "enable-debug-metrics": flag(false),
  "enable-joint-consensus": flag(true),
  "enable-tikv-split-region": flag(true),
  "enable-heartbeat-breakdown-metrics": flag(true),
  "enable-heartbeat-concurrent-runner": flag(true),
  "hot-regions-write-interval": duration("10m"),
  "hot-regions-reserved-days": count(7),
  "max-movable-hot-peer-size": count(512),
  "enable-diagnostic": flag(true),
  "enable-witness": flag(false),
  "slow-store-evicting-affected-store-ratio-threshold": ratio(0.3, 0.01, 1),
  "store-limit-version": text("v1", ["v1", "v2"]),
  "patrol-region-worker-count": { type: "count", initial: 1, min: 1, max: 8 },
  "max-affinity-merge-region-size": count(256),
  "halt-scheduling": flag(false),
} satisfies Record<string, ItemSpec>;

const REPLICATION_ITEMS = {
  "max-replicas": count(3),
  "location-labels": { type: "labels", initial: ["host"] },
  "strictly-match-label": flag(false),
  "enable-placement-rules": flag(true),
  "enable-placement-rules-cache": flag(false),
  "isolation-level": text(""),
} satisfies Record<string, ItemSpec>;

/** Act through the default placement rule. (7.28) */
export const REPLICA_ITEMS: readonly string[] = ["max-replicas", "location-labels", "isolation-level"];

const SERVER_ITEMS = {
  "use-region-storage": flag(true),
  "max-gap-reset-ts": duration("24h"),
  "key-type": text("table", ["table", "raw", "txn"]),
  "runtime-services": text(""),
  "metric-storage": text(""),
  "dashboard-address": text("none"),
  "flow-round-by-digit": count(3),
  "min-resolved-ts-persistence-interval": duration("1s"),
  "server-memory-limit": ratio(0, 0, 0.99),
  // Of Go's memory: accepted and shown, without effect.
  "server-memory-limit-gc-trigger": ratio(0.7, 0.5, 0.99),
  "enable-gogc-tuner": flag(true),
  "gc-tuner-threshold": ratio(0.6, 0, 0.9),
  "block-safe-point-v1": flag(false),
} satisfies Record<string, ItemSpec>;

const SECTIONS = {
  schedule: SCHEDULE_ITEMS,
  replication: REPLICATION_ITEMS,
  "pd-server": SERVER_ITEMS,
} as const;
export type ConfigSection = keyof typeof SECTIONS;

type ItemName<Section extends ConfigSection> = keyof (typeof SECTIONS)[Section] & string;
type ItemValue = number | boolean | string | readonly string[];

/** Entries of `store-limit` and `default-store-limit` at and above this are no limit. (3.26) */
export const UNLIMITED_RATE = 1e8;

export const DEFAULT_SCHEDULERS: readonly SchedulerEntry[] = [
  { type: "balance-region", args: null, disable: false },
  { type: "balance-leader", args: null, disable: false },
  { type: "hot-region", args: null, disable: false },
  { type: "evict-slow-store", args: null, disable: false },
  { type: "evict-stopping-store", args: null, disable: false },
];
/** Of the cluster, before a store has told its own. */
export const UNKNOWN_VERSION = "0.0.0";
const REJECT_LEADER = "reject-leader";

export type ConfigChange = { readonly kind: "ok" } | { readonly kind: "refused"; readonly reason: string };
const OK: ConfigChange = { kind: "ok" };
const refused = (reason: string): ConfigChange => ({ kind: "refused", reason });

export class PdConfig {
  readonly #values = new Map<string, ItemValue>();
  /** They win over `#values` and are not stored with them. */
  readonly #temporary = new Map<string, ItemValue>();
  /** Within `atomically`: items of the default rule that changed. */
  #together: Set<string> | undefined;
  defaultStoreLimit: StoreLimitConfig = { "add-peer": 15, "remove-peer": 15 };
  readonly storeLimits: Map<number, StoreLimitConfig> = new Map();
  schedulers: SchedulerEntry[] = [...DEFAULT_SCHEDULERS];
  readonly labelProperties: Map<string, readonly { readonly key: string; readonly value: string }[]> =
    new Map();
  clusterVersion: string = UNKNOWN_VERSION;
  /** As the stores say: not for users to change. */
  regionSizes: RegionSizes = DEFAULT_REGION_SIZES;
  /** Changes of the settings and of what is stored with them, one after the other. */
  readonly changes: Serial = new Serial();
  /** Why an item of `REPLICA_ITEMS` may not change: it acts through the default placement rule. (7.28) */
  replicationRefusal: () => string | undefined = () => undefined;
  /** An item of `REPLICA_ITEMS` changed: the default placement rule follows. */
  onReplicationChanged: (item: string) => void = () => {};

  constructor() {
    for (const section of Object.keys(SECTIONS) as ConfigSection[]) {
      for (const [name, spec] of Object.entries<ItemSpec>(SECTIONS[section])) {
        this.#values.set(`${section}.${name}`, spec.initial);
      }
    }
  }

  /** With the same values and the same refusals, and nobody who follows it. */
  copy(): PdConfig {
    const copy = new PdConfig();
    for (const [name, value] of this.#values) copy.#values.set(name, value);
    for (const [name, value] of this.#temporary) copy.#temporary.set(name, value);
    for (const [id, limit] of this.storeLimits) copy.storeLimits.set(id, limit);
    for (const [type, list] of this.labelProperties) copy.labelProperties.set(type, list);
    copy.defaultStoreLimit = this.defaultStoreLimit;
    copy.schedulers = [...this.schedulers];
    copy.clusterVersion = this.clusterVersion;
    copy.regionSizes = this.regionSizes;
    copy.replicationRefusal = this.replicationRefusal;
    return copy;
  }

  number(name: `schedule.${ItemName<"schedule">}` | `replication.${ItemName<"replication">}`): number {
    return this.#valueOf(name) as number;
  }

  flag(name: `schedule.${ItemName<"schedule">}` | `replication.${ItemName<"replication">}`): boolean {
    return this.#valueOf(name) as boolean;
  }

  text(name: `schedule.${ItemName<"schedule">}` | `replication.${ItemName<"replication">}`): string {
    return this.#valueOf(name) as string;
  }

  #valueOf(name: string): ItemValue | undefined {
    const temporary = this.#temporary.size === 0 ? undefined : this.#temporary.get(name);
    return temporary ?? this.#values.get(name);
  }

  /** Until `endTemporary`; `name` with its section. */
  setTemporary(name: string, value: unknown): ConfigChange {
    const [section, item = ""] = name.split(".") as [ConfigSection, string?];
    const items = SECTIONS[section] as Record<string, ItemSpec> | undefined;
    const spec = items !== undefined && Object.hasOwn(items, item) ? items[item] : undefined;
    if (spec === undefined) return refused(`config item ${name} not found`);
    const parsed = parseItem(section, item, spec, value);
    if (parsed.kind === "refused") return parsed;
    this.#temporary.set(name, parsed.value);
    return OK;
  }

  endTemporary(name: string): void {
    this.#temporary.delete(name);
  }

  get locationLabels(): readonly string[] {
    return this.#values.get("replication.location-labels") as readonly string[];
  }

  /** Of what form keys are: "table", "raw" or "txn". */
  get keyType(): string {
    return this.#values.get("pd-server.key-type") as string;
  }

  /** 0: what stores report is not looked at. */
  get minResolvedIntervalMs(): number {
    return this.#values.get("pd-server.min-resolved-ts-persistence-interval") as number;
  }

  get flowDigits(): number {
    return this.#values.get("pd-server.flow-round-by-digit") as number;
  }

  get maxReplicas(): number {
    return this.number("replication.max-replicas");
  }

  /** Stores with such labels lead nothing: `{action, type: "reject-leader", label-key, label-value}`. */
  rejectsLeader(labels: readonly { readonly key: string; readonly value: string }[]): boolean {
    const rejecting = this.labelProperties.get(REJECT_LEADER);
    if (rejecting === undefined) return false;
    return labels.some((label) =>
      rejecting.some((other) => other.key === label.key && other.value === label.value),
    );
  }

  setLabelProperty(type: string, key: string, value: string): void {
    const list = this.labelProperties.get(type) ?? [];
    if (list.some((other) => other.key === key && other.value === value)) return;
    this.labelProperties.set(type, [...list, { key, value }]);
  }

  deleteLabelProperty(type: string, key: string, value: string): void {
    const left = (this.labelProperties.get(type) ?? []).filter(
      (other) => other.key !== key || other.value !== value,
    );
    if (left.length === 0) this.labelProperties.delete(type);
    else this.labelProperties.set(type, left);
  }

  storeLimit(storeId: number): StoreLimitConfig {
    return this.storeLimits.get(storeId) ?? this.defaultStoreLimit;
  }

  /** The section that has this item; undefined when there is none. */
  static sectionOf(item: string): ConfigSection | undefined {
    return (Object.keys(SECTIONS) as ConfigSection[]).find((section) =>
      Object.hasOwn(SECTIONS[section], item),
    );
  }

  /** One item by section and name; the value in its JSON form. */
  set(section: ConfigSection, item: string, value: unknown): ConfigChange {
    if (section === "schedule" && item === "store-limit") return this.#setStoreLimits(value);
    if (section === "schedule" && item === "default-store-limit") {
      const limit = storeLimitFromJson(value);
      if (limit === undefined)
        return refused("default-store-limit needs add-peer and remove-peer, both >= 0");
      this.defaultStoreLimit = limit;
      return OK;
    }
    if (section === "schedule" && item === "schedulers-v2") return OK;
    const items = SECTIONS[section] as Record<string, ItemSpec>;
    const spec = Object.hasOwn(items, item) ? items[item] : undefined;
    if (spec === undefined) return refused(`config item ${item} not found`);
    const parsed = parseItem(section, item, spec, value);
    if (parsed.kind === "refused") return parsed;
    if (this.#temporary.has(`${section}.${item}`))
      return refused(`need to clean up TTL first for ${section}.${item}`);
    const previous = this.#values.get(`${section}.${item}`) as ItemValue;
    const isReplica = section === "replication" && REPLICA_ITEMS.includes(item);
    if (isReplica && String(previous) === String(parsed.value)) return OK;
    // The first of several is asked: the rule follows them all at the end.
    const asks = isReplica && (this.#together?.size ?? 0) === 0;
    const forbidden = asks ? this.replicationRefusal() : undefined;
    if (forbidden !== undefined) return refused(forbidden);
    this.#values.set(`${section}.${item}`, parsed.value);
    if (this.#together !== undefined) {
      if (isReplica) this.#together.add(item);
      return OK;
    }
    const reason = this.#invalid();
    if (reason === undefined) {
      if (isReplica) this.onReplicationChanged(item);
      return OK;
    }
    this.#values.set(`${section}.${item}`, previous);
    return refused(reason);
  }

  /** All changes that `change` makes, or none: it answers why not, and what they make together is checked too. */
  atomically(change: () => string | undefined): string | undefined {
    const values = new Map(this.#values);
    const limits = new Map(this.storeLimits);
    const { defaultStoreLimit, clusterVersion } = this;
    this.#together = new Set();
    const reason = change() ?? this.#invalid();
    const replicaItems = this.#together;
    this.#together = undefined;
    if (reason === undefined) {
      for (const item of replicaItems) this.onReplicationChanged(item);
      return undefined;
    }
    for (const [name, value] of values) this.#values.set(name, value);
    this.storeLimits.clear();
    for (const [id, limit] of limits) this.storeLimits.set(id, limit);
    Object.assign(this, { defaultStoreLimit, clusterVersion });
    return reason;
  }

  /** As the default placement rule says, without asking it. */
  followRule(maxReplicas: number): void {
    this.#values.set("replication.max-replicas", maxReplicas);
  }

  /** What an item is, in its JSON form. */
  section(section: ConfigSection): Record<string, unknown> {
    const json: Record<string, unknown> = {};
    for (const [name, spec] of Object.entries<ItemSpec>(SECTIONS[section])) {
      json[name] = itemToJson(spec, this.#valueOf(`${section}.${name}`) as ItemValue);
    }
    if (section !== "schedule") return json;
    // Shown computed, as clients of PD expect; 0 stays 0 in what is stored. (11.26)
    if (json["max-merge-region-keys"] === 0) {
      json["max-merge-region-keys"] = (json["max-merge-region-size"] as number) * 10_000;
    }
    if (json["halt-scheduling"] === "false") delete json["halt-scheduling"];
    json["default-store-limit"] = this.defaultStoreLimit;
    json["store-limit"] = Object.fromEntries(this.storeLimits);
    json["schedulers-v2"] = this.schedulers.map((entry) => ({ ...entry, "args-payload": "" }));
    return json;
  }

  toStored(): Record<string, unknown> {
    const values = Object.fromEntries(
      [...this.#values].map(([name, value]) => {
        const [section, item] = name.split(".") as [ConfigSection, string];
        return [name, itemToJson((SECTIONS[section] as Record<string, ItemSpec>)[item] as ItemSpec, value)];
      }),
    );
    return {
      values,
      "default-store-limit": this.defaultStoreLimit,
      "store-limit": Object.fromEntries(this.storeLimits),
      schedulers: this.schedulers,
      "label-property": Object.fromEntries(this.labelProperties),
      "cluster-version": this.clusterVersion,
      "region-sizes": this.regionSizes,
    };
  }

  /** Items that this version does not know, or that no longer pass, keep their defaults. */
  loadStored(stored: Record<string, unknown>): string[] {
    const ignored: string[] = [];
    const loadValues = (): void => {
      for (const [name, value] of Object.entries((stored["values"] ?? {}) as Record<string, unknown>)) {
        const [section, item] = name.split(".") as [ConfigSection, string];
        if (!(section in SECTIONS) || this.set(section, item, value).kind === "refused") ignored.push(name);
      }
    };
    // Together first: bounds between items hold for all of them, not on the way there.
    const reason = this.atomically(() => void loadValues());
    if (reason !== undefined) {
      ignored.length = 0;
      loadValues();
    }
    this.set("schedule", "default-store-limit", stored["default-store-limit"]);
    this.set("schedule", "store-limit", stored["store-limit"] ?? {});
    if (Array.isArray(stored["schedulers"])) this.schedulers = stored["schedulers"] as SchedulerEntry[];
    const properties = (stored["label-property"] ?? {}) as Record<string, { key: string; value: string }[]>;
    for (const [type, list] of Object.entries(properties)) {
      for (const { key, value } of list) this.setLabelProperty(type, key, value);
    }
    // A default scheduler that came with a newer version runs unless it was switched off. (9.2)
    for (const entry of DEFAULT_SCHEDULERS) {
      if (!this.schedulers.some((other) => other.type === entry.type)) this.schedulers.push(entry);
    }
    if (typeof stored["cluster-version"] === "string") this.clusterVersion = stored["cluster-version"];
    this.regionSizes = storedRegionSizes(stored["region-sizes"]);
    return ignored;
  }

  #setStoreLimits(value: unknown): ConfigChange {
    if (typeof value !== "object" || value === null) return refused("store-limit must be an object");
    const limits = new Map<number, StoreLimitConfig>();
    for (const [id, entry] of Object.entries(value)) {
      const limit = storeLimitFromJson(entry);
      if (limit === undefined || !/^[0-9]+$/.test(id))
        return refused(`store-limit of store ${id} is malformed`);
      limits.set(Number(id), limit);
    }
    this.storeLimits.clear();
    for (const [id, limit] of limits) this.storeLimits.set(id, limit);
    return OK;
  }

  #invalid(): string | undefined {
    const low = this.number("schedule.low-space-ratio");
    const high = this.number("schedule.high-space-ratio");
    if (low > 1 || high > 1) return "low-space-ratio and high-space-ratio should be between 0 and 1";
    if (low <= high) return "low-space-ratio should be larger than high-space-ratio";
    if (this.maxReplicas < 1) {
      return `[PD:placement:ErrRuleContent]invalid rule content, invalid count ${this.maxReplicas}`;
    }
    const level = this.text("replication.isolation-level");
    if (level !== "" && !this.locationLabels.includes(level)) {
      return "isolation-level must be one of location-labels or empty";
    }
    return undefined;
  }
}

type ParsedItem =
  | { readonly kind: "value"; readonly value: ItemValue }
  | { readonly kind: "refused"; readonly reason: string };

const GO_STRUCTS: Record<ConfigSection, string> = {
  schedule: "ScheduleConfig",
  replication: "ReplicationConfig",
  "pd-server": "PDServerConfig",
};

function parseItem(section: ConfigSection, item: string, spec: ItemSpec, value: unknown): ParsedItem {
  const wrongType = (wanted: string): ParsedItem => ({
    kind: "refused",
    reason: `json: cannot unmarshal ${jsonTypeName(value)} into Go struct field ${GO_STRUCTS[section]}.${item} of type ${wanted}`,
  });
  switch (spec.type) {
    case "count": {
      if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) return wrongType("uint64");
      return bounded(item, spec, value);
    }
    case "ratio":
      if (typeof value !== "number" || !Number.isFinite(value)) return wrongType("float64");
      return bounded(item, spec, value);
    case "boolean":
      if (value === true || value === "true") return { kind: "value", value: true };
      if (value === false || value === "false") return { kind: "value", value: false };
      return wrongType("bool");
    case "duration": {
      const parsedMs = typeof value === "string" ? parseDurationMs(value) : undefined;
      return parsedMs === undefined ? wrongType("typeutil.Duration") : { kind: "value", value: parsedMs };
    }
    case "text":
      if (typeof value !== "string") return wrongType("string");
      if (spec.oneOf !== undefined && !spec.oneOf.includes(value)) {
        return { kind: "refused", reason: `${item} must be one of ${spec.oneOf.join(", ")}, not ${value}` };
      }
      return { kind: "value", value };
    case "labels": {
      if (typeof value !== "string") return wrongType("string");
      const labels = value.split(",").filter((label) => label !== "");
      const bad = labels.find((label) => !/^[$]?[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$/.test(label));
      if (bad !== undefined) return { kind: "refused", reason: `${bad} is not a valid label` };
      return { kind: "value", value: labels };
    }
  }
}

function bounded(item: string, { min = 0, max = Number.MAX_VALUE }: ItemSpec, value: number): ParsedItem {
  if (value < min) return { kind: "refused", reason: `${item} must be at least ${min}, not ${value}` };
  if (value > max) return { kind: "refused", reason: `${item} must be at most ${max}, not ${value}` };
  return { kind: "value", value };
}

function itemToJson(spec: ItemSpec, value: ItemValue): unknown {
  switch (spec.type) {
    case "boolean":
      return String(value);
    case "duration":
      return formatDurationMs(value as number);
    case "labels":
      return (value as readonly string[]).join(",");
    default:
      return value;
  }
}

function storeLimitFromJson(value: unknown): StoreLimitConfig | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { "add-peer": add, "remove-peer": remove } = value as Record<string, unknown>;
  const valid = (rate: unknown): rate is number =>
    typeof rate === "number" && Number.isFinite(rate) && rate >= 0;
  return valid(add) && valid(remove) ? { "add-peer": add, "remove-peer": remove } : undefined;
}

function jsonTypeName(value: unknown): string {
  if (typeof value === "boolean") return "bool";
  return Array.isArray(value) ? "array" : typeof value;
}
