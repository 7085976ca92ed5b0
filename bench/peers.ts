/**
 * `raftwerk bench peers`: ours and a real etcd of three nodes at the same time on the same machine, asked in turns, so
 * that whatever else the machine does strikes both alike. Ratios of one run mean something; the figures themselves
 * are worth what the machine is worth.
 */
import { EngineAlone } from "./engine-target.js";
import { EtcdCluster } from "./etcd-target.js";
import { goLoad, goRun, goSplitKeys, type GoTarget } from "./go-client.js";
import { BenchCluster, splitKeys } from "./local.js";
import { ToyCluster } from "./toy-target.js";
import { closedLoop, load, type LoadKind, type LoadShape, raftwerkTarget, type Target } from "./target.js";

export interface PeersOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** Load of each kind on each side before anything counts: a process just started is half as fast. */
  readonly warmUpSeconds: number;
  readonly regions: number;
  readonly records: number;
  readonly valueBytes: number;
  readonly connections: number;
  /** In flight for puts and gets. */
  readonly inFlight: readonly number[];
  readonly kinds: readonly LoadKind[];
  /** Folder of the toy limit; undefined: without it. */
  readonly toy: string | undefined;
  /** A Go program over each side's official client instead of ours and bare gRPC; undefined: without it. */
  readonly kvbench: string | undefined;
  readonly onStep: (words: string) => void;
  /** A line for each measurement as it ends: a run that is cut short was not for nothing. */
  readonly onMeasured: (words: string) => void;
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
  /** What could be had at most: of puts by the toy, of scans by the engine alone. */
  readonly limit: Spread | undefined;
  /** Of the medians, ours to etcd's and to the limit. */
  readonly ratio: number;
  readonly limitRatio: number | undefined;
  /** Of the medians over the rounds, milliseconds. */
  readonly oursP99: number;
  readonly etcdP99: number;
  /** CPU time of the servers for each key, microseconds. */
  readonly oursCpu: number;
  readonly etcdCpu: number;
  readonly limitCpu: number | undefined;
  readonly errors: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median =
    sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
  return { median, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 };
}

interface Run {
  readonly itemsPerSecond: number;
  readonly p99Ms: number;
  readonly errors: number;
}

interface Side {
  readonly name: "ours" | "etcd" | "toy" | "engine";
  /** The only kind that it takes part in; undefined: all. */
  readonly only?: LoadKind;
  readonly cluster: { readonly cpuSeconds: number };
  load(): Promise<unknown>;
  run(shape: LoadShape, seconds: number, warmUpSeconds: number): Promise<Run>;
}

type Cluster = Side["cluster"];

function nodeSide(
  name: Side["name"],
  target: Target,
  cluster: Cluster,
  options: PeersOptions,
  only?: LoadKind,
): Side {
  return {
    name,
    cluster,
    ...(only === undefined ? {} : { only }),
    load: () => load(target, options.records, options.valueBytes),
    run: async (shape, seconds, warmUpSeconds) => {
      const { itemsPerSecond, latency, errors } = await closedLoop(target, shape, seconds, warmUpSeconds);
      return { itemsPerSecond, p99Ms: latency.p99, errors };
    },
  };
}

function goSide(name: Side["name"], target: GoTarget, cluster: Cluster): Side {
  return {
    name,
    cluster,
    load: () => goLoad(target),
    run: ({ kind, inFlight }, seconds, warmUp) => goRun(target, kind, inFlight, seconds, warmUp),
  };
}

async function sidesOfCluster(
  options: PeersOptions,
  ours: BenchCluster,
  etcd: EtcdCluster,
): Promise<[Side, Side]> {
  const { kvbench, records, valueBytes } = options;
  if (kvbench === undefined) {
    const target = raftwerkTarget(await ours.client(options.connections));
    return [nodeSide("ours", target, ours, options), nodeSide("etcd", etcd.target(), etcd, options)];
  }
  const common = { program: kvbench, keys: records, valueBytes };
  return [
    goSide("ours", { ...common, target: "tikv", addresses: [ours.pdAddress] }, ours),
    goSide("etcd", { ...common, target: "etcd", addresses: etcd.addresses }, etcd),
  ];
}

interface Samples {
  readonly rates: number[];
  readonly p99s: number[];
  readonly cpus: number[];
  errors: number;
}

const SCAN_IN_FLIGHT = 16;
const WARM_UP_IN_FLIGHT = 256;

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
  const { itemsPerSecond, p99Ms, errors } = await side.run(shape, seconds, warmUp);
  const cpu = side.cluster.cpuSeconds - cpuBefore;
  into.rates.push(itemsPerSecond);
  into.p99s.push(p99Ms);
  into.cpus.push((cpu * 1e6) / Math.max(1, itemsPerSecond * (seconds + warmUp)));
  into.errors += errors;
}

function lastOf({ rates, p99s, cpus }: Samples): string {
  const [rate, p99, cpu] = [rates, p99s, cpus].map((list) => list.at(-1) ?? 0);
  return `${Math.round(rate ?? 0)} keys/s, p99 ${(p99 ?? 0).toFixed(1)} ms, ${(cpu ?? 0).toFixed(0)} µs of CPU a key`;
}

/** Who takes part in a kind, in the order of the first round. */
const sidesOf = (sides: readonly Side[], { kind }: LoadShape): readonly Side[] =>
  sides.filter(({ only }) => only === undefined || only === kind);

async function warmUp(options: PeersOptions, sides: readonly Side[]): Promise<void> {
  const { kinds, records, valueBytes, warmUpSeconds } = options;
  for (const kind of warmUpSeconds === 0 ? [] : kinds) {
    const inFlight = kind === "put" || kind === "get" ? WARM_UP_IN_FLIGHT : SCAN_IN_FLIGHT;
    const shape = { kind, inFlight, records, valueBytes, rows: 100 };
    for (const side of sidesOf(sides, shape)) {
      options.onStep(`warming up: ${kind}, ${side.name}`);
      await side.run(shape, warmUpSeconds, 0);
    }
  }
}

export async function runPeers(
  options: PeersOptions,
): Promise<{ readonly rows: PeersRow[]; readonly etcdVersion: string; readonly regions: number }> {
  const say = options.onStep;
  say("starting etcd and the cluster");
  const stops: (() => Promise<void>)[] = [];
  try {
    const etcd = await EtcdCluster.start();
    stops.push(() => etcd.stop());
    const ours = await BenchCluster.start();
    stops.push(() => ours.stop());
    const sides: Side[] = await sidesOfCluster(options, ours, etcd);
    const { regions, records, kvbench } = options;
    const cuts = kvbench === undefined ? splitKeys(regions) : goSplitKeys(regions, records);
    const reached = await ours.split(cuts);
    await ours.settle();
    for (const side of sides) {
      say(`loading ${records} records: ${side.name}`);
      await side.load();
    }
    if (options.toy !== undefined && options.kinds.includes("put")) {
      const toy = await ToyCluster.start(options.toy, regions);
      stops.push(() => toy.stop());
      sides.push(nodeSide("toy", toy.target(), toy, options, "put"));
    }
    if (options.kinds.includes("scan")) {
      const engine = await EngineAlone.start();
      stops.push(() => engine.stop());
      await load(engine.target(), records, options.valueBytes);
      sides.push(nodeSide("engine", engine.target(), engine, options, "scan"));
    }
    await warmUp(options, sides);
    return { rows: await rounds(options, sides), etcdVersion: etcd.version, regions: reached };
  } finally {
    say("stopping");
    await Promise.all(stops.map((stop) => stop()));
  }
}

async function rounds(options: PeersOptions, sides: readonly Side[]): Promise<PeersRow[]> {
  const shapes = cells(options);
  const samples = new Map<string, Samples>();
  for (const shape of shapes) {
    for (const side of sidesOf(sides, shape)) {
      samples.set(keyOf(side.name, shape), { rates: [], p99s: [], cpus: [], errors: 0 });
    }
  }
  for (let round = 1; round <= options.rounds; round++) {
    for (const shape of shapes) {
      const taking = sidesOf(sides, shape);
      // Who goes first changes from round to round.
      for (const side of round % 2 === 1 ? taking : [...taking].reverse()) {
        const what = `${shape.kind}, ${shape.inFlight} in flight, ${side.name}`;
        options.onStep(`round ${round} of ${options.rounds}: ${what}`);
        const into = samples.get(keyOf(side.name, shape)) as Samples;
        await measure(side, shape, options.seconds, into);
        options.onMeasured(`round ${round}: ${what}: ${lastOf(into)}`);
      }
    }
  }
  return shapes.map((shape) => row(shape, samples));
}

function row(shape: LoadShape, samples: ReadonlyMap<string, Samples>): PeersRow {
  const [ours, etcd, toy, engine] = (["ours", "etcd", "toy", "engine"] as const).map((name) =>
    samples.get(keyOf(name, shape)),
  );
  const limit = toy ?? engine;
  if (ours === undefined || etcd === undefined) throw new Error("a side was not measured");
  const [ourRates, etcdRates] = [spread(ours.rates), spread(etcd.rates)];
  const limitRates = limit === undefined ? undefined : spread(limit.rates);
  return {
    kind: shape.kind,
    inFlight: shape.inFlight,
    ours: ourRates,
    etcd: etcdRates,
    limit: limitRates,
    ratio: ourRates.median / etcdRates.median,
    limitRatio: limitRates === undefined ? undefined : ourRates.median / limitRates.median,
    oursP99: spread(ours.p99s).median,
    etcdP99: spread(etcd.p99s).median,
    oursCpu: spread(ours.cpus).median,
    etcdCpu: spread(etcd.cpus).median,
    limitCpu: limit === undefined ? undefined : spread(limit.cpus).median,
    errors: ours.errors + etcd.errors + (limit?.errors ?? 0),
  };
}

const keyOf = (name: Side["name"], shape: LoadShape): string => `${name} ${shape.kind} ${shape.inFlight}`;
