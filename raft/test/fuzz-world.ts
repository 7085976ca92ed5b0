/**
 * A group of nodes under random faults, driven by one seed: the same seed gives the same run, step by step. Nodes
 * write, apply and acknowledge out of step with each other, pause, lose what was not durable when they crash, and talk
 * over a network that is as bad as the seed says (`fuzz-options.ts`). What each node must hold to is in `fuzz-node.ts`.
 */
import { SeededRandom } from "../../base/random.js";
import type { LogIndex } from "../../base/ids.js";
import { makeConfChange } from "../confchange-codec.js";
import { describeMessage } from "../describe.js";
import { makeMessage } from "../message.js";
import type {
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  Message,
  MessageType,
  NodeId,
} from "../types.js";
import { HASH_START, mix } from "./fuzz-disk.js";
import { Invariants } from "./fuzz-invariants.js";
import { FuzzNetwork } from "./fuzz-network.js";
import { FuzzNode, type ReadAsked, type Surroundings } from "./fuzz-node.js";
import { drawOptions, type FuzzOptions } from "./fuzz-options.js";
import { Strikes } from "./fuzz-strikes.js";

const EVENTS_KEPT = 80;
const DRAWS_MAX = 8;
const CHANGE_TYPES: readonly ConfChangeType[] = [
  "ConfChangeAddNode",
  "ConfChangeAddNode",
  "ConfChangeAddLearnerNode",
  "ConfChangeRemoveNode",
];
const TRANSITIONS: readonly ConfChangeTransition[] = [
  "ConfChangeTransitionAuto",
  "ConfChangeTransitionJointImplicit",
  "ConfChangeTransitionJointExplicit",
];
type Weather = "calm" | "usual" | "storm";
const WEATHERS: readonly Weather[] = ["calm", "calm", "usual", "usual", "usual", "storm"];

const LOCAL_TYPES: readonly MessageType[] = ["MsgHup", "MsgBeat", "MsgCheckQuorum", "MsgStorageAppendResp"];

export class FuzzWorld implements Surroundings {
  readonly options: FuzzOptions;
  readonly invariants = new Invariants();
  readonly random: SeededRandom;
  readonly readsAsked = new Map<number, ReadAsked>();
  readonly nodes: FuzzNode[] = [];
  readonly #network: FuzzNetwork;
  readonly #strikes: Strikes;
  #weather: Weather = "usual";
  #weatherLeft = 0;
  readonly #events: (string | Message)[] = [];
  readonly #steps: readonly { readonly below: number; readonly run: () => boolean }[];
  readonly #weight: number;
  #nextProposal = 1;
  #nextRead = 1;
  traceHash = HASH_START;

  constructor(seed: number) {
    this.random = new SeededRandom(seed, 7);
    this.options = drawOptions(this.random);
    this.#network = new FuzzNetwork(this.random, this.options, (message) => this.#lose(message));
    const founders = Array.from({ length: this.options.voters }, (_, i) => i + 1);
    for (let id = 1; id <= this.options.nodes; id++) this.nodes.push(new FuzzNode(this, id, founders));
    for (const node of this.nodes) node.start();
    this.#strikes = new Strikes({
      options: this.options,
      nodes: this.nodes,
      network: this.#network,
      below: (bound) => this.#below(bound),
      note: (event) => this.note(event),
    });
    const steps: { below: number; run: () => boolean }[] = [];
    let below = 0;
    for (const [kind, run] of Object.entries(this.#kinds())) {
      below += this.options.weights[kind as keyof FuzzOptions["weights"]];
      steps.push({ below, run });
    }
    this.#steps = steps;
    this.#weight = below;
  }

  #kinds(): Readonly<Record<keyof FuzzOptions["weights"], () => boolean>> {
    const act = (can: (node: FuzzNode) => boolean, what: (node: FuzzNode) => void): (() => boolean) => {
      return () => {
        const node = this.#one(can);
        if (node !== undefined) what(node);
        return node !== undefined;
      };
    };
    return {
      deliver: () => this.#deliver(),
      ready: act(
        (node) => node.canReady,
        (node) => node.takeReady(),
      ),
      write: act(
        (node) => node.canWrite,
        (node) => node.write(),
      ),
      acknowledge: act(
        (node) => node.canAcknowledge,
        (node) => this.#acknowledge(node),
      ),
      apply: act(
        (node) => node.canApply,
        (node) => node.apply(),
      ),
      tick: act(
        (node) => !node.clockStands,
        (node) => node.tick(),
      ),
      propose: () => this.#propose(this.#toLeader()),
      read: () => this.#readSome(),
      fault: () => this.#fault(),
    };
  }

  /** One random step. What cannot be done now is drawn again, so that few steps are idle. */
  step(): void {
    for (let draws = 0; draws < DRAWS_MAX && !this.#draw(); draws++) {
      // Drawn again.
    }
    this.#network.pass();
    this.#strikes.pass();
    if (this.options.weather && --this.#weatherLeft < 0) this.#turn();
    for (const node of this.nodes) {
      if (node.pausedFor > 0) this.#wake(node);
      if (node.diskStandsFor > 0) node.diskStandsFor--;
    }
  }

  /** In a calm nothing fails, and a group gets somewhere; in a storm faults come in numbers. */
  #turn(): void {
    this.#weather = WEATHERS[this.#below(WEATHERS.length)] as Weather;
    this.#weatherLeft = 100 + this.#below(300);
    this.#network.isCalm = this.#weather === "calm";
    this.note(`weather: ${this.#weather}`);
  }

  #draw(): boolean {
    const at = this.#below(this.#weight);
    for (const { below, run } of this.#steps) if (at < below) return run();
    return false;
  }

  #wake(node: FuzzNode): void {
    if (--node.pausedFor > 0) return;
    this.note(`${node.id} goes on`);
    // Who waited asks again at once, of a node that does not know yet what it missed.
    if (this.#below(2) === 0) this.#readIndex(node);
    // The clock went on meanwhile; a loop that stood still gets its ticks at once, or none of them.
    if (this.#below(2) === 0) for (let ticks = this.#below(12); ticks > 0; ticks--) node.tick();
  }

  // What nodes use.

  send(message: Message): void {
    this.#network.send(message);
    if (message.type !== "MsgTimeoutNow" || !this.options.strikes || this.#weather === "calm") return;
    const sender = this.node(message.from);
    if (sender !== undefined) this.#strikes.afterTimeoutNow(sender);
  }

  node(id: NodeId): FuzzNode | undefined {
    return this.nodes[id - 1];
  }

  note(event: string): void {
    let hash = this.traceHash;
    for (let i = 0; i < event.length; i++) hash = mix(hash, event.charCodeAt(i));
    this.traceHash = hash;
    this.#remember(event);
  }

  #noteMessage(message: Message): void {
    let hash = mix(this.traceHash, message.type.length * 256 + message.from * 16 + message.to);
    hash = mix(hash, message.term);
    hash = mix(hash, message.index);
    hash = mix(hash, message.commit * 64 + message.entries.length);
    this.traceHash = message.reject ? mix(hash, message.rejectHint) : hash;
    this.#remember(message);
  }

  #remember(event: string | Message): void {
    this.#events.push(event);
    if (this.#events.length > EVENTS_KEPT * 4) this.#events.splice(0, EVENTS_KEPT * 3);
  }

  /** What was drawn, and the last that happened, in words. */
  events(): string[] {
    const last = this.#events.slice(-EVENTS_KEPT);
    return [
      `options ${JSON.stringify(this.options)}`,
      ...last.map((event) => (typeof event === "string" ? event : describeMessage(event))),
    ];
  }

  // Choices.

  #below(bound: number): number {
    return this.random.u32() % bound;
  }

  #anyNode(): FuzzNode {
    return this.nodes[this.#below(this.nodes.length)] as FuzzNode;
  }

  /** The first from a random place on that is up and can do it. */
  #one(can: (node: FuzzNode) => boolean): FuzzNode | undefined {
    const from = this.#below(this.nodes.length);
    for (let i = 0; i < this.nodes.length; i++) {
      const node = this.nodes[(from + i) % this.nodes.length] as FuzzNode;
      if (node.isUp && can(node)) return node;
    }
    return undefined;
  }

  /** Mostly one that leads, if only by its own belief. */
  #toLeader(): FuzzNode {
    const { deposed } = this.#strikes;
    if (deposed !== undefined && this.#below(3) === 0) return deposed;
    return (this.#below(4) > 0 ? this.#one((node) => node.isLeader) : undefined) ?? this.#anyNode();
  }

  // Steps.

  #deliver(): boolean {
    if (this.#network.isEmpty) return false;
    const message = this.#network.next();
    if (message !== undefined) this.#handOver(message);
    return true;
  }

  #lose(message: Message): void {
    const sender = this.node(message.from);
    if (message.type === "MsgApp" && this.#below(8) === 0) {
      sender?.raw?.reportUnreachable(message.to);
      sender?.check();
    }
    if (message.type !== "MsgSnap") return;
    sender?.raw?.reportSnapshot(message.to, "failure");
    sender?.check();
  }

  #handOver(message: Message): void {
    const node = this.node(message.to);
    if (node?.raw === undefined) return this.#lose(message);
    if (node.pausedFor > 0) return this.#network.hold(message);
    this.#noteMessage(message);
    node.step(message);
    if (message.type !== "MsgSnap") return;
    const sender = this.node(message.from);
    sender?.raw?.reportSnapshot(message.to, "finish");
    sender?.check();
  }

  #acknowledge(node: FuzzNode): void {
    if (this.#below(2) === 0 && node.acknowledgeApply()) return;
    node.acknowledge();
  }

  #propose(node: FuzzNode): boolean {
    if (!node.isUp || node.raw === undefined) return false;
    const count = 1 + (this.#below(3) === 0 ? this.#below(4) : 0);
    const data = Array.from({ length: count }, () => {
      const number = this.#nextProposal++;
      const bytes = new Uint8Array(2 + this.#below(20)).fill(number & 0xff);
      bytes[1] = number >> 8;
      return bytes;
    });
    const result = count === 1 ? node.raw.propose(data[0] as Uint8Array) : node.raw.proposeMany(data);
    this.note(`propose ${count} at ${node.id}: ${result.kind}`);
    node.check();
    return result.kind === "proposed";
  }

  #readSome(): boolean {
    const node = this.#below(2) === 0 ? this.#toLeader() : this.#anyNode();
    let isAsked = this.#readIndex(node);
    // Several may be under way, each with a commit index of its own.
    for (let more = this.#below(8) - 4; more > 0 && isAsked; more--) isAsked = this.#readIndex(node);
    return isAsked;
  }

  #readIndex(node: FuzzNode): boolean {
    if (!node.isUp || node.raw === undefined) return false;
    const number = this.#nextRead++;
    const context = new Uint8Array([number >>> 16, number >>> 8, number]);
    // A lease by ticks promises little where every clock has its own pace; it promises nothing after a transfer, and
    // the leader asks a quorum again.
    const isLease = this.options.config.readOnlyOption === "leaseBased";
    const isPromised = !isLease || (node.isLeader && node.timeoutNowTerm === node.raw.term);
    const committed = isPromised ? this.invariants.committedIndex : undefined;
    this.readsAsked.set(number, { node: node.id, committed });
    if (isPromised) node.asksRead(number);
    const { kind } = node.raw.readIndex(context);
    this.note(`read ${number} at ${node.id}`);
    return kind === "ok";
  }

  #fault(): boolean {
    const { options } = this;
    if (this.#weather === "calm" && this.#below(3) > 0) return this.#order(this.#below(34));
    if (options.strikes && this.#below(this.#weather === "storm" ? 4 : 8) === 0) return this.#strike();
    const node = this.#anyNode();
    const at = this.#below(100);
    if (at < 10) return options.crashes && this.#crash(node);
    if (at < 24) return this.#restart();
    if (at < 32) return options.partitions && this.#partition();
    if (at < 36) return this.#join();
    if (at < 42) return options.pauses && node.isUp && this.#pause(node);
    if (at < 66) return this.#order(at - 42);
    if (at < 72) return this.#order(24 + this.#below(10));
    return this.#request(node, at - 72);
  }

  /** What is no fault, but asked for as rarely. */
  #order(at: number): boolean {
    const { options } = this;
    if (at < 12) return options.confChanges && this.#changeConfiguration(this.#toLeader());
    if (at < 24) return options.compactions && this.#compact(this.#anyNode());
    return this.#transfer(this.#toLeader());
  }

  #strike(): boolean {
    const leader = this.#one((node) => node.isLeader);
    const at = this.#below(8);
    if (leader !== undefined && at < 3) return this.#strikes.depose(leader);
    if (leader !== undefined && at < 4) return this.#crash(leader);
    if (leader !== undefined && at < 5) return this.options.pauses && this.#pause(leader);
    if (at < 6) return this.options.partitions && this.#partition();
    const node = this.#anyNode();
    node.diskStandsFor = 30 + this.#below(200);
    this.note(`the disk of ${node.id} stands still`);
    return true;
  }

  #crash(node: FuzzNode): boolean {
    node.crash();
    return true;
  }

  #join(): boolean {
    this.#strikes.end();
    this.#network.join();
    return true;
  }

  #restart(): boolean {
    let down = 0;
    for (const node of this.nodes) {
      if (node.raw !== undefined) continue;
      down++;
      if (this.#below(4) > 0) node.start();
    }
    return down > 0;
  }

  #partition(): boolean {
    this.#strikes.end();
    this.#strikes.partition();
    return true;
  }

  #pause(node: FuzzNode): boolean {
    node.pausedFor = 10 + this.#below(this.#below(3) === 0 ? 500 : 120);
    this.note(`${node.id} pauses`);
    return true;
  }

  #transfer(node: FuzzNode): boolean {
    node.raw?.transferLeader(1 + this.#below(this.options.nodes));
    this.note(`transfer at ${node.id}`);
    node.check();
    return true;
  }

  #compact(node: FuzzNode): boolean {
    if (node.raw === undefined) return false;
    node.capture();
    const index = Math.min(node.applied, node.disk.stored().metadata.index);
    if (index <= node.disk.firstIndex()) return false;
    // Now and then all that is applied goes, else only a part: those who lag then need entries, or a snapshot.
    const to =
      this.#below(2) === 0 ? index : node.disk.firstIndex() + this.#below(index - node.disk.firstIndex());
    node.disk.compact(to as LogIndex);
    this.note(`compact ${node.id} to ${to}`);
    return true;
  }

  /** What else an application or a transport may ask for. */
  #request(node: FuzzNode, at: number): boolean {
    const { raw } = node;
    if (raw === undefined || !node.isUp) return false;
    const id = 1 + this.#below(this.options.nodes);
    if (at < 9) raw.campaign();
    else if (at < 12) raw.reportUnreachable(id);
    else if (at < 14) this.#forgetLeader(node);
    else if (at < 16) raw.ping();
    else if (at < 19) {
      if (this.options.snapshotRequests) node.requestSnapshot();
    } else if (at < 24) this.#fetch(node);
    else if (at < 26) raw.assignCommitGroups([[id, this.#below(3)]]);
    else this.#intrude(node);
    node.check();
    return true;
  }

  #forgetLeader(node: FuzzNode): void {
    const before = node.raw?.basicStatus().lead ?? 0;
    node.raw?.forgetLeader();
    const isForgotten = before !== 0 && node.raw?.basicStatus().lead === 0;
    if (isForgotten && (node.isLeader || this.options.config.readOnlyOption === "leaseBased")) {
      throw new Error(`${node.id} forgot its leader, whose lease may be trusted`);
    }
  }

  #fetch(node: FuzzNode): void {
    const context = node.disk.fetch();
    if (context !== undefined) node.raw?.onEntriesFetched(context);
  }

  /** Messages that no peer may send: they must be refused and change nothing. */
  #intrude(node: FuzzNode): void {
    const { raw } = node;
    if (raw === undefined) return;
    const type = LOCAL_TYPES[this.#below(LOCAL_TYPES.length)] as MessageType;
    const stranger = { from: this.options.nodes + 1, to: node.id, term: raw.term };
    const results = [
      raw.step(makeMessage({ type, ...stranger, index: raw.lastIndex })),
      raw.step(makeMessage({ type: "MsgAppResp", ...stranger, index: raw.lastIndex })),
      raw.step(makeMessage({ type: "MsgApp", ...stranger, term: Number.MAX_SAFE_INTEGER })),
    ];
    if (results.some(({ kind }) => kind === "ok")) throw new Error(`${type} of a stranger was taken`);
  }

  #changeConfiguration(node: FuzzNode): boolean {
    const { raw } = node;
    if (raw === undefined || !node.isUp) return false;
    // Without validation it is for the application to make sure that nothing else is under way.
    const isReady = node.isLeader && raw.basicStatus().applied === raw.lastIndex;
    const isJoint = node.confState.votersOutgoing.length > 0;
    if (this.options.config.disableConfChangeValidation === true && !isReady) return false;
    const { replacements } = this.options;
    const leaves = isJoint ? this.#below(4) > (replacements ? 2 : 0) : this.#below(12) === 0;
    if (this.options.config.disableConfChangeValidation === true && leaves !== isJoint) return false;
    const changes = leaves
      ? []
      : replacements && this.#below(2) === 0
        ? this.#replacement()
        : this.#changes();
    const transition = leaves ? "ConfChangeTransitionAuto" : TRANSITIONS[this.#below(3)];
    // The older form of a change can hold only one.
    const isOld = changes.length === 1 && transition === "ConfChangeTransitionAuto" && this.#below(2) === 0;
    const type = isOld ? "EntryConfChange" : "EntryConfChangeV2";
    const result = raw.proposeConfChange(makeConfChange(changes, transition), type);
    this.note(`change ${JSON.stringify(changes)} ${transition} at ${node.id}: ${result.kind}`);
    node.check();
    return result.kind === "proposed";
  }

  #changes(): ConfChangeSingle[] {
    return Array.from({ length: 1 + this.#below(3) }, () => ({
      type: CHANGE_TYPES[this.#below(CHANGE_TYPES.length)] as ConfChangeType,
      nodeId: 1 + this.#below(this.options.nodes),
    }));
  }

  /** Everybody gets a new part: halves of a joint configuration that have little in common. */
  #replacement(): ConfChangeSingle[] {
    const kept = 1 + this.#below(this.options.nodes);
    return this.nodes.map(({ id }) => {
      const type = CHANGE_TYPES[this.#below(CHANGE_TYPES.length)] as ConfChangeType;
      return { type: id === kept ? "ConfChangeAddNode" : type, nodeId: id };
    });
  }

  // Healing.

  /** No faults from now on, all nodes up: the group must elect a leader, commit something new, and not stay joint. */
  heal(rounds: number): void {
    this.note("healing");
    this.#strikes.end();
    this.#network.join();
    this.#network.isCalm = true;
    this.#weather = "calm";
    for (const node of this.nodes) {
      node.disk.slow = false;
      node.pausedFor = 0;
      node.diskStandsFor = 0;
      if (node.raw === undefined) node.start();
      node.raw?.setPriority(0);
    }
    const target = this.invariants.committedIndex + 1;
    const halfway = new Map<NodeId, number>();
    for (let round = 0; round < rounds; round++) {
      for (const node of this.nodes) {
        if (round === rounds / 2) halfway.set(node.id, node.applied);
        if (this.#leadsFromOutside(node)) node.crash();
        if (node.raw === undefined) node.start();
        if (round % 2 === 0) node.tick();
        this.#settle(node);
      }
      for (const message of this.#network.drain()) this.#handOver(message);
      for (const node of this.nodes) this.#settle(node);
      if (round > 20 && round % 10 === 0) this.#help();
      // Who asked for a snapshot takes no entries until it has one, and it cannot have one of an entry that commits
      // only with its help: a change of the term ends the request.
      if (round % 300 === 299 && this.options.snapshotRequests) this.#anyNode().raw?.campaign();
      if (round > 30 && this.#isLive(target) && this.#lagging() === undefined) return;
    }
    const leader = this.#leader();
    // A voter that was removed keeps its longer log and may not campaign; those who have not heard that its removal is
    // committed need its vote. Only a commit index in the refusal helps them (raft-rs' commit by vote).
    if (leader === undefined && this.options.confChanges && this.options.config.commitByVote !== true) return;
    if (!this.#isLive(target)) {
      throw new Error(`liveness: nothing new was committed in ${rounds} rounds without faults`);
    }
    // A window of one entry lets a peer catch up slowly, but it does.
    const lagging = this.#lagging();
    if (lagging !== undefined && this.node(lagging)?.applied === halfway.get(lagging)) {
      throw new Error(`liveness: ${lagging} gets nothing new in ${rounds / 2} rounds without faults`);
    }
  }

  #leader(): FuzzNode | undefined {
    const terms = this.nodes.map((node) => node.raw?.term ?? 0);
    return this.nodes.find((node) => node.isLeader && node.raw?.term === Math.max(...terms));
  }

  /** A member that has not applied what its leader has. */
  #lagging(): NodeId | undefined {
    const leader = this.#leader();
    if (leader === undefined) return undefined;
    const { voters, learners } = leader.confState;
    return [...voters, ...learners].find((id) => (this.node(id)?.applied ?? 0) < leader.applied);
  }

  #help(): void {
    const leader = this.#one((node) => node.isLeader);
    if (leader !== undefined && leader.confState.votersOutgoing.length > 0 && !leader.confState.autoLeave) {
      leader.raw?.proposeConfChange(makeConfChange([]));
    }
    this.#propose(this.#anyNode());
  }

  #isLive(target: number): boolean {
    const isMember = (node: FuzzNode): boolean =>
      node.confState.voters.includes(node.id) && node.confState.votersOutgoing.length === 0;
    return this.nodes.some((node) => isMember(node) && node.applied >= target + 2);
  }

  /** Without `stepDownOnRemoval` a leader that was removed leads on; its application is to shut it down. */
  #leadsFromOutside(node: FuzzNode): boolean {
    const { voters, votersOutgoing } = node.confState;
    return node.isLeader && !voters.includes(node.id) && !votersOutgoing.includes(node.id);
  }

  #settle(node: FuzzNode): void {
    for (let i = 0; i < 100 && (node.canReady || node.hasWork); i++) {
      if (node.canReady) node.takeReady();
      if (node.canWrite) node.write();
      if (node.canApply) node.apply();
      if (node.canAcknowledge) node.acknowledge();
    }
  }
}
