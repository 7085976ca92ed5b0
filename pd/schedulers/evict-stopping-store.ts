/** Takes the leaders of the one store that says it stops, so that its restart is not noticed. (pd-rules 9.42) */
import { LeaderEvictor } from "../evict-leader.js";

export const EVICT_STOPPING_STORE = "evict-stopping-store-scheduler";

export class EvictStoppingStore extends LeaderEvictor {
  readonly name = EVICT_STOPPING_STORE;
  #evicted: number | undefined;

  override settings(): Record<string, unknown> {
    return { "evict-stores": this.#evicted === undefined ? [] : [this.#evicted], batch: this.batch };
  }

  override stop(): void {
    this.#recover();
  }

  run(): number {
    const stopping = this.view.stores().filter((store) => store.isUp && store.isStopping);
    const held = stopping.find((store) => store.id === this.#evicted);
    const [only] = stopping;
    const store = held ?? (stopping.length === 1 ? only : undefined);
    if (store === undefined) {
      this.#recover();
      return 0;
    }
    if (this.#evicted !== store.id) {
      this.#recover();
      this.#evicted = store.id;
      store.isEvictedAsStopping = true;
      this.note(store.id, "it stops: its leaders are taken away");
    }
    return this.evictFrom([store.id]);
  }

  #recover(): void {
    const id = this.#evicted;
    if (id === undefined) return;
    this.#evicted = undefined;
    const store = this.view.store(id);
    if (store !== undefined) store.isEvictedAsStopping = false;
    this.host.notes.clear("store", id, this.name);
  }
}
