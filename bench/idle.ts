/** `raftwerk bench idle`: nobody asks anything. What a process costs, a region weighs, and a store takes to start. */
import { setTimeout as delay } from "node:timers/promises";
import { type BenchCluster, processUse, type Say, splitKeys } from "./local.js";
import type { Probe } from "./probe.js";

export interface IdleRow {
  readonly process: string;
  readonly corePercent: number;
  readonly residentMib: number;
}

export interface IdleFigure {
  readonly regions: number;
  readonly splitSeconds: number;
  /** From the last split until few replicas ticked, and how many still did when the measuring began and ended. */
  readonly asleepSeconds: number;
  readonly awake: readonly [before: number, after: number];
  readonly rows: readonly IdleRow[];
  /** Of the first store, by the difference to the same store with one region, both after a collection. */
  readonly heapBytesPerRegion: number;
  /** Resident outside of V8's heap, by the same difference: RocksDB, buffers, allocator. */
  readonly nativeBytesPerRegion: number;
  /** The first store, stopped and started again: from its process to `/ready`. */
  readonly restartMs: number;
}

export interface IdleOptions {
  readonly regions: number;
  readonly seconds: number;
  /** Give up splitting after this, and measure what there is. */
  readonly splitSecondsMax: number;
  /** Give up waiting for the regions to fall quiet after this, and measure what there is. */
  readonly asleepSecondsMax: number;
  /** Longer, when they are. */
  readonly restMs: number;
  readonly say: Say;
}

export async function idle(cluster: BenchCluster, probe: Probe, options: IdleOptions): Promise<IdleFigure> {
  const { regions, seconds, splitSecondsMax, restMs, say } = options;
  const first = cluster.stores[0]?.pid as number;
  const empty = await probe.read(first);
  const began = performance.now();
  say(`splitting into ${regions} regions`);
  const reached = await cluster
    .split(splitKeys(regions), splitSecondsMax * 1000)
    .catch(async () => (await cluster.regions()).length);
  const splitSeconds = (performance.now() - began) / 1000;
  say(`${reached} regions after ${splitSeconds.toFixed(1)} s; waiting until they are quiet`);
  await cluster.post("config", NOTHING_MOVES);
  const asleepSeconds = await untilAsleep(cluster, reached, options);
  await delay(restMs);
  const full = await probe.read(first);
  await delay(500);
  const awakeBefore = await cluster.awake();
  const { children } = cluster.local;
  const before = children.map(({ pid }) => processUse(pid));
  const from = performance.now();
  say(`measuring for ${seconds} s`);
  await delay(seconds * 1000);
  const elapsed = (performance.now() - from) / 1000;
  const rows = children.map((child, i): IdleRow => {
    const now = processUse(child.pid);
    const cpu = (now?.cpuSeconds ?? 0) - (before[i]?.cpuSeconds ?? 0);
    return {
      process: child.title,
      corePercent: (cpu * 100) / elapsed,
      residentMib: (now?.residentBytes ?? 0) / 2 ** 20,
    };
  });
  const awake = [awakeBefore, await cluster.awake()] as const;
  say("starting the first store again");
  const restartMs = await cluster.restart(0);
  const more = Math.max(1, reached - 1);
  const native = ({ rss, heapTotal }: typeof full): number => rss - heapTotal;
  return {
    regions: reached,
    splitSeconds,
    asleepSeconds,
    awake,
    rows,
    heapBytesPerRegion: (full.heapUsed - empty.heapUsed) / more,
    nativeBytesPerRegion: (native(full) - native(empty)) / more,
    restartMs,
  };
}

/**
 * Awake ones so few that they cost nothing that would be seen. At a hundred times as many PD may still be at work:
 * moving some leaders a second of 100,000 regions took half a core of each store.
 */
const AWAKE_SHARE = 0.0001;
const AWAKE_LEAST = 3;
/** Until all leaders are even PD would move some a second, minutes long with 100,000 regions, and wake each. */
const NOTHING_MOVES = Object.fromEntries(
  "leader region replica merge hot-region".split(" ").map((kind) => [`${kind}-schedule-limit`, 0]),
);
const LOOK_MS = 3_000;

async function untilAsleep(cluster: BenchCluster, regions: number, options: IdleOptions): Promise<number> {
  const began = performance.now();
  const seconds = (): number => (performance.now() - began) / 1000;
  const few = Math.max(AWAKE_LEAST, AWAKE_SHARE * regions);
  while (seconds() < options.asleepSecondsMax) {
    const awake = await cluster.awake();
    options.say(`${awake} replicas are awake after ${seconds().toFixed(0)} s`);
    if (awake <= few) break;
    await delay(LOOK_MS);
  }
  return seconds();
}
