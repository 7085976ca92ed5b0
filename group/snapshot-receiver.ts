/**
 * Takes a snapshot that a leader sends: pieces in order, each acknowledged when the disk has taken it, the whole
 * compared with its checksum before the Raft node hears of it. What is half there stays for a while, so that the
 * sender can go on after a broken connection. One at a time.
 */
import type { Env } from "../base/index.js";
import type { GroupConfig } from "./config.js";
import { crc32 } from "./crc32.js";
import type { Item, SnapshotAckStatus } from "./packet.js";
import type { GroupStorage, SnapshotInfo, SnapshotWriter } from "./storage.js";

export interface ReceiverHost {
  readonly env: Env;
  readonly config: GroupConfig;
  readonly storage: GroupStorage;
  send(to: number, item: Item): boolean;
  /** This member has all that the snapshot holds. */
  isNeedless(info: SnapshotInfo): boolean;
  /** No own snapshot is being made, none is being installed. */
  isFree(): boolean;
  /** The whole snapshot is written: offer it to the Raft node, which takes it or not. */
  offer(from: number, term: number, info: SnapshotInfo): void;
  failed(error: Error): void;
}

interface Incoming {
  from: number;
  term: number;
  readonly info: SnapshotInfo;
  readonly writer: SnapshotWriter;
  /** Bytes that the disk has taken. */
  taken: number;
  checksum: number;
  heardMs: number;
  isWhole: boolean;
}

type Chunk = Extract<Item, { kind: "snapshotChunk" }>;

export class SnapshotReceiver {
  readonly #host: ReceiverHost;
  #incoming: Incoming | undefined;
  #isAborting = false;
  bytes = 0;
  refusedChunks = 0;

  constructor(host: ReceiverHost) {
    this.#host = host;
  }

  get isActive(): boolean {
    return this.#incoming !== undefined || this.#isAborting;
  }

  /** The snapshot that was offered, as the Raft node took it. */
  get whole(): Incoming | undefined {
    return this.#incoming?.isWhole === true ? this.#incoming : undefined;
  }

  begin(from: number, term: number, info: SnapshotInfo): void {
    const before = this.#incoming;
    if (before !== undefined && before.info.source === info.source && before.info.number === info.number) {
      before.from = from;
      before.term = Math.max(before.term, term);
      before.heardMs = this.#host.env.clock.monotonicMs();
      if (before.isWhole) return this.#ack(from, info, before.taken, "busy");
      return this.#ack(from, info, before.taken, "more");
    }
    if (this.#host.isNeedless(info)) return this.#ack(from, info, info.bytes, "done");
    if (before?.isWhole === true || this.#isAborting || !this.#host.isFree()) {
      return this.#ack(from, info, 0, "busy");
    }
    // Another snapshot, maybe of another leader: what there is of the old one is of no use.
    if (before !== undefined) return this.#abort(() => this.begin(from, term, info));
    this.#incoming = {
      from,
      term,
      info,
      writer: this.#host.storage.beginSnapshot(),
      taken: 0,
      checksum: 0,
      heardMs: this.#host.env.clock.monotonicMs(),
      isWhole: false,
    };
    this.#ack(from, info, 0, "more");
  }

  chunk(from: number, chunk: Chunk): void {
    const incoming = this.#incoming;
    const { source, number, offset, data, checksum } = chunk;
    if (incoming === undefined || incoming.info.source !== source || incoming.info.number !== number) return;
    incoming.heardMs = this.#host.env.clock.monotonicMs();
    incoming.from = from;
    // Repeated or ahead of one that was lost: the acknowledgements tell the sender where to go on.
    if (offset !== incoming.writer.offset || incoming.isWhole) return;
    if (crc32(data) !== checksum || data.length === 0 || offset + data.length > incoming.info.bytes) {
      this.refusedChunks++;
      this.#host.env.log.warn("a chunk of a snapshot is damaged: it begins anew", { from, offset });
      return this.#abort(() => this.#ack(from, incoming.info, 0, "failed"));
    }
    incoming.checksum = crc32(data, incoming.checksum);
    this.bytes += data.length;
    incoming.writer.write(offset, data, (error) => {
      if (this.#incoming !== incoming) return;
      if (error !== undefined) return this.#host.failed(error);
      incoming.taken += data.length;
      if (incoming.taken < incoming.info.bytes) {
        return this.#ack(incoming.from, incoming.info, incoming.taken, "more");
      }
      this.#complete(incoming);
    });
  }

  #complete(incoming: Incoming): void {
    if (incoming.checksum !== incoming.info.checksum) {
      this.refusedChunks++;
      this.#host.env.log.warn("a snapshot does not match its checksum: it begins anew", {
        from: incoming.from,
      });
      return this.#abort(() => this.#ack(incoming.from, incoming.info, 0, "failed"));
    }
    incoming.isWhole = true;
    this.#host.offer(incoming.from, incoming.term, incoming.info);
  }

  /** The Raft node took the offered snapshot, and it is installed. */
  installed(): void {
    const incoming = this.#incoming;
    this.#incoming = undefined;
    if (incoming !== undefined) this.#ack(incoming.from, incoming.info, incoming.info.bytes, "done");
  }

  /** The Raft node did not want the offered snapshot: it is ahead of it, or the leader is not the leader any more. */
  declined(): void {
    const incoming = this.#incoming;
    if (incoming === undefined) return;
    this.#abort(() => this.#ack(incoming.from, incoming.info, incoming.info.bytes, "done"));
  }

  #abort(then: () => void): void {
    const incoming = this.#incoming;
    if (incoming === undefined) return then();
    this.#incoming = undefined;
    this.#isAborting = true;
    incoming.writer.abort((error) => {
      this.#isAborting = false;
      if (error !== undefined) return this.#host.failed(error);
      then();
    });
  }

  #ack(to: number, info: SnapshotInfo, offset: number, status: SnapshotAckStatus): void {
    this.#host.send(to, { kind: "snapshotAck", source: info.source, number: info.number, offset, status });
  }

  tick(): void {
    const incoming = this.#incoming;
    if (incoming === undefined || incoming.isWhole) return;
    const silentMs = this.#host.env.clock.monotonicMs() - incoming.heardMs;
    if (silentMs > this.#host.config.snapshots.timeoutMs * 2) this.#abort(() => {});
  }
}
