/**
 * Measures synced writes of 100 operations: on the calling thread, and on a worker thread that shares the
 * database. Run it with `npx tsx engine/test/measure-writes.ts [directory]`; the figures
 * are kept in docs/decisions/0001-engine-writes.md.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import type { Engine } from "../../base/index.js";
import { LevelEngine } from "../leveldb.js";
import { loadRocksBinding, type RocksColumn, type RocksHandle } from "../rocksdb-binding.js";
import { RocksEngine } from "../rocksdb.js";

const OPERATIONS = 100;
const KEY_BYTES = 24;
const VALUE_BYTES = 100;
const RECORD_BYTES = KEY_BYTES + VALUE_BYTES;
const ROUND_MS = 2_000;

/** Functions of the binding that the engine itself has no use for. */
type SharingBinding = ReturnType<typeof loadRocksBinding> & {
  db_init(location: string | bigint): RocksHandle;
  db_get_handle(db: RocksHandle): bigint;
  db_open(db: RocksHandle, options: object): Readonly<Record<string, RocksColumn>>;
};

function fillRecords(target: Uint8Array, number: number): void {
  for (let at = 0; at < target.length; at += 4) target[at] = (number * 31 + at * 7) & 0xff;
}

/**
 * The worker: each message is a packed batch; those that arrived during a write are merged into the next one.
 */
function serve(): void {
  const binding = loadRocksBinding() as SharingBinding;
  const db = binding.db_init(workerData.handle as bigint);
  const column = { column: binding.db_open(db, {})["default"] as RocksColumn };
  const batch = binding.batch_init();
  let waiting: Uint8Array[] = [];
  parentPort?.on("message", (packed: Uint8Array) => {
    waiting.push(packed);
    if (waiting.length > 1) return;
    setImmediate(() => {
      for (const records of waiting) {
        for (let at = 0; at < records.length; at += RECORD_BYTES) {
          const key = records.subarray(at, at + KEY_BYTES);
          binding.batch_put(batch, key, records.subarray(at + KEY_BYTES, at + RECORD_BYTES), column);
        }
      }
      binding.batch_write(db, batch, { sync: true });
      binding.batch_clear(batch);
      const { length } = waiting;
      waiting = [];
      for (let i = 0; i < length; i++) parentPort?.postMessage(0, []);
    });
  });
}

interface Figures {
  readonly batches: number;
  readonly latencies: number[];
}

async function measure(name: string, inFlight: number, write: (done: () => void) => void): Promise<void> {
  const figures: Figures & { batches: number } = { batches: 0, latencies: [] };
  let longestMs = 0;
  const started = performance.now();
  const usage = process.cpuUsage();
  const busy = performance.eventLoopUtilization();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() - started < ROUND_MS) {
        const before = performance.now();
        await new Promise<void>((resolve) => {
          write(resolve);
          longestMs = Math.max(longestMs, performance.now() - before);
        });
        figures.latencies.push(performance.now() - before);
        figures.batches++;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }),
  );
  const seconds = (performance.now() - started) / 1_000;
  const sorted = figures.latencies.toSorted((left, right) => left - right);
  const at = (part: number): string => (sorted[Math.floor(sorted.length * part)] as number).toFixed(2);
  const { user, system } = process.cpuUsage(usage);
  const { active } = performance.eventLoopUtilization(busy);
  const perBatch = (micros: number): string => (micros / figures.batches).toFixed(0);
  console.log(
    `| ${name} | ${inFlight} | ${(figures.batches / seconds).toFixed(0)} | ${at(0.5)} / ${at(0.99)} | ` +
      `${perBatch(active * 1_000)} | ${perBatch(user + system)} | ${longestMs.toFixed(1)} |`,
  );
}

function engineWrite(engine: Engine): (done: () => void) => void {
  const records = new Uint8Array(OPERATIONS * RECORD_BYTES);
  let number = 0;
  return (done) => {
    fillRecords(records, number++);
    const batch = engine.batch();
    for (let at = 0; at < records.length; at += RECORD_BYTES) {
      const key = records.subarray(at, at + KEY_BYTES);
      batch.put("default", key, records.subarray(at + KEY_BYTES, at + RECORD_BYTES));
    }
    engine.write(batch, { sync: true }, done);
  };
}

async function measureWorker(directory: string): Promise<void> {
  const binding = loadRocksBinding() as SharingBinding;
  const db = binding.db_init(directory);
  const options = { createIfMissing: true, walCompression: false, columns: { default: {} } };
  await new Promise((resolve) =>
    (binding as ReturnType<typeof loadRocksBinding>).db_open(db, options, resolve),
  );
  // A worker does not inherit the loader of TypeScript.
  const program = `import("tsx/esm/api").then((tsx) => (tsx.register(), import(${JSON.stringify(import.meta.url)})))`;
  const worker = new Worker(program, { eval: true, workerData: { handle: binding.db_get_handle(db) } });
  await new Promise((resolve) => worker.on("online", resolve));
  const waiting: (() => void)[] = [];
  worker.on("message", () => waiting.shift()?.());
  let number = 0;
  for (const inFlight of [1, 4]) {
    await measure("RocksDB, worker thread", inFlight, (done) => {
      const packed = new Uint8Array(OPERATIONS * RECORD_BYTES);
      fillRecords(packed, number++);
      waiting.push(done);
      worker.postMessage(packed, [packed.buffer]);
    });
  }
  await worker.terminate();
}

async function main(): Promise<void> {
  const root = mkdtempSync(join(process.argv[2] ?? tmpdir(), "raftwerk-measure-"));
  try {
    console.log(
      "| engine | in flight | batches/s | p50 / p99 ms | thread µs/batch | CPU µs/batch | longest call ms |",
    );
    console.log("|---|---|---|---|---|---|---|");
    for (const [name, engineClass] of [
      ["RocksDB, calling thread", RocksEngine],
      ["LevelDB, libuv thread", LevelEngine],
    ] as const) {
      const engine = await engineClass.open(join(root, name));
      for (const inFlight of [1, 4]) await measure(name, inFlight, engineWrite(engine));
      await new Promise((resolve) => engine.close(resolve));
    }
    await measureWorker(join(root, "worker"));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

if (isMainThread) await main();
else serve();
