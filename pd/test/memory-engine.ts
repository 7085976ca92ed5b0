/**
 * The smallest engine that PD's tests need: sorted rows, synced writes that finish in a later turn, and failures at a
 * chosen write. A crash is modelled by taking `rows` over into a new engine.
 */
import type { Engine, EngineBatch, KeySpace, ScanOptions } from "../../base/index.js";
import { compareBytes, type Env, fromHex, toHex } from "../../base/index.js";

type Operation = { readonly key: string; readonly value: Uint8Array | undefined };

export class MemoryEngine implements Engine {
  readonly kind = "memory";
  readonly rows: Map<string, Uint8Array>;
  readonly #env: Env;
  /** Counts writes; the test may look. */
  writes = 0;
  /** The write with this number (from 1) fails; with `applied` its rows are nevertheless there. */
  failAt: { readonly write: number; readonly applied: boolean } | undefined;

  constructor(env: Env, rows: Map<string, Uint8Array> = new Map()) {
    this.#env = env;
    this.rows = rows;
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    return this.rows.get(`${space}/${toHex(key)}`)?.slice();
  }

  multiGet(space: KeySpace, keys: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    return keys.map((key) => this.get(space, key));
  }

  scan(space: KeySpace, options: ScanOptions, callback: Parameters<Engine["scan"]>[2]): void {
    const prefix = `${space}/`;
    const all = [...this.rows]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => ({
        key: fromHex(name.slice(prefix.length)) as Uint8Array,
        value: value.slice(),
      }))
      .filter(
        ({ key }) =>
          compareBytes(key, options.start) >= 0 &&
          (options.end === undefined || compareBytes(key, options.end) < 0),
      )
      .sort((left, right) => compareBytes(left.key, right.key));
    if (options.reverse === true) all.reverse();
    const rows = all.slice(0, options.limit);
    callback(undefined, { rows, finished: rows.length === all.length });
  }

  batch(): EngineBatch & { readonly operations: Operation[] } {
    const operations: Operation[] = [];
    return {
      operations,
      put: (space, key, value) =>
        void operations.push({ key: `${space}/${toHex(key)}`, value: value.slice() }),
      delete: (space, key) => void operations.push({ key: `${space}/${toHex(key)}`, value: undefined }),
      get count() {
        return operations.length;
      },
      bytes: 0,
    };
  }

  write(batch: EngineBatch, _options: { sync: boolean }, callback: (error: Error | undefined) => void): void {
    this.writes += 1;
    const fails = this.failAt !== undefined && this.writes >= this.failAt.write;
    const { operations } = batch as ReturnType<MemoryEngine["batch"]>;
    this.#env.timers.nextTurn(() => {
      const applied = !fails || (this.failAt?.applied === true && this.writes === this.failAt.write);
      if (applied) {
        for (const { key, value } of operations) {
          if (value === undefined) this.rows.delete(key);
          else this.rows.set(key, value);
        }
      }
      callback(fails ? new Error("disk failed") : undefined);
    });
  }

  snapshot(): never {
    throw new Error("not needed here");
  }

  deleteRange(): never {
    throw new Error("not needed here");
  }

  approximateBytes(): undefined {
    return undefined;
  }

  property(): undefined {
    return undefined;
  }

  close(callback: (error: Error | undefined) => void): void {
    callback(undefined);
  }
}
