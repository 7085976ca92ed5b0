/** Conformance: the order of writes, of what they call back, and of range deletes among them. */
import type { KeySpace } from "../base/index.js";
import {
  batchOf,
  bytesOf,
  type ContractCase,
  deleteRange,
  get,
  same,
  scan,
  write,
} from "./conformance-tools.js";

export const ORDER_CASES: readonly ContractCase[] = [
  {
    title: "takes effect and calls back in the order of the calls",
    async body(engine) {
      const order: number[] = [];
      const done: Promise<void>[] = [];
      for (let number = 0; number < 50; number++) {
        const operations = [["raft", "last", String(number)] as const];
        const sync = number % 3 === 0;
        done.push(write(engine, operations, sync).then(() => void order.push(number)));
      }
      await Promise.all(done);
      same(
        order,
        Array.from({ length: 50 }, (_, number) => number),
        "the order",
      );
      same(get(engine, "raft", "last"), "49", "the last value");
    },
  },
  {
    title: "takes writes from within callbacks, and calls back once for each",
    async body(engine) {
      const calls: number[] = [];
      await new Promise<void>((resolve) => {
        const writeNumber = (number: number): void =>
          engine.write(batchOf(engine, [["default", "k", String(number)]]), { sync: false }, () => {
            calls.push(number);
            if (number < 10) return writeNumber(number + 1);
            engine.deleteRange("default", bytesOf("a"), bytesOf("b"), () => resolve());
          });
        writeNumber(1);
      });
      await write(engine, []);
      same(calls, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "the calls back");
      same(get(engine, "default", "k"), "10", "the last value");
    },
  },
  {
    title: "shows a write once it has called back",
    async body(engine) {
      for (let number = 0; number < 20; number++) {
        const text = String(number);
        await new Promise<void>((resolve) => {
          engine.write(batchOf(engine, [["default", "k", text]]), { sync: number % 2 === 0 }, () => {
            same(get(engine, "default", "k"), text, "the value within the callback");
            resolve();
          });
        });
      }
    },
  },
  {
    title: "deletes a range of one key space, its start and not its end",
    async body(engine) {
      const spaces: KeySpace[] = ["default", "write"];
      const keys = ["a", "b", "b\x00", "c", "d"];
      await write(
        engine,
        spaces.flatMap((space) => keys.map((key) => [space, key, "1"] as const)),
      );
      await deleteRange(engine, "default", "b", "d");
      same((await scan(engine, "default")).rows, ["a=1", "d=1"], "the rows of the range's key space");
      same(get(engine, "default", "b"), undefined, "a deleted key");
      same((await scan(engine, "write")).rows.length, 5, "the rows of another key space");
      await deleteRange(engine, "default", "", "b");
      same((await scan(engine, "default")).rows, ["d=1"], "the rows after a range without a lower bound");
    },
  },
  {
    title: "deletes nothing for an empty or reversed range",
    async body(engine) {
      await write(engine, [["default", "b", "1"]]);
      await deleteRange(engine, "default", "b", "b");
      await deleteRange(engine, "default", "c", "a");
      await deleteRange(engine, "default", "x", "y");
      same((await scan(engine, "default")).rows, ["b=1"], "the rows");
    },
  },
  {
    title: "orders range deletes with the writes around them, without waiting",
    async body(engine) {
      const done = [
        write(engine, [
          ["default", "a", "before"],
          ["default", "b", "before"],
        ]),
        deleteRange(engine, "default", "a", "z"),
        write(engine, [["default", "b", "after"]]),
        write(engine, [["default", "c", "after"]], true),
        deleteRange(engine, "default", "c", "d"),
        write(engine, [["default", "d", "after"]]),
      ];
      await Promise.all(done);
      same((await scan(engine, "default")).rows, ["b=after", "d=after"], "the rows");
    },
  },
];
