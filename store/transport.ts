/**
 * Raft messages between stores: one `BatchRaft` stream per peer store, one message per turn on it. Messages to a store
 * that cannot be reached are dropped (Raft repeats what matters) and reported, so that leaders stop sending entries.
 * Addresses come from PD and are asked again when a stream breaks: the store may have moved.
 */
import { type Env, misbehaves } from "../base/index.js";
import { eraftpb, type raft_serverpb, TikvService, type tikvpb } from "../proto/index.js";
import type { ClientCall, ClientCallListener, RpcMetadata, RpcNetwork } from "../proto/rpc.js";

export interface TransportHost {
  /** Looks up a store's address at PD. */
  resolve(storeId: number, callback: (address: string | undefined) => void): void;
  /** Messages to this store are being lost. */
  unreachable(storeId: number): void;
  /** What each stream says of its sender. */
  metadata(): RpcMetadata;
}

interface Connection {
  readonly storeId: number;
  address: string | undefined;
  stream: ClientCall<tikvpb.IBatchRaftMessage> | undefined;
  /** For messages without entries, while `stream` has a backlog. */
  lightStream: ClientCall<tikvpb.IBatchRaftMessage> | undefined;
  queue: raft_serverpb.IRaftMessage[];
  /** Bytes of entries in `queue`. */
  queuedBytes: number;
  resolving: boolean;
  /** No new attempt before this time. */
  retryAtMs: number;
  backoffMs: number;
}

const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 1_000;
/** Beyond this backlog on the stream new messages are dropped: the receiver is slower than we are. */
const STREAM_PENDING_BYTES_MAX = 64 << 20;
/** Beyond this backlog heartbeats and the like pass it by on a connection of their own. */
const LIGHT_LANE_FROM_BYTES = 512 << 10;
/** Messages that wait for an address or a stream. */
const QUEUE_MAX = 4_096;
const QUEUE_BYTES_MAX = 64 << 20;

export class RaftTransport {
  readonly #env: Env;
  readonly #network: RpcNetwork;
  readonly #host: TransportHost;
  readonly #connections = new Map<number, Connection>();
  readonly #dirty = new Set<Connection>();
  #stopped = false;
  droppedMessages = 0;
  /** Messages queued for other stores, by Raft type; -1 stands for the store's own. */
  readonly sentByType = new Map<number, number>();
  /** Messages of a turn sent off, one for each store that had some. */
  flushes = 0;
  /** How often a store could not be reached. */
  readonly unreachable = new Map<number, number>();

  constructor(env: Env, network: RpcNetwork, host: TransportHost) {
    this.#env = env;
    this.#network = network;
    this.#host = host;
  }

  /** Queues a message for this turn's batch to its store. */
  send(storeId: number, message: raft_serverpb.IRaftMessage): void {
    let connection = this.#connections.get(storeId);
    if (connection === undefined) {
      connection = {
        storeId,
        address: undefined,
        stream: undefined,
        lightStream: undefined,
        queue: [],
        queuedBytes: 0,
        resolving: false,
        retryAtMs: 0,
        backoffMs: BACKOFF_MS_MIN,
      };
      this.#connections.set(storeId, connection);
    }
    const isFull = (): boolean =>
      connection.queue.length >= QUEUE_MAX || connection.queuedBytes >= QUEUE_BYTES_MAX;
    // A turn of thousands of regions has more to say than may wait for an address: what is there leaves first.
    if (isFull() && connection.stream !== undefined) this.#flushConnection(connection);
    if (isFull()) {
      this.droppedMessages++;
      return;
    }
    for (const entry of message.message?.entries ?? []) connection.queuedBytes += entry.data?.length ?? 0;
    connection.queue.push(message);
    const type = message.message?.msgType ?? -1;
    this.sentByType.set(type, (this.sentByType.get(type) ?? 0) + 1);
    this.#dirty.add(connection);
  }

  /** Sends what the turn has queued, one message per store. True when there was something to send. */
  flush(): boolean {
    if (this.#dirty.size === 0) return false;
    for (const connection of this.#dirty) this.#flushConnection(connection);
    this.#dirty.clear();
    return true;
  }

  stop(): void {
    this.#stopped = true;
    for (const connection of this.#connections.values()) {
      connection.stream?.cancel();
      connection.lightStream?.cancel();
    }
    this.#connections.clear();
  }

  #flushConnection(connection: Connection): void {
    if (this.#stopped || connection.queue.length === 0) return;
    if (connection.stream === undefined && !this.#connect(connection)) return;
    const stream = connection.stream;
    if (stream === undefined) return;
    let msgs = connection.queue;
    connection.queue = [];
    connection.queuedBytes = 0;
    if (stream.pendingBytes > LIGHT_LANE_FROM_BYTES) msgs = this.#sendLight(connection, msgs);
    if (msgs.length === 0) return;
    const isLost = misbehaves(this.#env, "a store loses what a turn sends", 4);
    if (stream.pendingBytes > STREAM_PENDING_BYTES_MAX || isLost) {
      this.droppedMessages += msgs.length;
      this.#lost(connection.storeId);
      return;
    }
    this.flushes++;
    stream.send({ msgs });
  }

  /**
   * A leader that nobody hears is deposed, however much it sends: what keeps it, and what lets it go on sending, does
   * not wait behind its entries. Raft allows for messages that overtake. Returns what has to keep its place.
   */
  #sendLight(
    connection: Connection,
    msgs: readonly raft_serverpb.IRaftMessage[],
  ): raft_serverpb.IRaftMessage[] {
    const light = msgs.filter(isLight);
    if (light.length > 0) {
      connection.lightStream ??= this.#openLight(connection);
      connection.lightStream?.send({ msgs: light });
    }
    return msgs.filter((message) => !isLight(message));
  }

  #openLight(connection: Connection): ClientCall<tikvpb.IBatchRaftMessage> | undefined {
    if (connection.address === undefined) return undefined;
    const channel = this.#network.channel(connection.address, LIGHT_LANE);
    const listener: ClientCallListener<raft_serverpb.Done> = {
      onMessage() {},
      onEnd: () => {
        if (connection.lightStream === stream) connection.lightStream = undefined;
      },
    };
    const stream = channel.open(TikvService.BatchRaft, listener, { metadata: this.#host.metadata() });
    return stream;
  }

  /** True when a stream is there; otherwise the queue waits or is dropped. */
  #connect(connection: Connection): boolean {
    const nowMs = this.#env.clock.monotonicMs();
    if (nowMs < connection.retryAtMs) {
      this.#drop(connection);
      return false;
    }
    if (connection.address === undefined) {
      this.#resolve(connection);
      return false;
    }
    this.#open(connection, connection.address);
    return true;
  }

  #resolve(connection: Connection): void {
    if (connection.resolving) return;
    connection.resolving = true;
    this.#host.resolve(connection.storeId, (address) => {
      connection.resolving = false;
      if (this.#stopped) return;
      if (address === undefined || address === "") {
        this.#backOff(connection);
        this.#drop(connection);
        return;
      }
      connection.address = address;
      this.#flushConnection(connection);
    });
  }

  #open(connection: Connection, address: string): void {
    const openedAtMs = this.#env.clock.monotonicMs();
    const listener: ClientCallListener<raft_serverpb.Done> = {
      onMessage() {},
      onEnd: (status) => {
        if (connection.stream !== stream || this.#stopped) return;
        connection.stream = undefined;
        connection.address = undefined;
        connection.lightStream?.cancel();
        if (this.#env.clock.monotonicMs() - openedAtMs > 5_000) connection.backoffMs = BACKOFF_MS_MIN;
        this.#backOff(connection);
        this.#drop(connection);
        this.#env.log.debug("raft stream ended", {
          storeId: connection.storeId,
          address,
          reason: status.message,
        });
        this.#lost(connection.storeId);
      },
    };
    const options = { metadata: this.#host.metadata() };
    const stream = this.#network.channel(address).open(TikvService.BatchRaft, listener, options);
    connection.stream = stream;
  }

  #lost(storeId: number): void {
    this.unreachable.set(storeId, (this.unreachable.get(storeId) ?? 0) + 1);
    this.#host.unreachable(storeId);
  }

  #backOff(connection: Connection): void {
    connection.retryAtMs = this.#env.clock.monotonicMs() + connection.backoffMs;
    connection.backoffMs = Math.min(connection.backoffMs * 2, BACKOFF_MS_MAX);
  }

  #drop(connection: Connection): void {
    this.droppedMessages += connection.queue.length;
    connection.queue = [];
    connection.queuedBytes = 0;
  }
}

const LIGHT_LANE = 1;
const HEAVY_TYPES: ReadonlySet<number> = new Set([
  eraftpb.MessageType.MsgAppend,
  eraftpb.MessageType.MsgSnapshot,
]);

/** Small, and as good when it comes before what was sent earlier. An append that overtakes another would be refused. */
const isLight = ({ message }: raft_serverpb.IRaftMessage): boolean =>
  message == null || !HEAVY_TYPES.has(message.msgType ?? 0);
