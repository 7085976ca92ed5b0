/**
 * Cuts a cluster into many regions by asking the leaders themselves (`SplitRegion`): each cut of a region makes up to
 * 65 of it, and those are cut again side by side. PD is asked where regions are at the beginning alone.
 */
import { setTimeout as delay } from "node:timers/promises";
import { compareBytes, RaftwerkError } from "../base/index.js";
import { callUnary, type errorpb, type metapb, type RpcNetwork, TikvService } from "../proto/index.js";

/** More would make one long entry. */
const KEYS_PER_SPLIT = 64;
const UNDER_WAY_MAX = 8;
const PAUSE_MS = 50;
const ANSWER_MS = 30_000;

export interface SplitSource {
  readonly network: RpcNetwork;
  /** Of a store, by its id. */
  readonly addresses: ReadonlyMap<number, string>;
  readonly timeoutMs: number;
}

export interface SplitRegion {
  readonly region: metapb.IRegion;
  readonly leaderStoreId: number;
}

interface Task extends SplitRegion {
  /** In order, within the region. */
  readonly keys: readonly Uint8Array[];
}

/** Borders that are there already are left alone. */
export async function splitRegions(
  source: SplitSource,
  regions: readonly SplitRegion[],
  keys: readonly Uint8Array[],
): Promise<void> {
  const deadlineMs = performance.now() + source.timeoutMs;
  const sorted = [...keys].sort(compareBytes);
  const tasks = assign(regions, sorted);
  let underWay = 0;
  await new Promise<void>((resolve, reject) => {
    const next = (): void => {
      if (tasks.length === 0 && underWay === 0) return resolve();
      while (tasks.length > 0 && underWay < UNDER_WAY_MAX) {
        underWay++;
        cut(source, tasks.shift() as Task, deadlineMs).then((parts) => {
          underWay--;
          tasks.push(...parts);
          next();
        }, reject);
      }
    };
    next();
  });
}

/** Which keys lie in which region, without its start. Regions need not be in order. */
function assign(regions: readonly SplitRegion[], sorted: readonly Uint8Array[]): Task[] {
  const ordered = [...regions].sort((a, b) => compareBytes(startOf(a.region), startOf(b.region)));
  const tasks: Task[] = [];
  let at = 0;
  for (const each of ordered) {
    const [start, end] = [startOf(each.region), each.region.endKey ?? new Uint8Array(0)];
    const inside: Uint8Array[] = [];
    while (at < sorted.length && compareBytes(sorted[at] as Uint8Array, start) <= 0) at++;
    while (at < sorted.length && (end.length === 0 || compareBytes(sorted[at] as Uint8Array, end) < 0)) {
      inside.push(sorted[at++] as Uint8Array);
    }
    if (inside.length > 0) tasks.push({ ...each, keys: inside });
  }
  return tasks;
}

const startOf = (region: metapb.IRegion): Uint8Array => region.startKey ?? new Uint8Array(0);

async function cut(source: SplitSource, task: Task, deadlineMs: number): Promise<Task[]> {
  let { region, leaderStoreId } = task;
  const { keys } = task;
  // Even parts, so that the next round cuts many regions at once.
  const step = Math.max(1, Math.ceil(keys.length / KEYS_PER_SPLIT));
  const chosen = keys.filter((_, i) => i % step === step - 1 || step === 1);
  let last = "";
  while (performance.now() < deadlineMs) {
    const answer = await ask(source, region, leaderStoreId, chosen);
    if (answer.parts !== undefined) {
      return assign(
        answer.parts.map((part) => ({ region: part, leaderStoreId })),
        keys,
      );
    }
    last = answer.reason;
    const { error } = answer;
    leaderStoreId = error?.notLeader?.leader?.storeId || leaderStoreId;
    const current = error?.epochNotMatch?.currentRegions?.find(({ id }) => id === region.id);
    region = current ?? region;
    await delay(PAUSE_MS);
  }
  throw new RaftwerkError("deadlineExceeded", `region ${region.id} is not split in time: ${last}`, {
    retry: "safe",
  });
}

interface Answer {
  readonly parts: readonly metapb.IRegion[] | undefined;
  readonly error: errorpb.IError | undefined;
  readonly reason: string;
}

function ask(
  { network, addresses }: SplitSource,
  region: metapb.IRegion,
  leaderStoreId: number,
  splitKeys: readonly Uint8Array[],
): Promise<Answer> {
  const peer = region.peers?.find(({ storeId }) => storeId === leaderStoreId) ?? region.peers?.[0];
  const address = addresses.get(peer?.storeId ?? 0);
  if (peer === undefined || address === undefined) throw new Error(`region ${region.id} has no known store`);
  const context = { regionId: region.id, regionEpoch: region.regionEpoch, peer };
  const request = { context, splitKeys: [...splitKeys], isRawKv: true };
  return new Promise((resolve) => {
    callUnary(
      network.channel(address),
      TikvService.SplitRegion,
      request,
      { timeoutMs: ANSWER_MS },
      (failed, answer) => {
        const error = answer?.regionError ?? undefined;
        const isDone = failed === undefined && answer !== undefined && error === undefined;
        const reason = failed?.message ?? error?.message ?? "";
        resolve({ parts: isDone ? answer.regions : undefined, error, reason });
      },
    );
  });
}
