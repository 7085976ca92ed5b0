/**
 * Opens a data directory with the right engine. A stamped directory keeps its engine; a new one gets RocksDB
 * if its prebuilt binary works here. The engines are loaded only when chosen: a missing binary of one does
 * not hinder the other.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Engine, type Logger, RaftwerkError } from "../base/index.js";
import type { EngineMemory } from "./memory-plan.js";
import { probeRocks } from "./probe.js";
import {
  abandonStamp,
  beginStamp,
  type DirectoryRole,
  type EngineKind,
  finishStamp,
  hasDatabase,
  mismatch,
  readPendingStamp,
  readStamp,
  STAMP_FILES,
  STAMP_FORMAT,
  type Stamp,
} from "./stamp.js";

export { stampIdentity } from "./stamp.js";

export interface OpenEngineOptions {
  /** Created if absent. */
  readonly directory: string;
  readonly kind: "auto" | EngineKind;
  readonly role: DirectoryRole;
  readonly log: Logger;
  /** Default: DEFAULT_ENGINE_MEMORY. */
  readonly memory?: EngineMemory;
}

export interface OpenedEngine {
  readonly engine: Engine;
  readonly kind: EngineKind;
  /** For the start-up line: why this engine. */
  readonly reason: string;
}

interface Choice {
  readonly kind: EngineKind;
  readonly reason: string;
}

const DATABASE = "db";

export async function openEngine(options: OpenEngineOptions): Promise<OpenedEngine> {
  const { directory } = options;
  createDirectory(join(directory, DATABASE));
  const stamp = readStamp(directory);
  return stamp === undefined ? openNew(options) : openStamped(options, stamp);
}

async function openStamped(options: OpenEngineOptions, stamp: Stamp): Promise<OpenedEngine> {
  const { directory } = options;
  checkStamp(options, stamp);
  if (!hasDatabase(join(directory, DATABASE))) {
    // A store that forgot its votes, or a PD that forgot its cluster, must not come back as if nothing had happened.
    const text =
      `${directory} is stamped as a ${stamp.role}'s, but ${DATABASE} in it is missing or empty: ` +
      "restore it, or give an empty --data-dir";
    throw new RaftwerkError("dataDirectoryNotEmpty", text, { retry: "never" });
  }
  const engine = await open(stamp.engine, directory, options.memory);
  return { engine, kind: stamp.engine, reason: "the data directory was written by it" };
}

async function openNew(options: OpenEngineOptions): Promise<OpenedEngine> {
  const { directory, role } = options;
  const pending = readPendingStamp(directory);
  refuseForeignFiles(directory, pending !== undefined);
  if (pending !== undefined) checkStamp(options, pending);
  const choice =
    pending === undefined
      ? await choose(options)
      : { kind: pending.engine, reason: "an earlier start began the data directory with it" };
  beginStamp(directory, { format: STAMP_FORMAT, engine: choice.kind, role });
  let engine: Engine;
  try {
    engine = await open(choice.kind, directory, options.memory);
  } catch (error) {
    const isInUse = error instanceof RaftwerkError && error.code === "dataDirectoryInUse";
    if (!isInUse && !hasDatabase(join(directory, DATABASE))) abandonStamp(directory);
    throw error;
  }
  finishStamp(directory);
  return { engine, ...choice };
}

function checkStamp(options: OpenEngineOptions, stamp: Stamp): void {
  const { directory, kind, role } = options;
  if (stamp.role !== role) {
    throw mismatch(
      `${directory} holds the data of a ${stamp.role}, not of a ${role}: give another --data-dir`,
    );
  }
  if (kind !== "auto" && kind !== stamp.engine) {
    throw mismatch(
      `${directory} was written by ${stamp.engine}, not by ${kind}: ` +
        `start with --engine ${stamp.engine}, or give another --data-dir`,
    );
  }
}

function createDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    const text = `cannot create ${path}: ${(error as Error).message}`;
    throw new RaftwerkError("engineUnavailable", text, { retry: "never", cause: error });
  }
}

/** Without a stamp, and without a first start that was cut short, there must be nothing to overwrite. */
function refuseForeignFiles(directory: string, isPending: boolean): void {
  const foreign = readdirSync(directory).filter((name) => name !== DATABASE && !STAMP_FILES.includes(name));
  const files = isPending ? [] : readdirSync(join(directory, DATABASE)).map((name) => join(DATABASE, name));
  const all = [...foreign, ...files];
  if (all.length === 0) return;
  const text =
    `${directory} is not empty (${all.slice(0, 3).join(", ")}) and bears no stamp of raftwerk: ` +
    "give an empty --data-dir";
  throw new RaftwerkError("dataDirectoryNotEmpty", text, { retry: "never" });
}

async function open(kind: EngineKind, directory: string, memory: EngineMemory | undefined): Promise<Engine> {
  const path = join(directory, DATABASE);
  try {
    if (kind === "rocksdb") return await (await import("./rocksdb.js")).RocksEngine.open(path, memory);
    return await (await import("./leveldb.js")).LevelEngine.open(path, memory);
  } catch (error) {
    if (error instanceof RaftwerkError && error.code !== "dataDirectoryInUse") throw error;
    if (error instanceof RaftwerkError) {
      const text = `${directory} is in use by another process: stop it, or take another directory`;
      throw new RaftwerkError(error.code, text, { retry: "never", cause: error });
    }
    const other = kind === "rocksdb" ? "leveldb" : "rocksdb";
    const reason = (error as Error).message;
    const text = `${kind} does not load here (${reason}): try --engine ${other} with a new --data-dir`;
    throw new RaftwerkError("engineUnavailable", text, { retry: "never", cause: error });
  }
}

async function choose({ kind, log }: OpenEngineOptions): Promise<Choice> {
  if (kind !== "auto") return { kind, reason: "it was asked for" };
  const failure = await probeRocks();
  if (failure === undefined) return { kind: "rocksdb", reason: "its binary works on this machine" };
  log.warn("RocksDB does not work on this machine", { reason: failure });
  return { kind: "leveldb", reason: `RocksDB does not work on this machine (${failure})` };
}
