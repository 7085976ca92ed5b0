/** `ctl operator` and `ctl scheduler`: what moves, and moving it by hand. */
import type { Command } from "commander";
import {
  asJson,
  CtlError,
  fields,
  idArgument,
  type Json,
  onWord,
  type PdHttp,
  show,
  showSentence,
  table,
} from "./pd-ctl-output.js";

export function registerOperatorWords(ctl: Command): void {
  const operator = ctl.command("operator").description("look at operators, add and remove them");
  const list = operator
    .command("show")
    .description("running operators")
    .argument("[kind]", "admin, leader, region or waiting");
  onWord(list, async (http, [kind]) => {
    const query = kind === undefined ? "" : `?kind=${encodeURIComponent(kind)}`;
    show(http, await http.get(`/operators${query}`), operatorLines);
  });
  const check = operator
    .command("check")
    .description("the operator of a region, running or ended")
    .argument("<region>");
  onWord(check, async (http, [region]) => {
    showSentence(http, await http.get(`/operators/${idArgument(region as string)}`));
  });
  const history = operator
    .command("history")
    .description("operators that have ended in the last ten minutes")
    .argument("[from]", "seconds since 1970");
  onWord(history, async (http, [from]) => {
    const query = from === undefined ? "" : `?from=${encodeURIComponent(from)}`;
    show(http, await http.get(`/operators/records${query}`), operatorLines);
  });
  const remove = operator
    .command("remove")
    .description("stop the operator of a region, or all")
    .argument("<region>", "a region, or all");
  onWord(remove, async (http, [region]) => {
    const path = region === "all" ? "/operators" : `/operators/${idArgument(region as string)}`;
    showSentence(http, await http.send("DELETE", path));
  });
  registerAdd(operator);
}

const operatorLines = (parsed: unknown): string => {
  const lines = Array.isArray(parsed) ? parsed.map(String) : [];
  return lines.length === 0 ? "no operators" : lines.join("\n");
};

/** Names of operators, their ids in the order they are typed, under PD's field names. */
const ADDS: readonly (readonly [name: string, idFields: readonly string[], description: string])[] = [
  ["add-peer", ["region_id", "store_id"], "add a voter of a region on a store"],
  ["add-learner", ["region_id", "store_id"], "add a learner of a region on a store"],
  ["promote-learner", ["region_id", "store_id"], "make the learner on a store a voter"],
  ["remove-peer", ["region_id", "store_id"], "remove the peer on a store"],
  ["transfer-leader", ["region_id", "to_store_id"], "let the peer on a store lead"],
  ["transfer-peer", ["region_id", "from_store_id", "to_store_id"], "move a peer from a store to another"],
  ["merge-region", ["source_region_id", "target_region_id"], "merge a region into its neighbour"],
  ["scatter-region", ["region_id"], "place a region anew"],
];

const ROLES: readonly string[] = ["leader", "voter", "follower", "learner"];

function registerAdd(operator: Command): void {
  const add = operator.command("add").description("start an operator by hand");
  for (const [name, idFields, description] of ADDS) {
    const word = add.command(name).description(description);
    for (const field of idFields) word.argument(`<${field.replace(/_id$/, "").replaceAll("_", "-")}>`);
    onWord(word, (http, args) => {
      const body: Json = { name };
      for (const [i, field] of idFields.entries()) body[field] = idArgument(args[i] as string);
      return post(http, body);
    });
  }
  const move = add
    .command("transfer-region")
    .description("move a region to exactly these stores")
    .argument("<region>")
    .argument("<stores-and-roles...>", "as: 1 leader 2 voter 3 follower; roles where placement rules are on");
  onWord(move, (http, [region, ...words]) => {
    const stores = words.filter((word) => !ROLES.includes(word));
    const roles = words.filter((word) => ROLES.includes(word));
    if (roles.length > 0 && words.some((word, i) => ROLES.includes(word) !== (i % 2 === 1))) {
      throw new CtlError("a role follows each store, as: 1 leader 2 voter 3 follower");
    }
    return post(http, {
      name: "transfer-region",
      region_id: idArgument(region as string),
      to_store_ids: stores.map(idArgument),
      ...(roles.length === 0 ? {} : { peer_roles: roles }),
    });
  });
  const split = add
    .command("split-region")
    .description("cut a region in two")
    .argument("<region>")
    .option("--policy <policy>", "scan: exact middle; approximate: quick; usekey: at --keys", "scan")
    .option("--keys <hex>", "keys to cut at, in hex, apart by commas");
  onWord(split, (http, [region], options) => {
    const keys = options["keys"] === undefined ? [] : (options["keys"] as string).split(",");
    const policy = keys.length > 0 ? "usekey" : (options["policy"] as string);
    if (policy === "usekey" && keys.length === 0) throw new CtlError("policy usekey needs --keys=hex,...");
    return post(http, { name: "split-region", region_id: idArgument(region as string), policy, keys });
  });
}

/** Under PD's field names. */
function schedulerArguments(name: string, given: readonly string[]): Json {
  const [first, end_key, range_name] = given;
  if (first === undefined) return {};
  if (!name.startsWith("scatter-range")) {
    if (given.length > 1) throw new CtlError(`${name} takes one argument`);
    return name.startsWith("shuffle-hot-region")
      ? { limit: idArgument(first) }
      : { store_id: idArgument(first) };
  }
  if (range_name === undefined)
    throw new CtlError("scatter-range-scheduler needs START END NAME, keys URL-escaped");
  return { start_key: first, end_key, range_name };
}

/** `8`, `true` and `["byte","key"]` as what they say; `byte,key` as a list; anything else as a word. */
function jsonOrWord(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text.includes(",") ? text.split(",") : text;
  }
}

async function post(http: PdHttp, body: Json): Promise<void> {
  showSentence(http, await http.send("POST", "/operators", body));
}

export function registerSchedulerWords(ctl: Command): void {
  const scheduler = ctl.command("scheduler").description("look at schedulers, add and remove them");
  const list = scheduler
    .command("show")
    .description("the schedulers that run")
    .option("--status <status>", "paused or disabled: those");
  onWord(list, async (http, _args, options) => {
    const status = options["status"] as string | undefined;
    const query = status === undefined ? "" : `?status=${encodeURIComponent(status)}`;
    show(http, await http.get(`/schedulers${query}`), (parsed) =>
      table(["SCHEDULER"], Array.isArray(parsed) ? parsed.map((name) => [name]) : []),
    );
  });
  const add = scheduler
    .command("add")
    .description(
      "start a scheduler, as: evict-leader-scheduler 1; scatter-range-scheduler START END NAME; shuffle-hot-region-scheduler 2",
    )
    .argument("<name>")
    .argument("[arguments...]", "what it needs: a store, a range and its name, a limit");
  onWord(add, async (http, [name, ...more]) => {
    const body = { name, ...schedulerArguments(name as string, more) };
    showSentence(http, await http.send("POST", "/schedulers", body));
  });
  const settings = scheduler
    .command("config")
    .description("settings of a scheduler, as: scheduler config balance-leader-scheduler set batch 8")
    .argument("<name>")
    .argument("[action]", "show, or set")
    .argument("[item-and-value...]", "for set; the value is JSON or a word");
  onWord(settings, async (http, [name, action = "show", ...words]) => {
    const path = `/scheduler-config/${encodeURIComponent(name as string)}`;
    if (action === "show") {
      return show(http, await http.get(`${path}/list`), (parsed) => fields(Object.entries(asJson(parsed))));
    }
    if (action !== "set" || words.length < 2) throw new CtlError("say show, or: set ITEM VALUE");
    const [item, ...values] = words as [string, ...string[]];
    showSentence(http, await http.send("POST", `${path}/config`, { [item]: jsonOrWord(values.join(",")) }));
  });
  const describe = scheduler
    .command("describe")
    .description("what balance-leader-scheduler or balance-region-scheduler found in its last rounds")
    .argument("<name>");
  onWord(describe, async (http, [name]) => {
    const answer = await http.get(`/schedulers/diagnostic/${encodeURIComponent(name as string)}`);
    show(http, answer, (parsed) => fields(Object.entries(asJson(parsed))));
  });
  const remove = scheduler.command("remove").description("stop a scheduler").argument("<name>");
  onWord(remove, async (http, [name]) => {
    showSentence(http, await http.send("DELETE", `/schedulers/${encodeURIComponent(name as string)}`));
  });
  for (const [word, description] of [
    ["pause", "let a scheduler rest for some seconds"],
    ["resume", "let a paused scheduler go on"],
  ] as const) {
    const command = scheduler.command(word).description(description).argument("<name>");
    if (word === "pause") command.argument("<seconds>");
    onWord(command, async (http, [name, seconds]) => {
      const delay = seconds === undefined ? 0 : idArgument(seconds);
      const path = `/schedulers/${encodeURIComponent(name as string)}`;
      showSentence(http, await http.send("POST", path, { delay }));
    });
  }
}
