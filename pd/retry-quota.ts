/** How often a scheduler tries each store in a round: less where it found nothing before. (pd-rules 9.12) */
const MOST = 10;

export class RetryQuota {
  readonly #left = new Map<number, number>();

  of(storeId: number): number {
    return this.#left.get(storeId) ?? MOST;
  }

  failed(storeId: number): void {
    this.#left.set(storeId, Math.max(1, Math.floor(this.of(storeId) / 2)));
  }

  succeeded(storeId: number): void {
    this.#left.delete(storeId);
  }

  keepOnly(storeIds: ReadonlySet<number>): void {
    for (const id of this.#left.keys()) if (!storeIds.has(id)) this.#left.delete(id);
  }
}
