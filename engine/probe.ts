/**
 * Tries RocksDB's prebuilt binary in a child process: on a processor that is too old for it, it ends the
 * process that loads it. Takes about as long as a start of node, so it is done once per data directory,
 * before that is stamped.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TIMEOUT_MS = 15_000;
/** Opens, writes, reads and closes; plain JavaScript, run by `node -e`, without a file of its own. */
const PROGRAM = `
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

/** Undefined when RocksDB works here; else what happened. `program` is for tests. */
export function probeRocks(program = PROGRAM): Promise<string | undefined> {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-probe-"));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["-e", program, directory], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: TIMEOUT_MS,
    });
    let errorText = "";
    child.stderr.on("data", (chunk: Buffer) => {
      errorText += chunk.toString();
    });
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => {
      rmSync(directory, { recursive: true, force: true });
      if (code === 0) return resolve(undefined);
      const reason = errorText.split("\n").find((line) => line.includes("Error"));
      resolve(reason ?? (signal === null ? `exit code ${code}` : `killed by ${signal}`));
    });
  });
}
