/**
 * `raftwerk bench micro`: parts of the engine alone, in this process. CPU time is counted, not time, so that other work
 * on the machine changes little; where a disk is in it, waiting for fsync is not.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, SeededRandom, SILENT_LOGGER } from "../base/index.js";
import { cachedRegion, RegionCache } from "../client/region-cache.js";
import { Cluster } from "../embed/index.js";
import { MemoryEngine, openEngine } from "../engine/index.js";
import { PdClient, RegionHeartbeats } from "../pd-client/index.js";
import { batchCommandsRequestCodec, batchRaftMessageCodec, metapb } from "../proto/index.js";
import { EMPTY_CONF_STATE, makeSnapshot, MemStorage, RawNode } from "../raft/index.js";
import { type Cost, costOf } from "./allocation.js";
import { splitKeys } from "./local.js";
import { load, raftwerkTarget, valueMaker } from "./target.js";
import { recordKey } from "./ycsb.js";

export interface MicroFigure extends Cost {
  readonly part: string;
  readonly name: string;
}

export interface MicroOptions {
  /** Of each measurement. */
  readonly seconds: number;
  /** Parts to measure; empty: all. */
  readonly only: readonly string[];
  /** Fewer records and regions: to see that it works. */
  readonly isSmall?: boolean;
  readonly onStep: (words: string) => void;
}

interface Size {
  readonly records: number;
  readonly regions: readonly number[];
}

type Part = (measure: Measure, size: Size) => Promise<void>;
type Measure = (
  name: string,
  work: (operations: number) => void | Promise<void>,
  perOperation?: number,
) => Promise<void>;

const FULL: Size = { records: 50_000, regions: [16, 4_096, 100_000] };
const SMALL: Size = { records: 2_000, regions: [16] };
const VALUE_BYTES = 100;

async function engineFigures(engine: Engine, measure: Measure, { records }: Size): Promise<void> {
  const value = valueMaker(VALUE_BYTES);
  const writes = async (batches: number, size: number, sync: boolean): Promise<void> => {
    for (let i = 0; i < batches; i++) {
      const batch = engine.batch();
      for (let at = 0; at < size; at++) batch.put("default", recordKey((i * size + at) % records), value());
      await new Promise<void>((resolve, reject) =>
        engine.write(batch, { sync }, (error) => (error === undefined ? resolve() : reject(error))),
      );
    }
  };
  await writes(records / 100, 100, false);
  const { kind } = engine;
  await measure(`${kind}: put, batches of 64, synced`, (n) => writes(n, 64, true), 64);
  await measure(`${kind}: put, batches of 64, not synced`, (n) => writes(n, 64, false), 64);
  const keys = Array.from({ length: 64 }, (_, i) => recordKey((i * 701) % records));
  await measure(
    `${kind}: get, 64 in one call`,
    (n) => {
      for (let i = 0; i < n; i++) engine.multiGet("default", keys);
    },
    64,
  );
  const range = { start: recordKey(4), end: undefined, limit: 100 };
  await measure(
    `${kind}: row of a scan of 100`,
    async (n) => {
      for (let i = 0; i < n; i++) {
        await new Promise<void>((resolve) => engine.scan("default", range, () => resolve()));
      }
    },
    100,
  );
}

const engines: Part = async (measure, size) => {
  await engineFigures(new MemoryEngine(), measure, size);
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-micro-"));
  const { engine } = await openEngine({ directory, kind: "auto", role: "store", log: SILENT_LOGGER });
  try {
    await engineFigures(engine, measure, size);
  } finally {
    await new Promise<void>((resolve) => engine.close(() => resolve()));
    rmSync(directory, { recursive: true, force: true });
  }
};

const BATCH = 64;
const TURN_REQUESTS = 64;

const codecs: Part = async (measure) => {
  const value = valueMaker(VALUE_BYTES);
  const context = {
    regionId: 2,
    regionEpoch: { confVer: 5, version: 40 },
    peer: { id: 100, storeId: 4 },
    maxExecutionDurationMs: 20_000,
  };
  const requestIds = Array.from({ length: BATCH }, (_, i) => 1_000_000 + i);
  const puts = {
    requests: requestIds.map((i) => ({ RawPut: { context, key: recordKey(i), value: value() } })),
    requestIds,
  };
  const appends = {
    msgs: Array.from({ length: 16 }, (_, i) => ({
      regionId: i + 2,
      fromPeer: { id: 100, storeId: 4 },
      toPeer: { id: 101, storeId: 5 },
      regionEpoch: context.regionEpoch,
      message: {
        msgType: 3,
        to: 101,
        from: 100,
        term: 7,
        logTerm: 7,
        index: 99,
        commit: 98,
        entries: [{ term: 7, index: 100, data: valueMaker(1_500)() }],
      },
    })),
  };
  const both = async (
    name: string,
    perOperation: number,
    codec: { encode(message: object): Uint8Array; decode(bytes: Uint8Array): unknown },
    message: object,
  ): Promise<void> => {
    const bytes = codec.encode(message);
    await measure(
      `${name}: encode`,
      (n) => {
        for (let i = 0; i < n; i++) codec.encode(message);
      },
      perOperation,
    );
    await measure(
      `${name}: decode`,
      (n) => {
        for (let i = 0; i < n; i++) codec.decode(bytes);
      },
      perOperation,
    );
  };
  await both("RawPut in BatchCommands of 64", BATCH, batchCommandsRequestCodec, puts);
  await both("append of 1.5 KB in BatchRaft of 16", 16, batchRaftMessageCodec, appends);
};

const raft: Part = async (measure) => {
  const storage = new MemStorage();
  storage.applySnapshot(makeSnapshot(1, 1, { ...EMPTY_CONF_STATE, voters: [1] }));
  const node = new RawNode({
    id: 1,
    storage,
    random: new SeededRandom(1),
    applied: 1,
    asyncStorageWrites: true,
  });
  const settle = (): void => {
    while (node.hasReady()) {
      const { append, apply } = node.ready();
      if (append !== undefined) {
        storage.write(append);
        for (const message of node.ackAppend(append)) node.step(message);
      }
      if (apply !== undefined) node.ackApply(apply);
    }
  };
  node.campaign();
  settle();
  const payload = new Uint8Array(16);
  await measure("one voter: propose, write, commit, apply", (n) => {
    for (let i = 0; i < n; i++) {
      node.propose(payload);
      settle();
      if (i % 256 === 255) storage.compact(node.basicStatus().applied as never);
    }
  });
  await measure("tick of a leader", (n) => {
    for (let i = 0; i < n; i++) {
      node.tick();
      settle();
    }
  });
};

/** Everything but gRPC and the disk: client, store, Raft, apply in one process over memory. */
async function turnFigures(stores: number, measure: Measure, { records }: Size): Promise<void> {
  const cluster = await Cluster.start({ stores });
  try {
    const target = raftwerkTarget(cluster.client);
    await load(target, records, VALUE_BYTES);
    for (const [kind, words] of [
      ["put", "put"],
      ["get", "linearizable get"],
    ] as const) {
      const value = valueMaker(VALUE_BYTES);
      await measure(`${words}, 256 in flight, stores: ${stores}, client included`, async (n) => {
        let left = n;
        const worker = async (): Promise<void> => {
          while (left-- > 0) {
            const key = recordKey(Math.floor(Math.random() * records));
            await (kind === "put" ? target.put(key, value()) : target.get(key));
          }
        };
        await Promise.all(Array.from({ length: Math.min(n, 256) }, worker));
      });
    }
  } finally {
    await cluster.close();
  }
}

/** A store's turn without client, network and disk: requests in, one entry, one batch, applied, answers out. */
async function bareTurn(measure: Measure, { records }: Size): Promise<void> {
  const cluster = await Cluster.start({ stores: 1 });
  try {
    await load(raftwerkTarget(cluster.client), records, VALUE_BYTES);
    const store = cluster.stores[0]?.store;
    const peer = [...(store?.peers.all() ?? [])][0];
    if (store === undefined || peer === undefined) throw new Error("no region");
    const { id, epoch, peers } = peer.region;
    const own = { id: peers[0]?.id ?? 0, storeId: peers[0]?.storeId ?? 0 };
    const context = { regionId: id, regionEpoch: { ...epoch }, peer: own };
    const value = valueMaker(VALUE_BYTES);
    const turns = async (count: number, one: (done: () => void) => void): Promise<void> => {
      for (let i = 0; i < count; i++) {
        await new Promise<void>((resolve) => {
          let left = TURN_REQUESTS;
          const done = (): void => {
            if (--left === 0) resolve();
          };
          for (let at = 0; at < TURN_REQUESTS; at++) one(done);
        });
      }
    };
    const key = (): Uint8Array => recordKey(Math.floor(Math.random() * records));
    await measure(
      `store's turn alone: put, ${TURN_REQUESTS} a turn`,
      (n) => turns(n, (done) => store.raw.put({ context, key: key(), value: value() }, done)),
      TURN_REQUESTS,
    );
    await measure(
      `store's turn alone: get, ${TURN_REQUESTS} a turn`,
      (n) => turns(n, (done) => store.raw.get({ context, key: key() }, done)),
      TURN_REQUESTS,
    );
  } finally {
    await cluster.close();
  }
}

const turn: Part = async (measure, size) => {
  await bareTurn(measure, size);
  await turnFigures(1, measure, size);
  await turnFigures(3, measure, size);
};

const lookup: Part = async (measure, size) => {
  for (const regions of size.regions) {
    const cache = new RegionCache();
    const starts = [new Uint8Array(0), ...splitKeys(regions)];
    for (const [i, startKey] of starts.entries()) {
      const endKey = starts[i + 1] ?? new Uint8Array(0);
      const peers = [metapb.Peer.create({ id: i * 3 + 1, storeId: 1 })];
      const region = metapb.Region.create({
        id: i + 1,
        startKey,
        endKey,
        regionEpoch: { confVer: 1, version: 1 },
        peers,
      });
      cache.insert(cachedRegion(region, peers[0]));
    }
    const keys = Array.from({ length: 4096 }, (_, i) => recordKey(i));
    await measure(`region of a key among ${regions}`, (n) => {
      for (let i = 0; i < n; i++) cache.find(keys[i & 4095] as Uint8Array);
    });
  }
};

const pd: Part = async (measure) => {
  const cluster = await Cluster.start({ stores: 1, pdConfig: { replication: { "max-replicas": 1 } } });
  const client = new PdClient(cluster.env, cluster.network, { endpoints: [cluster.pdAddress] });
  await new Promise<void>((resolve, reject) =>
    client.connect((e) => (e === undefined ? resolve() : reject(e))),
  );
  const tso = client.openTso();
  const heartbeats = new RegionHeartbeats(
    cluster.env,
    client,
    cluster.network,
    () => {},
    () => {},
  );
  try {
    await measure(
      "TSO: 64 timestamps asked at once, each",
      async (n) => {
        for (let i = 0; i < n; i++) {
          await new Promise<void>((resolve, reject) => {
            let left = 64;
            for (let at = 0; at < 64; at++) {
              tso.get((error) => {
                if (error !== undefined) reject(error);
                else if (--left === 0) resolve();
              });
            }
          });
        }
      },
      64,
    );
    const store = cluster.stores[0];
    const peer = [...(store?.store.peers.all() ?? [])][0];
    if (peer === undefined) throw new Error("no region");
    const { region } = peer;
    const report = {
      header: { clusterId: client.clusterId as never },
      region: {
        id: region.id,
        startKey: region.startKey,
        endKey: region.endKey,
        regionEpoch: { ...region.epoch },
        peers: region.peers.map(({ id, storeId }) => ({ id, storeId })),
      },
      leader: { id: region.peers[0]?.id ?? 0, storeId: region.peers[0]?.storeId ?? 0 },
      approximateSize: 1 << 20,
      term: 1_000,
    };
    await measure("region heartbeat that changes nothing", async (n) => {
      for (let i = 0; i < n; i++) {
        heartbeats.send(report);
        if (i % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
      }
      await new Promise((resolve) => setImmediate(resolve));
    });
  } finally {
    heartbeats.close();
    tso.close();
    client.close();
    await cluster.close();
  }
};

export const MICRO_PARTS: Readonly<Record<string, Part>> = {
  engine: engines,
  codec: codecs,
  raft,
  turn,
  lookup,
  pd,
};

export async function microFigures(options: MicroOptions): Promise<MicroFigure[]> {
  const figures: MicroFigure[] = [];
  for (const [part, run] of Object.entries(MICRO_PARTS)) {
    if (options.only.length > 0 && !options.only.includes(part)) continue;
    await run(
      async (name, work, perOperation = 1) => {
        options.onStep(`${part}: ${name}`);
        const cost = await costOf(options.seconds, work);
        figures.push({
          part,
          name,
          nanoseconds: cost.nanoseconds / perOperation,
          heapBytes: cost.heapBytes / perOperation,
        });
      },
      options.isSmall === true ? SMALL : FULL,
    );
  }
  return figures;
}
