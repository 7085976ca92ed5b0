/** `raftwerk bench overload`: far more in flight than a slow disk takes. */
import { setTimeout as delay } from "node:timers/promises";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER } from "../base/index.js";
import type { AnswerTaker } from "../client/pending-answers.js";
import { StoreConnection } from "../client/store-connection.js";
import { regionOf } from "./disturb.js";
import { BenchCluster, type Say, until } from "./local.js";
import { SlowDisk } from "./slow-disk.js";
import { valueMaker } from "./target.js";
import { recordKey } from "./ycsb.js";

export interface OverloadOptions {
  readonly inFlight: number;
  readonly valueBytes: number;
  /** What each synced write waits while the disk is slow. */
  readonly slowMs: number;
  readonly seconds: number;
  readonly say: Say;
}

export interface OverloadFigure {
  readonly normalPerSecond: number;
  readonly slowPerSecond: number;
  readonly residentMibNormal: number;
  readonly residentMibMax: number;
  /** How often each reason was given with ServerIsBusy. */
  readonly busy: Readonly<Record<string, number>>;
  readonly otherErrors: Readonly<Record<string, number>>;
  /** From the disk's recovery until half a second went at 0.9 of the normal rate; undefined: not within 30 s. */
  readonly recoveryMs: number | undefined;
}

interface PeerAt {
  readonly id: number;
  readonly storeId: number;
}

/**
 * Commands straight to the store that leads, so that every refusal is seen; a refused one is sent again after the
 * hint, to the new leader if there is one.
 */
class Flood {
  done = 0;
  readonly busy = new Map<string, number>();
  readonly others = new Map<string, number>();
  #stopped = false;
  #underWay = 0;

  readonly #connections: ReadonlyMap<number, StoreConnection>;
  readonly #context: object;
  readonly #valueBytes: number;
  #leader: PeerAt;

  constructor(
    connections: ReadonlyMap<number, StoreConnection>,
    context: object,
    leader: PeerAt,
    valueBytes: number,
  ) {
    this.#connections = connections;
    this.#context = context;
    this.#leader = leader;
    this.#valueBytes = valueBytes;
  }

  start(inFlight: number): void {
    const value = valueMaker(this.#valueBytes);
    const one = (): void => {
      if (this.#stopped) return;
      this.#underWay++;
      const key = recordKey(Math.floor(Math.random() * 20_000));
      const context = { ...this.#context, peer: this.#leader };
      const command = { RawPut: { context, key, value: value() } };
      const connection = this.#connections.get(this.#leader.storeId) as StoreConnection;
      const answered: AnswerTaker["answered"] = (answer, broken) => {
        this.#underWay--;
        const error = answer?.RawPut?.regionError;
        if (answer !== undefined && error == null) {
          this.done++;
          one();
          return;
        }
        const next = error?.notLeader?.leader;
        if (next?.id !== undefined && next.id !== null && next.id > 0) {
          this.#leader = { id: next.id, storeId: next.storeId ?? 0 };
        }
        const isBusy = error?.serverIsBusy != null;
        const into = isBusy ? this.busy : this.others;
        const reason = (
          isBusy ? (error?.serverIsBusy?.reason ?? "") : (error?.message ?? broken?.message ?? "")
        ).replaceAll(/\d+/g, "N");
        into.set(reason, (into.get(reason) ?? 0) + 1);
        setTimeout(one, Math.max(20, error?.serverIsBusy?.backoffMs ?? 100));
      };
      connection.send(command, this.#valueBytes + 200, { answered });
    };
    for (let i = 0; i < inFlight; i++) one();
  }

  async perSecond(ms: number): Promise<number> {
    const [before, from] = [this.done, performance.now()];
    await delay(ms);
    return ((this.done - before) * 1000) / (performance.now() - from);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await until(() => this.#underWay === 0, "the last answers", 30_000).catch(() => {});
  }
}

export const overload = (options: OverloadOptions): Promise<OverloadFigure> =>
  SlowDisk.around(options.slowMs, (disk) => overloaded(options, disk));

async function overloaded(options: OverloadOptions, disk: SlowDisk): Promise<OverloadFigure> {
  let cluster: BenchCluster | undefined;
  const network = new GrpcNetwork();
  const connections = new Map<number, StoreConnection>();
  try {
    cluster = await BenchCluster.start();
    const region = await regionOf(cluster, recordKey(0));
    const stores = await cluster.get<{ stores: { store: { id: number; address: string } }[] }>("stores");
    const peer = region.peers.find(({ store_id }) => store_id === region.leader.store_id);
    const { epoch } = (await cluster.get<{ epoch: { conf_ver: number; version: number } }>(
      `region/id/${region.id}`,
    )) as { epoch: { conf_ver: number; version: number } };
    const env = nodeEnv(SILENT_LOGGER);
    for (const { store } of stores.stores) {
      connections.set(store.id, new StoreConnection(env, network, store.address, 0));
    }
    const context = {
      regionId: region.id,
      regionEpoch: { confVer: epoch.conf_ver, version: epoch.version },
    };
    const leader = { id: peer?.id ?? 0, storeId: peer?.store_id ?? 0 };
    return await phases(options, cluster, new Flood(connections, context, leader, options.valueBytes), disk);
  } finally {
    for (const connection of connections.values()) connection.close();
    network.close();
    await cluster?.stop();
  }
}

async function phases(
  { inFlight, seconds, slowMs, say }: OverloadOptions,
  cluster: BenchCluster,
  flood: Flood,
  disk: SlowDisk,
): Promise<OverloadFigure> {
  let residentMax = 0;
  const watch = setInterval(() => {
    residentMax = Math.max(residentMax, cluster.storeResidentBytes);
  }, 200);
  try {
    say(`${inFlight} in flight, disk as it is`);
    flood.start(inFlight);
    await delay(2_000);
    const normalPerSecond = await flood.perSecond(seconds * 1000);
    const residentNormal = residentMax;
    say(`each synced write waits ${slowMs} ms`);
    disk.slow();
    await delay(1_000);
    const slowPerSecond = await flood.perSecond(seconds * 1000);
    say("the disk recovers");
    disk.recover();
    const began = performance.now();
    let recoveryMs: number | undefined;
    while (performance.now() - began < 30_000) {
      if ((await flood.perSecond(500)) >= normalPerSecond * 0.9) {
        recoveryMs = performance.now() - began;
        break;
      }
    }
    await flood.stop();
    return {
      normalPerSecond,
      slowPerSecond,
      residentMibNormal: residentNormal / 2 ** 20,
      residentMibMax: residentMax / 2 ** 20,
      busy: Object.fromEntries(flood.busy),
      otherErrors: Object.fromEntries(flood.others),
      recoveryMs,
    };
  } finally {
    clearInterval(watch);
  }
}
