/**
 * What this turn says to the others: items by member, one packet each at the end of the turn, or several when large.
 */
import type { Entry, Message } from "../raft/index.js";
import { type Envelope, encodePacket, type Item } from "./packet.js";
import type { GroupTransport } from "./transport.js";

/** A packet is closed when it holds this much. */
const PACKET_BYTES = 4 << 20;
/** What a member has not taken: beyond this, what can be said again is not sent. */
const BACKLOG_BYTES_MAX = 64 << 20;

export interface OutboxHost {
  readonly transport: GroupTransport;
  envelope(to: number): Envelope;
  /** Undefined: nobody knows where the member is. */
  addressOf(id: number): string | undefined;
}

function messageBytes(message: Message): number {
  let bytes = 64;
  for (const entry of message.entries as readonly Entry[]) bytes += entry.data.length + 16;
  return bytes;
}

function itemBytes(item: Item): number {
  switch (item.kind) {
    case "raft":
      return messageBytes(item.message);
    case "snapshotChunk":
      return item.data.length + 64;
    case "propose":
      return 64 + ("data" in item.command ? item.command.data.length : 0);
    case "outcome":
      return 64 + (item.outcome.kind === "applied" ? item.outcome.response.length : 0);
    default:
      return 128;
  }
}

/** A commit index and nothing else: nobody waits for it, and the next entries would bring it along. */
const canWait = (item: Item): boolean =>
  item.kind === "raft" && item.message.type === "MsgApp" && item.message.entries.length === 0;

export class Outbox {
  readonly #host: OutboxHost;
  readonly #items = new Map<number, Item[]>();
  /** All items can wait, and have not waited yet. */
  #mayWait = true;
  packetsSent = 0;
  bytesSent = 0;

  constructor(host: OutboxHost) {
    this.#host = host;
  }

  /** False: it cannot be sent, now or at all. True promises nothing. */
  add(to: number, item: Item): boolean {
    const address = this.#host.addressOf(to);
    if (address === undefined) return false;
    const { transport } = this.#host;
    if (transport.pendingBytes(address) > BACKLOG_BYTES_MAX) return false;
    if (item.kind === "propose" && transport.isConnected?.(address) === false) return false;
    if (!canWait(item)) this.#mayWait = false;
    const items = this.#items.get(to);
    if (items === undefined) this.#items.set(to, [item]);
    else items.push(item);
    return true;
  }

  pendingBytes(to: number): number {
    const address = this.#host.addressOf(to);
    return address === undefined ? 0 : this.#host.transport.pendingBytes(address);
  }

  /** The end of a turn. True when something is kept for the next one, in which it leaves in any case. */
  endTurn(): boolean {
    if (this.#items.size > 0 && this.#mayWait) {
      this.#mayWait = false;
      return true;
    }
    this.flush();
    return false;
  }

  /** True when there was anything to send. */
  flush(): boolean {
    this.#mayWait = true;
    if (this.#items.size === 0) return false;
    for (const [to, items] of this.#items) {
      const address = this.#host.addressOf(to);
      if (address === undefined) continue;
      let part: Item[] = [];
      let bytes = 0;
      for (const item of items) {
        part.push(item);
        bytes += itemBytes(item);
        if (bytes < PACKET_BYTES) continue;
        this.#send(address, to, part);
        part = [];
        bytes = 0;
      }
      if (part.length > 0) this.#send(address, to, part);
    }
    this.#items.clear();
    return true;
  }

  #send(address: string, to: number, items: readonly Item[]): void {
    this.sendTo(address, this.#host.envelope(to), items);
  }

  /** At once, to whoever is at that address. */
  sendTo(address: string, envelope: Envelope, items: readonly Item[]): void {
    const packet = encodePacket({ envelope, items });
    this.packetsSent++;
    this.bytesSent += packet.length;
    this.#host.transport.send(address, packet);
  }

  clear(): void {
    this.#items.clear();
  }
}
