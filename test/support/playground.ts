/** `raftwerk playground` as a user starts it, and what it says and writes down. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "../../base/index.js";

export const PROGRAM: string = new URL("../../bin/raftwerk.js", import.meta.url).pathname;

export interface PlaygroundManifest {
  readonly pd: { readonly pid: number; readonly clientUrl: string };
  readonly pds: readonly { readonly pid: number; readonly clientUrl: string }[];
  readonly etcds: readonly { readonly pid: number; readonly clientUrl: string }[];
  readonly stores: readonly {
    readonly id: number;
    readonly pid: number;
    readonly addr: string;
    readonly statusAddr: string;
  }[];
}

export class Playground {
  readonly child: ChildProcess;
  readonly gone: Promise<number | null>;
  output = "";
  readonly #startedByHand: ChildProcess[] = [];

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [PROGRAM, "playground", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout?.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    this.child.stderr?.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    this.gone = new Promise((resolve) => this.child.on("exit", resolve));
  }

  manifest(directory: string): PlaygroundManifest {
    return JSON.parse(readFileSync(join(directory, "playground.json"), "utf8")) as PlaygroundManifest;
  }

  async until(pattern: RegExp, timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!pattern.test(this.output)) {
      if (performance.now() > deadlineMs || this.child.exitCode !== null) {
        throw new Error(`no ${pattern} in:\n${this.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  /** `kill -9`, and what the playground then says about starting it again. */
  async kill(pid: number): Promise<string> {
    const told = new RegExp(`\\(pid ${pid}\\)[^]*?start it again with:\\n +(.+)\\n`);
    process.kill(pid, "SIGKILL");
    await this.until(told, 10_000);
    return must(told.exec(this.output)?.[1], "the command is not told");
  }

  /** As a user pastes it into a shell, or with arguments of `raftwerk`. It ends with the playground at the latest. */
  startByHand(command: string | readonly string[]): ChildProcess {
    const child =
      typeof command === "string"
        ? spawn("sh", ["-c", command.replace(/^npx raftwerk/, `exec ${process.execPath} ${PROGRAM}`)], {
            stdio: "ignore",
          })
        : spawn(process.execPath, [PROGRAM, ...command], { stdio: "ignore" });
    this.#startedByHand.push(child);
    return child;
  }

  /** Ctrl-C; what was started by hand is stopped first. */
  async close(): Promise<void> {
    const ended = this.#startedByHand
      .filter((child) => child.exitCode === null && child.signalCode === null)
      .map((child) => {
        const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
        child.kill("SIGTERM");
        return gone;
      });
    const late = setTimeout(() => {
      for (const child of [...this.#startedByHand, this.child]) child.kill("SIGKILL");
    }, 20_000);
    await Promise.all(ended);
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGINT");
    await this.gone;
    clearTimeout(late);
  }
}
