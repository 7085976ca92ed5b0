/**
 * `raftwerk bench peers`: ours and a real etcd of three nodes at the same time on the same machine, asked in turns, so
 * that whatever else the machine does strikes both alike. Ratios of one run mean something; the figures themselves
 * are worth what the machine is worth.
 */
import { EtcdCluster } from "./etcd-target.js";
import { BenchCluster, splitKeys } from "./local.js";
import { closedLoop, load, type LoadKind, type LoadShape, raftwerkTarget, type Target } from "./target.js";

export interface PeersOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly regions: number;
  readonly records: number;
  readonly valueBytes: number;
  readonly connections: number;
  /** In flight for puts and gets. */
  readonly inFlight: readonly number[];
  readonly kinds: readonly LoadKind[];
  readonly onStep: (words: string) => void;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface PeersRow {
  readonly kind: LoadKind;
  readonly inFlight: number;
  /** Keys a second. */
  readonly ours: Spread;
  readonly etcd: Spread;
  /** Of the medians. */
  readonly ratio: number;
  /** Of the medians over the rounds, milliseconds. */
  readonly oursP99: number;
  readonly etcdP99: number;
  /** CPU time of the servers for each key, microseconds. */
  readonly oursCpu: number;
  readonly etcdCpu: number;
  readonly errors: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median =
    sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
  return { median, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 };
}

interface Side {
  readonly name: "ours" | "etcd";
  readonly target: Target;
  readonly cluster: { readonly cpuSeconds: number };
}

interface Samples {
  readonly rates: number[];
  readonly p99s: number[];
  readonly cpus: number[];
  errors: number;
}

const SCAN_IN_FLIGHT = 16;

function cells(options: PeersOptions): LoadShape[] {
  const { records, valueBytes } = options;
  return options.kinds.flatMap((kind) => {
    const levels = kind === "put" || kind === "get" ? options.inFlight : [SCAN_IN_FLIGHT];
    return levels.map((inFlight) => ({ kind, inFlight, records, valueBytes, rows: 100 }));
  });
}

async function measure(side: Side, shape: LoadShape, seconds: number, into: Samples): Promise<void> {
  const cpuBefore = side.cluster.cpuSeconds;
  const warmUp = Math.min(1, seconds / 4);
  const figure = await closedLoop(side.target, shape, seconds, warmUp);
  const cpu = side.cluster.cpuSeconds - cpuBefore;
  const all = Math.max(1, figure.items * (1 + warmUp / seconds));
  into.rates.push(figure.itemsPerSecond);
  into.p99s.push(figure.latency.p99);
  into.cpus.push((cpu * 1e6) / all);
  into.errors += figure.errors;
}

export async function runPeers(
  options: PeersOptions,
): Promise<{ readonly rows: PeersRow[]; readonly etcdVersion: string; readonly regions: number }> {
  const say = options.onStep;
  say("starting etcd and the cluster");
  const etcd = await EtcdCluster.start();
  let ours: BenchCluster | undefined;
  try {
    ours = await BenchCluster.start();
    const client = await ours.client(options.connections);
    const sides: readonly Side[] = [
      { name: "ours", target: raftwerkTarget(client), cluster: ours },
      { name: "etcd", target: etcd.target(), cluster: etcd },
    ];
    const regions = await ours.split(splitKeys(options.regions));
    await ours.settle();
    for (const side of sides) {
      say(`loading ${options.records} records: ${side.name}`);
      await load(side.target, options.records, options.valueBytes);
    }
    const shapes = cells(options);
    const samples = new Map(
      shapes.flatMap((shape) =>
        sides.map((side): [string, Samples] => [
          keyOf(side, shape),
          { rates: [], p99s: [], cpus: [], errors: 0 },
        ]),
      ),
    );
    for (let round = 1; round <= options.rounds; round++) {
      for (const shape of shapes) {
        // Who goes first changes from round to round.
        for (const side of round % 2 === 1 ? sides : [...sides].reverse()) {
          say(
            `round ${round} of ${options.rounds}: ${shape.kind}, ${shape.inFlight} in flight, ${side.name}`,
          );
          await measure(side, shape, options.seconds, samples.get(keyOf(side, shape)) as Samples);
        }
      }
    }
    const rows = shapes.map((shape): PeersRow => {
      const [a, b] = sides.map((side) => samples.get(keyOf(side, shape)) as Samples) as [Samples, Samples];
      const [ourRates, etcdRates] = [spread(a.rates), spread(b.rates)];
      return {
        kind: shape.kind,
        inFlight: shape.inFlight,
        ours: ourRates,
        etcd: etcdRates,
        ratio: ourRates.median / etcdRates.median,
        oursP99: spread(a.p99s).median,
        etcdP99: spread(b.p99s).median,
        oursCpu: spread(a.cpus).median,
        etcdCpu: spread(b.cpus).median,
        errors: a.errors + b.errors,
      };
    });
    return { rows, etcdVersion: etcd.version, regions };
  } finally {
    say("stopping");
    await Promise.all([etcd.stop(), ours?.stop()]);
  }
}

const keyOf = (side: Side, shape: LoadShape): string => `${side.name} ${shape.kind} ${shape.inFlight}`;
