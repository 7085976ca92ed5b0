/**
 * One process of the local cluster: its command line, its life, and the words with which a person starts it
 * again.
 */
import { type ChildProcess, spawn } from "node:child_process";

export interface ChildOptions {
  /** `PD`, `store 1`: for messages. */
  readonly title: string;
  /** Arguments after the program, without those that tie it to this parent. */
  readonly args: readonly string[];
  /** The script that node runs; a program of its own with `command`. */
  readonly program: string;
  /** A program of the machine, which knows nothing of its parent: it is stopped with the others. */
  readonly command?: string;
  readonly onExit: (how: string) => void;
}

const STOP_WAIT_MS = 6_000;

export class Child {
  readonly title: string;
  readonly args: readonly string[];
  readonly command: string | undefined;
  readonly #process: ChildProcess;
  #exited = false;
  #stopping = false;
  #errorText = "";
  readonly #gone: Promise<void>;

  constructor({ title, args, program, command, onExit }: ChildOptions) {
    this.title = title;
    this.args = args;
    // Its own process group: Ctrl-C reaches the parent alone, which stops the children in order. Standard input stays
    // open as long as the parent lives; its end is the children's sign that nobody watches over them any more.
    const own = [program, ...args, "--stop-on-stdin-end"];
    this.command = command;
    this.#process = spawn(command ?? process.execPath, command === undefined ? own : [...args], {
      stdio: ["pipe", "ignore", "pipe"],
      detached: true,
    });
    // A program that cannot be started ends at once.
    this.#process.on("error", (error) => {
      this.#errorText += error.message;
    });
    this.#process.stdin?.on("error", () => {});
    this.#process.stderr?.on("data", (chunk: Buffer) => {
      this.#errorText = (this.#errorText + chunk.toString()).slice(-4_000);
    });
    this.#gone = new Promise((resolve) => {
      this.#process.on("exit", (code, signal) => {
        this.#exited = true;
        resolve();
        if (!this.#stopping) onExit(signal === null ? `ended with code ${code}` : `was killed by ${signal}`);
      });
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get isRunning(): boolean {
    return !this.#exited;
  }

  /** What it last said on standard error: the reason why it ended, if it did. */
  get lastWords(): string {
    return this.#errorText.trim();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#exited) return;
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_WAIT_MS);
    await this.#gone;
    clearTimeout(timer);
  }
}
