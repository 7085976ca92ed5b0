/** The dashboards' queries find data: each name, with the labels and the values of labels that panels pick. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { Cluster } from "../embed/cluster.js";
import { PdMetricsPage } from "./pd-metrics.js";
import { StoreMetrics } from "./store-metrics.js";

type Labels = ReadonlyMap<string, string>;
type Server = "tikv" | "pd";

/** The samples of a page in Prometheus' text format, by name. */
function samplesOf(page: string): Map<string, Labels[]> {
  const samples = new Map<string, Labels[]>();
  for (const [, name = "", inner = ""] of page.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const pairs = [...inner.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const labels = new Map(pairs.map(([, label = "", value = ""]) => [label, value]));
    const same = samples.get(name);
    if (same === undefined) samples.set(name, [labels]);
    else same.push(labels);
  }
  return samples;
}

interface Query {
  readonly metric: string;
  /** Sorted, apart by commas. */
  readonly labels: string;
  readonly values: readonly (readonly [label: string, value: string])[];
}

function queriesOf(server: Server): Query[] {
  const text = readFileSync(join(import.meta.dirname, "test", "dashboard-metrics.tsv"), "utf8");
  return text
    .split("\n")
    .map((line) => line.split("\t"))
    .filter((row) => row[0] === server)
    .map(([, metric = "", labels = "", picked = ""]) => ({
      metric,
      labels,
      values: picked
        .split(";")
        .filter((each) => each !== "")
        .flatMap((each) => {
          const [label = "", values = ""] = each.split("=");
          return values.split("|").map((value) => [label, value] as const);
        }),
    }));
}

/** What the queries would miss. */
function missing(page: string, queries: readonly Query[]): string[] {
  const samples = samplesOf(page);
  return queries.flatMap(({ metric, labels, values }) => {
    const isHistogram = samples.has(`${metric}_bucket`);
    const names = isHistogram ? ["_bucket", "_sum", "_count"].map((end) => metric + end) : [metric];
    return names.flatMap((name) => {
      const found = samples.get(name) ?? [];
      if (found.length === 0) return [`${name}: no data`];
      const wanted = name.endsWith("_bucket") ? [...labels.split(","), "le"] : labels.split(",");
      const expected = wanted.filter((label) => label !== "").sort();
      const others = found.filter((each) => [...each.keys()].sort().join() !== expected.join());
      return [
        ...others
          .slice(0, 1)
          .map((each) => `${name}: labels ${[...each.keys()].join()}, not ${expected.join()}`),
        ...values
          .filter(([label, value]) => !found.some((each) => each.get(label) === value))
          .map(([label, value]) => `${name}: no ${label}=${value}`),
      ];
    });
  });
}

let cluster: Cluster;
let directory = "";
let storePage = "";
let pdPage = "";

/** Engines on disk, because only they have files to tell of; writes and reads, a timestamp, a store that goes away. */
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "raftwerk-dashboard-"));
  cluster = await Cluster.start({ stores: 3, dataDir: directory });
  const { client, pd } = cluster;
  const leads = ({ store }: (typeof cluster.stores)[number]): boolean =>
    [...store.peers.all()].some(({ isLeader }) => isLeader);
  const slot = cluster.stores.find(leads);
  if (slot === undefined) throw new Error("nobody leads");
  const metrics = new StoreMetrics();
  metrics.watch(slot.store, () => 1);
  slot.store.capacity = () => ({ capacity: 1_000, available: 600, used: 400 });
  await client.put(utf8("k"), utf8("v"));
  await client.get(utf8("k"));
  for (const { definition } of slot.store.methods()) {
    if (/\/(RawPut|RawGet)$/.test(definition.path)) metrics.port.ended(definition, 0, 2);
    if (definition.path.endsWith("/RawScan")) metrics.port.ended(definition, 13, 2);
  }
  metrics.watched(slot.store.methods());
  const engine = metrics.measured(slot.engine);
  engine.write(engine.batch(), { sync: true }, () => {});
  await new Promise<void>((resolve, reject) => {
    slot.pd.openTso().get((error) => (error === undefined ? resolve() : reject(error)));
  });
  const other = cluster.stores.find((each) => each !== slot && each.store.peers.size > 0);
  if (other === undefined) throw new Error("no other store");
  other.close?.();
  const page = new PdMetricsPage({ version: "8.5.0", gitHash: "", connections: () => 1 });
  const [method] = slot.store.methods();
  if (method === undefined) throw new Error("no method");
  page.port.ended(method.definition, 0, 2);
  await cluster.waitUntil(() => slot.store.transport.unreachable.size > 0, 20_000, "nobody is missed");
  // So little data leaves a store at once: no sample would be taken of it.
  const leaving = (): void => pd.scheduling.progress.update("removing", other.store.id, 1, 10);
  const deadline = Date.now() + 25_000;
  do {
    await new Promise((resolve) => setTimeout(resolve, 200));
    leaving();
    pdPage = await page.text(pd);
  } while (missing(pdPage, queriesOf("pd")).length > 0 && Date.now() < deadline);
  storePage = await metrics.registry.metrics();
}, 90_000);
afterAll(async () => {
  await cluster?.close();
  rmSync(directory, { recursive: true, force: true });
});

test("a store's page answers the queries of TiKV's dashboards", () => {
  expect(missing(storePage, queriesOf("tikv"))).toEqual([]);
});

test("PD's page answers the queries of PD's dashboard", () => {
  expect(missing(pdPage, queriesOf("pd"))).toEqual([]);
});

test("a name, a label or a value that is not there is found missing", () => {
  const query = { metric: "a", labels: "type", values: [["type", "x"]] } as const;
  expect(missing('a{type="x"} 1\n', [query])).toEqual([]);
  expect(missing('a{type="y"} 1\n', [query])).toEqual(["a: no type=x"]);
  expect(missing('a{kind="x"} 1\n', [query])).toHaveLength(2);
  expect(missing('b{type="x"} 1\n', [query])).toEqual(["a: no data"]);
  const buckets = 'a_bucket{le="1",type="x"} 1\na_sum{type="x"} 1\n';
  expect(missing(buckets, [query])).toEqual(["a_count: no data"]);
});
