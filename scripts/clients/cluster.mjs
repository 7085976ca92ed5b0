// A cluster of real processes for scripts/test-clients.mjs: PD and three stores on free ports, in a directory of its own.
import { spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
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

  #storeConfig;

  /** `storeConfig`: TOML of the stores. */
  constructor(directory, storeConfig = "") {
    this.#directory = directory;
    this.#storeConfig = storeConfig;
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
    if (this.#storeConfig !== "") {
      mkdirSync(this.#directory, { recursive: true });
      const file = join(this.#directory, "store.toml");
      writeFileSync(file, this.#storeConfig);
      args.push("--store-config", file);
    }
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

  /** By address: the command of each server that was killed here, and its present process. */
  #again = new Map();

  /** The address of the store that leads the region of a key, as PD knows it. */
  async leaderOf(key) {
    const wanted = Buffer.from(key).toString("hex").toUpperCase();
    const { regions } = await (await fetch(`http://${this.pd}/pd/api/v1/regions`)).json();
    const region = regions.find(
      ({ start_key, end_key }) => start_key <= wanted && (end_key === "" || wanted < end_key),
    );
    return this.description.stores.find(({ id }) => id === region.leader.store_id).addr;
  }

  /** Kills the server at an address as a power cut would; `startAgain` starts it on its directory. */
  async kill9(address) {
    const known = this.#again.get(address);
    if (known !== undefined) {
      known.child.kill("SIGKILL");
      return;
    }
    const { pd, stores } = this.description;
    const { pid } = address === this.pd ? pd : stores.find(({ addr }) => addr === address);
    process.kill(pid, "SIGKILL");
    this.#again.set(address, { args: await this.#commandOf(address), child: undefined });
  }

  /** The playground says how to start a server again that has died. */
  async #commandOf(address) {
    const command = new RegExp(
      `^ *npx raftwerk (.*(?:--addr|--client-urls) (?:http://)?${address} .*)$`,
      "m",
    );
    for (let waited = 0; waited < 10_000; waited += 50) {
      const found = command.exec(this.#output);
      if (found !== null) return found[1].split(" ");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the playground does not say how to start ${address} again:\n${this.#output}`);
  }

  startAgain(address) {
    const server = this.#again.get(address);
    server.child = spawn(process.execPath, ["bin/raftwerk.js", ...server.args], {
      cwd: ROOT,
      stdio: "ignore",
    });
  }

  get #restarted() {
    return [...this.#again.values()].flatMap(({ child }) => child ?? []);
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
