/**
 * Where the other stores are. PD's word counts; when PD does not answer soon, what it said before does, since stores
 * elect and replicate without PD. Followers send to each other only in an election, when PD may be gone together with
 * the leader: so addresses of all stores that share a region are asked for beforehand.
 */
import type { Env } from "../base/index.js";
import type { Region } from "../region/region.js";
import type { PdPort } from "./pd-port.js";

/** How long PD is waited for where an older answer serves. */
const PATIENCE_MS = 500;

export class StoreAddresses {
  readonly #env: Env;
  readonly #pd: PdPort;
  readonly #known = new Map<number, string>();
  readonly #wanted = new Set<number>();

  constructor(env: Env, pd: PdPort) {
    this.#env = env;
    this.#pd = pd;
  }

  resolve(id: number, callback: (address: string | undefined) => void): void {
    const known = this.#known.get(id);
    let isAnswered = false;
    const answer = (address: string | undefined): void => {
      if (isAnswered) return;
      isAnswered = true;
      callback(address);
    };
    const timer = known === undefined ? undefined : this.#env.timers.set(PATIENCE_MS, () => answer(known));
    this.#pd.getStore(id, (_error, store) => {
      if (timer !== undefined) this.#env.timers.clear(timer);
      if (store?.address != null) this.#known.set(id, store.address);
      answer(store?.address ?? known);
    });
  }

  /** Called whenever a region's peers become known or change: asks for those of its stores that are not known. */
  learn(region: Region, ownId: number): void {
    for (const { storeId: id } of region.peers) {
      if (id === ownId || this.#known.has(id) || this.#wanted.has(id)) continue;
      this.#wanted.add(id);
      this.#ask(id);
    }
  }

  /** Asks again for what PD has not answered. */
  retry(): void {
    for (const id of this.#wanted) this.#ask(id);
  }

  #ask(id: number): void {
    this.#pd.getStore(id, (_error, store) => {
      if (store?.address == null) return;
      this.#wanted.delete(id);
      this.#known.set(id, store.address);
    });
  }
}
