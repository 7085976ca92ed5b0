/**
 * A process to be killed: writes numbered batches until it is, and prints each number once its batch has
 * called back. Arguments: engine, directory; the first number comes by standard input, so that a process can
 * be started ahead of its turn. Each batch spreads over key spaces and overwrites one key, so that a batch
 * that is there in part, and batches out of order, can be told.
 */
import { readFileSync, writeSync } from "node:fs";
import { type Engine, KEY_SPACES, type KeySpace } from "../../base/index.js";
import { utf8Of } from "../conformance-tools.js";
import { LevelEngine } from "../leveldb.js";
import { RocksEngine } from "../rocksdb.js";

/** The parts of batch `number`, over all key spaces; sizes differ from batch to batch. */
export function partsOf(number: number): (readonly [KeySpace, string, number])[] {
  return KEY_SPACES.flatMap((space, at) =>
    Array.from({ length: 1 + ((number + at) % 5) }, (_, part) => {
      const valueBytes = 20 + ((number * 7919 + at * 104_729 + part * 31) % 800);
      return [space, `${String(number).padStart(8, "0")}/${part}`, valueBytes] as const;
    }),
  );
}

/** The exit code when a write failed and everything after it was refused for the same reason. */
export const EXIT_FINAL = 3;

function checkFinal(engine: Engine, failure: Error): void {
  const batch = engine.batch();
  batch.put("raft", utf8Of("last"), utf8Of("a write after a failed one"));
  engine.write(batch, { sync: true }, (later) => {
    engine.deleteRange("raft", utf8Of("a"), utf8Of("z"), (last) => {
      process.exit(later === failure && last === failure ? EXIT_FINAL : 1);
    });
  });
}

function writeFrom(engine: Engine, number: number): void {
  const batch = engine.batch();
  for (const [space, key, valueBytes] of partsOf(number)) {
    batch.put(space, utf8Of(key), new Uint8Array(valueBytes).fill(number & 0xff));
  }
  batch.put("raft", utf8Of("last"), utf8Of(String(number)));
  engine.write(batch, { sync: true }, (error) => {
    if (error !== undefined) return checkFinal(engine, error);
    // Straight to the pipe: a line that sits in a buffer at the kill would make the test weaker.
    writeSync(1, `${number}\n`);
    setImmediate(() => writeFrom(engine, number + 1));
  });
}

const [kind, directory] = process.argv.slice(2);
if (kind !== undefined && directory !== undefined && process.argv[1] === import.meta.filename) {
  const engineClass = kind === "rocksdb" ? RocksEngine : LevelEngine;
  const first = Number(readFileSync(0, "utf8"));
  // Nothing came: whoever started this process is gone.
  if (first > 0) writeFrom(await engineClass.open(directory), first);
}
