/**
 * Empties stores of leaders, before a restart or because they serve badly: no leader comes in any more, and those
 * there leave in batches, regions that are healthy first. (pd-rules 9.40)
 */
import type { Operator } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { isUnhealthy, type RegionInfo } from "./region-info.js";
import {
  BaseScheduler,
  type SchedulerHost,
  settingsOk,
  settingsRefused,
  type SettingsReply,
} from "./scheduler.js";
import type { StoreInfo } from "./store-info.js";

export const EVICT_LEADER = "evict-leader-scheduler";
export const EVICT_BATCH = 3;
const BATCH_MAX = 100;
export const BAD_BATCH = "batch must be an integer in [1, 100]";

export const isEvictBatch = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= BATCH_MAX;

/** What all schedulers share that take leaders away from a store. */
export abstract class LeaderEvictor extends BaseScheduler {
  protected override readonly ignoresDeny: boolean = true;
  batch = EVICT_BATCH;

  constructor(host: SchedulerHost) {
    super(host, "leader");
  }

  /** Starts transfers: one of each store in turn, so that all of them empty together, as often as the batch says. */
  protected evictFrom(storeIds: readonly number[]): number {
    const leaving = storeIds.map((id) => this.#evictEach(id));
    let started = 0;
    for (let round = 0; round < this.batch && started <= this.batch; round++) {
      const before = started;
      for (const transfers of leaving) if (transfers.next().done !== true) started += 1;
      if (started === before) break;
    }
    return started;
  }

  /** Starts one transfer with each step; regions that are well first. */
  *#evictEach(storeId: number): Generator<undefined> {
    const { controller, notes } = this.host;
    const { regions } = this.view.cluster;
    for (const healthy of [true, false]) {
      for (const id of regions.onStore(storeId).leaders.values()) {
        const region = regions.byId(id);
        if (region === undefined || controller.operator(id)?.priority === "urgent") continue;
        const isHealthy = region.pendingPeers.length === 0 && region.downPeers.length === 0;
        if (isHealthy !== healthy) continue;
        const operator = this.#plan(region, storeId);
        const refused = typeof operator === "string" ? operator : this.submit(operator);
        if (refused !== undefined) notes.note("region", id, this.name, refused);
        else {
          notes.clear("region", id, this.name);
          yield undefined;
        }
      }
    }
  }

  /** Names every store that may lead, so that the leader's store may choose who has caught up most. */
  #plan(region: RegionInfo, from: number): Operator | string {
    const { view } = this;
    const mayLead = view.leaderSafeguard(region);
    const candidates: number[] = [];
    for (const peer of region.meta.peers) {
      if (peer.storeId === from || peer.role !== "voter" || isUnhealthy(region, peer.id)) continue;
      const store = view.store(peer.storeId);
      if (store === undefined || view.leaderTargetProblem(store) !== undefined) continue;
      if (mayLead(store)) candidates.push(peer.storeId);
    }
    const target = candidates.reduce(
      (best, id) => (best === 0 || view.leaderCount(id) < view.leaderCount(best) ? id : best),
      0,
    );
    if (target === 0) return `no other store may lead instead of store ${from}`;
    const brief =
      `evict leader: from store ${from} to one in [${candidates.join(" ")}], ` +
      `or to ${target} (for compatibility)`;
    const built = new OperatorBuilder(view, this.name, region)
      .setLeader(target, candidates)
      .build(["leader"], "urgent", brief);
    return built.kind === "built" ? built.operator : built.reason;
  }
}

/** Stores that a scheduler holds a pause on, counted with those of others. (9.44) */
export interface StoreHolder {
  readonly storeIds: readonly number[];
  /** False when the store is held already. */
  addStore(store: StoreInfo): boolean;
  removeStore(storeId: number): boolean;
}

export const WHOLE_RANGE = [{ "start-key": "", "end-key": "" }];

export class EvictLeader extends LeaderEvictor implements StoreHolder {
  readonly name = EVICT_LEADER;
  readonly #stores = new Map<number, StoreInfo>();

  get storeIds(): number[] {
    return [...this.#stores.keys()];
  }

  addStore(store: StoreInfo): boolean {
    if (this.#stores.has(store.id)) return false;
    this.#stores.set(store.id, store);
    store.leaderInPauses += 1;
    return true;
  }

  removeStore(storeId: number): boolean {
    const store = this.#stores.get(storeId);
    if (store === undefined) return false;
    this.#stores.delete(storeId);
    store.leaderInPauses = Math.max(0, store.leaderInPauses - 1);
    this.host.notes.clear("store", storeId, this.name);
    return true;
  }

  override stop(): void {
    for (const id of this.storeIds) this.removeStore(id);
  }

  override settings(): Record<string, unknown> {
    return {
      "store-id-ranges": Object.fromEntries(this.storeIds.map((id) => [String(id), WHOLE_RANGE])),
      batch: this.batch,
    };
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    if (isEvictBatch(stored["batch"])) this.batch = stored["batch"];
    loadStores(this, stored, (id) => this.view.store(id));
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    const { batch } = body;
    if (batch !== undefined && !isEvictBatch(batch)) return settingsRefused(BAD_BATCH);
    const refused = addStoreOf(this, body, (id) => this.view.store(id));
    if (refused !== undefined) return refused;
    if (isEvictBatch(batch)) this.batch = batch;
    return settingsOk("The scheduler has been applied to the store.");
  }

  run(): number {
    return this.evictFrom(this.storeIds);
  }
}

export function loadStores(
  holder: StoreHolder,
  stored: Readonly<Record<string, unknown>>,
  lookup: (id: number) => StoreInfo | undefined,
): void {
  for (const id of Object.keys((stored["store-id-ranges"] ?? {}) as object)) {
    const store = lookup(Number(id));
    if (store !== undefined && !store.isRemoved) holder.addStore(store);
  }
}

/** The store of a body, if one is given; a refusal when it is unknown. */
export function addStoreOf(
  holder: StoreHolder,
  body: Readonly<Record<string, unknown>>,
  lookup: (id: number) => StoreInfo | undefined,
): SettingsReply | undefined {
  const { store_id: id } = body;
  if (id === undefined) return undefined;
  if (typeof id !== "number") return settingsRefused("please input a right store id");
  const store = lookup(id);
  if (store === undefined || store.isRemoved) {
    return settingsRefused(`[PD:core:ErrStoreNotFound]store ${id} not found`, 500);
  }
  holder.addStore(store);
  return undefined;
}
