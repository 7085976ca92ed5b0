/** The layout of local keys, byte for byte, and that it sorts as ids and indexes do. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes, fromHex, toHex, utf8 } from "../base/index.js";
import {
  applyStateKey,
  dataEndKey,
  dataKey,
  displayKey,
  PREPARE_BOOTSTRAP_KEY,
  raftLogKey,
  raftStateKey,
  readU64,
  REGION_STATE_END,
  REGION_STATE_START,
  regionIdOfStateKey,
  regionStateKey,
  snapshotChunkKey,
  snapshotRange,
  snapshotRegionRange,
  STORE_IDENT_KEY,
  uninitializedVoteKey,
  userKey,
  writeU64,
} from "./keys.js";

const id = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1 });
const bytes = fc.uint8Array({ maxLength: 12 });

describe("local keys", () => {
  test("lie where TiKV's do", () => {
    expect(toHex(STORE_IDENT_KEY)).toBe("0101");
    expect(toHex(PREPARE_BOOTSTRAP_KEY)).toBe("0102");
    expect(toHex(raftLogKey(2, 6))).toBe("01020000000000000002010000000000000006");
    expect(toHex(raftStateKey(0x0102030405))).toBe("0102000000010203040502");
    expect(toHex(applyStateKey(2))).toBe("0102000000000000000203");
    expect(toHex(regionStateKey(2))).toBe("0103000000000000000201");
    expect(toHex(uninitializedVoteKey(2))).toBe("0102000000000000000205");
  });

  test("sort the log of a region by index, whatever the index", () => {
    fc.assert(
      fc.property(id, id, id, (region, left, right) => {
        const order = compareBytes(raftLogKey(region, left), raftLogKey(region, right));
        expect(Math.sign(order)).toBe(Math.sign(left - right));
      }),
    );
  });

  test("never mix two regions: all keys of a region stand together", () => {
    fc.assert(
      fc.property(id, id, (region, index) => {
        const next = raftLogKey(region + 1, 0);
        for (const key of [raftLogKey(region, index), raftStateKey(region), applyStateKey(region)]) {
          expect(compareBytes(key, next)).toBeLessThan(0);
          expect(compareBytes(key, raftLogKey(region, 0))).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  test("hold all region states and nothing else between the bounds of a store's scan", () => {
    for (const region of [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const key = regionStateKey(region);
      expect(compareBytes(key, REGION_STATE_START)).toBeGreaterThan(0);
      expect(compareBytes(key, REGION_STATE_END)).toBeLessThan(0);
      expect(regionIdOfStateKey(key)).toBe(region);
      expect(compareBytes(raftLogKey(region, 1), REGION_STATE_START)).toBeLessThan(0);
    }
    expect(compareBytes(PREPARE_BOOTSTRAP_KEY, REGION_STATE_START)).toBeLessThan(0);
  });

  test("keep snapshots of one region, term and index inside their bounds", () => {
    const [start, end] = snapshotRange(7, 8, 9);
    const [regionStart, regionEnd] = snapshotRegionRange(7);
    for (const sequence of [0, 1, 2 ** 40]) {
      const key = snapshotChunkKey(7, 8, 9, sequence);
      expect(compareBytes(key, start)).toBeGreaterThanOrEqual(0);
      expect(compareBytes(key, end)).toBeLessThan(0);
      expect(compareBytes(key, regionStart)).toBeGreaterThanOrEqual(0);
      expect(compareBytes(key, regionEnd)).toBeLessThan(0);
    }
    expect(compareBytes(snapshotChunkKey(7, 8, 10, 0), end)).toBeGreaterThanOrEqual(0);
    expect(compareBytes(snapshotChunkKey(8, 0, 0, 0), regionEnd)).toBeGreaterThanOrEqual(0);
  });
});

describe("data keys", () => {
  test("carry the prefix z; the empty end is above all data", () => {
    expect(toHex(dataKey(utf8("a")))).toBe("7a61");
    expect(toHex(dataEndKey(utf8("b")))).toBe("7a62");
    expect(toHex(dataEndKey(new Uint8Array(0)))).toBe("7b");
    expect(userKey(dataKey(utf8("abc")))).toEqual(utf8("abc"));
  });

  test("keep the order of user keys and stay below the end of all data", () => {
    fc.assert(
      fc.property(bytes, bytes, (left, right) => {
        expect(Math.sign(compareBytes(dataKey(left), dataKey(right)))).toBe(
          Math.sign(compareBytes(left, right)),
        );
        expect(compareBytes(dataKey(left), dataEndKey(new Uint8Array(0)))).toBeLessThan(0);
      }),
    );
  });
});

describe("64-bit integers", () => {
  test("come back as written, at any offset", () => {
    fc.assert(
      fc.property(id, fc.integer({ min: 0, max: 5 }), (value, offset) => {
        const target = new Uint8Array(16).fill(0xee);
        writeU64(target, offset, value);
        expect(readU64(target, offset)).toBe(value);
        expect(target[offset + 8]).toBe(0xee);
      }),
    );
  });

  test("beyond 2^53 on disk are refused, not rounded", () => {
    expect(() => readU64(fromHex("0020000000000001") as Uint8Array, 0)).toThrow("beyond 2^53");
  });

  test("are shown to people as TiKV shows keys", () => {
    expect(displayKey(Uint8Array.of(0x0a, 0xff))).toBe("0AFF");
  });
});
