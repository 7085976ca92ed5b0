/**
 * Deletes values whose time is over. Reads hide them at once; this gives their space back later. Each round walks the
 * regions that are led here, a small page at a time with pauses between, so that it never shows in the latency of
 * clients. A delete is proposed like any write, as "delete it if it has expired": all replicas stay equal, and a value
 * that was written anew meanwhile stays.
 */
import { type Engine, type Env, nextKey, type Row } from "../base/index.js";
import { dataEndKey, dataKey, userKey } from "../region/keys.js";
import type { Peer } from "../region/peer.js";
import { expiryOf } from "../region/raw-value.js";

const PAGE_ROWS = 256;
const PAGE_BYTES = 256 << 10;
const PAUSE_MS = 20;
const NO_TRAILER = new Uint8Array(0);

export class TtlReclaimer {
  readonly #env: Env;
  readonly #engine: Engine;
  readonly #peers: () => Iterable<Peer>;
  #isRunning = false;
  reclaimed = 0;

  constructor(env: Env, engine: Engine, peers: () => Iterable<Peer>) {
    this.#env = env;
    this.#engine = engine;
    this.#peers = peers;
  }

  /** Begins a round, unless one is under way. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const leaders = [...this.#peers()].filter((peer) => peer.isLeader);
    const next = (at: number): void => {
      const peer = leaders[at];
      if (peer === undefined) this.#isRunning = false;
      else this.#walk(peer, dataKey(peer.region.startKey), () => next(at + 1));
    };
    next(0);
  }

  #walk(peer: Peer, start: Uint8Array, done: () => void): void {
    const later = (run: () => void): void => void this.#env.timers.set(PAUSE_MS, run);
    if (peer.isRemoved || !peer.isLeader) return later(done);
    const end = dataEndKey(peer.region.endKey);
    const options = { start, end, limit: PAGE_ROWS, bytesMax: PAGE_BYTES };
    this.#engine.scan("default", options, (error, result) => {
      if (error !== undefined) return later(done);
      this.#reclaim(peer, result.rows);
      const last = result.rows[result.rows.length - 1];
      if (result.finished || last === undefined) return later(done);
      later(() => this.#walk(peer, nextKey(last.key), done));
    });
  }

  #reclaim(peer: Peer, rows: readonly Row[]): void {
    const nowSeconds = Math.floor(this.#env.clock.wallMs() / 1000);
    for (const { key, value } of rows) {
      if (value.length === 0) continue;
      const expiry = expiryOf(value);
      if (expiry === 0 || expiry > nowSeconds) continue;
      const user = userKey(key);
      peer.write({
        epoch: peer.region.epoch,
        bytes: user.length + 64,
        isSwap: true,
        // Nothing expected: true of what is expired, at this time, wherever the entry is applied.
        fill: (encoder) => encoder.compareAndSwap(user, undefined, undefined, NO_TRAILER, nowSeconds),
        done: (refusal) => {
          if (refusal === undefined) this.reclaimed++;
        },
      });
    }
  }
}
