/** `ctl operator` and `ctl scheduler`: what moves, and moving it by hand. */
import type { Command } from "commander";
import {
  CtlError,
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
    .argument("[kind]", "admin, leader or region");
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
  const history = operator.command("history").description("operators that have ended lately");
  onWord(history, async (http) => show(http, await http.get("/operators/records"), operatorLines));
  const remove = operator.command("remove").description("stop the operator of a region").argument("<region>");
  onWord(remove, async (http, [region]) => {
    showSentence(http, await http.send("DELETE", `/operators/${idArgument(region as string)}`));
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
  ["scatter-region", ["region_id"], "place a region anew"],
];

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
    .argument("<stores...>");
  onWord(move, (http, [region, ...stores]) =>
    post(http, {
      name: "transfer-region",
      region_id: idArgument(region as string),
      to_store_ids: stores.map(idArgument),
    }),
  );
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

async function post(http: PdHttp, body: Json): Promise<void> {
  showSentence(http, await http.send("POST", "/operators", body));
}

export function registerSchedulerWords(ctl: Command): void {
  const scheduler = ctl.command("scheduler").description("look at schedulers, add and remove them");
  const list = scheduler.command("show").description("the schedulers that run");
  onWord(list, async (http) => {
    show(http, await http.get("/schedulers"), (parsed) =>
      table(["SCHEDULER"], Array.isArray(parsed) ? parsed.map((name) => [name]) : []),
    );
  });
  const add = scheduler
    .command("add")
    .description(
      "start a scheduler: evict-leader-scheduler ID, balance-leader-scheduler, balance-region-scheduler",
    )
    .argument("<name>")
    .argument("[store]");
  onWord(add, async (http, [name, store]) => {
    const body = { name, ...(store === undefined ? {} : { store_id: idArgument(store) }) };
    showSentence(http, await http.send("POST", "/schedulers", body));
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
