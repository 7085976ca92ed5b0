// A cluster of real processes for scripts/test-clients.mjs: PD and three stores on free ports, in a directory of its own.
import { spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const READY_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 15_000;

const isFree = (port) =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

/** The first of several consecutive free ports, below the range of outgoing connections. */
async function freePorts(count) {
  for (;;) {
    const first = randomInt(11_000, 31_000);
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)));
    if (free.every(Boolean)) return first;
  }
}

/** Whether a process runs that was started with all of these words. */
function runs(pid, words) {
  const { stdout } = spawnSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" });
  return words.every((word) => (stdout ?? "").includes(word));
}

export class Cluster {
  #directory;
  #child;
  #output = "";
  #gone;

  constructor(directory) {
    this.#directory = directory;
  }

  async start() {
    const port = await freePorts(20);
    this.pd = `127.0.0.1:${port}`;
    const args = ["bin/raftwerk.js", "playground", "--data-dir", this.#directory, "--stores", "3"];
    args.push(
      "--pd-port",
      String(port),
      "--store-port",
      String(port + 1),
      "--status-port",
      String(port + 10),
    );
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      detached: true,
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    this.#gone = new Promise((resolve) => child.on("exit", resolve));
    await new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no line \`ready\`:\n${this.#output}`)),
        READY_TIMEOUT_MS,
      );
      child.stdout.on("data", (chunk) => {
        this.#output += chunk;
        if (!/^ready$/m.test(this.#output)) return;
        clearTimeout(timer);
        resolve();
      });
      this.#gone.then((code) => reject(new Error(`the cluster ended with ${code}:\n${this.#output}`)));
    });
  }

  /** What `playground.json` says: ids, process ids, addresses. */
  get description() {
    const file = join(this.#directory, "playground.json");
    return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { stores: [] };
  }

  /** Kills a store's process as a power cut would; resolves with the command that starts it again. */
  async killStore(index) {
    const store = this.description.stores[index];
    process.kill(store.pid, "SIGKILL");
    for (let waited = 0; waited < 10_000; waited += 50) {
      const command = new RegExp(`^ *npx raftwerk (store .*--addr ${store.addr} .*)$`, "m").exec(
        this.#output,
      );
      if (command !== null) return command[1].split(" ");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the playground does not say how to start store ${store.addr} again:\n${this.#output}`);
  }

  #restarted = [];

  startAgain(args) {
    const child = spawn(process.execPath, ["bin/raftwerk.js", ...args], {
      cwd: ROOT,
      stdio: "ignore",
    });
    this.#restarted.push(child);
  }

  /** Stops everything: politely, then by force, also what the playground left behind. */
  async stop() {
    for (const child of this.#restarted) child.kill("SIGTERM");
    if (this.#child === undefined) return;
    this.#child.kill("SIGINT");
    const timer = setTimeout(() => this.kill(), STOP_TIMEOUT_MS);
    await this.#gone;
    clearTimeout(timer);
    this.kill();
  }

  /** By force, at once. */
  kill() {
    for (const child of this.#restarted) child.kill("SIGKILL");
    const { pd, stores } = this.description;
    const pids = [this.#child?.pid, pd?.pid, ...stores.map((store) => store.pid)];
    for (const pid of pids) {
      if (pid === undefined || !runs(pid, ["raftwerk.js", this.#directory])) continue;
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended between the look and the signal.
      }
    }
  }
}
