/** Conformance: point reads, and batches by themselves: their atomicity, sizes and buffers. */
import { assert, AssertionError, KEY_SPACES } from "../base/index.js";
import { batchOf, bytesOf, type ContractCase, get, same, scan, textOf, write } from "./conformance-tools.js";

function refusesEmptyKey(what: string, call: () => void): void {
  try {
    call();
  } catch (error) {
    assert(error instanceof AssertionError, () => `${what} of an empty key threw ${String(error)}`);
    return;
  }
  assert(false, `${what} of an empty key was taken`);
}

export const WRITE_CASES: readonly ContractCase[] = [
  {
    title: "reads back what was written and nothing else",
    async body(engine) {
      await write(engine, [["default", "a", "1"]]);
      same(get(engine, "default", "a"), "1", "the written key");
      same(get(engine, "default", "b"), undefined, "a missing key");
      same(get(engine, "default", "a\x00"), undefined, "a longer key");
      for (const space of KEY_SPACES.slice(1)) same(get(engine, space, "a"), undefined, `key space ${space}`);
    },
  },
  {
    title: "keeps an empty value apart from a missing key",
    async body(engine) {
      await write(engine, [["lock", "a", ""]]);
      const value = engine.get("lock", bytesOf("a"));
      assert(value instanceof Uint8Array && value.length === 0, "an empty value reads as an empty array");
      same((await scan(engine, "lock")).rows, ["a="], "the scanned row");
      same(engine.multiGet("lock", [bytesOf("a"), bytesOf("b")])[0]?.length, 0, "the multi-get value");
    },
  },
  {
    title: "refuses an empty key",
    body(engine) {
      const batch = engine.batch();
      refusesEmptyKey("put", () => batch.put("default", new Uint8Array(0), bytesOf("1")));
      refusesEmptyKey("delete", () => batch.delete("default", new Uint8Array(0)));
    },
  },
  {
    title: "answers a multi-get in the order of its keys",
    async body(engine) {
      await write(engine, [
        ["write", "a", "1"],
        ["write", "c", "3"],
        ["default", "b", "other space"],
      ]);
      const values = engine.multiGet("write", ["c", "b", "a", "c"].map(bytesOf));
      same(
        values.map((value) => (value === undefined ? "missing" : textOf(value))),
        ["3", "missing", "1", "3"],
        "the values",
      );
      assert(values[1] === undefined, "a missing value is undefined");
      same(engine.multiGet("write", []), [], "a multi-get of nothing");
    },
  },
  {
    title: "stores keys and values of any bytes and of large sizes",
    async body(engine) {
      const key = "\xff".repeat(4096);
      const value = new Uint8Array(3 << 20).map((_, at) => at % 251);
      const batch = engine.batch();
      batch.put("default", bytesOf(key), value);
      batch.put("default", bytesOf("\x00"), bytesOf("\x00\xff"));
      await new Promise((resolve) => engine.write(batch, { sync: true }, resolve));
      const stored = engine.get("default", bytesOf(key));
      const isEqual = stored?.length === value.length && stored.every((byte, at) => byte === value[at]);
      assert(isEqual, "a value of 3 MiB comes back as it was");
      same(get(engine, "default", "\x00"), "\x00\xff", "the value of a zero key");
    },
  },
  {
    title: "applies a batch over all key spaces, the later operation on a key last",
    async body(engine) {
      await write(
        engine,
        KEY_SPACES.map((space) => [space, "k", `old ${space}`] as const),
      );
      await write(engine, [
        ...KEY_SPACES.map((space) => [space, "k", `new ${space}`] as const),
        ["default", "put then deleted", "x"],
        ["default", "put then deleted"],
        ["default", "deleted then put"],
        ["default", "deleted then put", "y"],
        ["raft", "k"],
      ]);
      for (const space of KEY_SPACES) {
        same(get(engine, space, "k"), space === "raft" ? undefined : `new ${space}`, `key space ${space}`);
      }
      same(get(engine, "default", "put then deleted"), undefined, "a key put and deleted");
      same(get(engine, "default", "deleted then put"), "y", "a key deleted and put");
    },
  },
  {
    title: "counts the operations and bytes of a batch, and writes one without any",
    async body(engine) {
      const batch = batchOf(engine, [
        ["default", "abc", "12345"],
        ["raft", "de"],
      ]);
      same([batch.count, batch.bytes], [2, 10], "count and bytes");
      const empty = engine.batch();
      same([empty.count, empty.bytes], [0, 0], "count and bytes of a new batch");
      const error = await new Promise((resolve) => engine.write(empty, { sync: true }, resolve));
      same(error, undefined, "the error of an empty write");
      same(get(engine, "default", "abc"), undefined, "a batch that was not written");
    },
  },
  {
    title: "keeps batches that are filled at the same time apart",
    async body(engine) {
      await write(engine, [["default", "before", "0"]]);
      const first = batchOf(engine, [["default", "a", "first"]]);
      const second = batchOf(engine, [["default", "b", "second"]]);
      first.put("default", bytesOf("c"), bytesOf("first"));
      await new Promise((resolve) => engine.write(second, { sync: false }, resolve));
      same((await scan(engine, "default")).rows, ["b=second", "before=0"], "after the second batch");
      await new Promise((resolve) => engine.write(first, { sync: false }, resolve));
      same(
        (await scan(engine, "default")).rows,
        ["a=first", "b=second", "before=0", "c=first"],
        "after both batches",
      );
    },
  },
  {
    title: "lets the caller reuse the buffers it passed in, at once",
    async body(engine) {
      const key = bytesOf("key");
      const value = bytesOf("value");
      const batch = engine.batch();
      batch.put("default", key, value);
      key.fill(0x7a);
      value.fill(0x7a);
      batch.delete("default", key);
      key.fill(0x79);
      const done = new Promise((resolve) => engine.write(batch, { sync: false }, resolve));
      await done;
      same((await scan(engine, "default")).rows, ["key=value"], "the rows");
      const start = bytesOf("k");
      const end = bytesOf("l");
      const cleared = new Promise((resolve) => engine.deleteRange("default", start, end, resolve));
      start.fill(0x7a);
      end.fill(0x7a);
      await cleared;
      same((await scan(engine, "default")).rows, [], "the rows after the range delete");
    },
  },
  {
    title: "gives the caller buffers of its own",
    async body(engine) {
      await write(engine, [["default", "key", "value"]]);
      engine.get("default", bytesOf("key"))?.fill(0);
      engine.multiGet("default", [bytesOf("key")])[0]?.fill(0);
      engine.scan("default", { start: bytesOf("a"), end: undefined, limit: 1 }, (_, { rows }) => {
        rows[0]?.key.fill(0);
        rows[0]?.value.fill(0);
      });
      const range = { start: "a" };
      same((await scan(engine, "default", range)).rows, ["key=value"], "the rows");
      same((await scan(engine, "default", range)).rows, ["key=value"], "the rows, again");
    },
  },
];
