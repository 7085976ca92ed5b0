/** `ctl cluster`, `member`, `health`, `config`, `hot`, `tso`, `ping`: the cluster as a whole. */
import type { Command } from "commander";
import {
  asJson,
  asList,
  CtlError,
  fields,
  type Json,
  onWord,
  print,
  show,
  showSentence,
  table,
} from "./pd-ctl-output.js";
import { registerRuleWords } from "./pd-ctl-rules.js";

const LOGICAL_BITS = 18n;
const CONFIG_SECTIONS: Readonly<Record<string, string>> = {
  all: "/config",
  schedule: "/config/schedule",
  replication: "/config/replicate",
  "pd-server": "/config/pd-server",
};

export function registerClusterWords(ctl: Command): void {
  const cluster = ctl.command("cluster").description("id, state and version of the cluster");
  onWord(cluster, async (http) => {
    const own = await http.get("/cluster");
    if (http.options.json) return print(own.text);
    const status = asJson((await http.get("/cluster/status")).parsed);
    const version = (await http.get("/config/cluster-version")).parsed;
    print(fields([...Object.entries(asJson(own.parsed)), ...Object.entries(status), ["version", version]]));
  });
  const member = ctl.command("member").description("the PDs and which of them leads");
  onWord(member, async (http) => {
    show(http, await http.get("/members"), (parsed) => {
      const all = asJson(parsed);
      const leader = asJson(all["leader"])["member_id"];
      const rows = asList(all["members"]).map((one) => [
        one["name"],
        one["member_id"],
        one["member_id"] === leader ? "leader" : "",
        (one["client_urls"] as readonly string[]).join(","),
        one["binary_version"],
      ]);
      return table(["NAME", "ID", "ROLE", "CLIENT URLS", "VERSION"], rows);
    });
  });
  const health = ctl.command("health").description("whether the PDs serve");
  onWord(health, async (http) => {
    show(http, await http.get("/health"), (parsed) =>
      table(
        ["NAME", "HEALTH", "CLIENT URLS"],
        asList(parsed).map((one) => [
          one["name"],
          one["health"],
          (one["client_urls"] as readonly string[]).join(","),
        ]),
      ),
    );
  });
  const ping = ctl.command("ping").description("how long PD takes to answer");
  onWord(ping, async (http) => {
    const startMs = performance.now();
    await http.get("/ping");
    const tookMs = performance.now() - startMs;
    print(
      http.options.json ? JSON.stringify({ milliseconds: tookMs }) : `PD answered in ${tookMs.toFixed(1)} ms`,
    );
  });
  registerTimestamp(ctl);
  registerConfig(ctl);
  registerHot(ctl);
}

function registerTimestamp(ctl: Command): void {
  const tso = ctl.command("tso").description("take a timestamp apart").argument("<timestamp>");
  onWord(tso, async (http, [text]) => {
    if (!/^[0-9]+$/.test(text as string))
      throw new CtlError(`${text} is not a timestamp: use its decimal form`);
    const timestamp = BigInt(text as string);
    const physicalMs = Number(timestamp >> LOGICAL_BITS);
    const logical = Number(timestamp & ((1n << LOGICAL_BITS) - 1n));
    const date = new Date(physicalMs);
    if (Number.isNaN(date.getTime())) throw new CtlError(`${text} is too large for a timestamp`);
    const entries = { system: date.toISOString(), physical: physicalMs, logical };
    print(http.options.json ? JSON.stringify(entries) : fields(Object.entries(entries)));
  });
}

function registerConfig(ctl: Command): void {
  const config = ctl.command("config").description("look at PD's settings and change them");
  const list = config
    .command("show")
    .description("settings that can be changed at run time")
    .argument("[section]", "schedule, replication, pd-server or all");
  onWord(list, async (http, [section]) => {
    if (section !== undefined && !Object.hasOwn(CONFIG_SECTIONS, section)) {
      throw new CtlError(`unknown section ${section}: use ${Object.keys(CONFIG_SECTIONS).join(", ")}`);
    }
    const answer = await http.get(CONFIG_SECTIONS[section ?? "all"] as string);
    show(http, answer, (parsed) => {
      const all = asJson(parsed);
      const shown = section === undefined ? changeable(all) : all;
      return fields(flattened(shown));
    });
  });
  const set = config
    .command("set")
    .description("change a setting, as: config set leader-schedule-limit 8")
    .argument("<item>", "name, or section.name")
    .argument("<value>");
  onWord(set, async (http, [item, value]) => {
    const body = {
      [item as string]: await settingValue(http.get("/config"), item as string, value as string),
    };
    showSentence(http, await http.send("POST", "/config", body));
  });
  registerRuleWords(config);
}

const changeable = (all: Json): Json => ({
  schedule: all["schedule"],
  replication: all["replication"],
  "pd-server": all["pd-server"],
  "cluster-version": all["cluster-version"],
});

function flattened(json: Json, prefix = ""): (readonly [string, unknown])[] {
  return Object.entries(json).flatMap(([name, value]) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? flattened(value as Json, `${prefix}${name}.`)
      : [[`${prefix}${name}`, value] as const],
  );
}

/** Numbers stay numbers, but only for items that are numbers now: "true" and "30m" are text in PD's settings. */
async function settingValue(
  current: Promise<{ readonly parsed: unknown }>,
  item: string,
  text: string,
): Promise<unknown> {
  const known = flattened(changeable(asJson((await current).parsed)));
  const now = known.find(([name]) => name === item || name.endsWith(`.${item}`))?.[1];
  const value = Number(text);
  if (typeof now === "number" && text.trim() !== "" && Number.isFinite(value)) return value;
  return text;
}

function registerHot(ctl: Command): void {
  const hot = ctl
    .command("hot")
    .description("the regions that are read or written most")
    .argument("<direction>", "read or write");
  onWord(hot, async (http, [direction]) => {
    if (direction !== "read" && direction !== "write") {
      throw new CtlError(`unknown direction ${direction}: use read or write`);
    }
    show(http, await http.get(`/hotspot/regions/${direction}`), (parsed) => hotTables(asJson(parsed)));
  });
}

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

const rounded = (value: unknown): number => Math.round(Number(value) * 10) / 10;
