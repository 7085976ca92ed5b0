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
  readonly share?: string;
  readonly storeLimit: string;
  readonly snapshotRate: string;
  readonly watch: string;
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
    .option(
      "--share <0..1>",
      "how much of the cluster it happens to: what a million regions need to end in time",
    )
    .option("--store-limit <n>", "peers a minute that a store may take, and give", "600")
    .option("--snapshot-rate <mib>", "MiB a second that a store takes in of snapshots", "100")
    .option("--watch <seconds>", "how long a cluster at rest is watched", "600")
    .option("--json", "print the results as JSON")
    .action((flags: ScheduleFlags) => schedule(flags));
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`${name} must be a whole number above 0, not ${text}`);
  return value;
}

function shareOf(text: string): number {
  const share = Number(text);
  if (!(share > 0 && share < 1)) throw new Error(`--share must be between 0 and 1, not ${text}`);
  return share;
}

function schedule(flags: ScheduleFlags): void {
  const names = flags.case === "all" ? Object.keys(CASES) : [flags.case];
  const size = {
    stores: wholeNumber("--stores", flags.stores),
    regions: wholeNumber("--regions", flags.regions),
    regionSizeMib: wholeNumber("--region-size", flags.regionSize),
    seed: wholeNumber("--seed", flags.seed),
    storeLimit: wholeNumber("--store-limit", flags.storeLimit),
    snapshotMibPerSecond: wholeNumber("--snapshot-rate", flags.snapshotRate),
    watchSeconds: wholeNumber("--watch", flags.watch),
    ...(flags.share === undefined ? {} : { share: shareOf(flags.share) }),
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
    const before = process.cpuUsage();
    const result = runCase(name, size);
    const { user, system } = process.cpuUsage(before);
    const used = { cpuSeconds: Math.round((user + system) / 1e6), residentMib: residentMib() };
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ ...result, ...used })}\n`);
    else table.push(row(result));
  }
  if (flags.json !== true) process.stdout.write(`${table.toString()}\n`);
}

const residentMib = (): number => Math.round(process.memoryUsage().rss / 2 ** 20);

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
