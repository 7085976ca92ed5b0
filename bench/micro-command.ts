/** The words and flags of `raftwerk bench micro`. */
import type { Command } from "commander";
import { RaftwerkError } from "../base/index.js";
import { MICRO_PARTS, microFigures } from "./micro.js";
import { count, machine, printTable, progress, progressEnd, record, wholeNumber } from "./output.js";

interface MicroFlags {
  readonly seconds: string;
  readonly only?: string;
  readonly json?: boolean;
  readonly record?: boolean;
}

export function registerMicro(bench: Command): void {
  bench
    .command("micro")
    .description("parts alone, in this process: CPU nanoseconds and bytes allocated per operation")
    .option("--seconds <n>", "of each measurement", "1")
    .option("--only <parts>", Object.keys(MICRO_PARTS).join(", "))
    .option("--json", "print the figures as JSON")
    .option("--record", "add a line to bench/history.tsv")
    .action((flags: MicroFlags) => micro(flags));
}

async function micro(flags: MicroFlags): Promise<void> {
  const only = flags.only?.split(",") ?? [];
  const unknown = only.find((part) => MICRO_PARTS[part] === undefined);
  if (unknown !== undefined) {
    const names = Object.keys(MICRO_PARTS).join(", ");
    throw new RaftwerkError("invalidArgument", `--only: "${unknown}" is none of ${names}`, {
      retry: "never",
    });
  }
  const figures = await microFigures({
    seconds: wholeNumber("--seconds", flags.seconds, 1),
    only,
    onStep: progress,
  });
  progressEnd();
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ machine: machine(), figures })}\n`);
  else {
    process.stdout.write(`${machine()}\n`);
    const rows = figures.map((each) => [
      each.part,
      each.name,
      each.nanoseconds < 100 ? each.nanoseconds.toFixed(1) : count(each.nanoseconds),
      count(each.heapBytes),
    ]);
    printTable(["part", "operation", "CPU ns", "heap bytes"], rows);
  }
  if (flags.record === true) {
    record(
      "micro",
      Object.fromEntries(figures.map((each) => [each.name.replaceAll(/\W+/g, "-"), each.nanoseconds])),
    );
  }
}
