/**
 * `raftwerk bench laggard`: one store of three, which leads nothing, stands still for a while, then has a slow disk.
 * What the writers notice of it, and what the other stores keep in memory for it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Foreground } from "./disturb.js";
import { type BenchCluster, processUse, type Say, splitKeys, until } from "./local.js";
import type { SlowDisk } from "./slow-disk.js";
import { load, raftwerkTarget } from "./target.js";
import { recordKey } from "./ycsb.js";

export interface LaggardOptions {
  readonly regions: number;
  readonly records: number;
  readonly valueBytes: number;
  readonly inFlight: number;
  /** Of each phase without trouble. */
  readonly seconds: number;
  /** Of each phase with it. */
  readonly troubleSeconds: number;
  readonly say: Say;
}

export interface LaggardRow {
  readonly phase: string;
  readonly putsPerSecond: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The most that one of the other two had resident, and the one in trouble. */
  readonly othersMib: number;
  readonly ownMib: number;
}

export interface LaggardFigure {
  readonly rows: readonly LaggardRow[];
  readonly errors: number;
  readonly firstError: string | undefined;
}

const LAGGARD = 2;

/** Leaders go elsewhere, so that what is seen is the trouble of a follower. */
async function leadNothing(cluster: BenchCluster): Promise<void> {
  const address = cluster.local.storeAddress(LAGGARD);
  const { stores } = await cluster.get<{ stores: { store: { id: number; address: string } }[] }>("stores");
  const id = stores.find(({ store }) => store.address === address)?.store.id;
  await cluster.post("schedulers", { name: "evict-leader-scheduler", store_id: id });
  const isFree = async (): Promise<boolean> =>
    (await cluster.regions()).every(({ leader }) => leader.store_id !== id);
  await until(isFree, "the leaders to leave the store", 60_000, 200);
}

export async function laggard(
  cluster: BenchCluster,
  disk: SlowDisk,
  options: LaggardOptions,
): Promise<LaggardFigure> {
  const { regions, records, valueBytes, inFlight, seconds, troubleSeconds, say } = options;
  await cluster.split(splitKeys(regions));
  await cluster.settle();
  await leadNothing(cluster);
  const target = raftwerkTarget(await cluster.client(1));
  await load(target, records, valueBytes);
  const key = (): Uint8Array => recordKey(Math.floor(Math.random() * records));
  const foreground = new Foreground(target, inFlight, key, valueBytes);
  const { pid } = cluster.stores[LAGGARD] as { pid: number };
  const rows: LaggardRow[] = [];
  const phase = async (words: string, forSeconds: number): Promise<void> => {
    say(words);
    const from = performance.now();
    let [others, own] = [0, 0];
    while (performance.now() - from < forSeconds * 1000) {
      await delay(200);
      for (const [at, store] of cluster.stores.entries()) {
        const bytes = processUse(store.pid)?.residentBytes ?? 0;
        if (at === LAGGARD) own = Math.max(own, bytes);
        else others = Math.max(others, bytes);
      }
    }
    const { perSecond, p99, max } = foreground.between(from, performance.now());
    const [othersMib, ownMib] = [others / 2 ** 20, own / 2 ** 20];
    rows.push({ phase: words, putsPerSecond: perSecond, p99Ms: p99, maxMs: max, othersMib, ownMib });
  };
  try {
    await delay(Math.min(5_000, seconds * 500));
    await phase("all well", seconds);
    process.kill(pid, "SIGSTOP");
    await phase("a follower's store stands still", troubleSeconds);
    process.kill(pid, "SIGCONT");
    await phase("it goes on", seconds);
    disk.slow(pid);
    await phase("its synced writes wait", troubleSeconds);
    disk.recover(pid);
    await phase("its disk is well", seconds);
  } finally {
    process.kill(pid, "SIGCONT");
    await foreground.stop();
  }
  return { rows, errors: foreground.errors, firstError: foreground.firstError };
}
