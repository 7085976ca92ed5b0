/**
 * What the `ctl` words share: asking PD over HTTP, and printing answers as tables or, with --json, as PD sent them.
 * Whatever goes wrong becomes a CtlError whose text says what to do; the command then ends with exit code 1.
 */
import { request } from "node:http";
import Table from "cli-table3";
import type { Command } from "commander";

export class CtlError extends Error {}

const TIMEOUT_MS = 10_000;
const API = "/pd/api/v1";

export type Json = Record<string, unknown>;

export interface CtlOptions {
  readonly url: string;
  readonly json: boolean;
}

/** `-u` and `--json` may stand before or after the word; the one nearest to the word wins. */
export function optionsOf(command: Command): CtlOptions {
  const all = command.optsWithGlobals<{ pd?: string; json?: boolean }>();
  const url = (all.pd ?? "http://127.0.0.1:2379").replace(/\/+$/, "");
  return { url: /^https?:\/\//.test(url) ? url : `http://${url}`, json: all.json === true };
}

export interface PdAnswer {
  readonly parsed: unknown;
  /** As sent: numbers above 2^53 are exact only here. */
  readonly text: string;
}

export class PdHttp {
  readonly options: CtlOptions;

  constructor(options: CtlOptions) {
    this.options = options;
  }

  get(path: string): Promise<PdAnswer> {
    return this.send("GET", path);
  }

  /** `path` is below PD's API root; an answer other than 2xx is an error with PD's own text. */
  async send(method: string, path: string, body?: unknown): Promise<PdAnswer> {
    const url = `${this.options.url}${API}${path}`;
    return this.#answer(async () => {
      const response = await fetch(url, {
        method,
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { ok: response.ok, status: response.status, text: await response.text() };
    });
  }

  /** Reads what a question in the body asks for. */
  ask(path: string, question: Json): Promise<PdAnswer> {
    return this.#answer(() => getWithBody(`${this.options.url}${API}${path}`, JSON.stringify(question)));
  }

  async #answer(
    exchange: () => Promise<{ readonly ok: boolean; readonly status: number; readonly text: string }>,
  ): Promise<PdAnswer> {
    const answer = await exchange().catch((error: unknown) => {
      throw new CtlError(
        `cannot reach PD at ${this.options.url}: ${reasonOf(error)}. Is it running, and is -u right?`,
      );
    });
    const { text } = answer;
    const parsed = parseOrText(text);
    if (!answer.ok) throw new CtlError(`PD answered ${answer.status}: ${errorText(parsed, text)}`);
    return { parsed, text };
  }
}

/** A request whose question is in the body though it only reads: `fetch` refuses that. */
function getWithBody(
  url: string,
  body: string,
): Promise<{ readonly ok: boolean; readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = request(url, { method: "GET", headers, timeout: TIMEOUT_MS }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const status = response.statusCode ?? 0;
        resolve({ ok: status >= 200 && status < 300, status, text: Buffer.concat(parts).toString("utf8") });
      });
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    sent.on("error", reject);
    sent.end(body);
  });
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer within ${TIMEOUT_MS / 1000} s`;
  const cause = error.cause as { code?: string; message?: string } | undefined;
  return cause?.code ?? cause?.message ?? error.message;
}

/** Integers that a double cannot hold are kept as text. */
function parseOrText(text: string): unknown {
  const exact = text.replaceAll(/([:[,]\s*)(-?[0-9]{16,})(?=\s*[,\]}])/g, '$1"$2"');
  try {
    return JSON.parse(exact);
  } catch {
    return text;
  }
}

function errorText(parsed: unknown, text: string): string {
  if (typeof parsed === "string") return parsed.trim();
  const message = (parsed as Json | null)?.["msg"];
  return typeof message === "string" ? message : text.trim();
}

export function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

/** The answer as sent with --json; otherwise what `toText` makes of it. */
export function show(http: PdHttp, answer: PdAnswer, toText: (parsed: unknown) => string): void {
  print(http.options.json ? answer.text : toText(answer.parsed));
}

/** For answers that are one sentence. */
export function showSentence(http: PdHttp, answer: PdAnswer): void {
  show(http, answer, (parsed) => (typeof parsed === "string" ? parsed : "Done."));
}

/** What PD's checkers and schedulers last said about a region or store; raftwerk's PD only. */
export async function showReasons(http: PdHttp, path: string): Promise<void> {
  show(http, await http.get(path), (parsed) => {
    const rows = asList(parsed).map(({ author, reason, time }) => [author, reason, time]);
    return rows.length === 0 ? "nothing is held back" : table(["WHO", "WHY NOT", "SINCE"], rows);
  });
}

export function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const made = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true, "padding-left": 0 },
    chars: PLAIN_LINES,
  });
  for (const row of rows) made.push(row.map(cell));
  return made.toString().replaceAll(/ +$/gm, "");
}

/** Two columns: name and value. */
export const fields = (entries: readonly (readonly [string, unknown])[]): string => table([], entries);

/** A value of PD's JSON as text; what is absent is a dash. */
export const cell = (value: unknown): string => {
  if (value === undefined || value === null || value === "") return "-";
  return typeof value === "string" ? value : JSON.stringify(value);
};

/** Columns apart by blanks: easy to read, to cut and to grep. */
const PLAIN_LINES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: " ",
};

export const asJson = (value: unknown): Json =>
  typeof value === "object" && value !== null ? (value as Json) : {};
export const asList = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : []);

/** An id of the command line; PD would answer less clearly. */
export function idArgument(text: string): number {
  const id = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(id) || id === 0) {
    throw new CtlError(`${JSON.stringify(text)} is not an id: use a number from 1 on`);
  }
  return id;
}

type Action = (http: PdHttp, args: readonly string[], options: Json) => Promise<void>;

/** Gives a word its action; errors are printed in one line. */
export function onWord(command: Command, action: Action): void {
  command.action(async (...given: unknown[]) => {
    const own = given.at(-1) as Command;
    try {
      await action(new PdHttp(optionsOf(own)), own.args, own.opts<Json>());
    } catch (error) {
      if (!(error instanceof CtlError)) throw error;
      process.stderr.write(`raftwerk ctl: ${error.message}\n`);
      process.exitCode = 1;
    }
  });
}
