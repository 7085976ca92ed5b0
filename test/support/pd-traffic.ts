/**
 * Clients of PD at work: ids and timestamps all the time, with what they got checked at once. Errors are counted,
 * and the longest time without an answer.
 */
import { GrpcNetwork } from "../../adapters/grpc-network.js";
import { nodeEnv } from "../../adapters/node-env.js";
import { SILENT_LOGGER } from "../../base/index.js";
import { PdClient } from "../../pd-client/index.js";

export class PdTraffic {
  readonly errors: string[] = [];
  readonly broken: string[] = [];
  ids = 0;
  timestamps = 0;
  longestIdPauseMs = 0;
  longestTimestampPauseMs = 0;
  lastTimestamp = 0n;
  firstTimestamp = 0n;
  lastId = 0;
  firstId = 0;
  readonly #network = new GrpcNetwork();
  readonly #clients: PdClient[] = [];
  readonly #seenIds = new Set<number>();
  #stopping = false;
  #countedFromMs = 0;
  readonly #running: Promise<void>[] = [];

  static async start(endpoints: readonly string[], workers = 2): Promise<PdTraffic> {
    const traffic = new PdTraffic();
    for (let i = 0; i < workers; i++) {
      const client = new PdClient(nodeEnv(SILENT_LOGGER), traffic.#network, { endpoints });
      traffic.#clients.push(client);
      await new Promise<void>((resolve, reject) =>
        client.connect((error) => (error === undefined ? resolve() : reject(error))),
      );
    }
    for (const client of traffic.#clients) {
      traffic.#running.push(traffic.#takeIds(client), traffic.#takeTimestamps(client));
    }
    return traffic;
  }

  /** Pauses are counted from now on; of one that lasts already, what is still to come. */
  resetPauses(): void {
    this.#countedFromMs = performance.now();
    this.longestIdPauseMs = 0;
    this.longestTimestampPauseMs = 0;
  }

  get longestPauseMs(): number {
    return Math.max(this.longestIdPauseMs, this.longestTimestampPauseMs);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
    for (const client of this.#clients) client.close();
    this.#network.close();
  }

  #pauseMs(sentMs: number): number {
    return performance.now() - Math.max(sentMs, this.#countedFromMs);
  }

  async #takeIds(client: PdClient): Promise<void> {
    while (!this.#stopping) {
      const sentMs = performance.now();
      const id = await new Promise<number | undefined>((resolve) =>
        client.allocId((error, got) => {
          if (error !== undefined) this.errors.push(`id: ${error.message}`);
          resolve(got);
        }),
      );
      this.longestIdPauseMs = Math.max(this.longestIdPauseMs, this.#pauseMs(sentMs));
      if (id !== undefined) {
        if (this.#seenIds.has(id)) this.broken.push(`id ${id} was handed out twice`);
        this.#seenIds.add(id);
        this.lastId = Math.max(this.lastId, id);
        if (this.firstId === 0) this.firstId = id;
        this.ids += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async #takeTimestamps(client: PdClient): Promise<void> {
    const stream = client.openTso();
    while (!this.#stopping) {
      const sentMs = performance.now();
      // Whatever anybody received before this is sent must be smaller.
      const before = this.lastTimestamp;
      const timestamp = await new Promise<bigint | undefined>((resolve) =>
        stream.get((error, got) => {
          if (error !== undefined) this.errors.push(`timestamp: ${error.message}`);
          resolve(got);
        }),
      );
      this.longestTimestampPauseMs = Math.max(this.longestTimestampPauseMs, this.#pauseMs(sentMs));
      if (timestamp !== undefined) {
        if (timestamp <= before) this.broken.push(`timestamp ${timestamp} after ${before}`);
        if (this.firstTimestamp === 0n) this.firstTimestamp = timestamp;
        if (timestamp > this.lastTimestamp) this.lastTimestamp = timestamp;
        this.timestamps += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
