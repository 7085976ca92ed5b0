/** `ctl config placement-rules`: pd-ctl's words for rules, groups and bundles. */
import { readFile, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { CtlError, idArgument, onWord, print, type PdHttp, showSentence } from "./pd-ctl-output.js";

const FILE = "rules.json";

const pretty = (parsed: unknown): string => JSON.stringify(parsed, null, 2);

async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new CtlError(`${path} cannot be read: ${(error as Error).message}`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new CtlError(`${path} is not JSON: ${(error as Error).message}`);
  }
}

async function writeOut(path: string, parsed: unknown): Promise<void> {
  await writeFile(path, `${pretty(parsed)}\n`);
  print(`saved to ${path}`);
}

const enabled = (http: PdHttp, value: string) =>
  http.send("POST", "/config", { "enable-placement-rules": value });

export function registerRuleWords(config: Command): void {
  const rules = config.command("placement-rules").description("placement rules: where replicas stand");
  onWord(rules.command("enable").description("switch placement rules on"), async (http) => {
    await enabled(http, "true");
    print("Success!");
  });
  onWord(rules.command("disable").description("switch placement rules off"), async (http) => {
    await enabled(http, "false");
    print("Success!");
  });
  const list = rules
    .command("show")
    .description("rules, all or some")
    .option("--group <id>", "of one group")
    .option("--id <id>", "one rule of the group")
    .option("--region <id>", "those of a region")
    .option("--detail", "with the peers that serve them");
  onWord(list, async (http, _args, options) => {
    print(pretty((await http.get(rulesPath(options))).parsed));
  });
  const load = rules
    .command("load")
    .description("write the rules to a file")
    .option("--group <id>", "of one group")
    .option("--id <id>", "one rule of the group")
    .option("--region <id>", "those of a region")
    .option("--out <file>", "the file", FILE);
  onWord(load, async (http, _args, options) => {
    await writeOut(options["out"] as string, (await http.get(rulesPath(options))).parsed);
  });
  const save = rules
    .command("save")
    .description("set the rules of a file; a rule of count 0 is deleted")
    .option("--in <file>", "the file", FILE);
  onWord(save, async (http, _args, options) => {
    const given = await readJson(options["in"] as string);
    const list_ = Array.isArray(given)
      ? (given as Record<string, unknown>[])
      : [given as Record<string, unknown>];
    const batch = list_.map((rule) => ({ ...rule, action: Number(rule["count"]) > 0 ? "add" : "del" }));
    showSentence(http, await http.send("POST", "/config/rules/batch", batch));
  });
  registerGroups(rules);
  registerBundles(rules);
}

function rulesPath(options: Readonly<Record<string, unknown>>): string {
  const { group, id, region, detail } = options as Record<string, string | boolean | undefined>;
  if (region !== undefined) {
    return `/config/rules/region/${idArgument(region as string)}${detail === true ? "/detail" : ""}`;
  }
  if (id !== undefined && group === undefined) throw new CtlError("--id needs --group");
  if (group === undefined) return "/config/rules";
  const name = encodeURIComponent(group as string);
  return id === undefined
    ? `/config/rules/group/${name}`
    : `/config/rule/${name}/${encodeURIComponent(id as string)}`;
}

function registerGroups(rules: Command): void {
  const group = rules.command("rule-group").description("order and override of groups");
  onWord(group.command("show").description("all groups, or one").argument("[id]"), async (http, [id]) => {
    const path = id === undefined ? "/config/rule_groups" : `/config/rule_group/${encodeURIComponent(id)}`;
    print(pretty((await http.get(path)).parsed));
  });
  const set = group
    .command("set")
    .description("set a group")
    .argument("<id>")
    .argument("<index>")
    .argument("<override>");
  onWord(set, async (http, [id, index, override]) => {
    if (!/^-?[0-9]+$/.test(index as string)) throw new CtlError(`index ${index} is no number`);
    if (override !== "true" && override !== "false") throw new CtlError("override is true or false");
    const body = { id, index: Number(index), override: override === "true" };
    showSentence(http, await http.send("POST", "/config/rule_group", body));
  });
  onWord(
    group.command("delete").description("forget a group's order").argument("<id>"),
    async (http, [id]) => {
      showSentence(http, await http.send("DELETE", `/config/rule_group/${encodeURIComponent(id as string)}`));
    },
  );
}

function registerBundles(rules: Command): void {
  const bundle = rules.command("rule-bundle").description("a group with all of its rules");
  const path = (id: string): string => `/config/placement-rule/${encodeURIComponent(id)}`;
  onWord(bundle.command("get").description("show one").argument("<group>"), async (http, [id]) => {
    print(pretty((await http.get(path(id as string))).parsed));
  });
  const set = bundle
    .command("set")
    .description("replace a group and its rules")
    .option("--in <file>", "the file", FILE);
  onWord(set, async (http, _args, options) => {
    const given = (await readJson(options["in"] as string)) as Record<string, unknown>;
    const id = given["group_id"];
    if (typeof id !== "string") throw new CtlError("the bundle has no group_id");
    showSentence(http, await http.send("POST", path(id), given));
  });
  const remove = bundle
    .command("delete")
    .description("delete a group and its rules")
    .argument("<group>")
    .option("--regexp", "the name is a pattern");
  onWord(remove, async (http, [id], options) => {
    const query = options["regexp"] === true ? "?regexp" : "";
    showSentence(http, await http.send("DELETE", `${path(id as string)}${query}`));
  });
  const load = bundle
    .command("load")
    .description("write all bundles to a file")
    .option("--out <file>", "the file", FILE);
  onWord(load, async (http, _args, options) => {
    await writeOut(options["out"] as string, (await http.get("/config/placement-rule")).parsed);
  });
  const save = bundle
    .command("save")
    .description("replace everything by the bundles of a file")
    .option("--in <file>", "the file", FILE)
    .option("--partial", "leave groups that the file does not name");
  onWord(save, async (http, _args, options) => {
    const query = options["partial"] === true ? "?partial=true" : "";
    const given = await readJson(options["in"] as string);
    showSentence(http, await http.send("POST", `/config/placement-rule${query}`, given));
  });
}
