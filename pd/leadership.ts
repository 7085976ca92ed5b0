/**
 * Who may decide. Everything in PD asks `isServing()` before it answers and adds `guard()` to what it writes, so that
 * a PD that lost its office can neither answer nor write. Today one PD stands alone: it takes the leader key at its
 * start, without a lease, and holds it until it stops. An election by lease needs another implementation only.
 * (pd-rules 1.4, 1.9, 1.12)
 */
import type { Env } from "../base/index.js";
import { RaftwerkError } from "../base/index.js";
import type { MetaKeys } from "./keys.js";
import type { MetaCompare, MetaStore } from "./meta-store.js";

export interface Leadership {
  /** Whether this PD is the leader now. Cheap: asked for every request, and again after a timestamp was taken. */
  isServing(): boolean;
  /** What must hold in every transaction of the leader: the leader key is still mine. */
  guard(): readonly MetaCompare[];
  /** Gives up at once: after a failed write nobody can say what is stored. */
  resign(reason: string): void;
}

export class SoleLeadership implements Leadership {
  readonly #env: Env;
  readonly #metaStore: MetaStore;
  readonly #keys: MetaKeys;
  /** The fencing token: the same bytes for the whole life of the process. */
  readonly #token: Uint8Array;
  readonly #onResigned: (reason: string) => void;
  #serving = false;

  constructor(
    env: Env,
    metaStore: MetaStore,
    keys: MetaKeys,
    token: Uint8Array,
    onResigned: (reason: string) => void,
  ) {
    this.#env = env;
    this.#metaStore = metaStore;
    this.#keys = keys;
    this.#token = token;
    this.#onResigned = onResigned;
  }

  /** Takes the key, whoever held it: with an embedded store there is no other PD, only an earlier life of this one. */
  campaign(callback: (error: Error | undefined) => void): void {
    this.#metaStore.put(this.#keys.leader, this.#token, (error) => {
      if (error === undefined) this.#serving = true;
      callback(error);
    });
  }

  isServing(): boolean {
    return this.#serving;
  }

  guard(): readonly MetaCompare[] {
    return [{ kind: "value", key: this.#keys.leader, equals: this.#token }];
  }

  resign(reason: string): void {
    if (!this.#serving) return;
    this.#serving = false;
    this.#env.log.error("PD stops serving", { reason });
    this.#onResigned(reason);
  }

  /** An orderly end: no message, no callback. */
  stop(): void {
    this.#serving = false;
  }
}

export const lostLeadership = (): RaftwerkError =>
  new RaftwerkError("pdUnavailable", "etcd transaction failed, conflicted and rolled back", {
    retry: "safe",
  });
