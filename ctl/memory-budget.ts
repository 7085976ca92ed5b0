/**
 * One number for the memory of a store (`--memory`, TiKV's `memory-usage-limit`), divided among what grows with load:
 * half for cached blocks, a quarter for memtables, the rest for requests under way, recent log entries and V8's heap.
 * Default: a quarter of the machine, or of the control group's limit where there is a lower one, divided among the
 * stores that one command starts.
 */
import { totalmem } from "node:os";
import { RaftwerkError } from "../base/index.js";
import type { EngineMemory } from "../engine/memory-plan.js";
import type { StoreConfig } from "../store/index.js";
import { sizeBytes, sizeText } from "./units.js";

const MEMORY_BYTES_MIN = 128 << 20;

/** Of the machine, or what the process may have of it. */
export function machineMemoryBytes(): number {
  const limit = process.constrainedMemory();
  const total = totalmem();
  return limit > 0 && limit < total ? limit : total;
}

export const defaultMemoryBytes = (stores: number, machineBytes = machineMemoryBytes()): number =>
  Math.max(MEMORY_BYTES_MIN, Math.floor(machineBytes / 4 / stores));

export function memoryBytes(name: string, text: string): number {
  const bytes = sizeBytes(name, text);
  if (bytes >= MEMORY_BYTES_MIN) return bytes;
  throw new RaftwerkError("invalidConfig", `${name} must be at least ${sizeText(MEMORY_BYTES_MIN)}`, {
    retry: "never",
  });
}

export const engineMemory = (bytes: number): EngineMemory => ({
  blockCacheBytes: Math.floor(bytes / 2),
  memtableBytes: Math.floor(bytes / 4),
});

/** The store's own bounds: never above their defaults, which are the most that is of use. */
export function boundedByMemory(config: StoreConfig, bytes: number): StoreConfig {
  const atMost = (value: number, share: number): number => Math.min(value, Math.floor(bytes / share));
  return {
    ...config,
    entryCacheTotalBytesMax: atMost(config.entryCacheTotalBytesMax, 16),
    entryCacheBytesMax: atMost(config.entryCacheBytesMax, 32),
    writesUnderWayBytesMax: atMost(config.writesUnderWayBytesMax, 8),
    scansUnderWayBytesMax: atMost(config.scansUnderWayBytesMax, 8),
    answersPendingBytesMax: atMost(config.answersPendingBytesMax, 8),
  };
}
