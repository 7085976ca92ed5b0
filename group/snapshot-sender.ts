/**
 * Sends the live snapshot to members whose log ended before ours begins. A few pieces are on their way at a time,
 * read from disk when there is room for them; all members together get `sendBytesPerSecond`. A connection that breaks
 * costs what was on it: the receiver says where it stands, and the sender goes on from there.
 */
import type { Env } from "../base/index.js";
import type { GroupConfig } from "./config.js";
import { crc32 } from "./crc32.js";
import type { Item, SnapshotAckStatus } from "./packet.js";
import type { GroupStorage, SnapshotInfo } from "./storage.js";

export interface SenderHost {
  readonly env: Env;
  readonly config: GroupConfig;
  readonly storage: GroupStorage;
  send(to: number, item: Item): boolean;
  /** Bytes that wait for the network on the way to a member. */
  pendingBytes(to: number): number;
  /** Ends the wait of the Raft node. */
  report(to: number, status: "finish" | "failure"): void;
  sent(to: number, info: SnapshotInfo): void;
}

interface Transfer {
  readonly to: number;
  readonly term: number;
  readonly info: SnapshotInfo;
  /** The receiver has said where to begin. */
  isOpen: boolean;
  acknowledged: number;
  sent: number;
  heardMs: number;
  /** When `sent` moved, or was put back, last. */
  askedMs: number;
}

/** Nothing heard for this long: ask the receiver where it stands. */
const ASK_AGAIN_MS = 1_000;

export class SnapshotSender {
  readonly #host: SenderHost;
  readonly #transfers = new Map<number, Transfer>();
  /** Bytes that may be sent now; refilled by the clock. */
  #budget = 0;
  #refilledMs: number;
  bytes = 0;

  constructor(host: SenderHost) {
    this.#host = host;
    this.#refilledMs = host.env.clock.monotonicMs();
    this.#budget = host.config.snapshots.chunkBytes;
  }

  get active(): number {
    return this.#transfers.size;
  }

  /** The Raft node wants member `to` to have the live snapshot. */
  begin(to: number, term: number): void {
    const info = this.#host.storage.snapshot();
    if (info === undefined) return this.#host.report(to, "failure");
    const nowMs = this.#host.env.clock.monotonicMs();
    const transfer = {
      to,
      term,
      info,
      isOpen: false,
      acknowledged: 0,
      sent: 0,
      heardMs: nowMs,
      askedMs: nowMs,
    };
    this.#transfers.set(to, transfer);
    this.#ask(transfer);
  }

  #ask(transfer: Transfer): void {
    transfer.isOpen = false;
    transfer.askedMs = this.#host.env.clock.monotonicMs();
    this.#host.send(transfer.to, { kind: "snapshotBegin", term: transfer.term, info: transfer.info });
  }

  acknowledged(
    from: number,
    source: string,
    number: number,
    offset: number,
    status: SnapshotAckStatus,
  ): void {
    const transfer = this.#transfers.get(from);
    if (transfer === undefined) return;
    if (transfer.info.source !== source || transfer.info.number !== number) return;
    transfer.heardMs = this.#host.env.clock.monotonicMs();
    switch (status) {
      case "more":
        if (offset > transfer.info.bytes) return;
        if (!transfer.isOpen) {
          transfer.isOpen = true;
          transfer.sent = offset;
        }
        transfer.acknowledged = Math.max(transfer.acknowledged, offset);
        transfer.sent = Math.max(transfer.sent, offset);
        transfer.askedMs = transfer.heardMs;
        return this.#pump(transfer);
      case "done":
        this.#transfers.delete(from);
        this.#host.sent(from, transfer.info);
        return this.#host.report(from, "finish");
      case "busy":
        return;
      case "failed":
        return this.#end(transfer);
    }
  }

  #end(transfer: Transfer): void {
    this.#transfers.delete(transfer.to);
    this.#host.report(transfer.to, "failure");
  }

  #pump(transfer: Transfer): void {
    const { chunkBytes, windowChunks, sendBytesPerSecond } = this.#host.config.snapshots;
    const window = chunkBytes * windowChunks;
    while (
      transfer.isOpen &&
      transfer.sent < transfer.info.bytes &&
      transfer.sent - transfer.acknowledged < window &&
      (sendBytesPerSecond === 0 || this.#budget > 0) &&
      this.#host.pendingBytes(transfer.to) < window
    ) {
      const data = this.#host.storage.readSnapshot(transfer.sent);
      if (data === undefined) return this.#end(transfer);
      const { source, number } = transfer.info;
      const chunk = { source, number, offset: transfer.sent, checksum: crc32(data), data };
      if (!this.#host.send(transfer.to, { kind: "snapshotChunk", ...chunk })) return;
      transfer.sent += data.length;
      this.#budget -= data.length;
      this.bytes += data.length;
    }
  }

  /** A new snapshot is in the place of the one that is being sent. */
  replaced(): void {
    for (const transfer of [...this.#transfers.values()]) this.#end(transfer);
  }

  /** This member does not lead any more. */
  drop(): void {
    this.#transfers.clear();
  }

  forget(id: number): void {
    this.#transfers.delete(id);
  }

  tick(): void {
    const { snapshots } = this.#host.config;
    const nowMs = this.#host.env.clock.monotonicMs();
    const refill = ((nowMs - this.#refilledMs) / 1000) * snapshots.sendBytesPerSecond;
    this.#refilledMs = nowMs;
    this.#budget = Math.min(this.#budget + refill, Math.max(snapshots.sendBytesPerSecond / 4, refill));
    for (const transfer of [...this.#transfers.values()]) {
      if (nowMs - transfer.heardMs > snapshots.timeoutMs) this.#end(transfer);
      else if (nowMs - transfer.askedMs > ASK_AGAIN_MS) this.#ask(transfer);
      else this.#pump(transfer);
    }
  }
}
