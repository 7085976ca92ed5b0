/** How regions and their ids are kept in little memory. */
import { describe, expect, test } from "vitest";
import { compareBytes, SeededRandom, randomBelow } from "../base/index.js";
import { changedMeta, CompactMeta, isKeyText, keyBytes, keyText } from "./compact-meta.js";
import { IdSet } from "./id-set.js";
import { RegionTable } from "./region-table.js";
import type { KeptRegion, RegionEntry } from "./region-tree.js";
import { Regions } from "./regions.js";
import { MockCluster } from "./test/mock-cluster.js";

const random = new SeededRandom(11);
const randomKey = (lengthMax: number): Uint8Array =>
  Uint8Array.from({ length: randomBelow(random, lengthMax) }, () => randomBelow(random, 256));

describe("keys as text", () => {
  test("come back as they were and sort as bytes do", () => {
    const keys = [...Array.from({ length: 300 }, () => randomKey(6)), randomKey(20_000)];
    for (const key of keys) {
      expect(compareBytes(keyBytes(keyText(key)), key)).toBe(0);
      expect(isKeyText(keyText(key), key)).toBe(true);
      expect(isKeyText(keyText(key), Uint8Array.of(...key.subarray(0, 3), 1, 2, 3))).toBe(false);
    }
    const byBytes = [...keys].sort(compareBytes).map(keyText);
    const byText = keys.map(keyText).sort((left, right) => (left < right ? -1 : left > right ? 1 : 0));
    expect(byText).toEqual(byBytes);
  });

  test("are those of the record, of which a changed copy keeps the rest", () => {
    const startKey = Uint8Array.of(0, 255);
    const given = { id: 7, startKey, endKey: Uint8Array.of(1), epoch: { confVer: 2, version: 3 }, peers: [] };
    const meta = CompactMeta.of(given);
    expect(CompactMeta.of(meta)).toBe(meta);
    const { id, epoch, endKey } = changedMeta(meta, { epoch: { confVer: 4, version: 3 } });
    expect([id, epoch, endKey]).toEqual([7, { confVer: 4, version: 3 }, Uint8Array.of(1)]);
    expect(meta.startKey).toEqual(startKey);
  });

  test("are the same object on both sides of a border, in whatever order the regions come", () => {
    const mock = new MockCluster();
    const regions = new Regions();
    const keys = ["", "b", "c", "d", ""];
    for (const i of [2, 0, 3, 1]) {
      regions.put(mock.region(i + 1, [1, 2, 3], { start: keys[i] as string, end: keys[i + 1] as string }));
    }
    const metas = [1, 2, 3, 4].map((id) => (regions.byId(id) as KeptRegion).meta);
    expect(metas.map(({ start, end }) => `${start}-${end}`)).toEqual(["-b", "b-c", "c-d", "d-"]);
  });
});

describe("a set of ids", () => {
  test("says what a Set says through thousands of changes", () => {
    const set = new IdSet();
    const model = new Set<number>();
    // Few ids, so that they come and go; some beyond 32 bits; neighbours that want the same slots.
    const idAt = (i: number): number => (i % 3 === 0 ? 2 ** 40 + i : i % 3 === 1 ? i : i * 128);
    for (let i = 0; i < 20_000; i++) {
      const id = idAt(randomBelow(random, i < 10_000 ? 2_000 : 40));
      if (randomBelow(random, i < 10_000 ? 3 : 2) === 0) {
        set.delete(id);
        model.delete(id);
      } else {
        set.add(id);
        model.add(id);
      }
      expect(set.has(id)).toBe(model.has(id));
      if (i % 500 === 0) expect(new Set(set)).toEqual(model);
    }
    for (let i = 0; i < 2_000; i++) expect(set.has(idAt(i))).toBe(model.has(idAt(i)));
    for (const id of [...model]) set.delete(id);
    for (let i = 0; i < 2_000; i++) expect(set.has(idAt(i))).toBe(false);
    expect([set.size, set.pick(random), set.values()]).toEqual([0, undefined, []]);
  });
});

describe("a table of regions", () => {
  test("says what a Map says through thousands of changes", () => {
    const mock = new MockCluster();
    const table = new RegionTable();
    const model = new Map<number, RegionEntry>();
    const entryOf = (id: number): RegionEntry => {
      const region = mock.region(id, [1, 2, 3]);
      return { region: { ...region, meta: CompactMeta.of(region.meta) } };
    };
    for (let i = 0; i < 4_000; i++) {
      const id = 1 + randomBelow(random, 300) * 64;
      if (randomBelow(random, 3) === 0) {
        table.delete(id);
        model.delete(id);
      } else {
        const entry = entryOf(id);
        table.put(entry);
        model.set(id, entry);
      }
      expect([table.size, table.get(id)]).toEqual([model.size, model.get(id)]);
    }
    expect(new Set(table.values())).toEqual(new Set(model.values()));
    for (const id of [...model.keys()]) table.delete(id);
    expect([table.size, table.get(64)]).toEqual([0, undefined]);
  });
});
