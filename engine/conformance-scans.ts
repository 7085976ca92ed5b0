/** Conformance: scans and snapshots. Each case on scans runs over the engine and over a snapshot of it. */
import { assert, type Engine, type EngineSnapshot, KEY_SPACES } from "../base/index.js";
import {
  bytesOf,
  type ContractCase,
  deleteRange,
  get,
  type Reader,
  same,
  scan,
  scanRaw,
  type TextRange,
  write,
} from "./conformance-tools.js";

/** Neighbours in the other key spaces must never show, and keys of 0xff must not end a scan early. */
async function fill(engine: Engine): Promise<void> {
  const keys = ["a", "a\x00", "b", "b\xff", "c", "\xfe", "\xff", "\xff\xff"];
  await write(
    engine,
    KEY_SPACES.flatMap((space) => keys.map((key) => [space, key, `${space[0]}${key.length}`] as const)),
  );
}

const LOCK_ROWS = ["a=l1", "a\x00=l2", "b=l1", "b\xff=l2", "c=l1", "\xfe=l1", "\xff=l1", "\xff\xff=l2"];

type Expected = readonly [range: TextRange, rows: readonly string[], finished: boolean];

const SCANS: Readonly<Record<string, readonly Expected[]>> = {
  "scans from the lower bound, which is included, to the upper, which is not": [
    [{}, LOCK_ROWS, true],
    [{ start: "a\x00", end: "c" }, ["a\x00=l2", "b=l1", "b\xff=l2"], true],
    [{ start: "aa", end: "b\xff" }, ["b=l1"], true],
    [{ start: "\xff" }, ["\xff=l1", "\xff\xff=l2"], true],
    [{ end: "a" }, [], true],
    [{ start: "\xff\xff\xff" }, [], true],
  ],
  "scans backwards from the upper bound, which is not included, to the lower, which is": [
    [{ reverse: true }, LOCK_ROWS.toReversed(), true],
    [{ reverse: true, start: "a\x00", end: "c" }, ["b\xff=l2", "b=l1", "a\x00=l2"], true],
    [{ reverse: true, start: "aa", end: "b\xff" }, ["b=l1"], true],
    [{ reverse: true, start: "\xff" }, ["\xff\xff=l2", "\xff=l1"], true],
    [{ reverse: true, end: "bb" }, ["b=l1", "a\x00=l2", "a=l1"], true],
    [{ reverse: true, end: "a" }, [], true],
    [{ reverse: true, end: "\xff\xff\xff", limit: 1 }, ["\xff\xff=l2"], false],
  ],
  "finds nothing in an empty or reversed range": [
    [{ start: "b", end: "b" }, [], true],
    [{ start: "c", end: "a" }, [], true],
    [{ start: "b", end: "b", reverse: true }, [], true],
    [{ start: "c", end: "a", reverse: true }, [], true],
  ],
  "stops at the limit and says whether the range held more": [
    [{ limit: 1 }, ["a=l1"], false],
    [{ limit: 2, start: "b" }, ["b=l1", "b\xff=l2"], false],
    [{ limit: 8 }, LOCK_ROWS, true],
    [{ limit: 7 }, LOCK_ROWS.slice(0, 7), false],
    [{ limit: 2, end: "b" }, ["a=l1", "a\x00=l2"], true],
    [{ limit: 2, end: "b", reverse: true }, ["a\x00=l2", "a=l1"], true],
    [{ limit: 1, end: "b", reverse: true }, ["a\x00=l2"], false],
  ],
  // Rows are of 3 and 4 bytes by turns.
  "stops after the row that reaches the bytes, and returns at least one": [
    [{ bytesMax: 1 }, ["a=l1"], false],
    [{ bytesMax: 3 }, ["a=l1"], false],
    [{ bytesMax: 4 }, ["a=l1", "a\x00=l2"], false],
    [{ bytesMax: 7 }, ["a=l1", "a\x00=l2"], false],
    [{ bytesMax: 8 }, ["a=l1", "a\x00=l2", "b=l1"], false],
    [{ bytesMax: 8, limit: 2 }, ["a=l1", "a\x00=l2"], false],
    [{ bytesMax: 7, end: "b" }, ["a=l1", "a\x00=l2"], true],
    [{ bytesMax: 1_000 }, LOCK_ROWS, true],
    [{ bytesMax: 4, reverse: true }, ["\xff\xff=l2"], false],
    [{ bytesMax: 5, reverse: true }, ["\xff\xff=l2", "\xff=l1"], false],
  ],
  "leaves values empty, and out of the count of bytes, when only keys are asked for": [
    [{ keysOnly: true, end: "c" }, ["a=", "a\x00=", "b=", "b\xff="], true],
    [{ keysOnly: true, end: "c", limit: 2, reverse: true }, ["b\xff=", "b="], false],
    [{ keysOnly: true, bytesMax: 3 }, ["a=", "a\x00="], false],
    [{ keysOnly: true, bytesMax: 4 }, ["a=", "a\x00=", "b="], false],
  ],
};

async function withSnapshot(engine: Engine, use: (snapshot: EngineSnapshot) => Promise<void>): Promise<void> {
  const snapshot = engine.snapshot();
  try {
    await use(snapshot);
  } finally {
    snapshot.close();
  }
}

const scanCases = Object.entries(SCANS).map(([title, expected]): ContractCase => {
  const check = async (reader: Reader, what: string): Promise<void> => {
    for (const [range, rows, finished] of expected) {
      same(await scan(reader, "lock", range), { rows, finished }, `${what} of ${JSON.stringify(range)}`);
    }
  };
  return {
    title,
    async body(engine) {
      await fill(engine);
      await check(engine, "the scan");
      await withSnapshot(engine, async (snapshot) => {
        await deleteRange(engine, "lock", "a", "\xff\xff\xff");
        await check(snapshot, "the snapshot's scan");
      });
    },
  };
});

const ROWS = 4_000;
const keyOf = (number: number): string => `key${String(number).padStart(6, "0")}`;

async function readInPieces(reader: Reader, reverse: boolean): Promise<number> {
  let total = 0;
  let start = "";
  let end: string | undefined;
  for (;;) {
    const options = { start: bytesOf(start), end: end === undefined ? undefined : bytesOf(end), reverse };
    const { rows, finished } = await scanRaw(reader, "default", {
      ...options,
      limit: 1_700,
      bytesMax: 90_000,
    });
    for (const row of rows) {
      const key = String.fromCharCode(...row.key);
      same(key, keyOf(reverse ? ROWS - 1 - total : total), "the next key");
      assert(row.value.length === 100, "a value lost bytes");
      total++;
      if (reverse) end = key;
      else start = `${key}\x00`;
    }
    if (finished) return total;
  }
}

export const SCAN_CASES: readonly ContractCase[] = [
  ...scanCases,
  {
    title: "reads a large range in pieces without a gap, both ways",
    async body(engine) {
      const batch = engine.batch();
      for (let number = 0; number < ROWS; number++) {
        batch.put("default", bytesOf(keyOf(number)), new Uint8Array(100));
      }
      await new Promise((resolve) => engine.write(batch, { sync: false }, resolve));
      await withSnapshot(engine, async (snapshot) => {
        for (const reader of [engine, snapshot]) {
          same(await readInPieces(reader, false), ROWS, "rows read forwards");
          same(await readInPieces(reader, true), ROWS, "rows read backwards");
          same((await scan(reader, "default", { bytesMax: 1 << 30 })).rows.length, ROWS, "rows of one scan");
        }
      });
    },
  },
  {
    title: "scans as of the moment of the call",
    async body(engine) {
      await write(engine, [["default", "a", "old"]]);
      const scanned = scan(engine, "default");
      const written = write(engine, [
        ["default", "a", "new"],
        ["default", "b", "new"],
      ]);
      same((await scanned).rows, ["a=old"], "the rows");
      await written;
      same((await scan(engine, "default")).rows, ["a=new", "b=new"], "the rows of a later scan");
    },
  },
  {
    title: "shows a snapshot nothing that was written after it",
    async body(engine) {
      await fill(engine);
      await withSnapshot(engine, async (snapshot) => {
        await write(
          engine,
          KEY_SPACES.flatMap((space) => [[space, "a", "new"] as const, [space, "aa", "new"] as const]),
        );
        await write(engine, [["write", "b"]]);
        await deleteRange(engine, "raft", "a", "\xff\xff\xff");
        for (const space of KEY_SPACES) {
          same(get(snapshot, space, "a"), `${space[0]}1`, `the old value in ${space}`);
          same(get(snapshot, space, "aa"), undefined, `the new key in ${space}`);
          same((await scan(snapshot, space)).rows.length, 8, `rows in ${space}`);
        }
        same(get(snapshot, "write", "b"), "w1", "a key deleted later");
        same(get(snapshot, "write", "missing"), undefined, "a missing key");
        same(get(snapshot, "write", "\xff\xff\xff"), undefined, "a key behind the last");
        same(get(engine, "default", "a"), "new", "the engine's value");
      });
    },
  },
  {
    title: "keeps several snapshots apart, in whatever order they are closed",
    async body(engine) {
      const snapshots: EngineSnapshot[] = [];
      for (let number = 0; number < 5; number++) {
        await write(engine, [["default", "k", String(number)]], number === 3);
        snapshots.push(engine.snapshot());
      }
      snapshots[1]?.close();
      for (const number of [4, 0, 3, 2]) {
        const snapshot = snapshots[number] as EngineSnapshot;
        same(get(snapshot, "default", "k"), String(number), `snapshot ${number}`);
        const { rows } = await scan(snapshot, "default", { reverse: true });
        same(rows, [`k=${number}`], `rows of snapshot ${number}`);
        snapshot.close();
      }
      same(get(engine, "default", "k"), "4", "the engine's value");
    },
  },
];
