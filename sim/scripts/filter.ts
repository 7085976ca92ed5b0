/**
 * Filters over Raft messages between stores, as TiKV's test cluster has them:
 * `region(2).type("append").from(1).to(2).drop().times(4)`. Stores are named by their number, 1 for the first. The
 * first filter that matches a message decides.
 */
import { raft_serverpb, tikvpb } from "../../proto/index.js";
import type { Frame, FrameVerdict } from "../network.js";
import type { SimNode } from "../node.js";
import { MS, type World } from "../world.js";

const TYPES = [
  "hup",
  "beat",
  "propose",
  "append",
  "appendResponse",
  "vote",
  "voteResponse",
  "snapshot",
  "heartbeat",
  "heartbeatResponse",
  "unreachable",
  "snapshotStatus",
  "checkQuorum",
  "transferLeader",
  "timeoutNow",
  "readIndex",
  "readIndexResponse",
  "preVote",
  "preVoteResponse",
] as const;

export type MessageType = (typeof TYPES)[number] | "tombstone";

export interface SeenMessage {
  readonly type: MessageType;
  readonly region: number;
  readonly from: number;
  readonly to: number;
  readonly raw: raft_serverpb.RaftMessage;
}

type Effect =
  | { readonly kind: "watch" }
  | { readonly kind: "drop" }
  | { readonly kind: "hold" }
  | { readonly kind: "delay"; readonly ms: number }
  | { readonly kind: "duplicate"; readonly afterMs: number };

/** Which messages, and what becomes of them. Without an effect it only watches. */
export class Filter {
  /** Messages it acted upon, in order. */
  readonly seen: SeenMessage[] = [];
  /** Those it holds back. */
  readonly held: SeenMessage[] = [];
  effect: Effect = { kind: "watch" };
  readonly #conditions: ((message: SeenMessage) => boolean)[] = [];
  #left = Number.POSITIVE_INFINITY;
  #skip = 0;

  get hits(): number {
    return this.seen.length;
  }

  region(id: number): this {
    return this.where(({ region: of }) => of === id);
  }
  type(...types: readonly MessageType[]): this {
    return this.where(({ type }) => types.includes(type));
  }
  from(...stores: readonly number[]): this {
    return this.where(({ from }) => stores.includes(from));
  }
  to(...stores: readonly number[]): this {
    return this.where(({ to }) => stores.includes(to));
  }
  /** Either way between the two sides. */
  between(left: readonly number[], right: readonly number[]): this {
    return this.where(
      ({ from, to }) =>
        (left.includes(from) && right.includes(to)) || (right.includes(from) && left.includes(to)),
    );
  }
  where(condition: (message: SeenMessage) => boolean): this {
    this.#conditions.push(condition);
    return this;
  }

  /** They are lost. A snapshot's sender learns that it failed. */
  drop(): this {
    return this.#to({ kind: "drop" });
  }
  /** They wait until the filter is released. */
  hold(): this {
    return this.#to({ kind: "hold" });
  }
  /** They arrive that much later; others may overtake them. */
  delay(ms: number): this {
    return this.#to({ kind: "delay", ms });
  }
  /** They arrive now and once more. */
  duplicate(afterMs = 0): this {
    return this.#to({ kind: "duplicate", afterMs });
  }
  /** Only the first so many; the rest passes. */
  times(count: number): this {
    this.#left = count;
    return this;
  }
  /** The first so many pass. */
  skip(count: number): this {
    this.#skip = count;
    return this;
  }

  takes(message: SeenMessage): boolean {
    if (this.#left <= 0 || !this.#conditions.every((holds) => holds(message))) return false;
    if (this.#skip > 0) {
      this.#skip--;
      return false;
    }
    this.#left--;
    this.seen.push(message);
    return true;
  }

  #to(effect: Effect): this {
    this.effect = effect;
    return this;
  }
}

export const messages = (): Filter => new Filter();
export const region = (id: number): Filter => new Filter().region(id);

/** What a filter board asks of its cluster. */
export interface FilterHost {
  readonly world: World;
  /** 0 when the node is no store. */
  numberOf(node: SimNode): number;
  /** The message arrives at the store's door, as if just received. */
  inject(to: number, raw: raft_serverpb.RaftMessage): void;
  /** Snapshot streams that are held go on. */
  letGo(): void;
}

const copyOf = (raw: raft_serverpb.RaftMessage): raft_serverpb.RaftMessage =>
  raft_serverpb.RaftMessage.decode(raft_serverpb.RaftMessage.encode(raw).finish().slice());

export class FilterBoard {
  readonly #host: FilterHost;
  readonly #filters: Filter[] = [];

  constructor(host: FilterHost) {
    this.#host = host;
  }

  add(filter: Filter): Filter {
    this.#filters.push(filter);
    return filter;
  }

  /** The filter acts no more; what it holds is lost. */
  remove(filter: Filter): void {
    const at = this.#filters.indexOf(filter);
    if (at >= 0) this.#filters.splice(at, 1);
  }

  clear(): void {
    this.#filters.length = 0;
    this.#host.letGo();
  }

  /** The filter acts no more; what it held arrives now, in order. */
  release(filter: Filter): void {
    this.remove(filter);
    for (const { to, raw, type } of filter.held.splice(0)) {
      if (type !== "snapshot") this.#host.inject(to, raw);
    }
    this.#host.letGo();
  }

  judge(frame: Frame): FrameVerdict {
    if (this.#filters.length === 0) return "pass";
    if (frame.path.endsWith("/Snapshot")) return this.#judgeSnapshot(frame);
    if (!frame.path.endsWith("/BatchRaft")) return "pass";
    const batch = tikvpb.BatchRaftMessage.decode(frame.bytes);
    const kept = batch.msgs.filter((raw) => this.#passes(this.#see(frame, raw)));
    if (kept.length === batch.msgs.length) return "pass";
    return kept.length === 0 ? "drop" : tikvpb.BatchRaftMessage.encode({ msgs: kept }).finish().slice();
  }

  #see(frame: Frame, raw: raft_serverpb.RaftMessage): SeenMessage {
    const type = raw.isTombstone ? "tombstone" : (TYPES[raw.message?.msgType ?? 0] as MessageType);
    const from = this.#host.numberOf(frame.from);
    return { type, region: raw.regionId, from, to: this.#host.numberOf(frame.to), raw };
  }

  #passes(seen: SeenMessage): boolean {
    for (const filter of this.#filters) {
      if (!filter.takes(seen)) continue;
      const { effect } = filter;
      const { to, raw } = seen;
      if (effect.kind === "watch") continue;
      if (effect.kind === "hold") filter.held.push({ ...seen, raw: copyOf(raw) });
      else if (effect.kind === "delay") this.#later(effect.ms, to, copyOf(raw));
      else if (effect.kind === "duplicate") this.#later(effect.afterMs, to, copyOf(raw));
      return effect.kind === "duplicate";
    }
    return true;
  }

  #later(ms: number, to: number, raw: raft_serverpb.RaftMessage): void {
    this.#host.world.at(ms * MS, "late", () => this.#host.inject(to, raw));
  }

  /** A snapshot goes or waits as a stream. */
  #judgeSnapshot(frame: Frame): FrameVerdict {
    const raw = raft_serverpb.SnapshotChunk.decode(frame.bytes).message;
    if (raw == null) return "pass";
    const seen = this.#see(frame, raft_serverpb.RaftMessage.create(raw));
    for (const filter of this.#filters) {
      if (!filter.takes(seen)) continue;
      const { effect } = filter;
      if (effect.kind === "drop") return "drop";
      if (effect.kind === "delay") this.#host.world.at(effect.ms * MS, "late", () => this.#host.letGo());
      if (effect.kind === "hold") filter.held.push(seen);
      if (effect.kind === "delay" || effect.kind === "hold") return "hold";
    }
    return "pass";
  }
}
