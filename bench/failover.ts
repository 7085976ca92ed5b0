/** `raftwerk bench failover`: `kill -9` of the store that leads the most regions, with a writer to each region. */
import { setTimeout as delay } from "node:timers/promises";
import type { RawClient } from "../client/index.js";
import { distribution } from "./latencies.js";
import { type BenchCluster, type Say, splitKeys, until } from "./local.js";
import { spread } from "./peers.js";
import { valueMaker } from "./target.js";

export interface FailoverFigure {
  /** Regions that were led by the store that was killed. */
  readonly leaders: number;
  /** From the kill until the first of them, and until all, had a leader again, as the stores say themselves. */
  readonly firstElectedMs: number;
  readonly allElectedMs: number;
  /** From the kill until the last of them took a write again. */
  readonly allServeMs: number;
  /** Of each such region: from the kill to its first write. */
  readonly medianServeMs: number;
  readonly untouchedP99BeforeMs: number;
  readonly untouchedP99AfterMs: number;
  readonly errors: number;
}

export interface FailoverOptions {
  readonly regions: number;
  /** Writes a second over all regions together. */
  readonly rate: number;
  readonly say: Say;
}

interface Write {
  readonly beganMs: number;
  readonly endedMs: number;
}

/** One writer to each region, a write at a time; the pauses between give the rate. */
class Writers {
  readonly writes: Write[][];
  errors = 0;
  #stopped = false;
  readonly #wake: (() => void)[] = [];
  /** Who writes once more without a pause. */
  readonly #hurried = new Set<number>();
  readonly #workers: Promise<void>[];

  constructor(client: RawClient, keys: readonly Uint8Array[], rate: number) {
    const value = valueMaker(100);
    this.writes = keys.map(() => []);
    const pauseMs = (keys.length * 1_000) / rate;
    this.#workers = keys.map(async (key, index) => {
      await this.#sleep(index, Math.random() * pauseMs);
      while (!this.#stopped) {
        const beganMs = performance.now();
        await client.put(key, value()).then(
          () => this.writes[index]?.push({ beganMs, endedMs: performance.now() }),
          () => this.errors++,
        );
        if (this.#hurried.delete(index)) continue;
        await this.#sleep(index, pauseMs * (0.5 + Math.random()));
      }
    });
  }

  #sleep(index: number, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake[index] = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Its next write begins now, or when the one under way ends: that one may have been answered already. */
  hurry(index: number): void {
    this.#hurried.add(index);
    this.#wake[index]?.();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const wake of this.#wake) wake();
    await Promise.all(this.#workers);
  }
}

interface Elected {
  readonly firstElectedMs: number;
  readonly allElectedMs: number;
}

/** Asks the stores that live how many regions they lead, until they lead all; a tenth of a second is what it knows. */
async function watchElections(
  cluster: BenchCluster,
  dead: number,
  sinceMs: number,
  regions: number,
  before: number,
): Promise<Elected> {
  let firstElectedMs = 0;
  for (;;) {
    const led = await cluster.leadersBut(dead);
    const ms = performance.now() - sinceMs;
    if (firstElectedMs === 0 && led > before) firstElectedMs = ms;
    if (led >= regions || ms > 60_000) return { firstElectedMs, allElectedMs: ms };
    await delay(100);
  }
}

/** The store stays dead: the cluster is of no use for figures afterwards. */
export async function failover(cluster: BenchCluster, options: FailoverOptions): Promise<FailoverFigure> {
  const { regions, rate, say } = options;
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
  const touched = leaderOf.flatMap((id, index) => (id === victim ? [index] : []));
  const { pid, at } = await cluster.processOf(victim);
  say("writing to every region");
  // The first key of each region, and one before the first cut.
  const writers = new Writers(client, [Buffer.from("user00000000000000000000"), ...cuts], rate);
  // To warm up, and as long again to see what is usual.
  const warmUpMs = 4_000;
  await delay(warmUpMs);
  const warmMs = performance.now();
  await delay(warmUpMs);
  const killedMs = performance.now();
  process.kill(pid, "SIGKILL");
  say(`killed store ${victim}, which led ${leaders} of ${regions} regions`);
  // A write to each of its regions at once, so that none is found to serve later than it does.
  for (const index of touched) writers.hurry(index);
  const served = (index: number): number | undefined =>
    // What was answered within these milliseconds was on its way when the store died.
    writers.writes[index]?.find(({ beganMs, endedMs }) => beganMs >= killedMs || endedMs > killedMs + 100)
      ?.endedMs;
  const elections = watchElections(cluster, at, killedMs, leaderOf.length, leaderOf.length - leaders);
  await until(() => touched.every((index) => served(index) !== undefined), "all regions to serve", 60_000);
  await delay(2_000);
  await writers.stop();
  const waits = touched.map((index) => (served(index) as number) - killedMs);
  const others = writers.writes.filter((_, index) => leaderOf[index] !== victim).flat();
  const p99 = (list: readonly Write[]): number =>
    distribution(list.map(({ beganMs, endedMs }) => endedMs - beganMs)).p99;
  return {
    leaders,
    ...(await elections),
    allServeMs: Math.max(...waits),
    medianServeMs: spread(waits).median,
    untouchedP99BeforeMs: p99(
      others.filter(({ beganMs, endedMs }) => beganMs >= warmMs && endedMs < killedMs),
    ),
    untouchedP99AfterMs: p99(others.filter(({ beganMs }) => beganMs >= killedMs)),
    errors: writers.errors,
  };
}
