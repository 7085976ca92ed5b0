/** `ctl hot`: where the load is, and where it was. */
import type { Command } from "commander";
import { asJson, asList, CtlError, type Json, onWord, show, table } from "./pd-ctl-output.js";

/** Of a question about the past; lists are given apart by commas. */
const HISTORY_FIELDS: Readonly<Record<string, "numbers" | "flags" | "words">> = {
  region_ids: "numbers",
  store_ids: "numbers",
  peer_ids: "numbers",
  is_leaders: "flags",
  is_learners: "flags",
  hot_region_type: "words",
};

export function registerHotWords(ctl: Command): void {
  const hot = ctl.command("hot").description("the regions and stores that are read or written most");
  for (const direction of ["read", "write"] as const) {
    const word = hot
      .command(direction)
      .description(`the regions with most ${direction}s`)
      .argument("[stores...]", "of these stores alone");
    onWord(word, async (http, stores) => {
      const query = stores.map((id) => `store_id=${encodeURIComponent(id)}`).join("&");
      const path = `/hotspot/regions/${direction}${query === "" ? "" : `?${query}`}`;
      show(http, await http.get(path), (parsed) => hotTables(asJson(parsed)));
    });
  }
  onWord(hot.command("store").description("what each store reads and writes"), async (http) => {
    show(http, await http.get("/hotspot/stores"), (parsed) => storeTable(asJson(parsed)));
  });
  const buckets = hot
    .command("buckets")
    .description("hot parts of regions, as stores report them that have buckets")
    .argument("[regions...]", "of these regions alone");
  onWord(buckets, async (http, regions) => {
    const query = regions.map((id) => `region_id=${encodeURIComponent(id)}`).join("&");
    const answer = await http.get(`/hotspot/buckets${query === "" ? "" : `?${query}`}`);
    show(http, answer, (parsed) => bucketTable(asJson(parsed)));
  });
  const history = hot
    .command("history")
    .description("what was hot, as: hot history 1700000000000 1700003600000 store_ids 1,2")
    .argument("<from>", "milliseconds since 1970")
    .argument("<to>", "milliseconds since 1970")
    .argument("[name-and-value...]", Object.keys(HISTORY_FIELDS).join(", "));
  onWord(history, async (http, [from, to, ...words]) => {
    const question = {
      start_time: millis(from as string),
      end_time: millis(to as string),
      ...filters(words),
    };
    const answer = await http.ask("/hotspot/regions/history", question);
    show(http, answer, (parsed) => historyTable(asList(asJson(parsed)["history_hot_region"])));
  });
}

function bucketTable(byRegion: Json): string {
  const rows = Object.entries(byRegion).flatMap(([id, buckets]) =>
    asList(buckets).map((bucket) => [
      id,
      ...["start_key", "end_key", "hot_degree", "read_bytes", "read_keys", "write_bytes", "write_keys"].map(
        (name) => bucket[name],
      ),
    ]),
  );
  const head = ["REGION", "FROM", "TO", "DEGREE", "READ BYTES", "READ KEYS", "WRITE BYTES", "WRITE KEYS"];
  return rows.length === 0 ? "no hot buckets" : table(head, rows);
}

function millis(text: string): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new CtlError(`${text} is no time: use milliseconds since 1970`);
  }
  return value;
}

function filters(words: readonly string[]): Json {
  if (words.length % 2 !== 0) throw new CtlError("filters are pairs: name value [name value ...]");
  const given: Json = {};
  for (let i = 0; i < words.length; i += 2) {
    const [name, text] = words.slice(i, i + 2) as [string, string];
    const kind = Object.hasOwn(HISTORY_FIELDS, name) ? HISTORY_FIELDS[name] : undefined;
    if (kind === undefined) {
      throw new CtlError(`unknown filter ${name}: use one of ${Object.keys(HISTORY_FIELDS).join(", ")}`);
    }
    const list = text.split(",");
    given[name] = kind === "numbers" ? list.map(Number) : kind === "flags" ? list.map(isTrue) : list;
  }
  return given;
}

const isTrue = (text: string): boolean => text === "true";

function hotTables(parsed: Json): string {
  const stores = Object.entries(asJson(parsed["as_peer"])).map(([id, load]) => {
    const { store_bytes: bytes, store_keys: keys, store_query: queries, regions_count: hot } = asJson(load);
    return [id, rounded(bytes), rounded(keys), rounded(queries), hot];
  });
  const regions = Object.values(asJson(parsed["as_leader"])).flatMap((load) =>
    asList(asJson(load)["statistics"]).map((one) => [
      one["region_id"],
      one["store_id"],
      rounded(one["flow_bytes"]),
      rounded(one["flow_keys"]),
      rounded(one["flow_query"]),
    ]),
  );
  const text = table(["STORE", "BYTES/S", "KEYS/S", "QUERIES/S", "HOT REGIONS"], stores);
  if (regions.length === 0) return `${text}\nno hot regions`;
  return `${text}\n\n${table(["REGION", "LEADER ON", "BYTES/S", "KEYS/S", "QUERIES/S"], regions)}`;
}

/** A row a store, a column for each rate that PD tells. */
function storeTable(rates: Json): string {
  const names = Object.keys(rates);
  const ids = [...new Set(names.flatMap((name) => Object.keys(asJson(rates[name]))))];
  const rows = ids.map((id) => [id, ...names.map((name) => rounded(asJson(rates[name])[id] ?? 0))]);
  return table(["STORE", ...names.map((name) => name.toUpperCase())], rows);
}

function historyTable(records: readonly Json[]): string {
  if (records.length === 0) return "nothing was hot then";
  const rows = records.map((one) => [
    new Date(Number(one["update_time"])).toISOString(),
    one["hot_region_type"],
    one["region_id"],
    one["store_id"],
    one["hot_degree"],
    rounded(one["flow_bytes"]),
    rounded(one["query_rate"]),
  ]);
  return table(["TIME", "KIND", "REGION", "STORE", "DEGREE", "BYTES/S", "QUERIES/S"], rows);
}

const rounded = (value: unknown): number => Math.round(Number(value) * 10) / 10;
