/** The words and flags of `raftwerk bench peers`. */
import type { Command } from "commander";
import { RaftwerkError } from "../base/index.js";
import {
  count,
  machine,
  printTable,
  progress,
  progressEnd,
  record,
  wholeNumber,
  wholeNumbers,
} from "./output.js";
import { type PeersRow, runPeers, type Spread } from "./peers.js";
import type { LoadKind } from "./target.js";

interface PeersFlags {
  readonly rounds: string;
  readonly seconds: string;
  readonly regions: string;
  readonly records: string;
  readonly valueSize: string;
  readonly connections: string;
  readonly inFlight: string;
  readonly kinds: string;
  readonly toy?: string;
  readonly kvbench?: string;
  readonly json?: boolean;
  readonly record?: boolean;
}

const KINDS: readonly LoadKind[] = ["put", "get", "scan", "batchPut"];

export function registerPeers(bench: Command): void {
  bench
    .command("peers")
    .description("ours beside a real etcd of three nodes, in turns, in one run")
    .option("--rounds <n>", "rounds of all measurements", "3")
    .option("--seconds <n>", "of each measurement", "2")
    .option("--regions <n>", "regions of our cluster", "16")
    .option("--records <n>", "records on both sides", "50000")
    .option("--value-size <bytes>", "bytes of a value, incompressible", "100")
    .option("--connections <n>", "connections to each store", "1")
    .option("--in-flight <list>", "puts and gets in flight", "1,64,256,1024")
    .option("--kinds <list>", "put, get, scan (100 rows) and batchPut (100 pairs)", KINDS.join(","))
    .option("--toy <directory>", "the toy limit beside them: a folder with its store.cjs and node_modules")
    .option("--kvbench <program>", "load both sides by this Go program over their official clients")
    .option("--json", "print the figures as JSON")
    .option("--record", "add a line to bench/history.tsv")
    .action((flags: PeersFlags) => peers(flags));
}

function kinds(text: string): LoadKind[] {
  const words = text.split(",");
  const unknown = words.find((word) => !KINDS.includes(word as LoadKind));
  if (unknown === undefined) return words as LoadKind[];
  throw new RaftwerkError("invalidArgument", `--kinds: "${unknown}" is none of ${KINDS.join(", ")}`, {
    retry: "never",
  });
}

async function peers(flags: PeersFlags): Promise<void> {
  const result = await runPeers({
    rounds: wholeNumber("--rounds", flags.rounds, 1),
    seconds: wholeNumber("--seconds", flags.seconds, 1),
    regions: wholeNumber("--regions", flags.regions, 1),
    records: wholeNumber("--records", flags.records, 1000),
    valueBytes: wholeNumber("--value-size", flags.valueSize, 0),
    connections: wholeNumber("--connections", flags.connections, 1),
    inFlight: wholeNumbers("--in-flight", flags.inFlight, 1),
    kinds: kinds(flags.kinds),
    toy: flags.toy,
    kvbench: flags.kvbench,
    onStep: progress,
  });
  progressEnd();
  const { rows, regions, etcdVersion } = result;
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ machine: machine(), ...result })}\n`);
  else {
    process.stdout.write(
      `${machine()}\netcd ${etcdVersion}, 3 nodes; ours: ${regions} regions on 3 stores; fsync on both; ` +
        `medians (min to max) of ${flags.rounds} rounds of ${flags.seconds} s, in turns\n`,
    );
    const hasToy = rows.some(({ toy }) => toy !== undefined);
    const toyHead = hasToy ? ["toy limit", "ratio"] : [];
    const last = ["p99 ms, ours / etcd", `CPU µs a key, ours / etcd${hasToy ? " / toy" : ""}`];
    const head = ["keys/s", "in flight", "raftwerk", "etcd", "ratio", ...toyHead, ...last];
    printTable(
      head,
      rows.map((row) => line(row, hasToy)),
    );
  }
  if (flags.record === true) record(flags.kvbench === undefined ? "peers" : "peers-go", figures(rows));
  if (rows.some(({ errors }) => errors > 0)) process.exitCode = 1;
}

const words = ({ median, min, max }: Spread): string => `${count(median)} (${count(min)} to ${count(max)})`;

function line(row: PeersRow, hasToy: boolean): string[] {
  const { toy, toyRatio, toyCpu } = row;
  const toyWords = toy === undefined ? ["", ""] : [words(toy), (toyRatio ?? 0).toFixed(2)];
  return [
    row.errors === 0 ? row.kind : `${row.kind} (${row.errors} errors)`,
    String(row.inFlight),
    words(row.ours),
    words(row.etcd),
    row.ratio.toFixed(2),
    ...(hasToy ? toyWords : []),
    `${row.oursP99.toFixed(1)} / ${row.etcdP99.toFixed(1)}`,
    `${row.oursCpu.toFixed(0)} / ${row.etcdCpu.toFixed(0)}${toyCpu === undefined ? "" : ` / ${toyCpu.toFixed(0)}`}`,
  ];
}

function figures(rows: readonly PeersRow[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const { kind, inFlight, ours, etcd, toy } of rows) {
    all[`${kind}${inFlight}`] = ours.median;
    all[`etcd.${kind}${inFlight}`] = etcd.median;
    if (toy !== undefined) all[`toy.${kind}${inFlight}`] = toy.median;
  }
  return all;
}
