/** Figures of the engine's own, under TiKV's names: of the key space `default`, where the data is. */
import type { Registry } from "prom-client";
import type { Engine } from "../base/index.js";
import { onScrape } from "./histogram.js";

type Labels = Readonly<Record<string, string>>;

interface EngineFigure {
  readonly name: string;
  readonly help: string;
  /** Property of the engine, and the labels of its sample. Engines that have no such property are left out. */
  readonly properties: readonly (readonly [property: string, labels: Labels])[];
}

const DB = { db: "kv" };
const CF = { ...DB, cf: "default" };
const LEVELS = [0, 1, 2, 3, 4, 5, 6];

const FIGURES: readonly EngineFigure[] = [
  {
    name: "tikv_engine_size_bytes",
    help: "Bytes of table files",
    properties: [["rocksdb.total-sst-files-size", { ...DB, type: "default" }]],
  },
  {
    name: "tikv_engine_estimate_num_keys",
    help: "Keys, estimated",
    properties: [["rocksdb.estimate-num-keys", CF]],
  },
  {
    name: "tikv_engine_memory_bytes",
    help: "Bytes in memory, by kind",
    properties: [
      ["rocksdb.size-all-mem-tables", { ...CF, type: "mem-tables-all" }],
      ["rocksdb.estimate-table-readers-mem", { ...CF, type: "readers-mem" }],
      ["leveldb.approximate-memory-usage", { ...CF, type: "mem-tables-all" }],
    ],
  },
  {
    name: "tikv_engine_block_cache_size_bytes",
    help: "Bytes in the block cache",
    properties: [["rocksdb.block-cache-usage", CF]],
  },
  {
    name: "tikv_engine_pending_compaction_bytes",
    help: "Bytes that wait for compaction, estimated",
    properties: [["rocksdb.estimate-pending-compaction-bytes", CF]],
  },
  {
    name: "tikv_engine_num_files_at_level",
    help: "Table files by level",
    properties: LEVELS.flatMap((level) =>
      ["rocksdb", "leveldb"].map(
        (kind) => [`${kind}.num-files-at-level${level}`, { ...CF, level: String(level) }] as const,
      ),
    ),
  },
  {
    name: "tikv_engine_num_immutable_mem_table",
    help: "Memory tables that wait to be written",
    properties: [["rocksdb.num-immutable-mem-table", CF]],
  },
  {
    name: "tikv_engine_num_running_compactions",
    help: "Compactions under way",
    properties: [["rocksdb.num-running-compactions", DB]],
  },
  {
    name: "tikv_engine_num_running_flushes",
    help: "Flushes under way",
    properties: [["rocksdb.num-running-flushes", DB]],
  },
  {
    name: "tikv_engine_num_snapshots",
    help: "Snapshots held",
    properties: [["rocksdb.num-snapshots", DB]],
  },
  {
    name: "tikv_engine_write_stall",
    help: "1 while writes are stopped",
    properties: [["rocksdb.is-write-stopped", { ...DB, type: "write_stall_max" }]],
  },
];

export function aboutEngine(engine: Engine, registry: Registry): void {
  for (const { name, help, properties } of FIGURES) {
    onScrape(registry, "gauge", name, help, (set) => {
      for (const [property, labels] of properties) {
        const value = engine.property(property);
        if (value !== undefined) set(labels, Number(value));
      }
    });
  }
}
