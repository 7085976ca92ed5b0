/** `ctl member` and `ctl log`: the PDs themselves, which of them leads, and what they log. */
import type { Command } from "commander";
import { asJson, asList, CtlError, fields, onWord, show, showSentence, table } from "./pd-ctl-output.js";

const LEVELS: readonly string[] = ["debug", "info", "warn", "error", "fatal"];

export function registerMemberWords(ctl: Command): void {
  const member = ctl.command("member").description("the PDs and which of them leads");
  onWord(member, async (http) => {
    show(http, await http.get("/members"), (parsed) => {
      const all = asJson(parsed);
      const leader = asJson(all["leader"])["member_id"];
      const rows = asList(all["members"]).map((one) => [
        one["name"],
        one["member_id"],
        one["member_id"] === leader ? "leader" : "",
        one["leader_priority"] ?? 0,
        (one["client_urls"] as readonly string[]).join(","),
        one["binary_version"],
      ]);
      return table(["NAME", "ID", "ROLE", "PRIORITY", "CLIENT URLS", "VERSION"], rows);
    });
  });
  registerChanges(member);
  registerLeader(member);
  const log = ctl
    .command("log")
    .description("what PD logs from now on")
    .argument("<level>", LEVELS.join(", "));
  onWord(log, async (http, [level]) => {
    if (!LEVELS.includes(level as string)) {
      throw new CtlError(`unknown level ${level}: use one of ${LEVELS.join(", ")}`);
    }
    showSentence(http, await http.send("POST", "/admin/log", level));
  });
}

function registerChanges(member: Command): void {
  const remove = member.command("delete").description("forget a PD that is gone for good");
  for (const [word, path] of [
    ["name", "/members/name/"],
    ["id", "/members/id/"],
  ] as const) {
    const by = remove.command(word).description(`the PD of this ${word}`).argument(`<${word}>`);
    onWord(by, async (http, [which]) => {
      showSentence(http, await http.send("DELETE", path + encodeURIComponent(which as string)));
    });
  }
  const priority = member
    .command("leader_priority")
    .description("prefer a PD as leader: the highest leads, once it follows")
    .argument("<name>")
    .argument("<priority>", "a whole number; 0 is that of all others");
  onWord(priority, async (http, [name, text]) => {
    const value = Number(text);
    if (!/^-?[0-9]+$/.test(text as string) || !Number.isSafeInteger(value)) {
      throw new CtlError(`${text} is no priority: use a whole number`);
    }
    const path = `/members/name/${encodeURIComponent(name as string)}`;
    showSentence(http, await http.send("POST", path, { "leader-priority": value }));
  });
}

function registerLeader(member: Command): void {
  const leader = member.command("leader").description("the PD that leads");
  onWord(leader.command("show").description("which one it is"), async (http) => {
    show(http, await http.get("/leader"), (parsed) => fields(Object.entries(asJson(parsed))));
  });
  const resign = leader.command("resign").description("let any other PD lead that is ready for it");
  onWord(resign, async (http) => showSentence(http, await http.send("POST", "/leader/resign")));
  const transfer = leader.command("transfer").description("let the PD named lead").argument("<name>");
  onWord(transfer, async (http, [name]) => {
    const path = `/leader/transfer/${encodeURIComponent(name as string)}`;
    showSentence(http, await http.send("POST", path));
  });
}
