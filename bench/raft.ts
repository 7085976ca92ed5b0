/**
 * The Raft library alone, in one process and without I/O: what a proposal costs from propose to apply, what an idle
 * group holds on to, what asking for the status allocates. Times are CPU times of this process, garbage collection
 * included, so that what else runs on the machine counts little; each is the best of several rounds.
 */
import { SeededRandom } from "../base/index.js";
import type { Message } from "../raft/index.js";
import { EMPTY_CONF_STATE, makeSnapshot, MemStorage, RawNode } from "../raft/index.js";

export interface RaftFigure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the project wants of itself, in the same unit. */
  readonly mark: string;
}

const VOTERS_ONE = [1];
const VOTERS_THREE = [1, 2, 3];
const PAYLOAD = new Uint8Array(16);

function node(id: number, voters: readonly number[], skipBroadcastCommit: boolean): [RawNode, MemStorage] {
  const storage = new MemStorage();
  storage.applySnapshot(makeSnapshot(1, 1, { ...EMPTY_CONF_STATE, voters }));
  const raw = new RawNode({
    id,
    storage,
    random: new SeededRandom(id),
    applied: 1,
    asyncStorageWrites: true,
    preVote: true,
    checkQuorum: true,
    skipBroadcastCommit,
  });
  return [raw, storage];
}

/** Group of nodes that hand each other messages directly; logs are cut now and then, as in any real use. */
class Group {
  readonly nodes: (readonly [RawNode, MemStorage])[];
  readonly #queue: Message[] = [];
  applied = 0;

  constructor(voters: readonly number[], skipBroadcastCommit = false) {
    this.nodes = voters.map((id) => node(id, voters, skipBroadcastCommit));
    this.leader.campaign();
    this.settle();
    if (this.leader.basicStatus().state !== "StateLeader") throw new Error("node 1 was not elected");
  }

  get leader(): RawNode {
    return (this.nodes[0] as readonly [RawNode, MemStorage])[0];
  }

  settle(): void {
    for (let i = 0; i < this.nodes.length; i++) this.#work(i);
    for (let at = 0; at < this.#queue.length; at++) {
      const message = this.#queue[at] as Message;
      const index = message.to - 1;
      (this.nodes[index] as readonly [RawNode, MemStorage])[0].step(message);
      this.#work(index);
    }
    this.#queue.length = 0;
  }

  #work(at: number): void {
    const [raw, storage] = this.nodes[at] as readonly [RawNode, MemStorage];
    while (raw.hasReady()) {
      const { messages, append, apply } = raw.ready();
      for (const message of messages) this.#queue.push(message);
      if (append !== undefined) {
        storage.write(append);
        for (const message of raw.ackAppend(append)) this.#queue.push(message);
      }
      if (apply !== undefined) {
        if (at === 0) this.applied += apply.entries.length;
        raw.ackApply(apply);
      }
    }
  }

  compact(): void {
    for (const [raw, storage] of this.nodes) {
      const index = raw.basicStatus().applied as never;
      storage.createSnapshot(index, { ...EMPTY_CONF_STATE, voters: VOTERS_THREE }, PAYLOAD);
      storage.compact(index);
    }
  }
}

/** CPU time of this process so far. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Entries a second from proposing to being applied at the leader. */
function proposals(voters: readonly number[], batch: number, seconds: number, skipCommit = false): number {
  const group = new Group(voters, skipCommit);
  const data = Array.from({ length: batch }, () => PAYLOAD);
  let best = 0;
  for (let round = 0; round < 5; round++) {
    const before = group.applied;
    const started = cpuMs();
    const until = started + (seconds * 1000) / 5;
    let now = started;
    while (now < until) {
      for (let i = 0; i < 256; i += batch) {
        const result = batch === 1 ? group.leader.propose(PAYLOAD) : group.leader.proposeMany(data);
        if (result.kind !== "proposed") throw new Error(`refused: ${result.reason}`);
        group.settle();
      }
      group.compact();
      now = cpuMs();
    }
    best = Math.max(best, ((group.applied - before) / (now - started)) * 1000);
  }
  return best;
}

function collect(): number {
  if (globalThis.gc === undefined)
    throw new Error("run with --expose-gc: node --expose-gc bin/raftwerk.js bench raft");
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

/** Bytes of heap that one node of an idle group of three keeps, without its storage and its random source. */
function idleBytes(count: number): number {
  const storage = new MemStorage();
  storage.applySnapshot(makeSnapshot(1, 1, { ...EMPTY_CONF_STATE, voters: VOTERS_THREE }));
  const random = new SeededRandom(1);
  const make = (): RawNode =>
    new RawNode({ id: 1, storage, random, applied: 1, asyncStorageWrites: true, checkQuorum: true });
  for (let i = 0; i < 1000; i++) make();
  const before = collect();
  const nodes = Array.from({ length: count }, make);
  const bytes = (collect() - before) / nodes.length;
  return bytes;
}

/**
 * Work of a tick over groups that are all quiesced: a driver ticks those that are awake, and a follower with nothing to
 * do is put to sleep. Answers the nodes that a tick still touches, and the nanoseconds of a tick of one that is awake.
 */
function quiesced(count: number): { readonly touched: number; readonly awakeNs: number } {
  const storage = new MemStorage();
  storage.applySnapshot(makeSnapshot(1, 1, { ...EMPTY_CONF_STATE, voters: VOTERS_THREE }));
  const random = new SeededRandom(2);
  const awake = new Set<RawNode>();
  for (let i = 0; i < count; i++)
    awake.add(new RawNode({ id: 1, storage, random, applied: 1, electionTicks: 1000 }));
  const started = cpuMs();
  for (const node of awake) node.tick();
  const awakeNs = ((cpuMs() - started) * 1e6) / count;
  for (const node of awake) if (!node.hasReady()) awake.delete(node);
  let touched = 0;
  for (let tick = 0; tick < 100; tick++) {
    for (const node of awake) {
      node.tick();
      touched++;
    }
  }
  return { touched, awakeNs };
}

/** Bytes allocated by a call: what the young generation grows while it cannot be collected. */
function allocatedBytes(calls: number, call: () => void): number {
  for (let i = 0; i < 100_000; i++) call();
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < calls; i++) call();
  return Math.max(0, process.memoryUsage().heapUsed - before) / calls;
}

function nanoseconds(calls: number, call: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const started = cpuMs();
    for (let i = 0; i < calls; i++) call();
    best = Math.min(best, ((cpuMs() - started) * 1e6) / calls);
  }
  return best;
}

export function raftFigures(seconds: number): RaftFigure[] {
  const one = proposals(VOTERS_ONE, 1, seconds);
  const oneBatched = proposals(VOTERS_ONE, 64, seconds);
  const three = proposals(VOTERS_THREE, 1, seconds);
  const threeSkipping = proposals(VOTERS_THREE, 1, seconds, true);
  const threeBatched = proposals(VOTERS_THREE, 64, seconds);
  const group = new Group(VOTERS_THREE);
  let sum = 0;
  const visit = (_id: number, progress: { readonly match: number }): void => {
    sum += progress.match;
  };
  const basic = (): void => {
    sum += group.leader.commitIndex + group.leader.lastIndex + group.leader.term;
  };
  const withProgress = (): void => group.leader.withProgress(visit);
  const idle = quiesced(100_000);
  const figures: RaftFigure[] = [
    { name: "one voter, propose to commit", value: 1e6 / one, unit: "us/entry", mark: "<= 3" },
    { name: "one voter, 64 a proposal", value: 1e6 / oneBatched, unit: "us/entry", mark: "<= 0.5" },
    { name: "three nodes, no I/O", value: three, unit: "entries/s", mark: ">= 300,000" },
    { name: "the same with skipBroadcastCommit", value: threeSkipping, unit: "entries/s", mark: "" },
    { name: "three nodes, 64 a proposal", value: threeBatched, unit: "entries/s", mark: ">= 2,000,000" },
    {
      name: "idle node of a group of three",
      value: idleBytes(50_000),
      unit: "bytes of heap",
      mark: "<= 1,536",
    },
    { name: "100,000 quiesced groups", value: idle.touched, unit: "nodes/tick", mark: "0" },
    { name: "tick of an idle node that is awake", value: idle.awakeNs, unit: "ns", mark: "" },
    { name: "status fields", value: allocatedBytes(20_000, basic), unit: "bytes/call", mark: "0" },
    { name: "status fields", value: nanoseconds(1_000_000, basic), unit: "ns/call", mark: "" },
    {
      name: "visit the progress of 3",
      value: allocatedBytes(20_000, withProgress),
      unit: "bytes/call",
      mark: "0",
    },
    {
      name: "visit the progress of 3",
      value: nanoseconds(1_000_000, withProgress),
      unit: "ns/call",
      mark: "",
    },
  ];
  if (sum < 0) throw new Error("unreachable: keeps the loops from being removed");
  return figures;
}
