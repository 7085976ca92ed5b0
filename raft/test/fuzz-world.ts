/**
 * A group of nodes under random faults, driven by one seed: the same seed gives the same run, step by step. Nodes write
 * and apply out of step with each other, lose what was not durable when they crash, and talk over a network that loses,
 * repeats, reorders and cuts. The disk is a MemStorage of which only acknowledged writes survive.
 */
import { SeededRandom } from "../../base/random.js";
import type { LogIndex, Term } from "../../base/ids.js";
import { decodeConfChange, makeConfChange } from "../confchange-codec.js";
import type { ConfigInit } from "../config.js";
import { describeMessage } from "../describe.js";
import { EMPTY_CONF_STATE, makeSnapshot } from "../message.js";
import { RawNode } from "../rawnode.js";
import { MemStorage } from "../storage.js";
import type {
  Append,
  Apply,
  ConfChangeType,
  ConfState,
  Entry,
  Message,
  NodeId,
  Snapshot,
  StorageError,
} from "../types.js";
import { Invariants } from "./fuzz-invariants.js";

interface Options {
  readonly nodes: number;
  readonly voters: number;
  readonly isAsync: boolean;
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
  readonly readOnlyOption: "safe" | "leaseBased";
  readonly maxSizePerMessageBytes: number;
  readonly maxInflightMessages: number;
  readonly disableProposalForwarding: boolean;
  readonly stepDownOnRemoval: boolean;
  readonly commitInResponses: boolean;
  readonly batchAppend: boolean;
  readonly skipBroadcastCommit: boolean;
  readonly commitByVote: boolean;
  readonly lossPercent: number;
  readonly crashes: boolean;
  readonly partitions: boolean;
  readonly confChanges: boolean;
}

/**
 * Snapshots are made when they are asked for, of what is applied now, as an application with its state at hand
 * does.
 */
class FreshStorage extends MemStorage {
  refresh: () => void = () => {};

  override snapshot(requestIndex: LogIndex, to: NodeId): Snapshot | StorageError {
    this.refresh();
    return super.snapshot(requestIndex, to);
  }

  /** The one on disk. */
  stored(): Snapshot {
    return super.snapshot(0 as LogIndex, 0) as Snapshot;
  }
}

interface Node {
  readonly id: NodeId;
  readonly storage: FreshStorage;
  raw: RawNode | undefined;
  readonly appends: Append[];
  readonly applies: Apply[];
  confState: ConfState;
  applied: number;
  commit: number;
  leadsTerm: number;
}

const HASH_START = 0x811c9dc5;
const mix = (hash: number, value: number): number => Math.imul(hash ^ (value >>> 0), 0x01000193) >>> 0;
const EVENTS_KEPT = 60;

function bootstrapped(voters: readonly NodeId[]): FreshStorage {
  const storage = new FreshStorage();
  // A snapshot at index 1 whose configuration all founding members share; others join empty.
  if (voters.length === 0) return storage;
  storage.applySnapshot(makeSnapshot(1, 1, { ...EMPTY_CONF_STATE, voters }));
  storage.setHardState({ term: 1 as Term, vote: 0, commit: 1 as LogIndex });
  return storage;
}

export class FuzzWorld {
  readonly invariants = new Invariants();
  readonly events: string[] = [];
  readonly #random: SeededRandom;
  readonly #options: Options;
  readonly #nodes: Node[] = [];
  #network: Message[] = [];
  /** Pairs that cannot talk, as `from * 16 + to`. */
  #cut = new Set<number>();
  readonly #readsAsked = new Map<number, number>();
  #nextProposal = 1;
  #nextRead = 1;
  #isHealed = false;
  traceHash = HASH_START;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed, 7);
    this.#options = this.#drawOptions();
    const voters = Array.from({ length: this.#options.voters }, (_, i) => i + 1);
    for (let id = 1; id <= this.#options.nodes; id++) {
      const confState: ConfState = { ...EMPTY_CONF_STATE, voters };
      this.#nodes.push({
        id,
        storage: bootstrapped(voters.includes(id) ? voters : []),
        raw: undefined,
        appends: [],
        applies: [],
        confState,
        applied: 0,
        commit: 0,
        leadsTerm: 0,
      });
    }
    for (const node of this.#nodes) {
      this.#start(node);
      node.storage.refresh = () => this.#makeSnapshot(node);
    }
    this.#note(`options ${JSON.stringify(this.#options)}`);
  }

  #drawOptions(): Options {
    const chance = (percent: number): boolean => this.#below(100) < percent;
    const nodes = 1 + this.#below(7);
    const checkQuorum = chance(60);
    return {
      nodes,
      voters: 1 + this.#below(nodes),
      isAsync: chance(60),
      preVote: chance(60),
      checkQuorum,
      readOnlyOption: "safe",
      maxSizePerMessageBytes: chance(30) ? 0 : chance(50) ? 40 : 1 << 20,
      maxInflightMessages: chance(30) ? 1 : 1 + this.#below(256),
      disableProposalForwarding: chance(20),
      stepDownOnRemoval: chance(50),
      commitInResponses: chance(20),
      batchAppend: chance(20),
      skipBroadcastCommit: chance(20),
      commitByVote: chance(20),
      lossPercent: chance(30) ? 0 : this.#below(30),
      crashes: chance(70),
      partitions: chance(50),
      confChanges: chance(60),
    };
  }

  /** One random step. */
  step(): void {
    const at = this.#below(100);
    if (at < 34) this.#deliver();
    else if (at < 60) this.#ready(this.#anyNode());
    else if (at < 70) this.#writeOne(this.#anyNode());
    else if (at < 78) this.#applyOne(this.#anyNode());
    else if (at < 87) this.#tick(this.#anyNode());
    else if (at < 92) this.#propose(this.#anyNode());
    else if (at < 94) this.#readIndex(this.#anyNode());
    else this.#rare();
    this.#check();
  }

  /** No faults from now on, all nodes up: the group must elect a leader and commit something new. */
  heal(rounds: number): void {
    this.#isHealed = true;
    this.#cut.clear();
    for (const node of this.#nodes) if (node.raw === undefined) this.#start(node);
    const target = this.invariants.committedIndex + 1;
    for (let round = 0; round < rounds; round++) {
      for (const node of this.#nodes) {
        if (this.#leadsFromOutside(node)) this.#crash(node);
        if (round % 2 === 0) this.#tick(node);
        this.#settle(node);
      }
      const messages = this.#network;
      this.#network = [];
      for (const message of messages) this.#handOver(message);
      for (const node of this.#nodes) this.#settle(node);
      if (round > 20 && round % 10 === 0) this.#propose(this.#anyNode());
      this.#check();
      const isLive = this.#nodes.some((node) => this.#isMember(node) && node.applied >= target + 2);
      if (isLive && round > 40) return;
    }
    // A voter that was removed keeps its longer log and may not campaign; those who have not heard that its removal is
    // committed need its vote. Only a commit index in the refusal helps them (raft-rs' commit by vote).
    if (this.#options.confChanges && !this.#options.commitByVote) return;
    throw new Error(`liveness: nothing new was committed in ${rounds} rounds without faults`);
  }

  /** Without `stepDownOnRemoval` a leader that was removed leads on; its application is to shut it down. */
  #leadsFromOutside(node: Node): boolean {
    const { voters, votersOutgoing } = node.confState;
    const isVoter = voters.includes(node.id) || votersOutgoing.includes(node.id);
    return !isVoter && node.raw?.basicStatus().state === "StateLeader";
  }

  #settle(node: Node): void {
    for (
      let i = 0;
      i < 100 && (node.raw?.hasReady() === true || node.appends.length > 0 || node.applies.length > 0);
      i++
    ) {
      this.#ready(node);
      this.#writeOne(node);
      this.#applyOne(node);
    }
  }

  #isMember(node: Node): boolean {
    return node.raw !== undefined && node.confState.voters.includes(node.id);
  }

  #below(bound: number): number {
    return this.#random.u32() % bound;
  }

  #anyNode(): Node {
    return this.#nodes[this.#below(this.#nodes.length)] as Node;
  }

  #note(event: string): void {
    for (let i = 0; i < event.length; i++) this.traceHash = mix(this.traceHash, event.charCodeAt(i));
    this.events.push(event);
    if (this.events.length > EVENTS_KEPT) this.events.shift();
  }

  #start(node: Node): void {
    const snapshot = node.storage.stored();
    const metadata = snapshot.metadata.index === 0 ? undefined : snapshot.metadata;
    const options = this.#options;
    const init: ConfigInit = {
      id: node.id,
      storage: node.storage,
      random: this.#random.fork(),
      applied: (metadata?.index ?? 0) as LogIndex,
      electionTicks: 5,
      heartbeatTicks: 1,
      preVote: options.preVote,
      checkQuorum: options.checkQuorum,
      readOnlyOption: options.readOnlyOption,
      maxSizePerMessageBytes: options.maxSizePerMessageBytes,
      maxInflightMessages: options.maxInflightMessages,
      asyncStorageWrites: options.isAsync,
      disableProposalForwarding: options.disableProposalForwarding,
      stepDownOnRemoval: options.stepDownOnRemoval,
      commitInResponses: options.commitInResponses,
      batchAppend: options.batchAppend,
      skipBroadcastCommit: options.skipBroadcastCommit,
      commitByVote: options.commitByVote,
    };
    node.confState = metadata?.confState ?? EMPTY_CONF_STATE;
    node.applied = metadata?.index ?? 0;
    node.raw = new RawNode(init);
    node.commit = node.raw.commitIndex;
    node.leadsTerm = 0;
    this.#note(`start ${node.id} applied ${node.applied} commit ${node.commit}`);
  }

  #crash(node: Node): void {
    if (node.raw === undefined) return;
    this.#note(`crash ${node.id}`);
    node.raw = undefined;
    node.appends.length = 0;
    node.applies.length = 0;
  }

  #tick(node: Node): void {
    node.raw?.tick();
  }

  #propose(node: Node): void {
    if (node.raw === undefined) return;
    const number = this.#nextProposal++;
    const data = new Uint8Array(1 + this.#below(20)).fill(number & 0xff);
    const result = node.raw.propose(data);
    this.#note(`propose ${number} at ${node.id}: ${result.kind}`);
  }

  #rare(): void {
    const node = this.#anyNode();
    const at = this.#below(100);
    const options = this.#options;
    if (at < 12 && options.crashes) this.#crash(node);
    else if (at < 40) {
      if (node.raw === undefined) this.#start(node);
    } else if (at < 52) this.#readIndex(node);
    else if (at < 62) this.#compact(node);
    else if (at < 70) {
      node.raw?.transferLeader(1 + this.#below(options.nodes));
      this.#note(`transfer at ${node.id}`);
    } else if (at < 80 && options.confChanges) this.#changeConfiguration(node);
    else if (at < 90 && options.partitions) this.#partition();
    else if (at < 93) node.raw?.reportUnreachable(1 + this.#below(options.nodes));
    else if (at < 96) node.raw?.campaign();
    else if (at < 98) node.raw?.forgetLeader();
    else this.#cut.clear();
  }

  #partition(): void {
    this.#cut.clear();
    const side = this.#random.u32();
    const isOneWay = this.#below(3) === 0;
    for (const from of this.#nodes) {
      for (const to of this.#nodes) {
        const differ = ((side >> from.id) & 1) !== ((side >> to.id) & 1);
        if (differ && (!isOneWay || ((side >> from.id) & 1) === 0)) this.#cut.add(from.id * 16 + to.id);
      }
    }
    this.#note(`partition ${[...this.#cut].length}`);
  }

  #readIndex(node: Node): void {
    if (node.raw === undefined) return;
    const number = this.#nextRead++;
    const context = new Uint8Array([number >>> 16, number >>> 8, number]);
    this.#readsAsked.set(number, this.invariants.committedIndex);
    node.raw.readIndex(context);
    this.#note(`read ${number} at ${node.id}`);
  }

  #compact(node: Node): void {
    if (node.raw === undefined || node.applied <= node.storage.firstIndex()) return;
    if (this.#makeSnapshot(node) && this.#below(2) === 0) node.storage.compact(node.applied as LogIndex);
    this.#note(`snapshot ${node.id} at ${node.applied}`);
  }

  #makeSnapshot(node: Node): boolean {
    const data = new Uint8Array([0]);
    const index = node.applied as LogIndex;
    // Entries are applied before the commit index that released them is durable; a snapshot of them must not be ahead.
    this.#raiseCommit(node, index);
    return typeof node.storage.createSnapshot(index, node.confState, data) !== "string";
  }

  #raiseCommit(node: Node, index: LogIndex): void {
    const { hardState } = node.storage.initialState();
    if (hardState.commit < index) node.storage.setHardState({ ...hardState, commit: index });
  }

  #changeConfiguration(node: Node): void {
    if (node.raw === undefined) return;
    const types: ConfChangeType[] = ["ConfChangeAddNode", "ConfChangeAddLearnerNode", "ConfChangeRemoveNode"];
    const count = 1 + this.#below(3);
    const changes = Array.from({ length: this.#below(8) === 0 ? 0 : count }, () => ({
      type: types[this.#below(types.length)] as ConfChangeType,
      nodeId: 1 + this.#below(this.#options.nodes),
    }));
    const transitions = [
      "ConfChangeTransitionAuto",
      "ConfChangeTransitionJointImplicit",
      "ConfChangeTransitionJointExplicit",
    ] as const;
    const transition = transitions[this.#below(3)] ?? "ConfChangeTransitionAuto";
    const result = node.raw.proposeConfChange(makeConfChange(changes, transition));
    this.#note(`change ${JSON.stringify(changes)} ${transition} at ${node.id}: ${result.kind}`);
  }

  #ready(node: Node): void {
    const { raw } = node;
    if (raw === undefined || !raw.hasReady()) return;
    if (!this.#options.isAsync && (node.appends.length > 0 || node.applies.length > 0)) return;
    const ready = raw.ready();
    if (ready.append !== undefined) this.#checkAppended(node, raw, ready.append);
    for (const { index, requestContext } of ready.readStates) {
      const number =
        ((requestContext[0] ?? 0) << 16) | ((requestContext[1] ?? 0) << 8) | (requestContext[2] ?? 0);
      this.invariants.reads(node.id, index, this.#readsAsked.get(number) ?? 0);
    }
    this.#send(node, ready.messages);
    if (ready.append !== undefined) node.appends.push(ready.append);
    if (ready.apply !== undefined) node.applies.push(ready.apply);
  }

  #checkAppended(node: Node, raw: RawNode, append: Append): void {
    const { state, term } = raw.basicStatus();
    const changes = append.entries.filter(({ type }) => type !== "EntryNormal");
    if (state !== "StateLeader" || changes.length === 0) return;
    const logged = [
      ...node.appends.flatMap(({ entries }) => entries),
      ...node.storage.tail(node.storage.firstIndex()),
    ];
    for (const change of changes) {
      if (change.term !== term) continue;
      const isPending = (entry: Entry): boolean =>
        entry.type !== "EntryNormal" && entry.index > node.applied && entry.index < change.index;
      const pending = logged.find(isPending) ?? changes.find(isPending);
      this.invariants.appendsConfChange(node.id, change.index, pending?.index);
    }
  }

  /** Of entries that this write puts on the disk. */
  #checkWritten(node: Node, entries: readonly Entry[]): void {
    for (const entry of entries) {
      let hash = mix(HASH_START, entry.type.length);
      for (const byte of entry.data) hash = mix(hash, byte);
      const previous = node.storage.term((entry.index - 1) as LogIndex);
      const previousTerm = typeof previous === "number" ? previous : undefined;
      this.invariants.writes(node.id, entry.index, entry.term, hash, previousTerm);
    }
  }

  #writeOne(node: Node): void {
    const append = node.appends.shift();
    if (append === undefined || node.raw === undefined) return;
    const { snapshot } = append;
    const error = node.storage.write(append);
    if (error !== undefined && error !== "snapshotOutOfDate") throw new Error(`the write failed: ${error}`);
    this.#checkWritten(node, append.entries);
    // A write that was handed out before a snapshot was made still names the older commit index.
    this.#raiseCommit(node, node.storage.stored().metadata.index);
    if (append.hardState !== undefined) this.invariants.persistsTerm(node.id, append.hardState.term);
    if (snapshot !== undefined) {
      node.applied = snapshot.metadata.index;
      node.confState = snapshot.metadata.confState;
    }
    this.#note(`write ${node.id} to ${node.storage.lastIndex()}`);
    this.#send(node, node.raw.ackAppend(append));
  }

  #applyOne(node: Node): void {
    // In synchronous mode entries are applied after the write of their Ready, and both are acknowledged in that order.
    if (!this.#options.isAsync && node.appends.length > 0) return;
    const apply = node.applies.shift();
    if (apply === undefined || node.raw === undefined) return;
    for (const entry of apply.entries) this.#applyEntry(node, node.raw, entry);
    this.#note(`apply ${node.id} to ${node.applied}`);
    node.raw.ackApply(apply);
  }

  #applyEntry(node: Node, raw: RawNode, entry: Entry): void {
    // A snapshot may overtake entries that were handed out to be applied before it came.
    if (entry.index <= node.applied) return;
    if (entry.index !== node.applied + 1) {
      throw new Error(`${node.id} applies ${entry.index} after ${node.applied}`);
    }
    let hash = HASH_START;
    for (const byte of entry.data) hash = mix(hash, byte);
    this.invariants.applies(node.id, entry.index, entry.term, hash);
    node.applied = entry.index;
    if (entry.type === "EntryNormal") return;
    const change = decodeConfChange(entry.data);
    if (change === undefined) throw new Error("a configuration change does not decode");
    const result = raw.applyConfChange(change);
    if (result.kind === "applied") node.confState = result.confState;
  }

  #send(node: Node, messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.to === node.id || message.to <= 0)
        throw new Error(`sent to itself: ${describeMessage(message)}`);
      if (message.type === "MsgVoteResp" && !message.reject) {
        this.invariants.votes(node.id, message.term, message.to);
      }
      if (message.type === "MsgAppResp" && !message.reject) {
        this.invariants.acknowledges(node.id, message.index, node.storage.lastIndex());
      }
      this.#network.push(message);
    }
  }

  #deliver(): void {
    if (this.#network.length === 0) return;
    // Mostly in order, sometimes from anywhere.
    const at = this.#below(4) === 0 ? this.#below(this.#network.length) : 0;
    const message = this.#network[at] as Message;
    const isRepeated = message.type !== "MsgSnap" && this.#below(100) < this.#options.lossPercent / 3;
    if (!isRepeated) this.#network.splice(at, 1);
    const isLost = this.#below(100) < this.#options.lossPercent;
    if (isLost || this.#cut.has(message.from * 16 + message.to)) return this.#lose(message);
    this.#handOver(message);
  }

  #lose(message: Message): void {
    if (message.type === "MsgSnap") this.#nodes[message.from - 1]?.raw?.reportSnapshot(message.to, "failure");
  }

  #handOver(message: Message): void {
    const node = this.#nodes[message.to - 1];
    if (node?.raw === undefined) return this.#lose(message);
    this.#note(describeMessage(message));
    node.raw.step(message);
    if (message.type === "MsgSnap") this.#nodes[message.from - 1]?.raw?.reportSnapshot(message.to, "finish");
  }

  #check(): void {
    for (const node of this.#nodes) {
      const { raw } = node;
      if (raw === undefined) continue;
      const status = raw.basicStatus();
      this.invariants.commits(node.id, node.commit, status.commit, status.lastIndex);
      // While healing many steps lie between two checks, over which members may change.
      const hasCommitted = status.state === "StateLeader" && status.commit > node.commit;
      if (hasCommitted && !this.#isHealed) this.#checkCommit(node, raw);
      node.commit = status.commit;
      if (status.state !== "StateLeader") continue;
      this.invariants.leads(node.id, status.term);
      if (node.leadsTerm === status.term) continue;
      node.leadsTerm = status.term;
      this.#checkCompleteness(node, status.term, status.lastIndex);
    }
    if (this.#network.length > 400 && !this.#isHealed)
      this.#network.splice(0, 200).forEach((each) => this.#lose(each));
  }

  /** Disks are asked, not claims. What a node has compacted it had; a node that is down keeps its disk. */
  #checkCommit(node: Node, raw: RawNode): void {
    const { commit, term, config } = raw.status();
    const holds = (id: NodeId): boolean => {
      const storage = this.#nodes[id - 1]?.storage;
      if (storage === undefined) return false;
      const found = storage.term(commit as LogIndex);
      return found === "compacted" || found === term;
    };
    const isQuorum = (voters: readonly NodeId[]): boolean =>
      voters.length === 0 || voters.filter(holds).length * 2 > voters.length;
    const own = node.storage.term(commit as LogIndex);
    const entryTerm = typeof own === "number" ? own : undefined;
    const isDurable = isQuorum(config.voters) && isQuorum(config.votersOutgoing);
    this.invariants.leaderCommits(node.id, commit, term, entryTerm, isDurable);
  }

  /** Entries that the new leader has not on disk yet are those of its unstable tail: looked up by what it sends. */
  #checkCompleteness(node: Node, term: number, lastIndex: number): void {
    const durableLast = node.storage.lastIndex();
    this.invariants.isComplete(node.id, term, node.storage.firstIndex(), lastIndex, (index) => {
      if (index > durableLast) return undefined;
      const found = node.storage.term(index as LogIndex);
      return typeof found === "string" ? undefined : found;
    });
  }
}
