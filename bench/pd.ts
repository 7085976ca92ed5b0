/** Timestamps and ids as fast as a PD that runs gives them. */
import { setTimeout as pause } from "node:timers/promises";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER } from "../base/index.js";
import { PdClient } from "../pd-client/index.js";
import type { TsoStream } from "../pd-client/index.js";
import { settled } from "./settled.js";

export interface PdBenchOptions {
  /** `host:port` of the PDs. */
  readonly endpoints: readonly string[];
  readonly seconds: number;
  readonly clients: number;
  /** Timestamps that each client waits for at any time. */
  readonly outstanding: number;
}

export interface PdFigures {
  readonly timestampsPerSecond: number;
  readonly timestampP50Ms: number;
  readonly timestampP99Ms: number;
  readonly idsPerSecond: number;
}

const ID_CALLS = 64;
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
    return { ...timestamps, idsPerSecond };
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
