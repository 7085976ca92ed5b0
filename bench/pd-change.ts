/**
 * A change of PD's leader with many regions: two PDs and an etcd of their own as processes, filled with made-up
 * regions. From the order to resign until the new leader answers a lookup, and the CPU that all of them use meanwhile.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER } from "../base/index.js";
import { LocalCluster } from "../deploy/local-cluster.js";
import { PdClient } from "../pd-client/index.js";
import { fixed, word } from "./command-word.js";
import { FLAGS } from "./flags.js";
import { freePorts } from "./free-ports.js";
import { distribution } from "./latencies.js";
import { processUse, until } from "./local.js";
import {
  FIRST_PEER,
  FIRST_REGION,
  heartbeat,
  inPieces,
  madeKey,
  madeRegion,
  sendAll,
} from "./made-heartbeats.js";
import { count, progress } from "./output.js";
import { settled } from "./settled.js";

const PDS = 2;
const ASK_MS = 5;
/** A leader that has just been elected is not asked to go again at once. */
const BETWEEN_MS = 2_000;

interface Change {
  readonly pauseMs: number;
  /** Of each PD and of etcd, in that order. */
  readonly cpuMs: readonly number[];
}

class TwoPds {
  readonly #directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-pds-"));
  readonly #network = new GrpcNetwork();
  readonly #local: LocalCluster;
  readonly #client: PdClient;
  readonly #etcds: number;

  constructor(port: number, etcds: number) {
    this.#etcds = etcds;
    this.#local = new LocalCluster({
      dataDir: this.#directory,
      host: "127.0.0.1",
      pdPort: port,
      storePort: 0,
      statusPort: 0,
      etcdPort: port + PDS,
      stores: 0,
      pds: PDS,
      etcds,
      engine: "auto",
      logLevel: "info",
      program: process.argv[1] as string,
      onChildExit: (child, how) => process.stderr.write(`${child.title} ${how}\n`),
    });
    const endpoints = this.#local.pdAddresses;
    this.#client = new PdClient(nodeEnv(SILENT_LOGGER), this.#network, { endpoints });
  }

  async start(): Promise<void> {
    await this.#local.start();
    await settled<void>((done) => this.#client.connect((error) => done(error, undefined)));
  }

  async fill(regions: number): Promise<void> {
    const client = this.#client;
    const store = { id: 1, address: "127.0.0.1:1", version: "8.5.0" };
    const whole = {
      id: FIRST_REGION,
      regionEpoch: { confVer: 1, version: 1 },
      peers: [{ id: FIRST_PEER, storeId: 1 }],
    };
    await settled((done) => client.bootstrap(store, whole, done));
    const messages = Array.from({ length: regions }, (_, i) =>
      heartbeat(client.clusterId, madeRegion(i, regions, 1, 1), i, regions, "idle"),
    );
    const session = connect(`http://${client.leaderAddress}`);
    await sendAll(session, inPieces(messages));
    session.destroy();
  }

  async change(regions: number): Promise<Change> {
    const client = this.#client;
    await pause(BETWEEN_MS);
    const old = client.leaderAddress;
    const resign = async (): Promise<boolean> =>
      (await fetch(`http://${old}/pd/api/v1/leader/resign`, { method: "POST" })).ok;
    // Refused as long as the other one does not have all regions.
    let [before, orderedMs] = [this.#cpuMs(), 0];
    await until(
      async () => {
        [before, orderedMs] = [this.#cpuMs(), performance.now()];
        return resign();
      },
      "the other PD to be ready",
      30_000,
      100,
    );
    while (client.leaderAddress === old) {
      await settled<void>((done) => client.refreshMembers(() => done(undefined, undefined)));
      if (client.leaderAddress === old) await pause(ASK_MS);
    }
    const found = await settled((done) => client.getRegion(madeKey(regions - 1, regions), done));
    const pauseMs = performance.now() - orderedMs;
    if (found === null) throw new Error("the new leader does not know a region");
    return { pauseMs, cpuMs: this.#cpuMs().map((ms, i) => ms - (before[i] as number)) };
  }

  #cpuMs(): number[] {
    const [etcds, pds] = [
      this.#local.children.slice(0, this.#etcds),
      this.#local.children.slice(this.#etcds),
    ];
    const of = (pid: number): number => (processUse(pid)?.cpuSeconds ?? 0) * 1_000;
    return [...pds.map(({ pid }) => of(pid)), etcds.reduce((sum, { pid }) => sum + of(pid), 0)];
  }

  async stop(): Promise<void> {
    this.#client.close();
    this.#network.close();
    await this.#local.stop();
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

export function registerPdChange(bench: Command): void {
  word(
    bench,
    "pd-change",
    "two PDs over a real etcd: lookups while the leadership passes on with many regions",
    [FLAGS.regions("100000"), FLAGS.rounds("5"), ["--etcds <n>", "nodes of etcd", "1"]],
    async (number) => {
      const [regions, etcds] = [number("regions"), number("etcds")];
      const pds = new TwoPds(await freePorts(PDS + 2 * etcds), etcds);
      const changes: Change[] = [];
      try {
        await pds.start();
        progress(`filling PD with ${regions} regions`);
        await pds.fill(regions);
        for (let i = 0; i < number("rounds"); i++) changes.push(await pds.change(regions));
      } finally {
        await pds.stop();
      }
      const pauses = distribution(changes.map(({ pauseMs }) => pauseMs));
      const cpu = (i: number): number => distribution(changes.map(({ cpuMs }) => cpuMs[i] ?? 0)).p50;
      const pdCpu = distribution(changes.map(({ cpuMs }) => (cpuMs[0] ?? 0) + (cpuMs[1] ?? 0))).p50;
      return {
        head: ["regions", "changes", "pause ms, median", "longest", "CPU ms of both PDs, median", "of etcd"],
        rows: [
          [
            count(regions),
            changes.length,
            fixed(pauses.p50),
            fixed(pauses.max),
            fixed(pdCpu, 0),
            fixed(cpu(2), 0),
          ],
        ],
        figures: { pauseMsP50: pauses.p50, pauseMsMax: pauses.max, pdCpuMs: pdCpu },
        all: { regions, changes, pauseMsP50: pauses.p50, pauseMsMax: pauses.max, pdCpuMs: pdCpu },
      };
    },
  );
}
