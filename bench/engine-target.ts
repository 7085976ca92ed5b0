/**
 * The engine alone as a side of `raftwerk bench peers`: the same records in this process, read by nobody but one
 * iteration at a time through the same binding. It says what a scan would give without network, Raft and regions.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, RaftwerkError, SILENT_LOGGER } from "../base/index.js";
import { openEngine } from "../engine/index.js";
import { processUse } from "./local.js";
import type { Target } from "./target.js";

export class EngineAlone {
  readonly #engine: Engine;
  readonly #directory: string;

  private constructor(engine: Engine, directory: string) {
    this.#engine = engine;
    this.#directory = directory;
  }

  static async start(): Promise<EngineAlone> {
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-engine-"));
    const { engine } = await openEngine({ directory, kind: "auto", role: "store", log: SILENT_LOGGER });
    return new EngineAlone(engine, directory);
  }

  get cpuSeconds(): number {
    return processUse(process.pid)?.cpuSeconds ?? 0;
  }

  target(): Target {
    const engine = this.#engine;
    const unknown = (): never => {
      throw new RaftwerkError("invalidArgument", "the engine alone is asked for scans", { retry: "never" });
    };
    return {
      put: unknown,
      get: unknown,
      scan: (start, end, limit) =>
        new Promise((resolve, reject) =>
          engine.scan("default", { start, end, limit }, (error, result) =>
            error === undefined ? resolve(result.rows.length) : reject(error),
          ),
        ),
      batchPut: (pairs) => {
        const batch = engine.batch();
        for (const { key, value } of pairs) batch.put("default", key, value);
        return new Promise((resolve, reject) =>
          engine.write(batch, { sync: false }, (error) => (error === undefined ? resolve() : reject(error))),
        );
      },
    };
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#engine.close(() => resolve()));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
