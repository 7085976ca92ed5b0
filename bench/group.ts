/**
 * `raftwerk bench group`: three members as processes of this machine, disk with fsync, gRPC between them, commands of
 * 100 bytes proposed in the leader's process.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchOrder, BenchReport, MemberArgs } from "./group-member.js";
import { EtcdCluster } from "./etcd-target.js";
import { freePorts } from "./free-ports.js";
import type { Distribution } from "./latencies.js";
import { spread } from "./peers.js";
import { closedLoop, type LoadFigure } from "./target.js";

export interface GroupFigure {
  readonly name: string;
  readonly perSecond: number;
  readonly latency: Distribution | undefined;
  /** Undefined: not of ours. */
  readonly leaderCpu: number | undefined;
  readonly commandsPerEntry: number | undefined;
  readonly mark: string;
}

export interface GroupBenchOptions {
  readonly seconds: number;
  readonly bytes: number;
  readonly engine: MemberArgs["engine"];
  /** Beside a real etcd of three nodes, in turns. */
  readonly etcd: boolean;
}

/** Of one turn of a side with `etcd`: short, so that what disturbs the machine strikes both sides alike. */
const TURN_MS = 1_000;

class Members {
  readonly directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-group-"));
  readonly #children: ChildProcess[] = [];
  #leader: ChildProcess | undefined;

  async start(engine: MemberArgs["engine"]): Promise<void> {
    const first = await freePorts(3);
    const members = Object.fromEntries([0, 1, 2].map((i) => [i + 1, `127.0.0.1:${first + i}`]));
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
  async run(order: BenchOrder): Promise<Done> {
    const deadline = performance.now() + 20_000;
    while (this.#leader === undefined) {
      if (performance.now() > deadline) throw new Error("no leader within 20 s");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const leader = this.#leader;
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null): void =>
        reject(new Error(`the leader ended with ${String(code)}`));
      const listen = (report: BenchReport): void => {
        if (report.kind !== "done") return;
        leader.off("message", listen);
        leader.off("exit", onExit);
        resolve(report);
      };
      leader.on("message", listen);
      leader.once("exit", onExit);
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

/** Proposals one at a time, ours and etcd's in turns: medians over the turns. */
async function besideEtcd(members: Members, seconds: number, bytes: number): Promise<GroupFigure[]> {
  const etcd = await EtcdCluster.start();
  try {
    const target = await etcd.leaderTarget();
    const shape = { kind: "put", inFlight: 1, records: 1_000, valueBytes: bytes, rows: 1 } as const;
    const warmUpMs = TURN_MS / 4;
    const turns: { readonly ours: Done; readonly theirs: LoadFigure }[] = [];
    // The first two warm up both sides.
    for (let turn = -2; turn < seconds; turn++) {
      const ours = await members.run({ kind: "propose", inFlight: 1, bytes, warmUpMs, ms: TURN_MS });
      const theirs = await closedLoop(target, shape, TURN_MS / 1000, warmUpMs / 1000);
      if (turn >= 0) turns.push({ ours, theirs });
    }
    const figure = (name: string, rates: number[], latencies: (Distribution | undefined)[]): GroupFigure => {
      const { median, min, max } = spread(rates);
      const over = (of: (latency: Distribution) => number): number =>
        spread(latencies.flatMap((latency) => (latency === undefined ? [] : [of(latency)]))).median;
      return {
        name: `${name} (${Math.round(min)} to ${Math.round(max)})`,
        perSecond: median,
        mark: "",
        latency: { p50: over(({ p50 }) => p50), p99: over(({ p99 }) => p99), max: over((each) => each.max) },
        leaderCpu: undefined,
        commandsPerEntry: undefined,
      };
    };
    const ratio = spread(turns.map(({ ours, theirs }) => ours.perSecond / theirs.itemsPerSecond)).median;
    const [ours, theirs] = [turns.map((turn) => turn.ours), turns.map((turn) => turn.theirs)];
    return [
      {
        ...figure(
          "proposals, 1 in flight",
          ours.map((each) => each.perSecond),
          ours.map((each) => each.latency),
        ),
        mark: `${ratio.toFixed(2)} times etcd's`,
      },
      figure(
        `etcd ${etcd.version}, puts at its leader`,
        theirs.map((each) => each.itemsPerSecond),
        theirs.map((each) => each.latency),
      ),
    ];
  } finally {
    await etcd.stop();
  }
}

type Done = Extract<BenchReport, { kind: "done" }>;

const figureOf = (
  name: string,
  mark: string,
  { perSecond, latency, cpu, commandsPerEntry }: Done,
): GroupFigure => ({ name, mark, perSecond, latency, leaderCpu: cpu, commandsPerEntry });

const IN_FLIGHT = [
  [1, "etcd's rate"],
  [64, ">= 10,000"],
  [256, ">= 25,000"],
  [1024, ""],
] as const;

export async function groupFigures({
  seconds,
  bytes,
  engine,
  etcd,
}: GroupBenchOptions): Promise<GroupFigure[]> {
  const members = new Members();
  const figures: GroupFigure[] = [];
  const ms = seconds * 1000;
  const measure = async (name: string, mark: string, order: BenchOrder): Promise<void> => {
    figures.push(figureOf(name, mark, await members.run(order)));
  };
  try {
    await members.start(engine);
    if (etcd) return await besideEtcd(members, seconds, bytes);
    const warmUpMs = Math.min(2_000, ms / 2);
    for (const [inFlight, mark] of IN_FLIGHT) {
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
