/** `raftwerk bench scale`: one thing grows at a time, the rest stays at its default; a fresh cluster each. */
import { BenchCluster, type Say, splitKeys } from "./local.js";
import { closedLoop, load, raftwerkTarget } from "./target.js";

export interface ScalePoint {
  readonly regions: number;
  readonly stores: number;
  readonly valueBytes: number;
  readonly records: number;
}

export interface ScaleRow extends ScalePoint {
  readonly putsPerSecond: number;
  readonly putP99Ms: number;
  readonly putCpuMicroseconds: number;
  readonly getsPerSecond: number;
  readonly getCpuMicroseconds: number;
  /** Of the largest store, at the end. */
  readonly residentMib: number;
}

export const SCALE_DEFAULT: ScalePoint = { regions: 16, stores: 3, valueBytes: 100, records: 50_000 };

export interface ScaleOptions {
  readonly regions: readonly number[];
  readonly stores: readonly number[];
  readonly valueBytes: readonly number[];
  readonly records: readonly number[];
  readonly inFlight: number;
  readonly seconds: number;
  readonly say: Say;
}

/** Each list is gone through with the others at their defaults; the same point twice is measured once. */
export function scalePoints(options: ScaleOptions): ScalePoint[] {
  const points = [
    ...options.regions.map((regions) => ({ ...SCALE_DEFAULT, regions })),
    ...options.stores.map((stores) => ({ ...SCALE_DEFAULT, stores })),
    ...options.valueBytes.map((valueBytes) => ({ ...SCALE_DEFAULT, valueBytes })),
    ...options.records.map((records) => ({ ...SCALE_DEFAULT, records })),
  ].map((point) => ({
    ...point,
    // Large values: no more than 1 GiB a replica.
    records: Math.min(point.records, Math.max(1_000, Math.floor(2 ** 30 / (point.valueBytes + 32)))),
  }));
  const seen = new Set<string>();
  return points.filter((point) => {
    const key = JSON.stringify(point);
    return !seen.has(key) && seen.add(key);
  });
}

export async function scale(options: ScaleOptions): Promise<ScaleRow[]> {
  const rows: ScaleRow[] = [];
  const points = scalePoints(options);
  for (const [i, point] of points.entries()) {
    const { regions, stores, valueBytes, records } = point;
    const words = `${regions} regions, ${stores} stores, ${valueBytes} B, ${records} records`;
    options.say(`${i + 1} of ${points.length}: ${words}`);
    rows.push(await measure(point, options));
  }
  return rows;
}

async function measure(point: ScalePoint, { inFlight, seconds }: ScaleOptions): Promise<ScaleRow> {
  const { regions, stores, valueBytes, records } = point;
  const cluster = await BenchCluster.start({ stores });
  try {
    await cluster.split(splitKeys(regions), 300_000);
    await cluster.settle();
    const target = raftwerkTarget(await cluster.client(1));
    await load(target, records, valueBytes);
    const run = async (kind: "put" | "get") => {
      const cpu = cluster.cpuSeconds;
      const warmUp = Math.min(1, seconds / 4);
      const shape = { kind, inFlight, records, valueBytes, rows: 1 };
      const figure = await closedLoop(target, shape, seconds, warmUp);
      if (figure.firstError !== undefined) throw new Error(`${kind}: ${figure.firstError}`);
      const all = Math.max(1, figure.items * (1 + warmUp / seconds));
      return { figure, cpu: ((cluster.cpuSeconds - cpu) * 1e6) / all };
    };
    const put = await run("put");
    const get = await run("get");
    return {
      ...point,
      putsPerSecond: put.figure.itemsPerSecond,
      putP99Ms: put.figure.latency.p99,
      putCpuMicroseconds: put.cpu,
      getsPerSecond: get.figure.itemsPerSecond,
      getCpuMicroseconds: get.cpu,
      residentMib: cluster.storeResidentBytes / 2 ** 20,
    };
  } finally {
    await cluster.stop();
  }
}
