/**
 * Opens a data directory with the right engine. A stamped directory keeps its engine; a new one gets RocksDB if its
 * prebuilt binary works here, tried in a child process once, because on a CPU that is too old it ends the process.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, type Logger, RaftwerkError } from "../base/index.js";
import { type DirectoryRole, type EngineKind, readStamp, STAMP_FORMAT, writeStamp } from "./stamp.js";

export { stampIdentity } from "./stamp.js";

export interface OpenEngineOptions {
  readonly directory: string;
  readonly kind: "auto" | EngineKind;
  readonly role: DirectoryRole;
  readonly log: Logger;
}

export interface OpenedEngine {
  readonly engine: Engine;
  readonly kind: EngineKind;
  /** A sentence for the start-up line: why this engine. */
  readonly reason: string;
}

export async function openEngine(options: OpenEngineOptions): Promise<OpenedEngine> {
  const { directory, role } = options;
  prepareDirectory(directory);
  const stamp = readStamp(directory);
  if (stamp !== undefined && stamp.role !== role) {
    throw mismatch(
      `${directory} holds the data of a ${stamp.role}, not of a ${role}: give another --data-dir`,
    );
  }
  if (stamp !== undefined && options.kind !== "auto" && options.kind !== stamp.engine) {
    throw mismatch(
      `${directory} was written by ${stamp.engine}, not by ${options.kind}: ` +
        `start with --engine ${stamp.engine}, or give another --data-dir`,
    );
  }
  if (stamp === undefined) refuseForeignFiles(directory);
  const { kind, reason } =
    stamp === undefined
      ? await choose(options.kind)
      : { kind: stamp.engine, reason: "the directory was written by it" };
  const path = join(directory, "db");
  const engine = await open(kind, path);
  if (stamp === undefined) writeStamp(directory, { format: STAMP_FORMAT, engine: kind, role });
  return { engine, kind, reason };
}

const mismatch = (message: string): RaftwerkError =>
  new RaftwerkError("dataDirectoryMismatch", message, { retry: "never" });

function prepareDirectory(directory: string): void {
  try {
    mkdirSync(join(directory, "db"), { recursive: true });
  } catch (error) {
    const text = `cannot create ${directory}: ${(error as Error).message}`;
    throw new RaftwerkError("engineUnavailable", text, { retry: "never", cause: error });
  }
}

/** A start that died before the stamp was written leaves `db` alone: that is ours, and holds no acknowledged write. */
function refuseForeignFiles(directory: string): void {
  const foreign = readdirSync(directory).filter((name) => name !== "db" && name !== "RAFTWERK.json.new");
  if (foreign.length === 0) return;
  const text =
    `${directory} is not empty (${foreign.slice(0, 3).join(", ")}) and was not written by raftwerk: ` +
    "give an empty --data-dir";
  throw new RaftwerkError("dataDirectoryNotEmpty", text, { retry: "never" });
}

async function open(kind: EngineKind, path: string): Promise<Engine> {
  try {
    if (kind === "rocksdb") return await (await import("./rocksdb.js")).RocksEngine.open(path);
    return await (await import("./leveldb.js")).LevelEngine.open(path);
  } catch (error) {
    if (error instanceof RaftwerkError) throw error;
    const other = kind === "rocksdb" ? "leveldb" : "rocksdb";
    const text = `${kind} does not load here: ${(error as Error).message}; try --engine ${other} with a new --data-dir`;
    throw new RaftwerkError("engineUnavailable", text, { retry: "never", cause: error });
  }
}

async function choose(kind: "auto" | EngineKind): Promise<{ kind: EngineKind; reason: string }> {
  if (kind !== "auto") return { kind, reason: "chosen by --engine" };
  const failure = await probeRocks();
  if (failure === undefined) return { kind: "rocksdb", reason: "its binary works on this machine" };
  return { kind: "leveldb", reason: `RocksDB does not work on this machine (${failure})` };
}

const PROBE_TIMEOUT_MS = 15_000;
/** Opens, writes, reads and closes; plain JavaScript, run by `node -e`, without a file of its own. */
const PROBE = `
const binding = require("@nxtedition/rocksdb/binding.js");
const db = binding.db_init(process.argv[1]);
binding.db_open(db, { createIfMissing: true }, (error) => {
  if (error) throw error;
  const batch = binding.batch_init();
  binding.batch_put(batch, Buffer.from("a"), Buffer.from("b"), {});
  binding.batch_write(db, batch, { sync: true });
  const [value] = binding.db_get_many_sync(db, [Buffer.from("a")], {});
  if (String(value) !== "b") throw new Error("read something else than was written");
  binding.db_close(db, () => process.exit(0));
});`;

/** Undefined when RocksDB works; else what happened. */
function probeRocks(): Promise<string | undefined> {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-probe-"));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["-e", PROBE, directory], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: PROBE_TIMEOUT_MS,
    });
    let errorText = "";
    child.stderr.on("data", (chunk: Buffer) => {
      errorText += chunk.toString();
    });
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => {
      rmSync(directory, { recursive: true, force: true });
      if (code === 0) return resolve(undefined);
      const [reason] = errorText.split("\n").filter((line) => line.includes("Error"));
      resolve(reason ?? (signal === null ? `exit code ${code}` : `killed by ${signal}`));
    });
  });
}
