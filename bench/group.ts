/**
 * `raftwerk bench group`: three members as processes of this machine, disk with fsync, gRPC between them, commands of
 * 100 bytes proposed in the leader's process.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchOrder, BenchReport, MemberArgs } from "./group-member.js";
import type { Distribution } from "./latencies.js";

export interface GroupFigure {
  readonly name: string;
  readonly perSecond: number;
  readonly latency: Distribution | undefined;
  readonly leaderCpu: number;
  readonly commandsPerEntry: number;
  readonly mark: string;
}

export interface GroupBenchOptions {
  readonly seconds: number;
  readonly bytes: number;
  readonly engine: MemberArgs["engine"];
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer();
          server.listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

class Members {
  readonly directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-group-"));
  readonly #children: ChildProcess[] = [];
  #leader: ChildProcess | undefined;

  async start(engine: MemberArgs["engine"]): Promise<void> {
    const ports = await freePorts(3);
    const members = Object.fromEntries(ports.map((port, i) => [i + 1, `127.0.0.1:${port}`]));
    // The command may run from its bundle, beside the folders of compiled files.
    const at = import.meta.url.includes("/bundle/") ? "../bench/group-member.js" : "./group-member.js";
    const script = fileURLToPath(new URL(at, import.meta.url));
    const ready = [1, 2, 3].map((id) => {
      const args: MemberArgs = { id, members, directory: join(this.directory, String(id)), engine };
      const child = fork(script, [JSON.stringify(args)]);
      this.#children.push(child);
      return new Promise<void>((resolve, reject) => {
        child.on("message", (report: BenchReport) => {
          if (report.kind === "done") return;
          if (report.isLeader) this.#leader = child;
          if (report.kind === "ready") resolve();
        });
        child.once("exit", (code) => reject(new Error(`member ${id} ended with ${String(code)}`)));
      });
    });
    await Promise.all(ready);
  }

  /** The leader runs the order. */
  async run(order: BenchOrder): Promise<Extract<BenchReport, { kind: "done" }>> {
    const deadline = performance.now() + 20_000;
    while (this.#leader === undefined) {
      if (performance.now() > deadline) throw new Error("no leader within 20 s");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const leader = this.#leader;
    return new Promise((resolve, reject) => {
      const listen = (report: BenchReport): void => {
        if (report.kind !== "done") return;
        leader.off("message", listen);
        resolve(report);
      };
      leader.on("message", listen);
      leader.once("exit", (code) => reject(new Error(`the leader ended with ${String(code)}`)));
      leader.send(order);
    });
  }

  async stop(): Promise<void> {
    const ended = this.#children.map(
      (child) =>
        new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve(0))),
    );
    for (const child of this.#children) if (child.connected) child.send({ kind: "stop" });
    const timer = setTimeout(() => this.#children.forEach((child) => child.kill("SIGKILL")), 5_000);
    await Promise.all(ended);
    clearTimeout(timer);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export async function groupFigures({ seconds, bytes, engine }: GroupBenchOptions): Promise<GroupFigure[]> {
  const members = new Members();
  const figures: GroupFigure[] = [];
  const ms = seconds * 1000;
  const measure = async (name: string, mark: string, order: BenchOrder): Promise<void> => {
    const { perSecond, latency, cpu, commandsPerEntry } = await members.run(order);
    figures.push({ name, mark, perSecond, latency, leaderCpu: cpu, commandsPerEntry });
  };
  try {
    await members.start(engine);
    const warmUpMs = Math.min(2_000, ms / 2);
    for (const [inFlight, mark] of [
      [1, "etcd's rate"],
      [64, ">= 10,000"],
      [256, ">= 25,000"],
      [1024, ""],
    ] as const) {
      await measure(`proposals, ${inFlight} in flight`, mark, {
        kind: "propose",
        inFlight,
        bytes,
        warmUpMs,
        ms,
      });
    }
    await measure("linearizable reads, 64 in flight", "", { kind: "read", inFlight: 64, warmUpMs, ms });
    await measure("local reads", ">= 200,000", { kind: "readLocal", ms: Math.min(ms, 2_000) });
  } finally {
    await members.stop();
  }
  return figures;
}
