/**
 * Region heartbeats over gRPC: a PD process of its own, this process as its stores. One RegionHeartbeat stream a store,
 * messages made beforehand and written in large pieces, so that what is counted is PD's CPU. Then the patrol goes over
 * the regions while timestamps are asked for: how long does one wait?
 */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type ClientHttp2Session } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER } from "../base/index.js";
import { Child } from "../deploy/child.js";
import { PdClient } from "../pd-client/index.js";
import { freePorts } from "./free-ports.js";
import { type Distribution, distribution } from "./latencies.js";
import { processUse } from "./local.js";
import {
  FIRST_PEER,
  FIRST_REGION,
  heartbeat,
  inPieces,
  type Load,
  madeRegion,
  sendAll,
} from "./made-heartbeats.js";
import { printFigures } from "./output.js";
import { settled } from "./settled.js";

interface StreamFlags {
  readonly regions: string;
  readonly stores: string;
  readonly rounds: string;
  readonly rest: string;
  readonly watch: string;
  readonly json?: boolean;
}

const REPLICAS = 3;
const HEARTBEAT_MS = 5_000;
const READY_MS = 30_000;

export function registerPdStream(bench: Command): void {
  bench
    .command("pd-stream")
    .description(
      "region heartbeats over gRPC into a PD process, and timestamps during the first ones and while its patrol goes round",
    )
    .option("--regions <n>", "regions of three peers", "100000")
    .option("--stores <n>", "stores, each with a stream", "12")
    .option("--rounds <n>", "rounds over all regions, each for unchanged and changed ones", "3")
    .option("--rest <seconds>", "after the heartbeats: a million regions take a minute to be stored", "1")
    .option("--watch <seconds>", "how long timestamps are asked for while the patrol goes round", "15")
    .option("--json", "print the figures as JSON")
    .action((flags: StreamFlags) => streamBench(flags));
}

/** The messages of each store's leaders, in pieces of many. */
function piecesOf(clusterId: bigint, regions: number, stores: number, load: Load): Buffer[][] {
  const messages: Uint8Array[][] = Array.from({ length: stores }, () => []);
  for (let i = 0; i < regions; i++) {
    const made = madeRegion(i, regions, stores, REPLICAS);
    messages[(made.leader.storeId ?? 0) - 1]?.push(heartbeat(clusterId, made, i, regions, load));
  }
  return messages.map(inPieces);
}

interface Round {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

class PdUnderLoad {
  readonly #child: Child;
  readonly #directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-pd-"));
  readonly #network = new GrpcNetwork();
  readonly #sessions: ClientHttp2Session[] = [];
  readonly #url: string;
  readonly client: PdClient;
  readonly stores: number;
  #beat: NodeJS.Timeout | undefined;

  constructor(port: number, stores: number) {
    this.stores = stores;
    this.#url = `http://127.0.0.1:${port}`;
    this.#child = new Child({
      title: "PD",
      args: ["pd", "--client-urls", this.#url, "--data-dir", this.#directory, "--log-level", "warn"],
      program: process.argv[1] as string,
      onExit: (how) => process.stderr.write(`PD ${how}\n`),
    });
    const endpoints = [`127.0.0.1:${port}`];
    this.client = new PdClient(nodeEnv(SILENT_LOGGER), this.#network, { endpoints });
  }

  async start(): Promise<void> {
    for (let waited = 0; ; waited += 100) {
      if (
        await fetch(`${this.#url}/pd/api/v1/ping`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        break;
      if (waited > READY_MS) throw new Error("PD did not start");
      await pause(100);
    }
    await settled<void>((done) => this.client.connect((error) => done(error, undefined)));
    const store = (id: number) => ({ id, address: `127.0.0.1:${id}`, version: "8.5.0", nodeState: 1 });
    const whole = {
      id: FIRST_REGION,
      regionEpoch: { confVer: 1, version: 1 },
      peers: [{ id: FIRST_PEER, storeId: 1 }],
    };
    await settled((done) => this.client.bootstrap(store(1), whole, done));
    for (let id = 1; id <= this.stores; id++)
      await settled<void>((done) => this.client.putStore(store(id), done));
    // Heartbeats and patrol do all of their work, and nothing is moved by it.
    const limits = "leader region merge hot-region replica".split(" ");
    const body = Object.fromEntries(limits.map((kind) => [`${kind}-schedule-limit`, 0]));
    await fetch(`${this.#url}/pd/api/v1/config`, { method: "POST", body: JSON.stringify(body) });
    await this.#heartbeats(0);
    for (let i = 0; i < this.stores; i++) this.#sessions.push(connect(this.#url));
  }

  /** As stores do, with what they have. */
  async #heartbeats(regions: number): Promise<void> {
    const each = Math.floor((regions * REPLICAS) / this.stores);
    for (let storeId = 1; storeId <= this.stores; storeId++) {
      const stats = { storeId, capacity: 2 ** 42, available: 2 ** 41, usedSize: 2 ** 40, regionCount: each };
      await settled((done) => this.client.storeHeartbeat(stats, done));
    }
  }

  keepBeating(regions: number): void {
    this.#beat = setInterval(() => void this.#heartbeats(regions).catch(() => {}), HEARTBEAT_MS);
  }

  use(): { readonly cpuSeconds: number; readonly residentBytes: number } {
    const use = processUse(this.#child.pid);
    if (use === undefined) throw new Error("PD is gone");
    return use;
  }

  async round(pieces: readonly Buffer[][], regions: number): Promise<Round> {
    const before = this.use().cpuSeconds;
    const startedMs = performance.now();
    await Promise.all(pieces.map((each, i) => sendAll(this.#sessions[i] as ClientHttp2Session, each)));
    const seconds = (performance.now() - startedMs) / 1_000;
    return {
      perSecond: Math.round(regions / seconds),
      cpuMicros: ((this.use().cpuSeconds - before) / regions) * 1e6,
    };
  }

  /** How long each of many timestamps took, one after the other, until the work is done. */
  async timestampsWhile<T>(
    work: Promise<T>,
  ): Promise<{ readonly result: T; readonly waits: Distribution & { readonly count: number } }> {
    const stream = this.client.openTso();
    const taken: number[] = [];
    let isOver = false;
    const over = work.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const askedMs = performance.now();
      await settled((done) => stream.get((error) => done(error, undefined)));
      taken.push(performance.now() - askedMs);
      await pause(1);
    }
    stream.close();
    return { result: await over, waits: { ...distribution(taken), count: taken.length } };
  }

  async patrolSeconds(): Promise<number> {
    const page = await (await fetch(`${this.#url}/metrics`)).text();
    return Number(/^pd_checker_patrol_regions_time(?:\{\})? ([0-9.e+-]+)$/m.exec(page)?.[1] ?? Number.NaN);
  }

  async stop(): Promise<void> {
    clearInterval(this.#beat);
    for (const session of this.#sessions) session.destroy();
    this.client.close();
    this.#network.close();
    await this.#child.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function streamBench(flags: StreamFlags): Promise<void> {
  const [regions, stores] = [Number(flags.regions), Number(flags.stores)];
  const pd = new PdUnderLoad(await freePorts(1), stores);
  try {
    await pd.start();
    const make = (load: Load): Buffer[][] => piecesOf(pd.client.clusterId, regions, stores, load);
    const empty = pd.use().residentBytes;
    const unchanged = make("idle");
    const { result: first, waits: flooded } = await pd.timestampsWhile(pd.round(unchanged, regions));
    pd.keepBeating(regions);
    const rounds: { unchanged: Round[]; changed: Round[] } = { unchanged: [], changed: [] };
    for (let i = 0; i < Number(flags.rounds); i++) rounds.unchanged.push(await pd.round(unchanged, regions));
    unchanged.length = 0;
    for (let i = 0; i < Number(flags.rounds); i++)
      rounds.changed.push(await pd.round(make(i % 2 === 0 ? "busy" : "changed"), regions));
    const best = (all: readonly Round[]): Round | undefined =>
      [...all].sort((left, right) => left.cpuMicros - right.cpuMicros)[0];
    await pause(Number(flags.rest) * 1_000);
    const { waits } = await pd.timestampsWhile(pause(Number(flags.watch) * 1_000));
    const figures = {
      regions,
      firstPerSecond: first.perSecond,
      firstCpuMicros: first.cpuMicros,
      unchangedPerSecond: best(rounds.unchanged)?.perSecond,
      unchangedCpuMicros: best(rounds.unchanged)?.cpuMicros,
      changedPerSecond: best(rounds.changed)?.perSecond,
      changedCpuMicros: best(rounds.changed)?.cpuMicros,
      residentBytesPerRegion: Math.round((pd.use().residentBytes - empty) / regions),
      patrolSeconds: await pd.patrolSeconds(),
      timestamps: waits.count,
      timestampMsP50: waits.p50,
      timestampMsP99: waits.p99,
      timestampMsMax: waits.max,
      floodedTimestampMsP99: flooded.p99,
      floodedTimestampMsMax: flooded.max,
    };
    printFigures(figures, flags.json === true);
  } finally {
    await pd.stop();
  }
}
