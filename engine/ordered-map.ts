/**
 * An ordered map of byte keys: leaves of up to `LEAF_MAX` rows in key order. A frozen copy shares the leaves;
 * a leaf that is shared is copied before it is changed, so that a snapshot costs one array of leaf
 * references. Invariant: leaves are non-empty and each leaf's last key is below the next leaf's first.
 */
import { compareBytes } from "../base/index.js";

interface Leaf {
  keys: Uint8Array[];
  values: Uint8Array[];
  /** Maps with an older version must not see a change of this leaf. */
  version: number;
}

const LEAF_MAX = 256;

export class OrderedMap {
  #leaves: Leaf[];
  #version: number;

  constructor(leaves: Leaf[] = [], version = 1) {
    this.#leaves = leaves;
    this.#version = version;
  }

  /** A view that later changes of this map do not touch. */
  freeze(): OrderedMap {
    const frozen = new OrderedMap(this.#leaves.slice(), this.#version);
    this.#version++;
    return frozen;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const leaf = this.#leaves[this.#leafAt(key)];
    if (leaf === undefined) return undefined;
    const at = lowerBound(leaf.keys, key);
    const found = leaf.keys[at];
    return found !== undefined && compareBytes(found, key) === 0 ? leaf.values[at] : undefined;
  }

  set(key: Uint8Array, value: Uint8Array): void {
    if (this.#leaves.length === 0) {
      this.#leaves.push({ keys: [key], values: [value], version: this.#version });
      return;
    }
    const position = Math.max(this.#leafAt(key), 0);
    const leaf = this.#writable(position);
    const at = lowerBound(leaf.keys, key);
    const found = leaf.keys[at];
    if (found !== undefined && compareBytes(found, key) === 0) {
      leaf.values[at] = value;
      return;
    }
    leaf.keys.splice(at, 0, key);
    leaf.values.splice(at, 0, value);
    if (leaf.keys.length <= LEAF_MAX) return;
    const half = leaf.keys.length >>> 1;
    const right: Leaf = {
      keys: leaf.keys.splice(half),
      values: leaf.values.splice(half),
      version: this.#version,
    };
    this.#leaves.splice(position + 1, 0, right);
  }

  delete(key: Uint8Array): void {
    const position = this.#leafAt(key);
    const leaf = this.#leaves[position];
    if (leaf === undefined) return;
    const at = lowerBound(leaf.keys, key);
    const found = leaf.keys[at];
    if (found === undefined || compareBytes(found, key) !== 0) return;
    const writable = this.#writable(position);
    writable.keys.splice(at, 1);
    writable.values.splice(at, 1);
    if (writable.keys.length === 0) this.#leaves.splice(position, 1);
  }

  deleteRange(start: Uint8Array, end: Uint8Array): void {
    if (compareBytes(start, end) >= 0) return;
    const kept: Leaf[] = [];
    for (const leaf of this.#leaves) {
      const from = lowerBound(leaf.keys, start);
      const to = lowerBound(leaf.keys, end);
      if (from >= to) {
        kept.push(leaf);
      } else if (to - from < leaf.keys.length) {
        kept.push({
          keys: [...leaf.keys.slice(0, from), ...leaf.keys.slice(to)],
          values: [...leaf.values.slice(0, from), ...leaf.values.slice(to)],
          version: this.#version,
        });
      }
    }
    this.#leaves = kept;
  }

  /** Calls `visit` in order until it returns false; returns false when it was stopped. */
  forEach(
    start: Uint8Array,
    end: Uint8Array | undefined,
    reverse: boolean,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): boolean {
    return reverse ? this.#backward(start, end, visit) : this.#forward(start, end, visit);
  }

  #forward(
    start: Uint8Array,
    end: Uint8Array | undefined,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): boolean {
    for (let position = Math.max(this.#leafAt(start), 0); position < this.#leaves.length; position++) {
      const leaf = this.#leaves[position] as Leaf;
      for (let at = lowerBound(leaf.keys, start); at < leaf.keys.length; at++) {
        const key = leaf.keys[at] as Uint8Array;
        if (end !== undefined && compareBytes(key, end) >= 0) return true;
        if (!visit(key, leaf.values[at] as Uint8Array)) return false;
      }
    }
    return true;
  }

  #backward(
    start: Uint8Array,
    end: Uint8Array | undefined,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): boolean {
    const from = end === undefined ? this.#leaves.length - 1 : this.#leafAt(end);
    for (let position = from; position >= 0; position--) {
      const leaf = this.#leaves[position] as Leaf;
      const top = end === undefined ? leaf.keys.length : lowerBound(leaf.keys, end);
      for (let at = top - 1; at >= 0; at--) {
        const key = leaf.keys[at] as Uint8Array;
        if (compareBytes(key, start) < 0) return true;
        if (!visit(key, leaf.values[at] as Uint8Array)) return false;
      }
    }
    return true;
  }

  /** The last leaf whose first key is <= `key`; -1 when there is none. */
  #leafAt(key: Uint8Array): number {
    let low = 0;
    let high = this.#leaves.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes((this.#leaves[middle] as Leaf).keys[0] as Uint8Array, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #writable(position: number): Leaf {
    const leaf = this.#leaves[position] as Leaf;
    if (leaf.version === this.#version) return leaf;
    const copy: Leaf = { keys: leaf.keys.slice(), values: leaf.values.slice(), version: this.#version };
    this.#leaves[position] = copy;
    return copy;
  }
}

function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle] as Uint8Array, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
