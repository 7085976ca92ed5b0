/**
 * A cluster in one place for unit tests: nodes over MemStorage, messages in a list, no time. A message is delivered by
 * stepping it and working the receiver's Readys off at once; what may be lost is told by `cut` and `ignore`.
 */
import { must } from "../../base/assert.js";
import { utf8 } from "../../base/bytes.js";
import { SeededRandom } from "../../base/random.js";
import { decodeConfChange } from "../confchange-codec.js";
import type { ConfigInit } from "../config.js";
import { makeMessage, makeSnapshot } from "../message.js";
import type { MessageInit } from "../message.js";
import type { StepResult } from "../rawnode.js";
import { RawNode } from "../rawnode.js";
import { MemStorage } from "../storage.js";
import type { ConfState, Entry, Message, MessageType, NodeId, ReadState } from "../types.js";

export interface Member {
  readonly id: NodeId;
  readonly raw: RawNode;
  readonly storage: MemStorage;
  readonly applied: Entry[];
  readonly reads: ReadState[];
  confState: ConfState;
}

export type Settings = Partial<ConfigInit>;

/** A node over a fresh or given storage. */
export function makeMember(id: NodeId, voters: readonly NodeId[], settings: Settings = {}): Member {
  const storage = (settings.storage as MemStorage | undefined) ?? MemStorage.withConfState({ voters });
  const raw = new RawNode({
    id,
    random: new SeededRandom(id * 7919),
    maxSizePerMessageBytes: Number.POSITIVE_INFINITY,
    ...settings,
    storage,
  });
  return { id, raw, storage, applied: [], reads: [], confState: storage.initialState().confState };
}

/** Works off all Readys of a member; returns what it wants sent. */
export function drain(member: Member): Message[] {
  const out: Message[] = [];
  while (member.raw.hasReady()) {
    const ready = member.raw.ready();
    out.push(...ready.messages);
    member.reads.push(...ready.readStates);
    if (ready.append !== undefined) {
      member.storage.write(ready.append);
      const restored = ready.append.snapshot?.metadata.confState;
      if (restored !== undefined) member.confState = restored;
    }
    for (const entry of ready.apply?.entries ?? []) applyEntry(member, entry);
    out.push(...member.raw.advance(ready));
  }
  return out;
}

function applyEntry(member: Member, entry: Entry): void {
  member.applied.push(entry);
  if (entry.type === "EntryNormal") return;
  const change = decodeConfChange(entry.data);
  if (change === undefined) return;
  const result = member.raw.applyConfChange(change);
  if (result.kind === "applied") member.confState = result.confState;
}

export class Network {
  readonly members = new Map<NodeId, Member>();
  readonly #cuts = new Set<string>();
  readonly #ignored = new Set<MessageType>();
  /** Messages that were delivered, in order. */
  readonly delivered: Message[] = [];

  constructor(members: readonly Member[]) {
    for (const member of members) this.members.set(member.id, member);
  }

  static of(count: number, settings: Settings = {}): Network {
    const ids = Array.from({ length: count }, (_, i) => i + 1);
    return new Network(ids.map((id) => makeMember(id, ids, settings)));
  }

  member(id: NodeId): Member {
    return must(this.members.get(id), `no member ${id}`);
  }

  raw(id: NodeId): RawNode {
    return this.member(id).raw;
  }

  /** Everything this member wants done, and all that follows from it. */
  settle(...ids: NodeId[]): void {
    const queue: Message[] = [];
    for (const id of ids.length > 0 ? ids : this.members.keys()) queue.push(...drain(this.member(id)));
    this.#deliver(queue);
  }

  #deliver(queue: Message[]): void {
    for (let at = 0; at < queue.length; at++) {
      const message = queue[at] as Message;
      if (this.#ignored.has(message.type) || this.#cuts.has(`${message.from}-${message.to}`)) continue;
      const target = this.members.get(message.to);
      if (target === undefined) continue;
      this.delivered.push(message);
      target.raw.step(message);
      queue.push(...drain(target));
    }
  }

  /** Steps a message into its receiver and settles. */
  send(init: MessageInit): StepResult {
    const message = makeMessage(init);
    const target = this.member(message.to);
    const result = target.raw.step(message);
    this.#deliver(drain(target));
    return result;
  }

  campaign(id: NodeId): void {
    this.raw(id).campaign();
    this.settle(id);
  }

  propose(id: NodeId, data = "somedata"): string {
    const result = this.raw(id).propose(utf8(data));
    this.settle(id);
    return result.kind === "dropped" ? result.reason : result.kind;
  }

  tick(id: NodeId, ticks = 1): void {
    for (let i = 0; i < ticks; i++) this.raw(id).tick();
    this.settle(id);
  }

  /** Loses everything between two members. */
  cut(left: NodeId, right: NodeId): void {
    this.#cuts.add(`${left}-${right}`).add(`${right}-${left}`);
  }

  isolate(id: NodeId): void {
    for (const other of this.members.keys()) if (other !== id) this.cut(id, other);
  }

  ignore(type: MessageType): void {
    this.#ignored.add(type);
  }

  recover(): void {
    this.#cuts.clear();
    this.#ignored.clear();
  }

  /** Makes a snapshot of what a member has applied and compacts its log up to there. */
  compact(id: NodeId): number {
    const { raw, storage, confState } = this.member(id);
    const { applied } = raw.basicStatus();
    storage.createSnapshot(applied as never, confState, utf8(`snapshot ${applied}`));
    storage.compact(applied as never);
    return applied;
  }

  leaders(): NodeId[] {
    return [...this.members.values()]
      .filter((member) => member.raw.basicStatus().state === "StateLeader")
      .map((member) => member.id);
  }

  state(id: NodeId): string {
    const { state, term, lead } = this.raw(id).basicStatus();
    return `${state} ${term} ${lead}`;
  }
}

/** A storage that starts from a snapshot. */
export function storageAt(index: number, term: number, confState: Partial<ConfState>): MemStorage {
  const storage = new MemStorage();
  storage.applySnapshot(makeSnapshot(index, term, confState));
  return storage;
}
