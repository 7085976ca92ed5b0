/**
 * Processes that run seeds. The sources are bundled into one file first: started by a loader of TypeScript, functions
 * carry names and imports are looked up at each use, which costs half the speed. Into the bundle a bug may be
 * planted.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import type { SeedOrder, SeedSummary } from "./worker.js";

export interface PlantedBug {
  readonly bug: string;
  /** From the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const ROOT = join(import.meta.dirname, "..", "..");

/** Replaces the text while the file is loaded; fails when the text is not there exactly once. */
function planting({ bug, file, find, replace }: PlantedBug): Plugin {
  const path = join(ROOT, file);
  const source = readFileSync(path, "utf8");
  const matches = source.split(find).length - 1;
  if (matches !== 1) throw new Error(`"${bug}" matches ${matches} times in ${file}, not once`);
  return {
    name: "planted bug",
    setup(at) {
      at.onLoad({ filter: /\.ts$/ }, (loaded) =>
        loaded.path === path ? { contents: source.replace(find, () => replace), loader: "ts" } : undefined,
      );
    },
  };
}

/** The program that runs seeds, in a directory of its own. */
export class SeedProgram {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async build(bug?: PlantedBug): Promise<SeedProgram> {
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-seeds-"));
    await build({
      entryPoints: [join(import.meta.dirname, "worker.ts")],
      outfile: join(directory, "worker.mjs"),
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      logLevel: "silent",
      plugins: bug === undefined ? [] : [planting(bug)],
    });
    return new SeedProgram(directory);
  }

  start(): SeedProcess {
    return new SeedProcess(fork(join(this.#directory, "worker.mjs"), ["--worker"], { execArgv: [] }));
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export class SeedProcess {
  readonly #child: ChildProcess;
  #waiting: { resolve(summary: SeedSummary): void; reject(error: Error): void } | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (summary: SeedSummary) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(summary);
    });
    child.on("exit", (code) => this.#waiting?.reject(new Error(`a process of seeds ended with ${code}`)));
  }

  run(order: SeedOrder): Promise<SeedSummary> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#child.send(order);
    });
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}
