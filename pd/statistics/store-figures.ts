/** Rates of one store, from its own heartbeats. (pd-rules 10.1, 10.3, 10.4) */
import type { pdpb } from "../../proto/index.js";
import { MedianWindow, RateMedian } from "./averages.js";
import type { Rates } from "./rates.js";

const INTERVAL_SECONDS_MIN = 3;
const CPU_WINDOW = 5;
const READ_POOL = "unified-read";

export type Direction = "read" | "write";

export class StoreFigures {
  readonly #rates: Record<Direction, readonly RateMedian[]> = {
    read: [new RateMedian(), new RateMedian(), new RateMedian()],
    write: [new RateMedian(), new RateMedian(), new RateMedian()],
  };
  readonly #readCpu = new MedianWindow(CPU_WINDOW);
  /** The store sends figures per peer; else those of region heartbeats stand in for reads. */
  reportsPeers = false;

  observe(stats: pdpb.StoreStats): void {
    if (stats.peerStats.length > 0) this.reportsPeers = true;
    const readCpu = stats.cpuUsages.filter(({ key }) => key.startsWith(READ_POOL));
    this.#readCpu.push(readCpu.reduce((sum, { value }) => sum + value, 0));
    const seconds = intervalSeconds(stats.interval);
    if (seconds < INTERVAL_SECONDS_MIN) return;
    const add = (direction: Direction, amounts: readonly number[]): void => {
      for (const [i, rate] of this.#rates[direction].entries()) rate.add(amounts[i] as number, seconds);
    };
    add("read", [stats.bytesRead, stats.keysRead, readQueries(stats.queryStats)]);
    add("write", [stats.bytesWritten, stats.keysWritten, writeQueries(stats.queryStats)]);
  }

  rates(direction: Direction): Rates {
    const [bytes, keys, query] = this.#rates[direction].map((rate) => rate.get()) as [number, number, number];
    return [bytes, keys, query, direction === "read" ? this.#readCpu.get() : 0];
  }
}

export const intervalSeconds = (interval: pdpb.TimeInterval | null): number =>
  interval === null ? 0 : interval.endTimestamp - interval.startTimestamp;

export const readQueries = (queries: pdpb.QueryStats | null): number =>
  queries === null ? 0 : queries.Coprocessor + queries.Get + queries.Scan;

export const writeQueries = (queries: pdpb.QueryStats | null): number =>
  queries === null
    ? 0
    : queries.Put +
      queries.Delete +
      queries.DeleteRange +
      queries.AcquirePessimisticLock +
      queries.Commit +
      queries.Prewrite +
      queries.Rollback;
