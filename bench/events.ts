/** `raftwerk bench split`, `move`, `startup`: what the event costs those who write meanwhile. */
import { setTimeout as delay } from "node:timers/promises";
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type Disturbance, disturbed, Foreground, regionOf } from "./disturb.js";
import { BenchCluster, type Say, splitKeys, until } from "./local.js";
import { spread, type Spread } from "./peers.js";
import { load, raftwerkTarget } from "./target.js";
import { recordKey } from "./ycsb.js";

/** Big enough that no region splits by itself during a bench. */
export const NO_SPLITS = '[coprocessor]\nregion-split-size = "2GiB"\nregion-max-size = "3GiB"\n';
export const NO_MOVES = "[schedule]\nregion-schedule-limit = 0\nleader-schedule-limit = 0\n";
const FILL_VALUE_BYTES = 4_096;

const recordsOf = (mib: number): number => Math.ceil((mib * 2 ** 20) / (FILL_VALUE_BYTES + 24));

export async function withCluster<T>(
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
  /** Between the filling and the first round. */
  readonly restMs: number;
  /** Load before each change. */
  readonly quietMs: number;
  readonly say: Say;
}

/** One region of so many MiB; resolves when RocksDB has put away what it took in. */
async function fill(cluster: BenchCluster, { mib, restMs, say }: EventOptions) {
  const target = raftwerkTarget(await cluster.client());
  const records = recordsOf(mib);
  say(`filling a region with ${mib} MiB`);
  await load(target, records, FILL_VALUE_BYTES);
  await delay(restMs);
  return { target, records };
}

/** Records between those that fill the region: written over, these would shrink it to what the writers write. */
const beside = (records: number) => (): Uint8Array => recordKey(records + Math.floor(Math.random() * 10_000));

/** One region of so many MiB, cut in the middle under writers all over it; each round cuts one half again. */
export async function splitUnderLoad(cluster: BenchCluster, options: EventOptions): Promise<Disturbance[]> {
  const { target, records } = await fill(cluster, options);
  const cuts = splitKeys(2 ** 10);
  const all: Disturbance[] = [];
  for (let round = 0; round < options.rounds; round++) {
    options.say(`split ${round + 1} of ${options.rounds}`);
    const key = beside(records);
    const foreground = new Foreground(target, options.inFlight, key, 100);
    const cut = cuts[2 ** (9 - round) - 1] as Uint8Array;
    const what = `split of ${Math.round(options.mib / 2 ** round)} MiB`;
    all.push(
      await disturbed(what, foreground, async () => void (await cluster.split([cut])), options.quietMs),
    );
  }
  return all;
}

export interface MoveFigure extends Disturbance {
  /** Writing the same bytes into one file, with fsync, on the same disk. */
  readonly rawCopyMs: number;
}

/** Moves a follower of a region of so many MiB to a fourth store, and back, under writers. */
export async function moveUnderLoad(cluster: BenchCluster, options: EventOptions): Promise<MoveFigure[]> {
  const { target, records } = await fill(cluster, options);
  const all: MoveFigure[] = [];
  for (let round = 0; round < options.rounds; round++) {
    options.say(`move ${round + 1} of ${options.rounds}`);
    const region = await regionOf(cluster, recordKey(0));
    const ids = await storeIdsOf(cluster);
    const holders = region.peers.map((peer) => peer.store_id);
    const to = ids.find((id) => !holders.includes(id)) as number;
    const from = holders.find((id) => id !== region.leader.store_id) as number;
    const key = beside(records);
    const foreground = new Foreground(target, options.inFlight, key, 100);
    const figure = await disturbed(
      `move of ${options.mib} MiB`,
      foreground,
      async () => {
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
      },
      options.quietMs,
    );
    all.push({ ...figure, rawCopyMs: rawCopy(cluster.directory, options.mib) });
  }
  return all;
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
