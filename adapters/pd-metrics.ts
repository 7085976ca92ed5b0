/**
 * PD's metrics under PD's names: its own counters, its calls, and the state of the cluster, which is read over PD's own
 * HTTP handlers when somebody asks. A PD that does not lead tells of itself alone.
 *
 * With a hundred stores a page has thousands of lines. It is made in many turns, so that nobody waits for a timestamp
 * meanwhile.
 */
import { collectDefaultMetrics, Registry } from "prom-client";
import type { MetricHistogram, MetricSample, PdMetrics } from "../pd/index.js";
import type { PlainReply, PlainRequest } from "./http-bridge.js";
import { pdPortMetrics } from "./port-metrics.js";
import type { PortObserver } from "./port-observer.js";
import { onScrape } from "./histogram.js";

export interface PdSource {
  readonly metrics: PdMetrics;
  readonly clusterId: bigint;
  readonly isServing: boolean;
  /** Asked for while it serves. */
  scrape(): readonly MetricSample[];
  handleHttp(request: PlainRequest, reply: PlainReply): void;
}

export interface PdMetricsOptions {
  readonly version: string;
  readonly gitHash: string;
  readonly connections: () => number;
}

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

type Json = Readonly<Record<string, unknown>>;

export class PdMetricsPage {
  readonly #registry = new Registry();
  readonly port: PortObserver;

  constructor({ version, gitHash, connections }: PdMetricsOptions) {
    const registry = this.#registry;
    collectDefaultMetrics({ register: registry });
    this.port = pdPortMetrics(registry);
    onScrape(registry, "gauge", "pd_server_info", "Version", (set) => set({ version, hash: gitHash }, 1));
    onScrape(registry, "gauge", "raftwerk_port_connections", "Open connections", (set) =>
      set({}, connections()),
    );
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(pd: PdSource): Promise<string> {
    const samples = [...pd.metrics.samples(), ...leadership(pd)];
    if (pd.isServing) samples.push(...(await clusterSamples(pd)));
    await nextTurn();
    const own = await this.#registry.metrics();
    await nextTurn();
    const text = `${own.trimEnd()}\n${await samplesText(samples)}`;
    return `${text.trimEnd()}\n${await histogramsText(pd.metrics.histograms())}`;
  }
}

const gauge = (name: string, labels: Record<string, string>, value: unknown): MetricSample => ({
  name,
  kind: "gauge",
  labels,
  value: Number(value ?? 0),
});

const leadership = (pd: PdSource): MetricSample[] => [
  gauge("service_member_role", { service: "PD" }, pd.isServing ? 1 : 0),
  gauge("pd_cluster_metadata", { type: `cluster${pd.clusterId}` }, 0),
];

/** The value of a GET, as parsed JSON, in a turn of its own; undefined when PD does not answer it now. */
async function ask(pd: PdSource, path: string): Promise<Json | undefined> {
  await nextTurn();
  if (!pd.isServing) return undefined;
  const [route = "", search = ""] = path.split("?");
  const query: Record<string, string[]> = {};
  for (const [key, value] of new URLSearchParams(search)) (query[key] ??= []).push(value);
  return new Promise((resolve) => {
    pd.handleHttp(
      { method: "GET", path: `/pd/api/v1${route}`, query, headers: {}, body: new Uint8Array(0) },
      (status, _type, body) => resolve(status === 200 ? (JSON.parse(body) as Json) : undefined),
    );
  });
}

const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? (value as Json[]) : []);

async function clusterSamples(pd: PdSource): Promise<MetricSample[]> {
  const stores = await ask(pd, "/stores?state=0&state=1&state=2");
  const config = await ask(pd, "/config");
  const limits = await ask(pd, "/stores/limit");
  const schedulers = await ask(pd, "/schedulers");
  await nextTurn();
  const known = list(stores?.["stores"]).map((entry) => ({
    store: entry["store"] as Json,
    status: entry["status"] as Json,
  }));
  const live = known.filter(({ store }) => store["state_name"] !== "Tombstone").map(labelsOf);
  return [
    ...storeSamples(known),
    ...(pd.isServing ? pd.scrape() : []),
    ...(await flowSamples(pd, live)),
    ...(await progressSamples(pd, live)),
    ...configSamples(config ?? {}),
    ...Object.entries(limits ?? {}).flatMap(([store, limit]) =>
      Object.entries(limit as Json).map(([type, rate]) =>
        gauge("pd_cluster_store_limit", { store, type }, rate),
      ),
    ),
    ...(Array.isArray(schedulers) ? schedulers : []).map((kind: string) =>
      gauge("pd_scheduler_status", { kind, type: "allow" }, 1),
    ),
    ...(await hotSamples(pd, live)),
  ];
}

const SIZE_UNITS = "KMGTPE";

/** `1.5GiB` -> bytes: how PD's HTTP API shows sizes of stores. */
function bytesOf(text: unknown): number {
  const match = /^([0-9.]+)([KMGTPE]?)(?:i?B)?$/.exec(typeof text === "string" ? text : "0B");
  if (match === null) return 0;
  const power = match[2] === "" ? 0 : SIZE_UNITS.indexOf(match[2] as string) + 1;
  return Number(match[1]) * 1024 ** power;
}

/** Fields of a store's status and the `type` under which PD exports them. */
const STORE_FIGURES: readonly (readonly [field: string, type: string])[] = [
  ["leader_count", "leader_count"],
  ["leader_size", "leader_size"],
  ["leader_score", "leader_score"],
  ["region_count", "region_count"],
  ["region_size", "region_size"],
  ["region_score", "region_score"],
  ["capacity", "store_capacity"],
  ["available", "store_available"],
  ["used_size", "store_used"],
];
const STATES: Readonly<Record<string, string>> = {
  Up: "store_up_count",
  Disconnected: "store_disconnected_count",
  Down: "store_down_count",
  Offline: "store_offline_count",
  Tombstone: "store_tombstone_count",
};
/** By `node_state`, which is left out where it is 0. */
const NODE_STATES = [
  "store_preparing_count",
  "store_serving_count",
  "store_removing_count",
  "store_removed_count",
];
/** From this slow score on PD takes a store for slow. */
const SLOW_SCORE = 80;

/** Not heard of for so long, a store is unhealthy until it counts as down. */
const UNHEALTHY_MS = 600_000;
const ALL_STORES = { engine: "tikv", store: "all" };

interface KnownStore {
  readonly store: Json;
  readonly status: Json;
}
interface StoreLabels {
  readonly address: string;
  readonly store: string;
}
const labelsOf = ({ store }: KnownStore): StoreLabels => ({
  address: String(store["address"]),
  store: String(store["id"]),
});

function storeSamples(stores: readonly KnownStore[]): MetricSample[] {
  const samples: MetricSample[] = [];
  const counted = [...Object.values(STATES), ...NODE_STATES, "store_unhealth_count", "store_slow_count"];
  const totals = new Map<string, number>(counted.map((type) => [type, 0]));
  const add = (type: string, value: number): void => {
    totals.set(type, (totals.get(type) ?? 0) + value);
  };
  for (const known of stores) {
    const { store, status } = known;
    const silentMs = Date.now() - Number(store["last_heartbeat"] ?? 0) / 1e6;
    const isUnhealthy = store["state_name"] === "Disconnected" && silentMs > UNHEALTHY_MS;
    add((isUnhealthy ? undefined : STATES[String(store["state_name"])]) ?? "store_unhealth_count", 1);
    const lifeStage = NODE_STATES[Number(store["node_state"] ?? 0)];
    if (lifeStage !== undefined) add(lifeStage, 1);
    // One that is buried has no figures any more.
    if (store["state_name"] === "Tombstone") continue;
    if (Number(status["slow_score"] ?? 0) >= SLOW_SCORE) add("store_slow_count", 1);
    const labels = labelsOf(known);
    for (const [field, type] of STORE_FIGURES) {
      const isSize = type.startsWith("store_");
      const value = isSize ? bytesOf(status[field]) : Number(status[field] ?? 0);
      samples.push(gauge("pd_scheduler_store_status", { ...labels, type }, value));
      if (type === "leader_count") add("leader_count", value);
      if (type === "region_count") add("region_count", value);
      if (type === "store_capacity") add("storage_capacity", value);
      if (type === "store_used") add("storage_size", value);
    }
  }
  for (const [type, value] of totals) {
    samples.push(gauge("pd_cluster_status", { type, ...ALL_STORES }, value));
  }
  return samples;
}

/** Kinds of flow in the answer of `/hotspot/stores`, and the `type` under which PD exports them. */
const FLOWS: readonly (readonly [kind: string, type: string])[] = [
  ["bytes-write-rate", "store_write_rate_bytes"],
  ["bytes-read-rate", "store_read_rate_bytes"],
  ["keys-write-rate", "store_write_rate_keys"],
  ["keys-read-rate", "store_read_rate_keys"],
];

async function flowSamples(pd: PdSource, stores: readonly StoreLabels[]): Promise<MetricSample[]> {
  const flows = await ask(pd, "/hotspot/stores");
  return stores.flatMap((labels) =>
    FLOWS.map(([kind, type]) => {
      const rates = flows?.[kind] as Json | undefined;
      return gauge("pd_scheduler_store_status", { ...labels, type }, rates?.[labels.store]);
    }),
  );
}

/** Of the stores that are being filled or emptied. */
async function progressSamples(pd: PdSource, stores: readonly StoreLabels[]): Promise<MetricSample[]> {
  const samples: MetricSample[] = [];
  for (const store of stores) {
    const found = await ask(pd, `/stores/progress?id=${store.store}`);
    if (found === undefined) continue;
    const labels = { ...store, action: String(found["action"]) };
    samples.push(
      gauge("pd_cluster_progress", labels, found["progress"]),
      gauge("pd_cluster_speed", labels, found["current_speed"]),
      gauge("pd_cluster_eta", labels, found["left_seconds"]),
    );
  }
  return samples;
}

function configSamples(config: Json): MetricSample[] {
  const samples: MetricSample[] = [];
  for (const section of ["schedule", "replication"]) {
    for (const [type, value] of Object.entries((config[section] as Json | undefined) ?? {})) {
      const flag =
        value === "true" || value === true ? 1 : value === "false" || value === false ? 0 : undefined;
      const number = flag ?? (typeof value === "number" ? value : undefined);
      if (number !== undefined) samples.push(gauge("pd_config_status", { type }, number));
    }
  }
  return samples;
}

/** Hot regions by store: PD's `type` names carry direction and role. */
async function hotSamples(pd: PdSource, stores: readonly StoreLabels[]): Promise<MetricSample[]> {
  const samples: MetricSample[] = [];
  for (const [direction, verb] of [
    ["read", "read"],
    ["write", "written"],
  ] as const) {
    const hot = await ask(pd, `/hotspot/regions/${direction}`);
    for (const role of ["leader", "peer"]) {
      for (const [store, load] of Object.entries((hot?.[`as_${role}`] as Json | undefined) ?? {})) {
        const figures = load as Json;
        const labels = { address: stores.find((each) => each.store === store)?.address ?? "", store };
        const set = (type: string, field: string): void => {
          samples.push(gauge("pd_hotspot_status", { ...labels, type }, figures[field]));
        };
        set(`total_${verb}_bytes_as_${role}`, "total_flow_bytes");
        set(`total_${verb}_keys_as_${role}`, "total_flow_keys");
        set(`hot_${direction}_region_as_${role}`, "regions_count");
      }
    }
  }
  return samples;
}

/** Lines of a turn. */
const LINES = 250;

/** Series by name, each series once: of two equal ones the later holds. */
async function samplesText(samples: readonly MetricSample[]): Promise<string> {
  const byName = new Map<string, { readonly kind: string; readonly series: Map<string, number> }>();
  for (const [i, { name, kind, labels, value }] of samples.entries()) {
    if (i % LINES === LINES - 1) await nextTurn();
    let known = byName.get(name);
    if (known === undefined) {
      known = { kind, series: new Map() };
      byName.set(name, known);
    }
    known.series.set(labelsText(labels), value);
  }
  const lines: string[] = [];
  for (const [name, { kind, series }] of byName) {
    lines.push(`# HELP ${name} ${name}`, `# TYPE ${name} ${kind}`);
    for (const [labels, value] of series) {
      if (lines.length % LINES === 0) await nextTurn();
      lines.push(`${name}${labels} ${numberText(value)}`);
    }
    lines.push("");
  }
  return lines.join("\n");
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  let text = "";
  for (const key in labels) text += `${text === "" ? "" : ","}${key}="${escapeLabel(labels[key] ?? "")}"`;
  return text === "" ? "" : `{${text}}`;
}

const numberText = (value: number): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);

/** They are counted already, so prom-client's own histograms, which count observations, do not fit. */
async function histogramsText(histograms: readonly MetricHistogram[]): Promise<string> {
  const lines: string[] = [];
  const named = new Set<string>();
  let turnAt = LINES;
  for (const { name, labels, bounds, counts, count, sum } of histograms) {
    if (lines.length >= turnAt) {
      turnAt = lines.length + LINES;
      await nextTurn();
    }
    if (!named.has(name)) lines.push(`# HELP ${name} ${name}`, `# TYPE ${name} histogram`);
    named.add(name);
    const own = labelsText(labels);
    const more = own === "" ? "" : `,${own.slice(1, -1)}`;
    let below = 0;
    for (const [i, bound] of bounds.entries()) {
      below += counts[i] as number;
      lines.push(`${name}_bucket{le="${bound}"${more}} ${below}`);
    }
    lines.push(`${name}_bucket{le="+Inf"${more}} ${count}`);
    lines.push(`${name}_sum${own} ${sum}`, `${name}_count${own} ${count}`);
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

const escapeLabel = (text: string): string =>
  !/[\\"\n]/.test(text) ? text : text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
