/** What the words of `raftwerk bench` that start a cluster of their own have in common. */
import type { Command } from "commander";
import type { Flag } from "./flags.js";
import { machine, printTable, progressEnd, record, wholeNumber, wholeNumbers } from "./output.js";

interface Flags {
  readonly json?: boolean;
  readonly record?: boolean;
  readonly [name: string]: string | boolean | undefined;
}

export interface Outcome {
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
  /** A sentence between the machine and the table. */
  readonly note?: string;
  /** Errors that the table tells of: the command fails. */
  readonly failed?: boolean;
  /** Of the line in the history; the command's own by default. */
  readonly recordAs?: string;
  /** For the history. */
  readonly figures: Readonly<Record<string, number>>;
  readonly all: unknown;
}

/** A flag as a number from 1, or from the minimum that is given. */
export type Numbers = (name: string, minimum?: number) => number;
export type Lists = (name: string) => number[];
/** As it was given; undefined when it was not. */
export type Texts = (name: string) => string | undefined;

export function word(
  bench: Command,
  name: string,
  description: string,
  options: readonly Flag[],
  run: (number: Numbers, list: Lists, text: Texts) => Promise<Outcome>,
): void {
  const command = bench.command(name).description(description);
  for (const [flags, words, value] of options) command.option(flags, words, value);
  command.option("--json", "print the figures as JSON");
  command.option("--record", "add a line to bench/history.tsv");
  command.action(async (flags: Flags) => {
    const flagOf = (of: string): string =>
      `--${of.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const outcome = await run(
      (of, minimum = 1) => wholeNumber(flagOf(of), String(flags[of]), minimum),
      (of) => (flags[of] === "none" ? [] : wholeNumbers(flagOf(of), String(flags[of]), 1)),
      (of) => (typeof flags[of] === "string" ? flags[of] : undefined),
    );
    progressEnd();
    if (flags.json === true) {
      process.stdout.write(`${JSON.stringify({ machine: machine(), bench: name, figures: outcome.all })}\n`);
    } else {
      process.stdout.write(`${machine()}\n${outcome.note === undefined ? "" : `${outcome.note}\n`}`);
      printTable(outcome.head, outcome.rows);
    }
    if (flags.record === true) record(outcome.recordAs ?? name, outcome.figures);
    if (outcome.failed === true) process.exitCode = 1;
  });
}

export const fixed = (value: number, digits = 1): string => value.toFixed(digits);
