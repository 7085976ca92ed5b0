/**
 * The stamp of a data directory: which engine wrote it, for what, and for which cluster. A directory opened as
 * anything else would be damaged or, worse, believed. Written by rename, synced with its directory.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { RaftwerkError } from "../base/index.js";

export const STAMP_FORMAT = 1;
export type EngineKind = "rocksdb" | "leveldb";
export type DirectoryRole = "store" | "pd";

export interface Stamp {
  readonly format: number;
  readonly engine: EngineKind;
  readonly role: DirectoryRole;
  /** Decimal; absent until the first contact with PD. */
  readonly clusterId?: string;
}

const STAMP_FILE = "RAFTWERK.json";

const refuse = (message: string): never => {
  throw new RaftwerkError("dataDirectoryMismatch", message, { retry: "never" });
};

export function readStamp(directory: string): Stamp | undefined {
  let text: string;
  try {
    text = readFileSync(join(directory, STAMP_FILE), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  let stamp: Partial<Stamp>;
  try {
    stamp = JSON.parse(text) as Partial<Stamp>;
  } catch {
    return refuse(`${join(directory, STAMP_FILE)} is damaged: restore it, or give another --data-dir`);
  }
  if (stamp.format !== STAMP_FORMAT) {
    return refuse(
      `${directory} has format ${String(stamp.format)} and this program writes format ${STAMP_FORMAT}: ` +
        "use the version that wrote it, or give another --data-dir",
    );
  }
  return stamp as Stamp;
}

export function writeStamp(directory: string, stamp: Stamp): void {
  const path = join(directory, STAMP_FILE);
  const file = openSync(`${path}.new`, "w");
  try {
    writeSync(file, `${JSON.stringify(stamp, undefined, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
  const parent = openSync(directory, "r");
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

/** Ties the directory to its cluster at the first contact, and refuses another one afterwards. */
export async function stampIdentity(
  directory: string,
  identity: { readonly clusterId: string },
): Promise<void> {
  const stamp = readStamp(directory);
  if (stamp === undefined) return refuse(`${directory} lost its stamp while in use`);
  if (stamp.clusterId === undefined) writeStamp(directory, { ...stamp, clusterId: identity.clusterId });
  else if (stamp.clusterId !== identity.clusterId) {
    refuse(
      `${directory} belongs to cluster ${stamp.clusterId}, but PD serves cluster ${identity.clusterId}: ` +
        "give --pd of the right cluster, or an empty --data-dir",
    );
  }
}
