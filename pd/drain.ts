/**
 * Whether a store may stop, and getting it there: its leaders move away and stay away, its data stays. What would
 * cost a region its quorum is refused with the regions that stand in the way.
 */
import type { Progress } from "./progress.js";
import { isUnhealthy, isVoter, type RegionInfo } from "./region-info.js";
import type { SchedulerAdmin } from "./scheduler-admin.js";
import type { SchedulingView } from "./scheduling-view.js";
import { EVICT_LEADER } from "./evict-leader.js";

/** Named in an answer; the count is of all. */
const SHOWN_MAX = 10;

export interface RegionAtRisk {
  readonly regionId: number;
  readonly reason: string;
}

export interface StopReadiness {
  readonly isReady: boolean;
  readonly leadersLeft: number;
  /** Regions that would lose their quorum, and how many there are in all. */
  readonly atRisk: readonly RegionAtRisk[];
  readonly atRiskCount: number;
  readonly reason: string;
}

export type DrainResult =
  | { readonly kind: "ok" }
  | { readonly kind: "refused"; readonly status: 400 | 404 | 500; readonly reason: string };

export class Drain {
  readonly #view: SchedulingView;
  readonly #schedulers: SchedulerAdmin;
  readonly #progress: Progress;

  constructor(view: SchedulingView, schedulers: SchedulerAdmin, progress: Progress) {
    this.#view = view;
    this.#schedulers = schedulers;
    this.#progress = progress;
  }

  /** Moves the leaders away, unless stopping the store afterwards would cost a quorum. */
  start(storeId: number, callback: (result: DrainResult) => void): void {
    const refuse = (reason: string, status: 400 | 500 = 400): void =>
      callback({ kind: "refused", status, reason });
    const store = this.#view.store(storeId);
    if (store === undefined) return refuse(`[PD:core:ErrStoreNotFound]store ${storeId} not found`);
    if (store.isRemoved) return refuse(`[PD:core:ErrStoreRemoved]store ${storeId} has been removed`);
    const { atRiskCount, reason } = this.readiness(storeId);
    if (atRiskCount > 0) return refuse(reason);
    const leaders = this.#view.leaderCount(storeId);
    const nobody = leaders > 0 ? this.#nobodyLeads(storeId) : undefined;
    if (nobody !== undefined) return refuse(nobody);
    this.#schedulers.add(EVICT_LEADER, storeId, {}, (change) => {
      if (change.kind === "refused") return refuse(change.reason, change.status === 500 ? 500 : 400);
      this.#begin(storeId);
      callback({ kind: "ok" });
    });
  }

  /** Why no other store could take the leaders: those that are up drain as well. */
  #nobodyLeads(storeId: number): string | undefined {
    const others = this.#view.stores().filter(({ id, isUp }) => isUp && id !== storeId);
    if (others.some(({ leaderInPauses }) => leaderInPauses === 0)) return undefined;
    const ids = others.map(({ id }) => id).join(", ");
    return `no store would be left to lead: ${ids} take no leaders either; let one serve again first (store drain ID --cancel)`;
  }

  /** Leaders may come back. */
  stop(storeId: number, callback: (result: DrainResult) => void): void {
    this.#schedulers.removeStore(EVICT_LEADER, storeId, (change) => {
      if (change.kind === "refused" && change.status !== 404) {
        return callback({ kind: "refused", status: 500, reason: change.reason });
      }
      this.#progress.end("draining", storeId);
      if (change.kind === "ok") callback({ kind: "ok" });
      else callback({ kind: "refused", status: 404, reason: `store ${storeId} does not drain` });
    });
  }

  #begin(storeId: number): void {
    this.#progress.end("draining", storeId);
    this.#progress.update("draining", storeId, 0, this.#view.leaderCount(storeId));
  }

  /** What is stored decides: another PD may have begun it, and a scheduler that is removed ends it. */
  isDraining(storeId: number): boolean {
    return this.#schedulers.evictedStores().includes(storeId);
  }

  /** Samples of all drains; every ten seconds. */
  sample(): void {
    const draining = this.#schedulers.evictedStores();
    for (const id of draining) if (this.#progress.of("draining", id) === undefined) this.#begin(id);
    for (const id of this.#progress.stores("draining")) {
      if (!draining.includes(id)) {
        this.#progress.end("draining", id);
        continue;
      }
      const total = this.#progress.targetOf("draining", id) ?? 0;
      this.#progress.update("draining", id, Math.max(0, total - this.#view.leaderCount(id)), total);
    }
  }

  readiness(storeId: number): StopReadiness {
    const on = this.#view.cluster.regions.onStore(storeId);
    const leadersLeft = on.leaders.size;
    const atRisk: RegionAtRisk[] = [];
    let atRiskCount = 0;
    for (const ids of [on.leaders, on.followers]) {
      for (const id of ids.values()) {
        const region = this.#view.cluster.regions.byId(id);
        const reason = region === undefined ? undefined : this.#quorumProblem(region, storeId);
        if (reason === undefined) continue;
        atRiskCount += 1;
        if (atRisk.length < SHOWN_MAX) atRisk.push({ regionId: id, reason });
      }
    }
    const reason = this.#reason(storeId, leadersLeft, atRisk[0], atRiskCount);
    return { isReady: leadersLeft === 0 && atRiskCount === 0, leadersLeft, atRisk, atRiskCount, reason };
  }

  #reason(
    storeId: number,
    leadersLeft: number,
    first: RegionAtRisk | undefined,
    atRiskCount: number,
  ): string {
    if (first !== undefined) {
      return (
        `stopping store ${storeId} would cost ${atRiskCount} regions their quorum, as region ${first.regionId}: ` +
        first.reason
      );
    }
    return leadersLeft > 0
      ? `${leadersLeft} leaders are still on store ${storeId}`
      : `store ${storeId} leads nothing, and no region depends on it`;
  }

  /** Why the region could not go on without the store. */
  #quorumProblem(region: RegionInfo, storeId: number): string | undefined {
    const voters = region.meta.peers.filter(isVoter);
    const needed = Math.floor(voters.length / 2) + 1;
    const nowMs = this.#view.nowMs();
    const missing: string[] = [];
    let left = 0;
    for (const peer of voters) {
      if (peer.storeId === storeId) continue;
      const store = this.#view.store(peer.storeId);
      if (store === undefined || store.isDisconnected(nowMs)) missing.push(`store ${peer.storeId} is silent`);
      else if (isUnhealthy(region, peer.id)) missing.push(`the peer on store ${peer.storeId} is not well`);
      else left += 1;
    }
    if (left >= needed) return undefined;
    const others = missing.length === 0 ? "" : ` (${missing.join(", ")})`;
    return `of ${voters.length} voters ${left} would be left, and ${needed} are needed${others}`;
  }
}
