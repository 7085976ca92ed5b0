/**
 * Conformance: closing, opening again, properties, and a comparison with a plain map over random operations.
 */
import {
  assert,
  DATA_KEY_SPACES,
  type Engine,
  KEY_SPACES,
  type KeySpace,
  randomBelow,
  SeededRandom,
} from "../base/index.js";
import {
  batchOf,
  bytesOf,
  close,
  type ContractCase,
  deleteRange,
  get,
  same,
  scan,
  type TextOperation,
  throwsClosed,
  write,
} from "./conformance-tools.js";

type Model = Map<string, string>;

/** Few different keys, so that operations meet. */
const randomKey = (random: SeededRandom): string => `k${randomBelow(random, 60)}`;

async function changeBoth(engine: Engine, model: Model, random: SeededRandom): Promise<void> {
  if (randomBelow(random, 8) === 0) {
    const [start, end] = [randomKey(random), randomKey(random)].toSorted() as [string, string];
    const space = DATA_KEY_SPACES[randomBelow(random, 3)] as KeySpace;
    for (const name of [...model.keys()]) {
      const [inSpace, key] = name.split("/") as [string, string];
      if (inSpace === space && key >= start && key < end) model.delete(name);
    }
    await deleteRange(engine, space, start, end);
    return;
  }
  const operations: TextOperation[] = [];
  for (let count = randomBelow(random, 6); count >= 0; count--) {
    const space = DATA_KEY_SPACES[randomBelow(random, 3)] as KeySpace;
    const key = randomKey(random);
    const value = String(randomBelow(random, 1_000));
    if (randomBelow(random, 3) === 0) {
      operations.push([space, key]);
      model.delete(`${space}/${key}`);
    } else {
      operations.push([space, key, value]);
      model.set(`${space}/${key}`, value);
    }
  }
  await write(engine, operations, randomBelow(random, 20) === 0);
}

async function compareBoth(engine: Engine, model: Model, random: SeededRandom): Promise<void> {
  const [start, end] = [randomKey(random), randomKey(random)].toSorted() as [string, string];
  const space = DATA_KEY_SPACES[randomBelow(random, 3)] as KeySpace;
  const reverse = randomBelow(random, 2) === 0;
  const limit = 1 + randomBelow(random, 20);
  const expected = [...model]
    .filter(([name]) => name.startsWith(`${space}/`))
    .map(([name, value]) => [name.slice(space.length + 1), value] as const)
    .filter(([key]) => key >= start && key < end)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  if (reverse) expected.reverse();
  const result = await scan(engine, space, { start, end, limit, reverse });
  same(result, { rows: expected.slice(0, limit), finished: expected.length <= limit }, "the scan");
  const key = randomKey(random);
  same(get(engine, space, key), model.get(`${space}/${key}`), `key ${key}`);
}

export const LIFECYCLE_CASES: readonly ContractCase[] = [
  {
    title: "agrees with a plain map over random writes, range deletes and scans",
    async body(engine) {
      const random = new SeededRandom(2026);
      const model: Model = new Map();
      for (let step = 0; step < 600; step++) {
        await changeBoth(engine, model, random);
        await compareBoth(engine, model, random);
      }
    },
  },
  {
    title: "throws engineClosed from every call after close",
    async body(engine) {
      const key = bytesOf("k");
      const batch = batchOf(engine, [["default", "k", "1"]]);
      await close(engine);
      const range = { start: key, end: undefined, limit: 1 };
      const nothing = (): void => {};
      throwsClosed("get", () => engine.get("default", key));
      throwsClosed("multiGet", () => engine.multiGet("default", [key]));
      throwsClosed("scan", () => engine.scan("default", range, nothing));
      throwsClosed("batch", () => engine.batch());
      throwsClosed("write", () => engine.write(batch, { sync: true }, nothing));
      throwsClosed("snapshot", () => engine.snapshot());
      throwsClosed("deleteRange", () => engine.deleteRange("default", key, bytesOf("l"), nothing));
      throwsClosed("approximateBytes", () => engine.approximateBytes("default", key, bytesOf("l")));
      throwsClosed("property", () => engine.property("stats"));
    },
  },
  {
    title: "calls back for every write under way before it has closed",
    async body(engine) {
      const order: string[] = [];
      const done = [
        write(engine, [["default", "a", "1"]], true).then(() => order.push("write")),
        deleteRange(engine, "default", "x", "y").then(() => order.push("deleteRange")),
        write(engine, [["default", "b", "2"]]).then(() => order.push("second write")),
        close(engine).then(() => order.push("close")),
      ];
      await Promise.all(done);
      same(order, ["write", "deleteRange", "second write", "close"], "the order");
    },
  },
  {
    title: "closes while snapshots are open and scans are under way",
    async body(engine) {
      await write(engine, [["default", "a", "1"]]);
      engine.snapshot();
      const snapshot = engine.snapshot();
      const scanned = scan(engine, "default");
      const viewed = scan(snapshot, "default", { reverse: true });
      await close(engine);
      same((await scanned).rows, ["a=1"], "the scan under way");
      same((await viewed).rows, ["a=1"], "the snapshot's scan under way");
      // A reader that is late must not bring the process down.
      snapshot.close();
    },
  },
  {
    title: "keeps everything over a close",
    needsReopen: true,
    async body(engine, target) {
      const values = KEY_SPACES.map((space) => [space, "k", `value of ${space}`] as const);
      await write(engine, values, true);
      await write(engine, [
        ["default", "unsynced", "1"],
        ["default", "range", "1"],
      ]);
      await deleteRange(engine, "default", "range", "ranges");
      await close(engine);
      const again = (await target.reopen?.(engine)) as Engine;
      try {
        for (const [space, key, value] of values) same(get(again, space, key), value, `key space ${space}`);
        same(get(again, "default", "unsynced"), "1", "a write without sync");
        same(get(again, "default", "range"), undefined, "a key of a deleted range");
        await write(again, [["default", "k", "new"]]);
        same(get(again, "default", "k"), "new", "a value written after opening");
      } finally {
        await close(again);
      }
    },
  },
  {
    title: "answers for figures that it does not have with undefined",
    async body(engine) {
      same(engine.property("no such property"), undefined, "an unknown property");
      await write(engine, [["default", "k", "x".repeat(10_000)]]);
      const estimate = engine.approximateBytes("default", bytesOf("a"), bytesOf("z"));
      assert(estimate === undefined || estimate >= 0, () => `an estimate of ${estimate} bytes`);
      assert(engine.kind.length > 0, "an engine has a kind");
    },
  },
];
