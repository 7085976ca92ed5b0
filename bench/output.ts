/** Flags, tables, the progress line and `bench/history.tsv`, for all benches. */
import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { dirname, join } from "node:path";
import Table from "cli-table3";
import { RaftwerkError } from "../base/index.js";

export function wholeNumber(name: string, text: string, minimum: number): number {
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value >= minimum && Number.isSafeInteger(value)) return value;
  throw new RaftwerkError(
    "invalidArgument",
    `${name} must be a whole number from ${minimum}, not "${text}"`,
    {
      retry: "never",
    },
  );
}

export const wholeNumbers = (name: string, text: string, minimum: number): number[] =>
  text.split(",").map((each) => wholeNumber(name, each, minimum));

export function printTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const table = new Table({ head: [...head], style: { head: [], border: [] } });
  for (const row of rows) table.push([...row]);
  process.stdout.write(`${table.toString()}\n`);
}

/** A line each, or all of them as one line for programs. */
export function printFigures(figures: object, asJson: boolean): void {
  if (asJson) return void process.stdout.write(`${JSON.stringify(figures)}\n`);
  for (const [name, value] of Object.entries(figures)) process.stdout.write(`${name}: ${String(value)}\n`);
}

export const count = (value: number): string => Math.round(value).toLocaleString("en");

/** One line on a terminal, overwritten; without one, a line each. Standard output stays clean for figures. */
export function progress(words: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${words}` : `${words}\n`);
}

export function progressEnd(): void {
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
}

/** What a figure cannot be read without. */
export function machine(): string {
  const all = cpus();
  const load = loadavg().map((each) => each.toFixed(1));
  return `${all.length} x ${all[0]?.model.trim() ?? "unknown"}, Node ${process.version}, load average ${load.join(" ")}`;
}

function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown";
  }
}

/** Adds a line to `bench/history.tsv` of the checkout that the program runs from. */
export function record(bench: string, figures: Readonly<Record<string, number>>): void {
  const root = join(dirname(process.argv[1] as string), "..");
  const path = join(root, "bench", "history.tsv");
  if (!existsSync(dirname(path))) {
    throw new RaftwerkError("invalidArgument", "--record needs a checkout: there is no folder bench here", {
      retry: "never",
    });
  }
  if (!existsSync(path)) appendFileSync(path, "date\tcommit\tbench\tmachine\tfigures\n");
  const words = Object.entries(figures).map(([name, value]) => `${name}=${Number(value.toPrecision(4))}`);
  const line = [new Date().toISOString().slice(0, 16), commit(), bench, machine(), words.join(" ")];
  appendFileSync(path, `${line.join("\t")}\n`);
}
