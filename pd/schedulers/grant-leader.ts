/** Brings leaders to chosen stores and keeps them there, whatever rules and balance say. (pd-rules 9.43) */
import { addStoreOf, loadStores, type StoreHolder, WHOLE_RANGE } from "../evict-leader.js";
import { OperatorBuilder } from "../operator-builder.js";
import { BaseScheduler, type SchedulerHost, settingsOk, type SettingsReply } from "../scheduler.js";
import type { StoreInfo } from "../store-info.js";

export const GRANT_LEADER = "grant-leader-scheduler";

export class GrantLeader extends BaseScheduler implements StoreHolder {
  readonly name = GRANT_LEADER;
  readonly #stores = new Map<number, StoreInfo>();

  constructor(host: SchedulerHost) {
    super(host, "leader");
  }

  get storeIds(): number[] {
    return [...this.#stores.keys()];
  }

  addStore(store: StoreInfo): boolean {
    if (this.#stores.has(store.id)) return false;
    this.#stores.set(store.id, store);
    store.leaderOutPauses += 1;
    return true;
  }

  removeStore(storeId: number): boolean {
    const store = this.#stores.get(storeId);
    if (store === undefined) return false;
    this.#stores.delete(storeId);
    store.leaderOutPauses = Math.max(0, store.leaderOutPauses - 1);
    return true;
  }

  override stop(): void {
    for (const id of this.storeIds) this.removeStore(id);
  }

  override settings(): Record<string, unknown> {
    return { "store-id-ranges": Object.fromEntries(this.storeIds.map((id) => [String(id), WHOLE_RANGE])) };
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    loadStores(this, stored, (id) => this.view.store(id));
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    const refused = addStoreOf(this, body, (id) => this.view.store(id));
    return refused ?? settingsOk("The scheduler has been applied to the store.");
  }

  run(): number {
    let started = 0;
    for (const storeId of this.storeIds) {
      const region = this.pickOn(
        storeId,
        "follower",
        (other) => this.isWell(other) && this.hasVoterOn(other, storeId),
      );
      if (region === undefined) continue;
      const builder = new OperatorBuilder(this.view, this.name, region, { forceLeader: true });
      const built = builder.setLeader(storeId).build(["leader"], "high");
      const refused = built.kind === "built" ? this.submit(built.operator) : built.reason;
      if (refused === undefined) started += 1;
      else this.host.notes.note("region", region.meta.id, this.name, refused);
    }
    return started;
  }
}
