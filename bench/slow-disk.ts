/**
 * A disk that is slowed from outside: a module that Node loads first waits before each synced write of the RocksDB
 * binding as long as a file exists. The program itself knows nothing of it.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withNodeOptions } from "./probe.js";

const script = (flag: string, slowMs: number): string => `
const { existsSync } = require("node:fs");
const Module = require("node:module");
const load = Module._load;
const cell = new Int32Array(new SharedArrayBuffer(4));
const all = ${JSON.stringify(flag)};
const own = all + "." + process.pid;
Module._load = function (request, ...rest) {
  const loaded = load.call(this, request, ...rest);
  if (request !== "@nxtedition/rocksdb/binding.js" || loaded.isSlowed) return loaded;
  return new Proxy(loaded, {
    get(target, name) {
      if (name === "isSlowed") return true;
      if (name !== "batch_write") return target[name];
      return (db, batch, options) => {
        if (options.sync && (existsSync(all) || existsSync(own))) Atomics.wait(cell, 0, 0, ${slowMs});
        return target.batch_write(db, batch, options);
      };
    },
  });
};
`;

export class SlowDisk {
  readonly #flag: string;

  private constructor(flag: string) {
    this.#flag = flag;
  }

  /** Processes that are started within `run` can be slowed. */
  static async around<T>(slowMs: number, run: (disk: SlowDisk) => Promise<T>): Promise<T> {
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-slow-"));
    const flag = join(directory, "slow");
    const path = join(directory, "slow-disk.cjs");
    writeFileSync(path, script(flag, slowMs));
    try {
      return await withNodeOptions(`--require ${path}`, () => run(new SlowDisk(flag)));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  /** From now on each synced write waits, of one process or of all. */
  slow(pid?: number): void {
    writeFileSync(this.#path(pid), "");
  }

  recover(pid?: number): void {
    rmSync(this.#path(pid), { force: true });
  }

  #path(pid: number | undefined): string {
    return pid === undefined ? this.#flag : `${this.#flag}.${pid}`;
  }
}
