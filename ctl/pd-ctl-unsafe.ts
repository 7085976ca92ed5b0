/** `ctl unsafe`: regions whose quorum is lost for good. A PD of raftwerk refuses with the reason; one of TiKV obeys. */
import type { Command } from "commander";
import { asList, CtlError, idArgument, onWord, show, showSentence, table } from "./pd-ctl-output.js";

const PATH = "/admin/unsafe/remove-failed-stores";

export function registerUnsafeWords(ctl: Command): void {
  const unsafe = ctl.command("unsafe").description("what may lose data");
  const remove = unsafe
    .command("remove-failed-stores")
    .description("let regions live on without stores that are gone for good, as: remove-failed-stores 4,5")
    .argument("[stores]", "ids, separated by commas; show: how far it is; abort: end it")
    .option("--auto-detect", "all stores that do not report")
    .option("--timeout <seconds>", "when to give up (default 600)");
  onWord(remove, async (http, [word], options) => {
    if (word === "show") {
      return show(http, await http.get(`${PATH}/show`), (parsed) =>
        table(
          ["TIME", "STAGE"],
          asList(parsed).map(({ time, info }) => [time ?? "-", info]),
        ),
      );
    }
    if (word === "abort") return showSentence(http, await http.send("DELETE", PATH));
    const autoDetect = options["autoDetect"] === true;
    if (autoDetect === (word !== undefined)) {
      throw new CtlError("name the stores that are gone, or use --auto-detect: one of the two");
    }
    const timeout = options["timeout"] as string | undefined;
    const which = autoDetect ? { "auto-detect": true } : { stores: word?.split(",").map(idArgument) };
    const body = timeout === undefined ? which : { ...which, timeout: idArgument(timeout) };
    showSentence(http, await http.send("POST", PATH, body));
  });
}
