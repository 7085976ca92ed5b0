/** `ctl store`: looking at stores, taking them out of service and back, labels, weights, limits. */
import type { Command } from "commander";
import { registerDrainWords } from "./pd-ctl-explain.js";
import {
  asJson,
  asList,
  CtlError,
  fields,
  idArgument,
  type Json,
  onWord,
  show,
  showReasons,
  showSentence,
  table,
  cell,
} from "./pd-ctl-output.js";

const STATES = "up, offline, tombstone, disconnected, down";

export function registerStoreWords(ctl: Command): void {
  const store = ctl
    .command("store")
    .description("look at stores and administer them")
    .argument("[id]", "one store; all when left out")
    .option("--state <names...>", `only these: ${STATES}`);
  onWord(store, async (http, [id], options) => {
    if (id !== undefined) {
      const answer = await http.get(`/store/${idArgument(id)}`);
      return show(http, answer, (parsed) => oneStore(asJson(parsed)));
    }
    const states = options["state"] as readonly string[] | undefined;
    const query = states?.map((state) => `state=${encodeURIComponent(state)}`).join("&");
    const answer = await http.get(query === undefined ? "/stores" : `/stores/check?${query}`);
    show(http, answer, (parsed) => storeTable(asList(asJson(parsed)["stores"])));
  });
  const why = store.command("why").description("why PD leaves a store as it is").argument("<id>");
  onWord(why, (http, [id]) => showReasons(http, `/diagnose/store/${idArgument(id as string)}`));
  registerStates(store);
  registerCheck(store);
  registerDrainWords(store);
  registerFigures(store);
}

/** The stores in a state. */
function registerCheck(store: Command): void {
  const check = store.command("check").description("stores in a state").argument("<state>", STATES);
  onWord(check, async (http, [state]) => {
    const answer = await http.get(`/stores/check?state=${encodeURIComponent(state as string)}`);
    show(http, answer, (parsed) => storeTable(asList(asJson(parsed)["stores"])));
  });
}

function registerStates(store: Command): void {
  const remove = store
    .command("delete")
    .description("move everything away from a store, then bury it")
    .argument("<id>")
    .option("--physically-destroyed", "its data is lost for good: do not insist on enough other stores");
  onWord(remove, async (http, [id], options) => {
    const force = options["physicallyDestroyed"] === true ? "?force=true" : "";
    showSentence(http, await http.send("DELETE", `/store/${idArgument(id as string)}${force}`));
  });
  const cancel = store.command("cancel-delete").description("keep a store that is leaving").argument("<id>");
  onWord(cancel, async (http, [id]) => {
    showSentence(http, await http.send("POST", `/store/${idArgument(id as string)}/state?state=Up`));
  });
  const forget = store.command("remove-tombstone").description("forget buried stores");
  onWord(forget, async (http) => {
    showSentence(http, await http.send("DELETE", "/stores/remove-tombstone"));
  });
}

function registerFigures(store: Command): void {
  const label = store
    .command("label")
    .description("set labels, as: store label 1 zone z1 host h1; with --delete take them away")
    .argument("<id>")
    .argument("<key-and-value...>")
    .option("--force", "replace all labels instead of merging")
    .option("--delete", "the arguments are keys to delete");
  onWord(label, async (http, [id, ...words], options) => {
    const path = `/store/${idArgument(id as string)}/label`;
    if (options["delete"] === true) {
      for (const key of words) showSentence(http, await http.send("DELETE", path, key));
      return;
    }
    if (words.length % 2 !== 0) throw new CtlError("labels are pairs: key value [key value ...]");
    const labels: Record<string, string> = {};
    for (let i = 0; i < words.length; i += 2) labels[words[i] as string] = words[i + 1] as string;
    const force = options["force"] === true ? "?force=true" : "";
    showSentence(http, await http.send("POST", `${path}${force}`, labels));
  });
  const weight = store
    .command("weight")
    .description("how much of leaders and of data a store should carry; 1 is normal")
    .argument("<id>")
    .argument("<leader>")
    .argument("<region>");
  onWord(weight, async (http, [id, leader, region]) => {
    const body = { leader: amount(leader as string), region: amount(region as string) };
    showSentence(http, await http.send("POST", `/store/${idArgument(id as string)}/weight`, body));
  });
  const limit = store
    .command("limit")
    .description("peers a store may gain or lose per minute; without arguments shows the limits")
    .argument("[id]", "a store, or all")
    .argument("[per-minute]")
    .argument("[kind]", "add-peer or remove-peer; both when left out");
  onWord(limit, async (http, [id, rate, kind]) => {
    if (id === undefined || rate === undefined) {
      const answer = await http.get("/stores/limit");
      return show(http, answer, (parsed) => limitTable(asJson(parsed)));
    }
    const path = id === "all" ? "/stores/limit" : `/store/${idArgument(id)}/limit`;
    const body = { rate: amount(rate), ...(kind === undefined ? {} : { type: kind }) };
    showSentence(http, await http.send("POST", path, body));
  });
}

function amount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new CtlError(`${text} is not a number`);
  return value;
}

const limitTable = (limits: Json): string =>
  table(
    ["STORE", "ADD-PEER/MIN", "REMOVE-PEER/MIN"],
    Object.entries(limits).map(([id, limit]) => [
      id,
      asJson(limit)["add-peer"],
      asJson(limit)["remove-peer"],
    ]),
  );

const labelText = (store: Json): string =>
  asList(store["labels"])
    .map(({ key, value }) => `${cell(key)}=${cell(value)}`)
    .join(",");

export function storeTable(entries: readonly Json[]): string {
  if (entries.length === 0) return "no stores";
  const rows = entries.map((entry) => {
    const store = asJson(entry["store"]);
    const status = asJson(entry["status"]);
    return [
      store["id"],
      store["address"],
      store["state_name"],
      status["leader_count"],
      status["region_count"],
      status["region_size"],
      status["available"],
      status["capacity"],
      status["uptime"],
      labelText(store),
    ];
  });
  const head = [
    "ID",
    "ADDRESS",
    "STATE",
    "LEADERS",
    "REGIONS",
    "MIB",
    "FREE",
    "CAPACITY",
    "UPTIME",
    "LABELS",
  ];
  return table(head, rows);
}

function oneStore(entry: Json): string {
  const store = asJson(entry["store"]);
  const shown = { ...store, labels: labelText(store) };
  return fields([...Object.entries(shown), ...Object.entries(asJson(entry["status"]))]);
}
