/** PD's scheduling alone: simulated stores and up to a million regions drive the real classes under virtual time. */
import Table from "cli-table3";
import type { Command } from "commander";
import { CASES, type CaseResult, runCase } from "../sim/pd-scheduling/cases.js";

interface ScheduleFlags {
  readonly case: string;
  readonly stores: string;
  readonly regions: string;
  readonly regionSize: string;
  readonly seed: string;
  readonly json?: boolean;
}

export function registerPdSchedule(bench: Command): void {
  bench
    .command("pd-schedule")
    .description("PD's scheduling over simulated stores: does it come to rest, with how many moves")
    .option("--case <name>", `one of ${Object.keys(CASES).join(", ")}, or all`, "all")
    .option("--stores <n>", "simulated stores", "100")
    .option("--regions <n>", "regions of three peers", "10000")
    .option("--region-size <mib>", "MiB of a region", "96")
    .option("--seed <n>", "of everything random", "1")
    .option("--json", "print the results as JSON")
    .action((flags: ScheduleFlags) => schedule(flags));
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`${name} must be a whole number above 0, not ${text}`);
  return value;
}

function schedule(flags: ScheduleFlags): void {
  const names = flags.case === "all" ? Object.keys(CASES) : [flags.case];
  const size = {
    stores: wholeNumber("--stores", flags.stores),
    regions: wholeNumber("--regions", flags.regions),
    regionSizeMib: wholeNumber("--region-size", flags.regionSize),
    seed: wholeNumber("--seed", flags.seed),
  };
  const head = [
    "CASE",
    "REST AFTER",
    "PEERS MOVED",
    "AT LEAST",
    "LEADERS MOVED",
    "MOST OF A REGION",
    "AFTER REST",
    "FIGURE",
  ];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const name of names) {
    const result = runCase(name, size);
    if (flags.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
    else table.push(row(result));
  }
  if (flags.json !== true) process.stdout.write(`${table.toString()}\n`);
}

const row = (result: CaseResult): string[] => [
  result.name,
  result.restSeconds === undefined ? "did not" : `${result.restSeconds} s`,
  String(result.movedPeers),
  String(result.leastMoves),
  String(result.movedLeaders),
  String(result.mostOfRegion),
  String(result.movedAfterRest),
  result.figure,
];
