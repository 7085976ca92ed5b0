/** `raftwerk bench latency` and `pauses`: what a steady load meets, in a cluster of its own. */
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER } from "../base/index.js";
import { type BenchCluster, type Say, splitKeys } from "./local.js";
import type { Probe, ProbeReading } from "./probe.js";
import { closedLoop, load, raftwerkTarget } from "./target.js";
import { workload } from "./workload.js";
import { type KindResult, runYcsb } from "./ycsb.js";

export interface SteadyOptions {
  readonly regions: number;
  readonly records: number;
  readonly valueBytes: number;
  readonly inFlight: number;
  readonly seconds: number;
  readonly say: Say;
}

export interface LatencyFigure {
  /** Closed loop with `inFlight` puts. */
  readonly maxPerSecond: number;
  readonly rate: number;
  /** Open loop, counted from the moment a put was due. */
  readonly open: KindResult;
  readonly errors: number;
}

async function prepare(cluster: BenchCluster, options: SteadyOptions) {
  const { regions, records, valueBytes } = options;
  await cluster.split(splitKeys(regions));
  await cluster.settle();
  const client = await cluster.client(1);
  const target = raftwerkTarget(client);
  await load(target, records, valueBytes);
  return { client, target };
}

/** Puts at a share of the highest rate, each begun when it is due. */
export async function latency(
  cluster: BenchCluster,
  share: number,
  options: SteadyOptions,
): Promise<LatencyFigure> {
  const { records, valueBytes, inFlight, seconds, say } = options;
  const { client, target } = await prepare(cluster, options);
  say(`closed loop, ${inFlight} in flight`);
  const shape = { kind: "put", inFlight, records, valueBytes, rows: 1 } as const;
  const closed = await closedLoop(target, shape, seconds, seconds / 2);
  const rate = Math.max(1, Math.round(closed.itemsPerSecond * share));
  say(`open loop, ${rate} a second`);
  const result = await runYcsb(client, {
    workload: workload("put"),
    records,
    operations: rate * seconds,
    threads: inFlight,
    valueBytes,
    scanRows: 1,
    rate,
    warmUpOperations: 0,
    random: nodeEnv(SILENT_LOGGER).random,
    onProgress: () => {},
  });
  const open = result.kinds.update;
  if (open === undefined) throw new Error(`no put ended: ${result.firstError ?? ""}`);
  return { maxPerSecond: closed.itemsPerSecond, rate, open, errors: closed.errors + result.errors };
}

export interface PauseRow {
  readonly load: string;
  readonly store: string;
  readonly perSecond: number;
  readonly reading: ProbeReading;
}

/** As many puts, then gets, as the cluster takes; the longest pauses of each store meanwhile. */
export async function pauses(
  cluster: BenchCluster,
  probe: Probe,
  options: SteadyOptions,
): Promise<PauseRow[]> {
  const { records, valueBytes, inFlight, seconds, say } = options;
  const { target } = await prepare(cluster, options);
  const rows: PauseRow[] = [];
  for (const kind of ["put", "get", "scan"] as const) {
    const shape = { kind, inFlight: kind === "scan" ? 16 : inFlight, records, valueBytes, rows: 100 };
    // Warm, and what was seen before is forgotten.
    await closedLoop(target, shape, 1, 0);
    for (const { pid } of cluster.stores) await probe.read(pid);
    say(`${kind}, ${shape.inFlight} in flight`);
    const figure = await closedLoop(target, shape, seconds, 0);
    for (const store of cluster.stores) {
      const reading = await probe.read(store.pid);
      const words = `${kind}, ${shape.inFlight} in flight`;
      rows.push({ load: words, store: store.title, perSecond: figure.itemsPerSecond, reading });
    }
  }
  return rows;
}
