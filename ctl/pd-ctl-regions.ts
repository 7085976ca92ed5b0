/** `ctl region`: regions by id, key, store, kind and range. */
import type { Command } from "commander";
import { REGION_KINDS } from "../pd/index.js";
import { encodeBytes } from "./pd-ctl-key.js";
import {
  asJson,
  asList,
  CtlError,
  fields,
  idArgument,
  type Json,
  onWord,
  type PdHttp,
  print,
  show,
  showReasons,
  table,
  cell,
} from "./pd-ctl-output.js";

const SCAN_PAGE = 1024;
const KEY_SHOWN_MAX = 32;

export function registerRegionWords(ctl: Command): void {
  const region = ctl
    .command("region")
    .description("look at regions")
    .argument("[id]", "one region; all when left out");
  onWord(region, async (http, [id]) => {
    if (id === undefined) return showRegions(http, "/regions");
    show(http, await http.get(`/region/id/${idArgument(id)}`), (parsed) => oneRegion(asJson(parsed)));
  });
  const key = region
    .command("key")
    .description("the region that holds a key")
    .argument("<key>")
    .option(
      "--format <format>",
      "raw: as typed; hex; encode: a transaction's key, encoded as TiKV does",
      "raw",
    );
  onWord(key, async (http, [text], options) => {
    const bytes = keyBytes(text as string, options["format"] as string);
    const answer = await http.get(`/region/key/${bytes.toString("hex")}?format=hex`);
    show(http, answer, (parsed) => oneRegion(asJson(parsed)));
  });
  const store = region
    .command("store")
    .description("the regions with a peer on a store")
    .argument("<id>")
    .option("--type <type>", "all, leader, follower, learner or pending", "all");
  onWord(store, async (http, [id], options) => {
    const type = encodeURIComponent(options["type"] as string);
    await showRegions(http, `/regions/store/${idArgument(id as string)}?type=${type}`);
  });
  const check = region
    .command("check")
    .description(`regions that need attention: ${REGION_KINDS.join(", ")}`)
    .argument("<kind>");
  onWord(check, async (http, [kind]) => {
    if (!(REGION_KINDS as readonly string[]).includes(kind as string)) {
      throw new CtlError(`unknown kind ${kind}: use one of ${REGION_KINDS.join(", ")}`);
    }
    await showRegions(http, `/regions/check/${kind}`);
  });
  registerTops(region);
  onWord(region.command("range-holes").description("gaps between regions, in hex"), async (http) => {
    show(http, await http.get("/regions/range-holes"), (parsed) => {
      const rows = (parsed as readonly (readonly string[])[]).map(([start, end]) => [start, end]);
      return rows.length === 0 ? "no gaps" : table(["FROM", "TO"], rows);
    });
  });
  const sibling = region.command("sibling").description("the neighbours of a region").argument("<id>");
  onWord(sibling, (http, [id]) => showRegions(http, `/regions/sibling/${idArgument(id as string)}`));
  const why = region.command("why").description("why PD leaves a region as it is").argument("<id>");
  onWord(why, (http, [id]) => showReasons(http, `/diagnose/region/${idArgument(id as string)}`));
  registerScan(region);
}

/** Words of pd-ctl, with the figure each goes by. */
const TOPS: readonly (readonly [word: string, figures: Readonly<Record<string, string>>])[] = [
  ["topread", { byte: "readflow", query: "readquery" }],
  ["topwrite", { byte: "writeflow", query: "writequery" }],
  ["topsize", { size: "size" }],
  ["topkeys", { keys: "keys" }],
  ["topcpu", { cpu: "cpu" }],
  ["topconfver", { confver: "confver" }],
  ["topversion", { version: "version" }],
];

function registerTops(region: Command): void {
  for (const [word, figures] of TOPS) {
    const names = Object.keys(figures);
    const by = names.length === 1 ? "" : ` (${names.join(" or ")}, ${names[0]} when left out)`;
    const top = region
      .command(word)
      .description(`the regions with the highest ${names.join(" or ")}`)
      .argument("[words...]", `how many${by}`);
    onWord(top, async (http, words) => {
      const name = words.find((text) => Object.hasOwn(figures, text)) ?? (names[0] as string);
      const limit = words.find((text) => /^[0-9]+$/.test(text));
      const odd = words.find((text) => text !== name && text !== limit);
      if (odd !== undefined) throw new CtlError(`${odd} is neither a number nor one of ${names.join(", ")}`);
      await showRegions(http, `/regions/${figures[name]}${limit === undefined ? "" : `?limit=${limit}`}`);
    });
  }
}

/** In pages, so that a cluster of a million regions does not have to answer at once. */
function registerScan(region: Command): void {
  const scan = region
    .command("scan")
    .description("regions in the order of their keys")
    .option("--start <hex>", "first key", "")
    .option("--end <hex>", "key to end before", "")
    .option("--limit <count>", "at most so many regions");
  onWord(scan, async (http, _args, options) => {
    const end = options["end"] as string;
    const limit = options["limit"] === undefined ? undefined : idArgument(options["limit"] as string);
    const found: Json[] = [];
    for await (const page of regionPages(http, options["start"] as string, end, limit)) found.push(...page);
    print(http.options.json ? JSON.stringify({ count: found.length, regions: found }) : regionTable(found));
  });
}

/** In the order of their keys; borders in hex. */
export async function* regionPages(
  http: PdHttp,
  from = "",
  end = "",
  most = Number.POSITIVE_INFINITY,
): AsyncGenerator<readonly Json[]> {
  let left = most;
  let start: string | undefined = from;
  while (start !== undefined && left > 0) {
    const limit = Math.min(SCAN_PAGE, left);
    const answer = await http.get(`/regions/key?format=hex&key=${start}&end_key=${end}&limit=${limit}`);
    const page = asList(asJson(answer.parsed)["regions"]);
    yield page;
    left -= page.length;
    const last = page.at(-1)?.["end_key"] as string | undefined;
    start = page.length < limit || last === undefined || last === "" ? undefined : last;
  }
}

async function showRegions(http: PdHttp, path: string): Promise<void> {
  const answer = await http.get(path);
  show(http, answer, (parsed) => {
    const regions = asList(asJson(parsed)["regions"]).filter((region) => region["id"] !== undefined);
    return regionTable(regions);
  });
}

function keyBytes(text: string, format: string): Buffer {
  if (format === "raw") return Buffer.from(text);
  if (format === "encode") return encodeBytes(Buffer.from(text));
  if (format !== "hex") throw new CtlError(`unknown format ${format}: use raw, hex or encode`);
  if (!/^([0-9A-Fa-f]{2})*$/.test(text)) throw new CtlError(`${text} is not in hex format`);
  return Buffer.from(text, "hex");
}

const short = (key: unknown): string => {
  const text = typeof key === "string" ? key : "";
  return text.length > KEY_SHOWN_MAX ? `${text.slice(0, KEY_SHOWN_MAX)}..` : text;
};

/** `store*` leads, `store?` has a learner, `store!` is down, `store~` lags. */
function peersText(region: Json): string {
  const leader = asJson(region["leader"])["id"];
  const down = asList(region["down_peers"]).map((entry) => asJson(entry["peer"])["id"]);
  const pending = asList(region["pending_peers"]).map((peer) => peer["id"]);
  return asList(region["peers"])
    .map((peer) => {
      const marks = [
        peer["id"] === leader ? "*" : "",
        peer["is_learner"] === true ? "?" : "",
        down.includes(peer["id"]) ? "!" : "",
        pending.includes(peer["id"]) ? "~" : "",
      ];
      return `${cell(peer["store_id"])}${marks.join("")}`;
    })
    .join(" ");
}

function epochText(region: Json): string {
  const epoch = asJson(region["epoch"]);
  return `${cell(epoch["conf_ver"] ?? 0)}/${cell(epoch["version"] ?? 0)}`;
}

function regionTable(regions: readonly Json[]): string {
  if (regions.length === 0) return "no regions";
  const rows = regions.map((region) => [
    region["id"],
    short(region["start_key"]),
    short(region["end_key"]),
    epochText(region),
    peersText(region),
    region["approximate_size"],
    region["approximate_keys"],
  ]);
  const head = ["ID", "START", "END", "EPOCH", "STORES (* leads)", "MIB", "KEYS"];
  return `${table(head, rows)}\n${regions.length} ${regions.length === 1 ? "region" : "regions"}`;
}

function oneRegion(region: Json): string {
  return fields(
    Object.entries(region).map(([name, value]) => {
      if (name === "peers") return ["stores (* leads)", peersText(region)];
      return name === "epoch" ? ["epoch (conf_ver/version)", epochText(region)] : [name, value];
    }),
  );
}
