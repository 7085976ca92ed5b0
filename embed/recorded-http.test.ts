/**
 * PD's HTTP API beside a real PD's: test/recorded-http.tsv says of each route what status a real one answered and which
 * fields of which JSON type were in the answer (of a cluster of four stores and twelve regions). Ours must have them.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { must, utf8 } from "../base/index.js";
import { Cluster } from "./cluster.js";

interface Recorded {
  readonly route: string;
  readonly status: number;
  /** JSON types by path: `regions[].id` -> `number`; keys that are numbers are `*`; "." is the whole. */
  readonly types: ReadonlyMap<string, readonly string[]>;
}

/** What ours leaves out, by route and path, and why. */
const LEFT_OUT: readonly (readonly [route: RegExp, path: RegExp, why: string])[] = [
  [/store/, /\.(status_address|git_hash)$/, "stores inside a process have none"],
  [/store/, /slow_trend/, "stores do not measure it"],
  [/store\/\{store\}$/, /store\.state$/, "of a store that is leaving"],
  [/(operators|status=paused)$/, /^\[\]$/, "none at the moment"],
  [/(members|leader)$/, /peer_urls\[\]$/, "a PD inside a process has no peers"],
  [/config\/pd-server$/, /gogc|memory-limit|gc-tuner/, "tunes Go's collector"],
  [/config\/pd-server$/, /block-safe-point-v1/, "belongs to garbage collection by keyspace"],
  [/config\/rules$/, /create_timestamp/, "of rules that somebody made"],
  [/region-label\/rules$/, /^\[\]/, "there are no borders between keyspaces"],
];

/** Routes of parts that this version does not have: they are not found. */
const NOT_SERVED = /v2\/keyspaces|evict-leader-scheduler\/list/;

function recorded(): Recorded[] {
  const text = readFileSync(join(import.meta.dirname, "test", "recorded-http.tsv"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [route = "", status = "", fields = ""] = line.split("\t");
      const types = fields.split(" ").map((field): [string, string[]] => {
        const at = field.lastIndexOf(":");
        return [field.slice(0, at), field.slice(at + 1).split("|")];
      });
      return { route, status: Number(status), types: new Map(types) };
    });
}

const typeOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value;

function collect(value: unknown, path: string, found: Map<string, Set<string>>): void {
  const key = path === "" ? "." : path;
  const types = found.get(key) ?? new Set();
  found.set(key, types.add(typeOf(value)));
  if (Array.isArray(value)) for (const each of value) collect(each, `${path}[]`, found);
  else if (typeof value === "object" && value !== null) {
    for (const [name, each] of Object.entries(value)) {
      const step = /^\d+$/.test(name) ? "*" : name;
      collect(each, path === "" ? step : `${path}.${step}`, found);
    }
  }
}

let cluster: Cluster;
const replacements = new Map<string, string>();

beforeAll(async () => {
  cluster = await Cluster.start({
    stores: 4,
    pdConfig: { schedule: { "leader-schedule-limit": 0, "region-schedule-limit": 0 } },
  });
  await cluster.client.put(utf8("m"), utf8("v"));
  await cluster.split(utf8("h"), utf8("t"));
  const { regions } = cluster.pd.cluster;
  const isKnown = (): boolean =>
    regions.count === 3 && (regions.find(utf8("m"))?.pendingPeers.length ?? 1) === 0;
  await cluster.waitUntil(isKnown, 10_000, "PD saw no split");
  const region = must(regions.find(utf8("m")), "no region");
  replacements.set("{region}", String(region.meta.id));
  replacements.set("{store}", String(region.leader?.storeId));
  replacements.set("{key}", "6D");
  const target = must(
    region.meta.peers.find(({ storeId }) => storeId !== region.leader?.storeId),
    "no other",
  );
  const order = { name: "transfer-leader", region_id: region.meta.id, to_store_id: target.storeId };
  const { status, text } = await http("POST", "/pd/api/v1/operators", JSON.stringify(order));
  if (status !== 200) throw new Error(text);
  const records = async (): Promise<string> => (await http("GET", "/pd/api/v1/operators/records")).text;
  const deadlineMs = performance.now() + 10_000;
  while (!(await records()).includes("transfer-leader") && performance.now() < deadlineMs)
    await new Promise((resolve) => setTimeout(resolve, 20));
});
afterAll(() => cluster?.close());

function http(method: string, url: string, body = ""): Promise<{ status: number; text: string }> {
  const [path = "", search = ""] = url.split("?");
  const query: Record<string, string[]> = {};
  for (const [key, value] of new URLSearchParams(search)) query[key] = [value];
  return new Promise((resolve) => {
    cluster.pd.handleHttp({ method, path, query, headers: {}, body: utf8(body) }, (status, _type, text) =>
      resolve({ status, text }),
    );
  });
}

test.each(recorded().map((each) => [each.route, each] as const))("%s", async (route, { status, types }) => {
  let url = route;
  for (const [name, value] of replacements) url = url.replace(name, value);
  const answer = await http("GET", url);
  const expectedStatus = NOT_SERVED.test(route) ? 404 : status;
  expect([answer.status, answer.text.slice(0, 200)]).toEqual([expectedStatus, answer.text.slice(0, 200)]);
  if (answer.status === 404) return;
  if (types.get(".")?.[0] === "text") return;
  const found = new Map<string, Set<string>>();
  collect(JSON.parse(answer.text), "", found);
  const missing: string[] = [];
  for (const [path, expected] of types) {
    if (LEFT_OUT.some(([routes, paths]) => routes.test(route) && paths.test(path))) continue;
    const own = found.get(path);
    if (own === undefined || ![...own].some((type) => expected.includes(type)))
      missing.push(`${path}: ${expected.join("|")}, ours ${own === undefined ? "none" : [...own].join("|")}`);
  }
  expect(missing).toEqual([]);
});
