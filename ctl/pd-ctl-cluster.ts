/** `ctl cluster`, `health`, `config`, `tso`, `ping`, `min-resolved-ts` and the like: the cluster as a whole. */
import type { Command } from "commander";
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
  "label-property": "/config/label-property",
  "cluster-version": "/config/cluster-version",
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
  registerSafePoints(ctl);
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
    .argument("[section]", `one of ${Object.keys(CONFIG_SECTIONS).join(", ")}`);
  onWord(list, async (http, [section]) => {
    if (section !== undefined && !Object.hasOwn(CONFIG_SECTIONS, section)) {
      throw new CtlError(`unknown section ${section}: use ${Object.keys(CONFIG_SECTIONS).join(", ")}`);
    }
    const answer = await http.get(CONFIG_SECTIONS[section ?? "all"] as string);
    show(http, answer, (parsed) => {
      if (typeof parsed === "string") return parsed;
      const all = asJson(parsed);
      const shown = section === undefined ? changeable(all) : all;
      return fields(flattened(shown));
    });
  });
  const set = config
    .command("set")
    .description("change a setting, as: config set leader-schedule-limit 8")
    .argument("<item>", "name, or section.name; label-property KIND KEY VALUE")
    .argument("<value...>")
    .option("--ttl <seconds>", "for so long only; 0 ends it");
  onWord(set, async (http, [item, value, ...more], options) => {
    if (item === "label-property") return labelProperty(http, "set", [value as string, ...more]);
    if (more.length > 0) throw new CtlError(`one value for ${item}: quote it if it has blanks`);
    const ttl = options["ttl"] as string | undefined;
    const path = ttl === undefined ? "/config" : `/config?ttlSecond=${encodeURIComponent(ttl)}`;
    const body = {
      [item as string]: await settingValue(http.get("/config"), item as string, value as string),
    };
    showSentence(http, await http.send("POST", path, body));
  });
  const remove = config.command("delete").description("take a setting away that may be given several times");
  const property = remove
    .command("label-property")
    .description("let stores with a label lead again, as: config delete label-property reject-leader zone z1")
    .argument("<kind>")
    .argument("<key>")
    .argument("<value>");
  onWord(property, (http, words) => labelProperty(http, "delete", words));
  registerRuleWords(config);
}

async function labelProperty(
  http: PdHttp,
  action: "set" | "delete",
  words: readonly string[],
): Promise<void> {
  const [type, key, value] = words;
  if (words.length !== 3) throw new CtlError("a label property is KIND KEY VALUE, as: reject-leader zone z1");
  const body = { action, type, "label-key": key, "label-value": value };
  showSentence(http, await http.send("POST", "/config/label-property", body));
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

/** Of garbage collection and of reads of the past. */
function registerSafePoints(ctl: Command): void {
  const points = ctl.command("service-gc-safepoint").description("what holds garbage collection back");
  onWord(points, async (http) => {
    show(http, await http.get("/gc/safepoint"), (parsed) => {
      const all = asJson(parsed);
      const rows = asList(all["service_gc_safe_points"]).map((one) => [
        one["service_id"],
        one["safe_point"],
        one["expired_at"],
      ]);
      return `${table(["SERVICE", "SAFE POINT", "EXPIRES AT"], rows)}\nsafe point ${String(all["gc_safe_point"])}`;
    });
  });
  const remove = points.command("delete").description("let collection pass a service").argument("<service>");
  onWord(remove, async (http, [service]) => {
    const path = `/gc/safepoint/${encodeURIComponent(service as string)}`;
    showSentence(http, await http.send("DELETE", path));
  });
  const resolved = ctl
    .command("min-resolved-ts")
    .description("up to where all stores can be read without waiting")
    .argument("[store]", "of one store");
  onWord(resolved, async (http, [store]) => {
    const answer = await http.get(
      store === undefined ? "/min-resolved-ts" : `/min-resolved-ts/${idArgument(store)}`,
    );
    show(http, answer, (parsed) => fields(Object.entries(asJson(parsed))));
  });
}
