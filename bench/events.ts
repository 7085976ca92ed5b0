/** `raftwerk bench split`, `move`, `startup`, `failover`, `idle`: a cluster each, and what the event costs. */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Disturbance, disturbed, Foreground, regionOf } from "./disturb.js";
import { BenchCluster, processUse, splitKeys, until } from "./local.js";
import { spread, type Spread } from "./peers.js";
import { load, raftwerkTarget, valueMaker } from "./target.js";
import { recordKey } from "./ycsb.js";

export type Say = (words: string) => void;

/** Big enough that no region splits by itself during a bench. */
const NO_SPLITS = '[coprocessor]\nregion-split-size = "2GiB"\nregion-max-size = "3GiB"\n';
const NO_MOVES = "[schedule]\nregion-schedule-limit = 0\nleader-schedule-limit = 0\n";
const FILL_VALUE_BYTES = 4_096;

const recordsOf = (mib: number): number => Math.ceil((mib * 2 ** 20) / (FILL_VALUE_BYTES + 24));

async function withCluster<T>(
  options: Parameters<typeof BenchCluster.start>[0],
  run: (cluster: BenchCluster) => Promise<T>,
): Promise<T> {
  const cluster = await BenchCluster.start(options);
  try {
    return await run(cluster);
  } finally {
    await cluster.stop();
  }
}

export interface EventOptions {
  readonly mib: number;
  readonly inFlight: number;
  readonly rounds: number;
  readonly say: Say;
}

/** One region of so many MiB, cut in the middle under writers all over it; each round cuts one half again. */
export function splitUnderLoad(options: EventOptions): Promise<Disturbance[]> {
  return withCluster({ storeConfig: NO_SPLITS, pdConfig: NO_MOVES }, async (cluster) => {
    const client = await cluster.client();
    const target = raftwerkTarget(client);
    const records = recordsOf(options.mib);
    options.say(`filling a region with ${options.mib} MiB`);
    await load(target, records, FILL_VALUE_BYTES);
    const cuts = splitKeys(2 ** 10);
    const all: Disturbance[] = [];
    for (let round = 0; round < options.rounds; round++) {
      options.say(`split ${round + 1} of ${options.rounds}`);
      const key = (): Uint8Array => recordKey(Math.floor(Math.random() * records));
      const foreground = new Foreground(target, options.inFlight, key, 100);
      const cut = cuts[2 ** (9 - round) - 1] as Uint8Array;
      const what = `split of ${Math.round(options.mib / 2 ** round)} MiB`;
      all.push(await disturbed(what, foreground, async () => void (await cluster.split([cut]))));
    }
    return all;
  });
}

export interface MoveFigure extends Disturbance {
  /** Writing the same bytes into one file, with fsync, on the same disk. */
  readonly rawCopyMs: number;
}

/** Moves a follower of a region of so many MiB to a fourth store, and back, under writers. */
export function moveUnderLoad(options: EventOptions): Promise<MoveFigure[]> {
  return withCluster({ stores: 4, storeConfig: NO_SPLITS, pdConfig: NO_MOVES }, async (cluster) => {
    const client = await cluster.client();
    const target = raftwerkTarget(client);
    const records = recordsOf(options.mib);
    options.say(`filling a region with ${options.mib} MiB`);
    await load(target, records, FILL_VALUE_BYTES);
    const all: MoveFigure[] = [];
    for (let round = 0; round < options.rounds; round++) {
      options.say(`move ${round + 1} of ${options.rounds}`);
      const region = await regionOf(cluster, recordKey(0));
      const ids = await storeIdsOf(cluster);
      const holders = region.peers.map((peer) => peer.store_id);
      const to = ids.find((id) => !holders.includes(id)) as number;
      const from = holders.find((id) => id !== region.leader.store_id) as number;
      const key = (): Uint8Array => recordKey(Math.floor(Math.random() * records));
      const foreground = new Foreground(target, options.inFlight, key, 100);
      const figure = await disturbed(`move of ${options.mib} MiB`, foreground, async () => {
        await cluster.post("operators", {
          name: "transfer-peer",
          region_id: region.id,
          from_store_id: from,
          to_store_id: to,
        });
        await until(async () => {
          const now = (await regionOf(cluster, recordKey(0))).peers.map((peer) => peer.store_id);
          return now.includes(to) && !now.includes(from);
        }, "the region to be moved");
      });
      all.push({ ...figure, rawCopyMs: rawCopy(cluster.directory, options.mib) });
    }
    return all;
  });
}

async function storeIdsOf(cluster: BenchCluster): Promise<number[]> {
  const answer = await cluster.get<{ stores: { store: { id: number } }[] }>("stores");
  return answer.stores.map(({ store }) => store.id);
}

function rawCopy(directory: string, mib: number): number {
  const path = join(directory, "raw-copy");
  const chunk = randomBytes(1 << 20);
  const began = performance.now();
  const file = openSync(path, "w");
  for (let i = 0; i < mib; i++) writeSync(file, chunk);
  fsyncSync(file);
  const ms = performance.now() - began;
  closeSync(file);
  rmSync(path);
  return ms;
}

/** From the first process to a write that was read back, on empty directories. */
export async function startups(rounds: number, say: Say): Promise<Spread> {
  const times: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    say(`start ${round} of ${rounds}`);
    times.push(await withCluster({}, async ({ readyMs }) => readyMs));
  }
  return spread(times);
}

export interface FailoverFigure {
  /** Regions that were led by the store that was killed. */
  readonly leaders: number;
  /** From the kill until the last of them took a write again. */
  readonly allServeMs: number;
  /** Of each such region: from the kill to its first write. */
  readonly medianServeMs: number;
  readonly untouchedP99BeforeMs: number;
  readonly untouchedP99AfterMs: number;
  readonly errors: number;
}

interface RegionProbe {
  readonly index: number;
  readonly times: { readonly beganMs: number; readonly endedMs: number }[];
}

const PROBE_PAUSE_MS = 20;

/** Kills the store with the most leaders, with a writer to each region. */
export function failover(regions: number, say: Say): Promise<FailoverFigure> {
  return withCluster({}, async (cluster) => {
    say(`splitting into ${regions} regions`);
    const cuts = splitKeys(regions);
    await cluster.split(cuts, 600_000);
    say("waiting for leaders to spread");
    await cluster.settle(60_000);
    const client = await cluster.client(1);
    const byStart = new Map((await cluster.regions()).map((each) => [each.start_key, each]));
    const leaderOf = [new Uint8Array(0), ...cuts].map(
      (start) => byStart.get(Buffer.from(start).toString("hex").toUpperCase())?.leader.store_id ?? 0,
    );
    const counts = new Map<number, number>();
    for (const id of leaderOf) counts.set(id, (counts.get(id) ?? 0) + 1);
    const [victim, leaders] = [...counts].sort((a, b) => b[1] - a[1])[0] as [number, number];
    const value = valueMaker(100);
    let stopped = false;
    let errors = 0;
    // The first key of each region, and one before the first cut.
    const keys = [recordKeyBefore(), ...cuts];
    const probes: RegionProbe[] = keys.map((_, index) => ({ index, times: [] }));
    const workers = probes.map(async ({ index, times }) => {
      while (!stopped) {
        const beganMs = performance.now();
        await client.put(keys[index] as Uint8Array, value()).then(
          () => times.push({ beganMs, endedMs: performance.now() }),
          () => errors++,
        );
        await delay(PROBE_PAUSE_MS + Math.random() * Math.max(PROBE_PAUSE_MS, regions / 5));
      }
    });
    say("writing to every region");
    await delay(5_000);
    const stores = await cluster.get<{ stores: { store: { id: number; address: string } }[] }>("stores");
    const address = stores.stores.find(({ store }) => store.id === victim)?.store.address;
    const at = [0, 1, 2].find((i) => cluster.local.storeAddress(i) === address) as number;
    const killedMs = performance.now();
    process.kill(cluster.stores[at]?.pid as number, "SIGKILL");
    say(`killed store ${victim}, which led ${leaders} of ${regions} regions`);
    const served = (probe: RegionProbe): number | undefined =>
      probe.times.find(({ beganMs, endedMs }) => beganMs >= killedMs || endedMs > killedMs + 100)?.endedMs;
    const touched = probes.filter(({ index }) => leaderOf[index] === victim);
    await until(() => touched.every((probe) => served(probe) !== undefined), "all regions to serve", 60_000);
    await delay(2_000);
    stopped = true;
    await Promise.all(workers);
    const waits = touched.map((probe) => (served(probe) as number) - killedMs);
    const others = probes.filter(({ index }) => leaderOf[index] !== victim).flatMap(({ times }) => times);
    const p99 = (list: typeof others): number => {
      const sorted = list.map(({ beganMs, endedMs }) => endedMs - beganMs).sort((a, b) => a - b);
      return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
    };
    return {
      leaders,
      allServeMs: Math.max(...waits),
      medianServeMs: spread(waits).median,
      untouchedP99BeforeMs: p99(others.filter(({ endedMs }) => endedMs < killedMs)),
      untouchedP99AfterMs: p99(others.filter(({ beganMs }) => beganMs >= killedMs)),
      errors,
    };
  });
}

const recordKeyBefore = (): Uint8Array => Buffer.from("user00000000000000000000");

export interface IdleRow {
  readonly process: string;
  readonly corePercent: number;
  readonly residentMib: number;
}

export interface IdleFigure {
  readonly regions: number;
  readonly splitSeconds: number;
  readonly rows: readonly IdleRow[];
}

/** Nobody asks anything: what each process costs with so many regions. */
export function idle(
  regions: number,
  seconds: number,
  splitSecondsMax: number,
  say: Say,
): Promise<IdleFigure> {
  return withCluster({}, async (cluster) => {
    const began = performance.now();
    say(`splitting into ${regions} regions`);
    const reached = await cluster
      .split(splitKeys(regions), splitSecondsMax * 1000)
      .catch(async () => (await cluster.regions()).length);
    const splitSeconds = (performance.now() - began) / 1000;
    say(`${reached} regions after ${splitSeconds.toFixed(1)} s; waiting until they are quiet`);
    await cluster.settle(60_000);
    await delay(10_000);
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
    return { regions: reached, splitSeconds, rows };
  });
}
