/**
 * The stamp of a data directory: which engine wrote it, for what, and for whom. A directory opened as
 * anything else would be damaged or, worse, believed. Every change is written beside the stamp, synced,
 * renamed over it and synced again with the directory. The file beside the stamp without a stamp means that a
 * first start is, or was, under way.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { RaftwerkError } from "../base/index.js";

export const STAMP_FORMAT = 1;
export type EngineKind = "rocksdb" | "leveldb";
export type DirectoryRole = "store" | "pd" | "group";

export interface Stamp {
  readonly format: number;
  readonly engine: EngineKind;
  readonly role: DirectoryRole;
  /** Decimal; absent until the first contact with PD. */
  readonly clusterId?: string;
  /** Absent until PD gave one. */
  readonly storeId?: number;
}

/** Who the data belongs to. What is left out is neither added nor checked. */
export interface DirectoryIdentity {
  /** Decimal. */
  readonly clusterId?: string;
  readonly storeId?: number;
}

const STAMP_FILE = "RAFTWERK.json";
const PENDING_FILE = "RAFTWERK.json.new";
/** The files of this module, by name. */
export const STAMP_FILES: readonly string[] = [STAMP_FILE, PENDING_FILE];

export const mismatch = (message: string): RaftwerkError =>
  new RaftwerkError("dataDirectoryMismatch", message, { retry: "never" });

export function readStamp(directory: string): Stamp | undefined {
  const text = readIfThere(join(directory, STAMP_FILE));
  if (text === undefined) return undefined;
  const stamp = parse(text);
  if (stamp === undefined) {
    throw mismatch(`${join(directory, STAMP_FILE)} is damaged: restore it, or give another --data-dir`);
  }
  if (stamp.format !== STAMP_FORMAT) {
    throw mismatch(
      `${directory} has format ${String(stamp.format)} and this program writes format ${STAMP_FORMAT}: ` +
        "use the version that wrote it, or give another --data-dir",
    );
  }
  return stamp;
}

/** What a first start that did not come to its end had chosen; undefined when it did not come that far. */
export function readPendingStamp(directory: string): Stamp | undefined {
  const text = readIfThere(join(directory, PENDING_FILE));
  return text === undefined ? undefined : parse(text);
}

/** Before the engine creates its first file. */
export function beginStamp(directory: string, stamp: Stamp): void {
  const file = openSync(join(directory, PENDING_FILE), "w");
  try {
    writeSync(file, `${JSON.stringify(stamp, undefined, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  syncDirectory(directory);
}

/** After the engine opened for the first time: from here on the directory counts as having data. */
export function finishStamp(directory: string): void {
  renameSync(join(directory, PENDING_FILE), join(directory, STAMP_FILE));
  syncDirectory(directory);
}

/** The engine did not open and left nothing: another one may be tried. */
export const abandonStamp = (directory: string): void =>
  rmSync(join(directory, PENDING_FILE), { force: true });

/** Ties the directory to its cluster and store at the first contact, and refuses any other afterwards. */
export async function stampIdentity(directory: string, identity: DirectoryIdentity): Promise<void> {
  const stamp = readStamp(directory);
  if (stamp === undefined) throw mismatch(`${directory} lost its stamp while in use: restore RAFTWERK.json`);
  const { clusterId = stamp.clusterId, storeId = stamp.storeId } = identity;
  if (stamp.clusterId !== undefined && stamp.clusterId !== clusterId) {
    throw mismatch(
      `${directory} belongs to cluster ${stamp.clusterId}, but PD serves cluster ${String(clusterId)}: ` +
        "give --pd of the right cluster, or an empty --data-dir",
    );
  }
  if (stamp.storeId !== undefined && stamp.storeId !== storeId) {
    throw mismatch(
      `${directory} belongs to store ${stamp.storeId}, not to store ${String(storeId)}: ` +
        "give the --data-dir of this store, or an empty one",
    );
  }
  if (clusterId === stamp.clusterId && storeId === stamp.storeId) return;
  const known = {
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(storeId === undefined ? {} : { storeId }),
  };
  beginStamp(directory, { ...stamp, ...known });
  finishStamp(directory);
}

/** Both engines keep the name of their current manifest in this file. */
export const hasDatabase = (path: string): boolean => existsSync(join(path, "CURRENT"));

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function parse(text: string): Stamp | undefined {
  try {
    const { format, engine, role, clusterId, storeId } = JSON.parse(text) as Record<string, unknown>;
    const isWhole =
      typeof format === "number" &&
      (format !== STAMP_FORMAT || engine === "rocksdb" || engine === "leveldb") &&
      (format !== STAMP_FORMAT || role === "store" || role === "pd" || role === "group") &&
      (clusterId === undefined || typeof clusterId === "string") &&
      (storeId === undefined || typeof storeId === "number");
    return isWhole ? (JSON.parse(text) as Stamp) : undefined;
  } catch {
    return undefined;
  }
}

function syncDirectory(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
