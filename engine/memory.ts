/**
 * The engine without a disk: for tests, embedding and the simulator. Synchronous and portable; every contract
 * sentence of `base/engine.ts` holds but durability.
 */
import {
  assert,
  type Engine,
  type EngineBatch,
  type EngineCallback,
  type EngineSnapshot,
  KEY_SPACES,
  type KeySpace,
  RaftwerkError,
  type Row,
  type ScanOptions,
  type ScanResult,
} from "../base/index.js";
import { OrderedMap } from "./ordered-map.js";

/** Of one key. */
export interface MemoryOperation {
  readonly space: KeySpace;
  readonly key: Uint8Array;
  /** Undefined: the key is deleted. */
  readonly value: Uint8Array | undefined;
}

export class MemoryBatch implements EngineBatch {
  readonly operations: MemoryOperation[] = [];
  bytes = 0;

  get count(): number {
    return this.operations.length;
  }

  put(space: KeySpace, key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0, "a key must not be empty");
    this.operations.push({ space, key: new Uint8Array(key), value: new Uint8Array(value) });
    this.bytes += key.length + value.length;
  }

  delete(space: KeySpace, key: Uint8Array): void {
    assert(key.length > 0, "a key must not be empty");
    this.operations.push({ space, key: new Uint8Array(key), value: undefined });
    this.bytes += key.length;
  }
}

type Spaces = Readonly<Record<KeySpace, OrderedMap>>;

function scan(spaces: Spaces, space: KeySpace, options: ScanOptions): ScanResult {
  const { start, end, limit, bytesMax = Number.POSITIVE_INFINITY } = options;
  assert(limit >= 1, "a scan asks for at least one row");
  const rows: Row[] = [];
  let bytes = 0;
  const finished = spaces[space].forEach(start, end, options.reverse ?? false, (key, value) => {
    if (rows.length >= limit || bytes >= bytesMax) return false;
    const row = { key: key.slice(), value: options.keysOnly ? new Uint8Array(0) : value.slice() };
    rows.push(row);
    bytes += row.key.length + row.value.length;
    return true;
  });
  return { rows, finished };
}

export class MemoryEngine implements Engine {
  readonly kind = "memory";
  readonly #spaces: Spaces;
  #closed = false;

  constructor() {
    this.#spaces = Object.fromEntries(
      KEY_SPACES.map((space) => [space, new OrderedMap()]),
    ) as unknown as Spaces;
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    this.#checkOpen();
    return this.#spaces[space].get(key)?.slice();
  }

  multiGet(space: KeySpace, keys: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    this.#checkOpen();
    return keys.map((key) => this.#spaces[space].get(key)?.slice());
  }

  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void {
    this.#checkOpen();
    callback(undefined, scan(this.#spaces, space, options));
  }

  batch(): EngineBatch {
    this.#checkOpen();
    return new MemoryBatch();
  }

  write(
    batch: EngineBatch,
    _options: { readonly sync: boolean },
    callback: (error: Error | undefined) => void,
  ): void {
    this.#checkOpen();
    assert(batch instanceof MemoryBatch, "a batch of another engine");
    for (const { space, key, value } of batch.operations) {
      if (value === undefined) this.#spaces[space].delete(key);
      else this.#spaces[space].set(key, value);
    }
    callback(undefined);
  }

  /** Does the operations, whose bytes now belong to the engine, and returns those that would undo them, in order. */
  exchange(operations: readonly MemoryOperation[]): MemoryOperation[] {
    this.#checkOpen();
    const undo: MemoryOperation[] = [];
    for (const { space, key, value } of operations) {
      const rows = this.#spaces[space];
      undo.push({ space, key, value: rows.get(key) });
      if (value === undefined) rows.delete(key);
      else rows.set(key, value);
    }
    return undo.reverse();
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    const frozen = Object.fromEntries(
      KEY_SPACES.map((space) => [space, this.#spaces[space].freeze()]),
    ) as unknown as Spaces;
    return {
      get: (space, key) => frozen[space].get(key)?.slice(),
      scan: (space, options, callback) => callback(undefined, scan(frozen, space, options)),
      close() {},
    };
  }

  deleteRange(
    space: KeySpace,
    start: Uint8Array,
    end: Uint8Array,
    callback: (error: Error | undefined) => void,
  ): void {
    this.#checkOpen();
    this.#spaces[space].deleteRange(start, end);
    callback(undefined);
  }

  approximateBytes(space: KeySpace, start: Uint8Array, end: Uint8Array): number | undefined {
    this.#checkOpen();
    let bytes = 0;
    this.#spaces[space].forEach(start, end, false, (key, value) => {
      bytes += key.length + value.length;
      return true;
    });
    return bytes;
  }

  property(): string | undefined {
    this.#checkOpen();
    return undefined;
  }

  close(callback: (error: Error | undefined) => void): void {
    this.#closed = true;
    callback(undefined);
  }

  #checkOpen(): void {
    if (this.#closed) throw new RaftwerkError("engineClosed", "the engine is closed", { retry: "never" });
  }
}
