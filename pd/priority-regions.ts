/**
 * Regions with fewer replicas than their rules want, those that lack most first: they are looked at before others,
 * the more often in vain the less often. (pd-rules 8.7)
 */

interface Entry {
  readonly lack: number;
  attempts: number;
  lookedMs: number;
}

const REGIONS_MAX = 1_280;
const INTERVALS_PER_ATTEMPT = 10;

export class PriorityRegions {
  /** By what they lack; each oldest first. `#lackOf` has the same regions. */
  readonly #byLack = new Map<number, Map<number, Entry>>();
  readonly #lackOf = new Map<number, number>();

  get size(): number {
    return this.#lackOf.size;
  }

  /** After each look at a region. `wasInVain`: it may be long until another look helps. */
  observe(regionId: number, lack: number, nowMs: number, wasInVain = true): void {
    if (lack <= 0) return this.forget(regionId);
    const known = this.#entry(regionId);
    if (known?.lack === lack) {
      known.attempts = wasInVain ? known.attempts + 1 : 0;
      known.lookedMs = nowMs;
      return;
    }
    this.forget(regionId);
    if (this.size >= REGIONS_MAX && !this.#makeRoom(lack)) return;
    let entries = this.#byLack.get(lack);
    if (entries === undefined) {
      entries = new Map();
      this.#byLack.set(lack, entries);
    }
    entries.set(regionId, { lack, attempts: wasInVain ? 1 : 0, lookedMs: nowMs });
    this.#lackOf.set(regionId, lack);
  }

  forget(regionId: number): void {
    if (this.#lackOf.size === 0) return;
    const lack = this.#lackOf.get(regionId);
    if (lack === undefined) return;
    this.#lackOf.delete(regionId);
    const entries = this.#byLack.get(lack);
    entries?.delete(regionId);
    if (entries?.size === 0) this.#byLack.delete(lack);
  }

  /** Those whose time has come. */
  due(nowMs: number, intervalMs: number): number[] {
    const ids: number[] = [];
    for (const lack of [...this.#byLack.keys()].sort((left, right) => right - left)) {
      for (const [id, { attempts, lookedMs }] of this.#byLack.get(lack) as Map<number, Entry>)
        if (nowMs - lookedMs >= attempts * INTERVALS_PER_ATTEMPT * intervalMs) ids.push(id);
    }
    return ids;
  }

  #entry(regionId: number): Entry | undefined {
    const lack = this.#lackOf.get(regionId);
    return lack === undefined ? undefined : this.#byLack.get(lack)?.get(regionId);
  }

  /** The youngest of those that lack least goes, if it lacks less than the new one. */
  #makeRoom(lack: number): boolean {
    const least = Math.min(...this.#byLack.keys());
    if (least >= lack) return false;
    const youngest = [...(this.#byLack.get(least) as Map<number, Entry>).keys()].at(-1);
    if (youngest !== undefined) this.forget(youngest);
    return true;
  }
}
