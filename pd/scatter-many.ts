/** Scatters many regions, with retries for those that are busy; what RPC and HTTP offer. (pd-rules 5.10, 5.11) */
import type { RegionScatterer } from "./scatterer.js";
import type { SchedulingView } from "./scheduling-view.js";

const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 60_000;
const RETRIES_MAX = 30;

export interface ScatterRequest {
  readonly regionIds: readonly number[];
  readonly group: string;
  readonly retryLimit: number;
  readonly skipStoreLimit?: boolean;
}

export type ScatterOutcome =
  | {
      readonly kind: "done";
      readonly percentage: number;
      /** Reasons by region id. */
      readonly failures: ReadonlyMap<number, string>;
    }
  | { readonly kind: "refused"; readonly reason: string };

export function scatterMany(
  view: SchedulingView,
  scatterer: RegionScatterer,
  request: ScatterRequest,
  callback: (outcome: ScatterOutcome) => void,
): void {
  const { regionIds, group, skipStoreLimit = false } = request;
  if (regionIds.length === 0) return callback({ kind: "refused", reason: "empty region" });
  const isKnown = (id: number): boolean => view.cluster.regions.byId(id) !== undefined;
  const [first] = regionIds as readonly [number, ...number[]];
  if (regionIds.length === 1 && !isKnown(first)) {
    return callback({ kind: "refused", reason: `region ${first} not found` });
  }
  const rounds = Math.min(request.retryLimit, RETRIES_MAX) + 1;
  const failures = new Map<number, string>();
  const total = new Set(regionIds).size;
  const run = (round: number, ids: readonly number[]): void => {
    for (const id of ids) {
      const region = view.cluster.regions.byId(id);
      const result = region === undefined ? undefined : scatterer.scatter(region, group, skipStoreLimit);
      if (result === undefined) failures.set(id, `region ${id} not found`);
      else if (result.kind === "refused") failures.set(id, result.reason);
      else failures.delete(id);
    }
    // A region that is gone, merged away for one, does not come back.
    const again = [...failures.keys()].filter(isKnown);
    if (again.length === 0 || round + 1 >= rounds) {
      const percentage = Math.floor(100 - (100 * failures.size) / total);
      return callback({ kind: "done", percentage, failures });
    }
    const delayMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** round);
    view.env.timers.set(delayMs, () => run(round + 1, again));
  };
  run(0, [...new Set(regionIds)]);
}
