/**
 * What the conformance cases are written with: text for bytes, promises for callbacks, and a comparison that
 * says what differs. Independent of any test runner.
 */
import {
  assert,
  type Engine,
  type EngineSnapshot,
  type KeySpace,
  RaftwerkError,
  type ScanOptions,
  type ScanResult,
} from "../base/index.js";

/** Where a case gets its engines from. Every `open` starts empty. */
export interface ConformanceTarget {
  readonly name: string;
  readonly open: () => Promise<Engine>;
  /** Opens again what `closed` held; absent where nothing outlives a close. */
  readonly reopen?: (closed: Engine) => Promise<Engine>;
}

/** A sentence of the contract and the code that tries it. */
export interface ContractCase {
  readonly title: string;
  readonly body: (engine: Engine, target: ConformanceTarget) => Promise<void> | void;
  /** Left out for engines that keep nothing. */
  readonly needsReopen?: boolean;
}

export type Reader = Pick<EngineSnapshot, "get" | "scan">;

const encoder = new TextEncoder();

/** One byte per character, so that `"\xff"` is the byte 0xff. */
export const bytesOf = (text: string): Uint8Array =>
  Uint8Array.from(text, (character) => character.charCodeAt(0));

export const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

export const utf8Of = (text: string): Uint8Array => encoder.encode(text);

export function same(actual: unknown, expected: unknown, what: string): void {
  const left = JSON.stringify(actual) ?? "undefined";
  const right = JSON.stringify(expected) ?? "undefined";
  assert(left === right, () => `${what}: expected ${right.slice(0, 500)}, got ${left.slice(0, 500)}`);
}

/** `[space, key, value]` puts, `[space, key]` deletes. */
export type TextOperation = readonly [KeySpace, string, string] | readonly [KeySpace, string];

export function batchOf(engine: Engine, operations: readonly TextOperation[]): ReturnType<Engine["batch"]> {
  const batch = engine.batch();
  for (const [space, key, value] of operations) {
    if (value === undefined) batch.delete(space, bytesOf(key));
    else batch.put(space, bytesOf(key), bytesOf(value));
  }
  return batch;
}

export function write(engine: Engine, operations: readonly TextOperation[], sync = false): Promise<void> {
  return new Promise((resolve, reject) => {
    engine.write(batchOf(engine, operations), { sync }, (error) =>
      error === undefined ? resolve() : reject(error),
    );
  });
}

export function deleteRange(engine: Engine, space: KeySpace, start: string, end: string): Promise<void> {
  return new Promise((resolve, reject) => {
    engine.deleteRange(space, bytesOf(start), bytesOf(end), (error) =>
      error === undefined ? resolve() : reject(error),
    );
  });
}

export const close = (engine: Engine): Promise<void> =>
  new Promise((resolve, reject) => {
    engine.close((error) => (error === undefined ? resolve() : reject(error)));
  });

export function get(reader: Reader, space: KeySpace, key: string): string | undefined {
  const value = reader.get(space, bytesOf(key));
  return value === undefined ? undefined : textOf(value);
}

export const scanRaw = (reader: Reader, space: KeySpace, options: ScanOptions): Promise<ScanResult> =>
  new Promise((resolve, reject) => {
    reader.scan(space, options, (error, result) => (error === undefined ? resolve(result) : reject(error)));
  });

export interface TextRange extends Partial<Omit<ScanOptions, "start" | "end">> {
  readonly start?: string;
  readonly end?: string;
}

export interface TextScan {
  readonly rows: string[];
  readonly finished: boolean;
}

/** Rows as `key=value`. The whole key space unless told otherwise. */
export async function scan(reader: Reader, space: KeySpace, range: TextRange = {}): Promise<TextScan> {
  const { start = "", end, limit = 1_000_000, ...rest } = range;
  const options = {
    ...rest,
    limit,
    start: bytesOf(start),
    end: end === undefined ? undefined : bytesOf(end),
  };
  const { rows, finished } = await scanRaw(reader, space, options);
  return { rows: rows.map(({ key, value }) => `${textOf(key)}=${textOf(value)}`), finished };
}

export function throwsClosed(what: string, call: () => unknown): void {
  try {
    call();
  } catch (error) {
    const isClosed = error instanceof RaftwerkError && error.code === "engineClosed";
    assert(isClosed, () => `${what} after close threw ${String(error)}, not engineClosed`);
    return;
  }
  assert(false, `${what} after close did not throw`);
}
