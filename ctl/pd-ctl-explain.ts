/** `ctl explain` and `ctl store drain`: why things are as they are, and getting a store ready to stop. */
import type { Command } from "commander";
import {
  asJson,
  asList,
  CtlError,
  fields,
  idArgument,
  type Json,
  onWord,
  print,
  type PdHttp,
  show,
  showSentence,
} from "./pd-ctl-output.js";

const POLL_MS = 1000;
const DRAIN_WAIT_SECONDS = 600;

export function registerExplainWords(ctl: Command): void {
  const explain = ctl
    .command("explain")
    .description("why a region, store, operator or scheduler is as it is");
  const word = (
    name: string,
    argument: string,
    description: string,
    path: (text: string) => string,
  ): void => {
    const command = explain.command(name).description(description).argument(argument);
    onWord(command, async (http, [text]) => {
      const answer = await http.get(`/explain/${name}/${path(text as string)}`);
      show(http, answer, (parsed) => explained(asJson(parsed)));
    });
  };
  word("region", "<id>", "why it is not moved, split or merged", idArgument_);
  word("store", "<id>", "what it gives and takes, and why it does not drain", idArgument_);
  word(
    "operator",
    "<region-id>",
    "the running or last operator of a region, and the figures behind it",
    idArgument_,
  );
  word("scheduler", "<name>", "which rule or limit holds it back", encodeURIComponent);
}

const idArgument_ = (text: string): string => String(idArgument(text));

/** Plain items first, then each list and object under its name. */
export function explained(json: Json): string {
  const plain = Object.entries(json).filter(([, value]) => typeof value !== "object" || value === null);
  const lines = [fields(plain.filter(([, value]) => value !== null))];
  for (const [name, value] of Object.entries(json)) {
    if (typeof value !== "object" || value === null) continue;
    if (Array.isArray(value)) {
      if (value.length === 0) continue;
      lines.push(`${name}:`);
      for (const item of value as unknown[]) lines.push(`  - ${itemText(item)}`);
    } else if (Object.keys(value).length > 0) {
      lines.push(
        `${name}:`,
        ...Object.entries(value as Json)
          .filter(([, item]) => !isNothing(item))
          .map(([key, item]) => `  ${key}: ${itemText(item)}`),
      );
    }
  }
  return lines.join("\n");
}

/** Not worth a word. */
const isNothing = (value: unknown): boolean =>
  value === null ||
  value === "" ||
  (typeof value === "object" && value !== null && Object.keys(value).length === 0);

function itemText(item: unknown): string {
  if (typeof item !== "object" || item === null) return String(item);
  if (Array.isArray(item)) return (item as unknown[]).map(itemText).join("; ");
  return Object.entries(item as Json)
    .filter(([, value]) => !isNothing(value))
    .map(([key, value]) => `${key}: ${itemText(value)}`)
    .join(", ");
}

export function registerDrainWords(store: Command): void {
  const drain = store
    .command("drain")
    .description(
      "move the leaders of a store away before it is stopped; refused where a quorum would be lost",
    )
    .argument("<id>")
    .option("--wait [seconds]", "wait until it is ready to stop, showing progress")
    .option("--data", "move everything away and bury the store, as store delete does")
    .option("--cancel", "let leaders back");
  onWord(drain, async (http, [text], options) => {
    const id = idArgument(text as string);
    if (options["cancel"] === true)
      return showSentence(http, await http.send("DELETE", `/store/${id}/drain`));
    const withData = options["data"] === true;
    const started = withData
      ? await http.send("DELETE", `/store/${id}`)
      : await http.send("POST", `/store/${id}/drain`);
    showSentence(http, started);
    const wait = options["wait"] as string | boolean | undefined;
    if (wait === undefined || wait === false) return;
    const seconds = wait === true ? DRAIN_WAIT_SECONDS : Number(wait);
    if (!Number.isFinite(seconds)) throw new CtlError(`${String(wait)} is no number of seconds`);
    await waitFor(http, id, withData, seconds);
  });
  const ready = store
    .command("ready-to-stop")
    .description("whether a store may be stopped now")
    .argument("<id>");
  onWord(ready, async (http, [text]) => {
    const answer = await http.get(`/store/${idArgument(text as string)}/ready-to-stop`);
    const state = asJson(answer.parsed);
    show(http, answer, () => readyText(state));
    if (state["ready"] !== true)
      throw new CtlError(`store ${String(state["store_id"])} is not ready to stop`);
  });
}

const readyText = (state: Json): string =>
  [
    state["ready"] === true ? "ready to stop" : "not ready to stop",
    String(state["reason"]),
    ...asList(state["examples"]).map(
      (item) => `  region ${String(item["region"])}: ${String(item["reason"])}`,
    ),
  ].join("\n");

async function waitFor(http: PdHttp, id: number, withData: boolean, seconds: number): Promise<void> {
  const startMs = performance.now();
  for (;;) {
    const line = withData ? await dataLeft(http, id) : await leadersLeft(http, id);
    if (line === undefined) return print(`store ${id} may be stopped`);
    if (!http.options.json) print(line);
    if (performance.now() - startMs > seconds * 1000)
      throw new CtlError(`store ${id} is not ready yet: ${line}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Undefined when nothing is left. */
async function leadersLeft(http: PdHttp, id: number): Promise<string | undefined> {
  const state = asJson((await http.get(`/store/${id}/drain`)).parsed);
  if (state["ready"] === true) return undefined;
  return `${String(state["leaders_left"])} leaders left${etaText(state)}; ${String(state["reason"])}`;
}

async function dataLeft(http: PdHttp, id: number): Promise<string | undefined> {
  const state = asJson((await http.get(`/explain/store/${id}`)).parsed);
  if (state["state"] === "removed") return undefined;
  return String(state["verdict"]);
}

function etaText(state: Json): string {
  const left = Number(state["left_seconds"]);
  const percent = Number(state["progress"]);
  if (!Number.isFinite(percent)) return "";
  const eta = Number.isFinite(left) && left < 1e9 ? `, about ${Math.ceil(left)} s` : "";
  return ` (${Math.round(100 * percent)} %${eta})`;
}
