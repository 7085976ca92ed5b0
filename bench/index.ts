/** `raftwerk bench`: load against a running cluster, with figures that can be repeated. */
import { writeFileSync } from "node:fs";
import Table from "cli-table3";
import type { Command } from "commander";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER } from "../base/index.js";
import { RawClient } from "../client/index.js";
import { type GroupBenchOptions, groupFigures } from "./group.js";
import { benchPd } from "./pd.js";
import { registerPdChange } from "./pd-change.js";
import { registerPdHeartbeat } from "./pd-heartbeat.js";
import { registerPdSchedule } from "./pd-schedule.js";
import { registerPdStream } from "./pd-stream.js";
import { machine, printFigures, record, wholeNumber } from "./output.js";
import { registerEvents } from "./event-commands.js";
import { registerMicro } from "./micro-command.js";
import { registerPeers } from "./peers-command.js";
import { raftFigures } from "./raft.js";
import { reportHtml, type Second } from "./report.js";
import { ClusterSampler } from "./report-sampler.js";
import { smoke } from "./smoke.js";
import { registerSteadyLoads } from "./steady-commands.js";
import { workload } from "./workload.js";
import { runYcsb, type YcsbResult } from "./ycsb.js";

interface YcsbFlags {
  readonly workload: string;
  readonly records: string;
  readonly ops: string;
  readonly threads: string;
  readonly valueSize: string;
  readonly connections: string;
  readonly scanRows: string;
  readonly rate: string;
  readonly warmUp: string;
  readonly pd: string;
  readonly json?: boolean;
  readonly record?: boolean;
  readonly report?: string;
}

export function registerBench(program: Command): void {
  const bench = program.command("bench").description("measure a running cluster");
  bench
    .command("ycsb")
    .description("YCSB's workloads, or put, get and scan alone")
    .requiredOption("--workload <name>", "load, a to f, put, get or scan")
    .option("--records <n>", "records in the table", "10000")
    .option("--ops <n>", "operations to measure (load: the number of records)", "100000")
    .option("--threads <n>", "operations in flight", "64")
    .option("--value-size <bytes>", "bytes of a value, incompressible", "100")
    .option("--connections <n>", "connections to each store", "1")
    .option("--scan-rows <n>", "rows of a scan", "100")
    .option("--rate <n>", "operations to begin each second; 0: as fast as answers come", "0")
    .option("--warm-up <n>", "operations before the measurement begins", "2000")
    .option("--pd <addresses>", "PD's addresses, separated by commas", "127.0.0.1:2379")
    .option("--json", "print the result as JSON")
    .option("--report <file>", "write a report with charts, one HTML file that needs nothing else")
    .option("--record", "add a line to bench/history.tsv")
    .action((flags: YcsbFlags) => ycsb(flags));
  bench
    .command("pd")
    .description("timestamps and ids of a PD that runs")
    .option("--pd <addresses>", "the PDs' addresses, separated by commas", "127.0.0.1:2379")
    .option("--seconds <n>", "of each part", "5")
    .option("--clients <n>", "clients with a Tso stream each", "4")
    .option("--outstanding <n>", "timestamps each client waits for", "10000")
    .option("--json", "print the figures as JSON")
    .action((flags: PdFlags) => pd(flags));
  bench
    .command("raft")
    .description("the Raft library alone, without I/O; needs node --expose-gc")
    .option("--seconds <n>", "of each of the four loops", "5")
    .option("--json", "print the figures as JSON")
    .action((flags: RaftFlags) => raft(flags));
  registerGroup(bench);
  registerPdChange(bench);
  registerPdHeartbeat(bench);
  registerPdSchedule(bench);
  registerPdStream(bench);
  bench
    .command("smoke")
    .description("that the benches work, in a minute; figures are not looked at")
    .action(async () => {
      if (!(await smoke((line) => process.stdout.write(`${line}\n`)))) process.exitCode = 1;
    });
  registerPeers(bench);
  registerEvents(bench);
  registerSteadyLoads(bench);
  registerMicro(bench);
}

interface GroupFlags {
  readonly seconds: string;
  readonly bytes: string;
  readonly engine: string;
  readonly etcd?: boolean;
  readonly json?: boolean;
}

function registerGroup(bench: Command): void {
  bench
    .command("group")
    .description("a Raft group of three processes on this machine, disk with fsync")
    .option("--seconds <n>", "of each measurement", "5")
    .option("--bytes <n>", "bytes of a command", "100")
    .option("--engine <kind>", "auto, rocksdb or leveldb", "auto")
    .option("--etcd", "only proposals one at a time, in turns of a second with a real etcd of three nodes")
    .option("--json", "print the figures as JSON")
    .action((flags: GroupFlags) => group(flags));
}

async function group(flags: GroupFlags): Promise<void> {
  const figures = await groupFigures({
    seconds: wholeNumber("--seconds", flags.seconds, 1),
    bytes: wholeNumber("--bytes", flags.bytes, 1),
    engine: flags.engine as GroupBenchOptions["engine"],
    etcd: flags.etcd === true,
  });
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    return;
  }
  const head = ["what", "per second", "mark", "p50 ms", "p99 ms", "commands/entry", "leader's cores"];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const { name, perSecond, mark, latency, commandsPerEntry, leaderCpu } of figures) {
    const rate = Math.round(perSecond).toLocaleString("en");
    const times = [latency?.p50.toFixed(2) ?? "", latency?.p99.toFixed(2) ?? ""];
    table.push([name, rate, mark, ...times, commandsPerEntry?.toFixed(1) ?? "", leaderCpu?.toFixed(2) ?? ""]);
  }
  process.stdout.write(`${table.toString()}\n`);
}

interface PdFlags {
  readonly pd: string;
  readonly seconds: string;
  readonly clients: string;
  readonly outstanding: string;
  readonly json?: boolean;
}

async function pd(flags: PdFlags): Promise<void> {
  const figures = await benchPd({
    endpoints: flags.pd.split(","),
    seconds: wholeNumber("--seconds", flags.seconds, 1),
    clients: wholeNumber("--clients", flags.clients, 1),
    outstanding: wholeNumber("--outstanding", flags.outstanding, 1),
  });
  printFigures(figures, flags.json === true);
  process.exit(0);
}

interface RaftFlags {
  readonly seconds: string;
  readonly json?: boolean;
}

function raft(flags: RaftFlags): void {
  const figures = raftFigures(wholeNumber("--seconds", flags.seconds, 1));
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    return;
  }
  const table = new Table({ head: ["what", "measured", "unit", "mark"], style: { head: [], border: [] } });
  for (const { name, value, unit, mark } of figures) {
    table.push([name, value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2), unit, mark]);
  }
  process.stdout.write(`${table.toString()}\n`);
}

async function ycsb(flags: YcsbFlags): Promise<void> {
  const chosen = workload(flags.workload);
  const records = wholeNumber("--records", flags.records, 1);
  const env = nodeEnv(SILENT_LOGGER);
  const network = new GrpcNetwork();
  const client = new RawClient(env, network, {
    pdEndpoints: flags.pd.split(","),
    connections: wholeNumber("--connections", flags.connections, 1),
    timeoutMs: 60_000,
  });
  await client.connect();
  const isTty = process.stderr.isTTY && flags.json !== true;
  const sampler =
    flags.report === undefined ? undefined : await ClusterSampler.start(flags.pd.split(",")[0] as string);
  const seconds: Second[] = [];
  const samples: Promise<unknown>[] = [];
  const result = await runYcsb(client, {
    workload: chosen,
    records,
    operations: chosen.name === "load" ? records : wholeNumber("--ops", flags.ops, 1),
    threads: wholeNumber("--threads", flags.threads, 1),
    valueBytes: wholeNumber("--value-size", flags.valueSize, 0),
    scanRows: wholeNumber("--scan-rows", flags.scanRows, 1),
    rate: wholeNumber("--rate", flags.rate, 0),
    warmUpOperations: wholeNumber("--warm-up", flags.warmUp, 0),
    random: env.random,
    onProgress: (done, perSecond) => {
      if (isTty) process.stderr.write(`\r${done} operations, ${perSecond}/s   `);
    },
    onSecond: (second) => {
      if (sampler === undefined) return;
      samples.push(sampler.take().then((cluster) => seconds.push({ ...second, cluster })));
    },
  });
  client.close();
  network.close();
  if (isTty) process.stderr.write("\r\u001b[K");
  print(result, flags);
  if (flags.report !== undefined && sampler !== undefined) {
    await Promise.all(samples);
    writeFileSync(
      flags.report,
      reportHtml({
        title: `raftwerk bench: workload ${flags.workload}`,
        facts: facts(flags, result),
        processes: sampler.names,
        seconds: seconds.sort((a, b) => a.seconds - b.seconds),
        result,
      }),
    );
    if (flags.json !== true) process.stdout.write(`report: ${flags.report}\n`);
  }
  if (flags.record === true) {
    const p99 = Object.entries(result.kinds).map(([kind, each]) => [`${kind}P99Ms`, each.p99Ms]);
    const shape = `ycsb-${flags.workload}-t${flags.threads}-v${flags.valueSize}-r${flags.rate}`;
    record(shape, { perSecond: result.perSecond, errors: result.errors, ...Object.fromEntries(p99) });
  }
  if (result.errors > 0) process.exitCode = 1;
}

function facts(flags: YcsbFlags, result: YcsbResult): [string, string][] {
  return [
    ["date", new Date().toISOString()],
    ["machine of the client", machine()],
    ["PD", flags.pd],
    ["records", flags.records],
    ["in flight", flags.threads],
    ["connections to each store", flags.connections],
    ["bytes of a value", flags.valueSize],
    [
      "loop",
      flags.rate === "0" ? "closed" : `open, ${flags.rate} a second, latency from the intended beginning`,
    ],
    ["operations", `${result.operations} in ${result.seconds.toFixed(1)} s, ${result.errors} errors`],
    ["operations a second", String(Math.round(result.perSecond))],
    ...(result.firstError === undefined ? [] : [["first error", result.firstError] as [string, string]]),
  ];
}

function print(result: YcsbResult, flags: YcsbFlags): void {
  if (flags.json === true) {
    process.stdout.write(
      `${JSON.stringify({ workload: flags.workload, threads: Number(flags.threads), ...result })}\n`,
    );
    return;
  }
  const table = new Table({
    head: ["operation", "count", "mean ms", "p50", "p95", "p99", "p99.9", "max"],
    style: { head: [], border: [] },
  });
  for (const [kind, each] of Object.entries(result.kinds)) {
    const times = [each.meanMs, each.p50Ms, each.p95Ms, each.p99Ms, each.p999Ms, each.maxMs];
    table.push([kind, each.count, ...times.map((ms) => ms.toFixed(2))]);
  }
  const rows = result.scannedRows === 0 ? "" : `, ${Math.round(result.scannedRows / result.seconds)} rows/s`;
  process.stdout.write(
    `workload ${flags.workload}: ${Math.round(result.perSecond)} operations/s${rows} ` +
      `(${result.operations} in ${result.seconds.toFixed(1)} s, ${flags.threads} in flight, ${result.errors} errors)\n` +
      `${table.toString()}\n`,
  );
  if (result.firstError !== undefined) process.stdout.write(`first error: ${result.firstError}\n`);
}
