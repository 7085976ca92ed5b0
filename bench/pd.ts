/**
 * PD alone: timestamps and ids as fast as it gives them, and how long lookups are away when the leadership passes
 * on with many regions. For a PD of its own that nothing else uses: the last part fills it with made-up regions.
 */
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { RaftwerkError, SILENT_LOGGER } from "../base/index.js";
import { PdClient } from "../pd-client/index.js";
import type { TsoStream } from "../pd-client/index.js";

export interface PdBenchOptions {
  /** `host:port` of the PDs. */
  readonly endpoints: readonly string[];
  readonly seconds: number;
  readonly clients: number;
  /** Timestamps that each client waits for at any time. */
  readonly outstanding: number;
  /** 0 leaves the last part out. */
  readonly regions: number;
}

export interface PdFigures {
  readonly timestampsPerSecond: number;
  readonly timestampP50Ms: number;
  readonly timestampP99Ms: number;
  readonly idsPerSecond: number;
  readonly heartbeatsPerSecond?: number;
  /** Time from the order to pass the leadership on until a lookup is answered by the new leader. */
  readonly lookupPauseMs?: number;
}

const ID_CALLS = 64;
const BATCH_HEARTBEATS = 500;
const SAMPLE_EVERY = 1_009;

export async function benchPd(options: PdBenchOptions): Promise<PdFigures> {
  const network = new GrpcNetwork();
  const clients: PdClient[] = [];
  try {
    for (let i = 0; i < options.clients; i++) {
      // A lane, so a connection, for each client would be fairer still; PD's work is the same.
      const client = new PdClient(nodeEnv(SILENT_LOGGER), network, { endpoints: options.endpoints });
      await settled<void>((done) => client.connect((error) => done(error, undefined)));
      clients.push(client);
    }
    const timestamps = await benchTimestamps(clients, options);
    const idsPerSecond = await benchIds(clients, options.seconds);
    const [first] = clients as [PdClient];
    const change = options.regions === 0 ? {} : await benchLeaderChange(first, options);
    return { ...timestamps, idsPerSecond, ...change };
  } finally {
    for (const client of clients) client.close();
    network.close();
  }
}

async function benchTimestamps(clients: readonly PdClient[], { seconds, outstanding }: PdBenchOptions) {
  const samples: number[] = [];
  let taken = 0;
  let failure: Error | undefined;
  let running = true;
  let underWay = 0;
  const again = (stream: TsoStream): void => {
    const sentMs = performance.now();
    underWay += 1;
    stream.get((error) => {
      underWay -= 1;
      failure ??= error;
      taken += 1;
      if (taken % SAMPLE_EVERY === 0) samples.push(performance.now() - sentMs);
      if (running && failure === undefined) again(stream);
    });
  };
  const streams = clients.map((client) => client.openTso());
  for (const stream of streams) for (let i = 0; i < outstanding; i++) again(stream);
  await pause(1_000);
  const [before, startedMs] = [taken, performance.now()];
  samples.length = 0;
  await pause(seconds * 1_000);
  const perSecond = ((taken - before) / (performance.now() - startedMs)) * 1_000;
  running = false;
  while (underWay > 0 && failure === undefined) await pause(10);
  for (const stream of streams) stream.close();
  if (failure !== undefined) throw failure;
  samples.sort((left, right) => left - right);
  const at = (share: number): number => samples[Math.floor(samples.length * share)] ?? 0;
  return { timestampsPerSecond: Math.round(perSecond), timestampP50Ms: at(0.5), timestampP99Ms: at(0.99) };
}

async function benchIds(clients: readonly PdClient[], seconds: number): Promise<number> {
  let given = 0;
  const endMs = performance.now() + seconds * 1_000;
  const work = async (client: PdClient): Promise<void> => {
    while (performance.now() < endMs) {
      await settled<number>((done) => client.allocId(done));
      given += 1;
    }
  };
  const workers = Array.from({ length: ID_CALLS }, (_, i) => work(clients[i % clients.length] as PdClient));
  await Promise.all(workers);
  return Math.round(given / seconds);
}

const keyOf = (i: number): Uint8Array =>
  i === 0 ? new Uint8Array(0) : new TextEncoder().encode(String(i).padStart(10, "0"));

async function benchLeaderChange(client: PdClient, { regions, endpoints }: PdBenchOptions) {
  const store = { id: 1, address: "127.0.0.1:1", version: "8.5.0" };
  const peers = (i: number) => [{ id: 1_000_000_000 + i, storeId: 1 }];
  const whole = { id: 2_000_000_000, regionEpoch: { confVer: 1, version: 1 }, peers: peers(0) };
  const made = await settled((done) => client.bootstrap(store, whole, done));
  if (made !== "bootstrapped") {
    throw new RaftwerkError("invalidArgument", "--regions needs a PD that has no cluster so far", {
      retry: "never",
    });
  }
  const stream = client.openRegionHeartbeat(
    () => {},
    () => {},
  );
  const startedMs = performance.now();
  for (let i = 0; i < regions; i++) {
    const region = {
      id: 2_000_000_001 + i,
      startKey: keyOf(i),
      endKey: i === regions - 1 ? new Uint8Array(0) : keyOf(i + 1),
      regionEpoch: { confVer: 1, version: 2 },
      peers: peers(i),
    };
    stream.send({
      header: { clusterId: client.clusterId },
      region,
      leader: peers(i)[0] ?? null,
      term: 6,
      approximateSize: 1 << 26,
    });
    if (i % BATCH_HEARTBEATS === 0) await pause(0);
  }
  const count = async (): Promise<number> => {
    const answer = await fetch(`http://${client.leaderAddress}/pd/api/v1/regions/count`);
    return ((await answer.json()) as { count: number }).count;
  };
  while ((await count()) < regions) await pause(20);
  const heartbeatsPerSecond = Math.round(regions / ((performance.now() - startedMs) / 1_000));
  stream.close();
  if (endpoints.length === 1) return { heartbeatsPerSecond };
  // Followers copy what came last.
  await pause(3_000);
  const old = client.leaderAddress;
  const orderedMs = performance.now();
  const answer = await fetch(`http://${old}/pd/api/v1/leader/resign`, { method: "POST" });
  if (!answer.ok) throw new RaftwerkError("pdUnavailable", await answer.text(), { retry: "safe" });
  for (;;) {
    await settled<void>((done) => client.refreshMembers(() => done(undefined, undefined)));
    if (client.leaderAddress !== old) break;
    await pause(5);
  }
  const found = await settled((done) => client.getRegion(keyOf(regions - 1), done));
  if (found === null)
    throw new RaftwerkError("regionUnavailable", "the new leader does not know a region", { retry: "safe" });
  return { heartbeatsPerSecond, lookupPauseMs: performance.now() - orderedMs };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

function settled<T>(
  run: (done: (error: Error | undefined, result: T | undefined) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) =>
    run((error, result) => (error === undefined ? resolve(result as T) : reject(error))),
  );
}
