/**
 * Sends a region's data to another store: an engine snapshot taken in the turn in which Raft hands out the
 * message, then the rows in chunks, as fast as the connection and the store's pace take them, and never more than a few
 * chunks in memory.
 */
import { DATA_KEY_SPACES, type Engine, type EngineSnapshot, type Env, misbehaves } from "../base/index.js";
import { type raft_serverpb, TikvService } from "../proto/index.js";
import { type ClientCall, RPC_CODE, type RpcMetadata, type RpcNetwork } from "../proto/rpc.js";
import { dataEndKey, dataKey } from "../region/keys.js";
import type { Region } from "../region/region.js";
import type { StoreConfig } from "./config.js";
import { encodeChunk } from "./snapshot-codec.js";
import { SnapshotStats } from "./snapshot-stats.js";

const SNAPSHOT_LANE = 1;

export interface SnapshotSend {
  readonly region: Region;
  readonly toPeerId: number;
  readonly address: string;
  readonly message: raft_serverpb.IRaftMessage;
  readonly snapshot: EngineSnapshot;
  readonly done: (succeeded: boolean, reason: string) => void;
}

const PENDING_BYTES_MAX = 8 << 20;
const ROWS_PER_SCAN = 4_096;

/** Ahead of its pace by no more than this, so that a chunk need not wait for a timer each time. */
const AHEAD_MS = 20;

/** Bytes in time, over all streams of a store. */
class Pace {
  readonly #env: Env;
  readonly #bytesPerSecond: number;
  /** What was sent so far is due at this time. */
  #dueMs = 0;

  constructor(env: Env, bytesPerSecond: number) {
    this.#env = env;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** How long the next chunk has to wait. */
  get waitMs(): number {
    return Math.max(0, this.#dueMs - AHEAD_MS - this.#env.clock.monotonicMs());
  }

  took(bytes: number): void {
    if (this.#bytesPerSecond === 0) return;
    const fromMs = Math.max(this.#dueMs, this.#env.clock.monotonicMs());
    this.#dueMs = fromMs + (bytes * 1000) / this.#bytesPerSecond;
  }
}

export class SnapshotSender {
  readonly #env: Env;
  readonly #network: RpcNetwork;
  readonly #config: StoreConfig;
  readonly #metadata: () => RpcMetadata;
  readonly #pace: Pace;
  readonly stats: SnapshotStats;
  sending = 0;

  constructor(env: Env, network: RpcNetwork, config: StoreConfig, metadata: () => RpcMetadata) {
    this.#env = env;
    this.#network = network;
    this.#config = config;
    this.#metadata = metadata;
    this.#pace = new Pace(env, config.snapshotBytesPerSecondMax);
    this.stats = new SnapshotStats(env);
  }

  get hasRoom(): boolean {
    return this.sending < this.#config.snapshotSendsMax;
  }

  /** A consistent view of what the region holds now; closed by `send`. */
  static open(engine: Engine): EngineSnapshot {
    return engine.snapshot();
  }

  send(task: SnapshotSend): void {
    this.sending++;
    const stream = new SnapshotStream(this.#env, this.#config, this.#pace, this.stats, task, () => {
      this.sending--;
    });
    stream.start(this.#network, this.#metadata());
  }
}

class SnapshotStream {
  readonly #env: Env;
  readonly #config: StoreConfig;
  readonly #pace: Pace;
  readonly #stats: SnapshotStats;
  readonly #task: SnapshotSend;
  readonly #release: () => void;
  #call: ClientCall<raft_serverpb.ISnapshotChunk> | undefined;
  #startedMs = 0;
  #bytes = 0;
  #readMs = 0;
  #space = 0;
  #next: Uint8Array;
  readonly #end: Uint8Array;
  #ended = false;

  constructor(
    env: Env,
    config: StoreConfig,
    pace: Pace,
    stats: SnapshotStats,
    task: SnapshotSend,
    release: () => void,
  ) {
    this.#env = env;
    this.#config = config;
    this.#pace = pace;
    this.#stats = stats;
    this.#task = task;
    this.#release = release;
    this.#next = dataKey(task.region.startKey);
    this.#end = dataEndKey(task.region.endKey);
  }

  start(network: RpcNetwork, metadata: RpcMetadata): void {
    this.#startedMs = this.#env.clock.monotonicMs();
    // A connection of its own: megabytes of snapshot must not stand before heartbeats.
    this.#call = network.channel(this.#task.address, SNAPSHOT_LANE).open(
      TikvService.Snapshot,
      {
        onMessage() {},
        onEnd: (status) => this.#finish(status.code === RPC_CODE.ok, status.message),
      },
      { timeoutMs: this.#config.snapshotTimeoutMs, metadata },
    );
    this.#call.send({ message: this.#task.message });
    this.#pump();
  }

  #pump(): void {
    if (this.#ended || this.#call === undefined) return;
    if (this.#call.pendingBytes > PENDING_BYTES_MAX) {
      this.#env.timers.set(5, () => this.#pump());
      return;
    }
    const { waitMs } = this.#pace;
    if (waitMs > 0) {
      this.#env.timers.set(waitMs, () => this.#pump());
      return;
    }
    if (misbehaves(this.#env, "a snapshot's stream breaks off", 3)) this.#call.cancel();
    const space = DATA_KEY_SPACES[this.#space];
    if (space === undefined) {
      this.#call.halfClose();
      return;
    }
    const bytesMax = this.#config.snapshotChunkBytesMax;
    const askedMs = this.#env.clock.monotonicMs();
    this.#task.snapshot.scan(
      space,
      { start: this.#next, end: this.#end, limit: ROWS_PER_SCAN, bytesMax },
      (error, result) => {
        if (this.#ended) return;
        this.#readMs += this.#env.clock.monotonicMs() - askedMs;
        if (error !== undefined) {
          this.#call?.cancel();
          this.#finish(false, error.message);
          return;
        }
        const last = result.rows[result.rows.length - 1];
        if (last !== undefined) {
          const data = encodeChunk(this.#space, result.rows, this.#env.crc32);
          this.#call?.send({ data });
          this.#pace.took(data.length);
          this.#bytes += data.length;
          const next = new Uint8Array(last.key.length + 1);
          next.set(last.key);
          this.#next = next;
        }
        if (result.finished || last === undefined) {
          this.#space++;
          this.#next = dataKey(this.#task.region.startKey);
        }
        // Other work of the store goes first between chunks.
        this.#env.timers.nextTurn(() => this.#pump());
      },
    );
  }

  #finish(succeeded: boolean, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#task.snapshot.close();
    this.#release();
    const streamMs = this.#env.clock.monotonicMs() - this.#startedMs;
    if (succeeded) {
      const { region, toPeerId } = this.#task;
      this.#stats.sent({ regionId: region.id, toPeerId, bytes: this.#bytes, streamMs, readMs: this.#readMs });
    }
    this.#task.done(succeeded, reason);
  }
}
