/**
 * A real etcd cluster for tests: processes of Debian's `etcd-server`, each of which may be killed, stopped for a while
 * and started again on its directory.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { must } from "../../base/index.js";
import { freePort } from "./process-cluster.js";

interface Node {
  readonly name: string;
  readonly clientUrl: string;
  readonly args: readonly string[];
  process: ChildProcess | undefined;
  errorText: string;
}

export function etcdVersion(): string | undefined {
  try {
    return /etcd Version: (\S+)/.exec(execFileSync("etcd", ["--version"], { encoding: "utf8" }))?.[1];
  } catch {
    return undefined;
  }
}

export class EtcdCluster {
  readonly directory = mkdtempSync(join(tmpdir(), "raftwerk-etcd-"));
  readonly #nodes: Node[] = [];

  private constructor() {}

  /** Ready when it takes a write. */
  static async start(size = 1, flags: readonly string[] = []): Promise<EtcdCluster> {
    const cluster = new EtcdCluster();
    try {
      await cluster.#start(size, flags);
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  async #start(size: number, flags: readonly string[]): Promise<void> {
    const ports: { client: number; peer: number }[] = [];
    for (let i = 0; i < size; i++) ports.push({ client: await freePort(), peer: await freePort() });
    const initial = ports.map(({ peer }, i) => `etcd${i + 1}=http://127.0.0.1:${peer}`).join(",");
    for (const [i, { client, peer }] of ports.entries()) {
      const name = `etcd${i + 1}`;
      const clientUrl = `http://127.0.0.1:${client}`;
      const peerUrl = `http://127.0.0.1:${peer}`;
      const args = [
        ...["--name", name, "--data-dir", join(this.directory, name)],
        ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
        ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
        ...["--initial-cluster", initial, "--initial-cluster-state", "new", "--logger", "zap"],
        ...flags,
      ];
      this.#nodes.push({ name, clientUrl, args, process: undefined, errorText: "" });
    }
    for (const { name } of this.#nodes) this.restart(name);
    await this.waitUntilReady();
  }

  get names(): string[] {
    return this.#nodes.map(({ name }) => name);
  }

  get urls(): string[] {
    return this.#nodes.map(({ clientUrl }) => clientUrl);
  }

  async waitUntilReady(timeoutMs = 20_000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      for (const { clientUrl } of this.#nodes) if (await isHealthy(clientUrl)) return;
      if (performance.now() > deadlineMs) {
        const words = this.#nodes.map(({ name, errorText }) => `${name}: ${errorText.slice(-500)}`);
        throw new Error(`etcd is not ready\n${words.join("\n")}`);
      }
      await delay(50);
    }
  }

  /** The name of the node that leads, as the nodes themselves say. */
  async leader(): Promise<string> {
    for (const { name, clientUrl } of this.#nodes) {
      try {
        const answer = await fetch(`${clientUrl}/v3/maintenance/status`, {
          method: "POST",
          body: "{}",
          signal: AbortSignal.timeout(1_000),
        });
        const status = (await answer.json()) as { leader?: string; header?: { member_id?: string } };
        if (status.leader !== undefined && status.leader === status.header?.member_id) return name;
      } catch {
        // Down or stopped: another one leads.
      }
    }
    throw new Error("no etcd node leads");
  }

  async kill(name: string, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = must(this.#node(name).process, `${name} was never started`);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await gone;
  }

  restart(name: string): void {
    const node = this.#node(name);
    const child = spawn("etcd", [...node.args], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, ETCDCTL_API: "3", ETCD_UNSUPPORTED_ARCH: process.arch },
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      node.errorText = (node.errorText + chunk.toString()).slice(-4_000);
    });
    child.on("error", (error) => {
      node.errorText += error.message;
    });
    node.process = child;
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#nodes.filter((node) => node.process?.pid !== undefined).map(({ name }) => this.kill(name)),
    );
    rmSync(this.directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #node(name: string): Node {
    return must(
      this.#nodes.find((node) => node.name === name),
      () => `no etcd node named ${name}`,
    );
  }
}

async function isHealthy(clientUrl: string): Promise<boolean> {
  try {
    const answer = await fetch(`${clientUrl}/health`, { signal: AbortSignal.timeout(1_000) });
    return ((await answer.json()) as { health?: string }).health === "true";
  } catch {
    return false;
  }
}
