/**
 * One node of a fuzzed group with its disk and its application. Every step is a small one: taking a Ready, writing,
 * acknowledging the write, applying and acknowledging that are apart, so that they fall out of step and a crash finds
 * any of them half done. After each the invariants are asked.
 */
import type { SeededRandom } from "../../base/random.js";
import type { LogIndex } from "../../base/ids.js";
import { decodeConfChange } from "../confchange-codec.js";
import { describeMessage } from "../describe.js";
import { EMPTY_CONF_STATE } from "../message.js";
import { RawNode } from "../rawnode.js";
import type { BasicStatus } from "../status.js";
import type { Append, Apply, ConfState, Entry, Message, NodeId, Ready } from "../types.js";
import { entryHash, FuzzDisk, HASH_START, mix, stateOf } from "./fuzz-disk.js";
import type { Committed, Invariants } from "./fuzz-invariants.js";
import { brokenByAppend, brokenByMessage, changed, type Situation } from "./fuzz-rules.js";
import type { FuzzOptions } from "./fuzz-options.js";

/** What nodes share. */
export interface Surroundings {
  readonly options: FuzzOptions;
  readonly invariants: Invariants;
  readonly random: SeededRandom;
  /** Reads by their number. */
  readonly readsAsked: Map<number, ReadAsked>;
  send(message: Message): void;
  note(event: string): void;
  node(id: NodeId): FuzzNode | undefined;
}

export interface ReadAsked {
  readonly node: NodeId;
  /** Commit index that was known; undefined where nothing is promised. */
  readonly committed: number | undefined;
}

/** A read that a leader was asked for. */
interface AskedRead {
  readonly at: number;
  readonly confirmedBy: Set<NodeId>;
  /** A quorum has confirmed it, by the configuration of that time. */
  isConfirmed: boolean;
}

/** An append that is written and not acknowledged, and what the disk was after it. */
interface Written {
  readonly append: Append;
  readonly term: number;
  readonly vote: NodeId;
  readonly lastIndex: number;
}

export class FuzzNode {
  readonly id: NodeId;
  readonly disk: FuzzDisk;
  raw: RawNode | undefined = undefined;
  confState: ConfState = EMPTY_CONF_STATE;
  applied = 0;
  /** Steps until it goes on; it takes nothing in meanwhile. */
  pausedFor = 0;
  /** Its disk takes nothing; the rest goes on. */
  diskStandsFor = 0;
  /** Its clock stands still, others' go on. */
  clockStands = false;
  /** The term in which it told another to campaign. */
  timeoutNowTerm = 0;
  readonly #world: Surroundings;
  readonly #appends: Append[] = [];
  readonly #written: Written[] = [];
  readonly #applies: Apply[] = [];
  readonly #appliedNotTold: Apply[] = [];
  /** Synchronous mode: the one under way. */
  #ready: Ready | undefined = undefined;
  #state = HASH_START;
  #before: Situation = {
    term: 0,
    vote: 0,
    commit: 0,
    lastIndex: 0,
    state: "StateFollower",
    hasPendingSnapshot: false,
  };
  /** What the last write that was handed out says of term and vote. */
  #told = { term: 0, vote: 0 };
  /** Where the log ended, in the term that it led, when the last Ready was taken. */
  #lastTaken = { term: 0, index: 0 };
  /** Up to here entries were handed out to be applied. */
  #handedOut = 0;
  /** Leader: what it must have, as soon as its disk says whether it has. */
  #owed: Committed | undefined = undefined;
  #ticks = 0;
  /** Ticks since the leader that it follows was heard. */
  #leaderHeard = 0;
  /** Leader: when each member was last heard, in ticks. */
  readonly #heard = new Map<NodeId, number>();
  /** Leader: up to where each member was known to have the log, since the term began or members changed. */
  readonly #matches = new Map<NodeId, number>();
  /** Leader: reads asked of it in this term, and who has confirmed since that it leads. */
  readonly #reads = new Map<number, AskedRead>();
  /** Reads that were not confirmed when the leadership ended. */
  readonly #readsLost = new Set<number>();
  /** When a heartbeat with a context first left, by the context. */
  readonly #contexts = new Map<string, number>();
  #moment = 0;
  /** Leader: when members last changed, or a transfer was under way: both get an election timeout of their own. */
  #grace = 0;
  /** It asked its leader for a snapshot, perhaps of the very index that it has, and takes none of its own meanwhile. */
  #awaitsSnapshot = false;

  constructor(world: Surroundings, id: NodeId, founders: readonly NodeId[]) {
    this.#world = world;
    this.id = id;
    this.disk = new FuzzDisk(founders.includes(id) ? founders : []);
    this.disk.refresh = () => this.capture();
    this.disk.slow = world.options.slowReads;
  }

  start(): void {
    const { options } = this.#world;
    const snapshot = this.disk.stored();
    const { index, confState } = snapshot.metadata;
    this.confState = confState;
    this.applied = index;
    this.#state = stateOf(snapshot);
    this.raw = new RawNode({
      ...options.config,
      id: this.id,
      storage: this.disk,
      random: this.#world.random.fork(),
      applied: index,
      priority: options.priorities ? this.id : 0,
    });
    this.#before = this.#situation(this.raw);
    const { term, vote, commit } = this.#before;
    this.#told = { term, vote };
    this.#lastTaken = { term: 0, index: 0 };
    this.#handedOut = index;
    this.#awaitsSnapshot = false;
    this.timeoutNowTerm = 0;
    this.diskStandsFor = 0;
    this.clockStands = false;
    this.#leaderHeard = 1_000;
    this.#world.note(`start ${this.id} in term ${term}, applied ${index}, commit ${commit}`);
  }

  #situation(raw: RawNode): Situation {
    const { term, vote, commit, lastIndex, state } = raw.basicStatus();
    return { term, vote, commit, lastIndex, state, hasPendingSnapshot: raw.hasPendingSnapshot };
  }

  crash(): void {
    if (this.raw === undefined) return;
    const { random } = this.#world;
    // What was not written may have reached the disk all the same, nobody was told.
    let reached = random.u32() % (this.#appends.length + 1);
    if (random.u32() % 2 === 0) reached = 0;
    for (const append of this.#appends.slice(0, reached)) this.#persist(append);
    this.disk.crash(random.u32() % 2 === 0);
    this.#world.note(`crash ${this.id}, ${reached} of ${this.#appends.length} writes reached the disk`);
    this.raw = undefined;
    this.#ready = undefined;
    this.pausedFor = 0;
    for (const queue of [this.#appends, this.#written, this.#applies, this.#appliedNotTold]) queue.length = 0;
  }

  get isUp(): boolean {
    return this.raw !== undefined && this.pausedFor === 0;
  }
  get isLeader(): boolean {
    return this.#before.state === "StateLeader";
  }
  get canReady(): boolean {
    if (this.raw === undefined || !this.raw.hasReady()) return false;
    return this.#world.options.config.asyncStorageWrites || this.#ready === undefined;
  }
  get hasWork(): boolean {
    return (
      this.#ready !== undefined ||
      this.#appends.length + this.#written.length + this.#applies.length + this.#appliedNotTold.length > 0
    );
  }
  get canWrite(): boolean {
    return this.#appends.length > 0 && this.diskStandsFor === 0;
  }
  get canAcknowledge(): boolean {
    if (this.diskStandsFor > 0 && this.diskStandsFor % 2 === 0) return false;
    if (this.#world.options.config.asyncStorageWrites)
      return this.#written.length > 0 || this.#appliedNotTold.length > 0;
    return this.#ready !== undefined && this.#appends.length === 0 && this.#applies.length === 0;
  }
  get canApply(): boolean {
    // In synchronous mode entries are applied after the write of their Ready.
    const isWritten = this.#world.options.config.asyncStorageWrites || this.#appends.length === 0;
    return this.#applies.length > 0 && isWritten;
  }

  tick(): void {
    const { raw } = this;
    if (raw === undefined) return;
    this.#ticks++;
    this.#leaderHeard++;
    raw.tick();
    this.check();
    if (this.isLeader && this.#world.options.config.checkQuorum) this.#checkHeard(raw);
  }

  /** Takes in a message of a peer. */
  step(message: Message): void {
    const { raw } = this;
    if (raw === undefined) return;
    const isVoteRequest = message.type === "MsgVote" || message.type === "MsgPreVote";
    const before = this.#before;
    const holds = isVoteRequest && message.context.length === 0 && this.#hearsLeader(raw);
    const { invariants, options } = this.#world;
    const { kind } = raw.step(message);
    if (kind === "malformed" || kind === "localMessage")
      invariants.rule(message.from, `sends a message that is ${kind}`);
    this.#confirms(message);
    if (holds) invariants.keepsLease(this.id, before.term, raw.term);
    const commitsByVote = options.config.commitByVote === true;
    invariants.rule(this.id, brokenByMessage(message, before, this.#situation(raw), commitsByVote));
    this.check();
    if (this.isLeader) this.#heard.set(message.from, this.#ticks);
    const isOfLeader =
      message.type === "MsgApp" || message.type === "MsgHeartbeat" || message.type === "MsgSnap";
    if (isOfLeader && message.term === this.#before.term) this.#leaderHeard = 0;
  }

  /** Within the lease of a leader that it follows. */
  #hearsLeader(raw: RawNode): boolean {
    const { checkQuorum, electionTicks } = this.#world.options.config;
    if (!checkQuorum || this.#leaderHeard >= electionTicks) return false;
    const { lead } = raw.basicStatus();
    return lead !== 0 && lead !== this.id;
  }

  #checkHeard(raw: RawNode): void {
    const { config } = raw;
    const silent = this.#world.options.config.electionTicks * 2 + 1;
    const hears = (id: NodeId): boolean => {
      const heard = this.#heard.get(id);
      if (heard === undefined) this.#heard.set(id, this.#ticks);
      return id === this.id || heard === undefined || this.#ticks - Math.max(heard, this.#grace) <= silent;
    };
    const isHeard = (voters: readonly NodeId[]): boolean =>
      voters.length === 0 || voters.filter(hears).length * 2 > voters.length;
    const both = [isHeard(config.voters), isHeard(config.votersOutgoing)];
    this.#world.invariants.hears(this.id, this.#before.term, !both.includes(false));
  }

  // Ready.

  takeReady(): void {
    const { raw } = this;
    if (raw === undefined) return;
    const ready = raw.ready();
    const { append, apply } = ready;
    if (append !== undefined) this.#checkAppended(raw, append);
    if (apply !== undefined) this.#checkHandedOut(raw, apply);
    for (const { index, requestContext } of ready.readStates) this.#checkRead(index, requestContext);
    for (const message of ready.messages) this.#leave(message);
    this.#lastTaken = { term: this.isLeader ? raw.term : 0, index: raw.lastIndex };
    if (append !== undefined) this.#appends.push(append);
    if (apply !== undefined) this.#applies.push(apply);
    if (!this.#world.options.config.asyncStorageWrites) this.#ready = ready;
    this.check();
    if (!raw.hasPendingSnapshot) {
      const { config } = raw;
      this.#world.invariants.configured(this.id, config, this.confState);
    }
  }

  /** It leads by its own belief and promises that the read is not stale: it must ask a quorum. */
  asksRead(number: number): void {
    if (!this.isLeader) return;
    this.#reads.set(number, { at: ++this.#moment, confirmedBy: new Set([this.id]), isConfirmed: false });
    this.#checkConfirmed();
  }

  #confirms(message: Message): void {
    if (this.#reads.size === 0 || message.type !== "MsgHeartbeatResp" || message.term !== this.#before.term)
      return;
    // An answer confirms what was asked before the heartbeat left that it answers.
    const left = this.#contexts.get(message.context.join()) ?? 0;
    for (const read of this.#reads.values()) if (read.at < left) read.confirmedBy.add(message.from);
    this.#checkConfirmed();
  }

  #checkConfirmed(): void {
    if (this.raw === undefined) return;
    const { voters, votersOutgoing } = this.raw.config;
    for (const read of this.#reads.values()) {
      const by = (half: readonly NodeId[]): boolean =>
        half.length === 0 || half.filter((id) => read.confirmedBy.has(id)).length * 2 > half.length;
      if (by(voters) && by(votersOutgoing)) read.isConfirmed = true;
    }
  }

  #checkRead(index: number, context: Uint8Array): void {
    const [high, middle, low] = context as unknown as [number, number, number];
    const number = high * 65_536 + middle * 256 + low;
    const read = this.#reads.get(number);
    if (read?.isConfirmed === false || this.#readsLost.has(number)) {
      this.#world.invariants.rule(
        this.id,
        `answers read ${number} before a quorum has confirmed that it leads`,
      );
    }
    this.#reads.delete(number);
    const asked = this.#world.readsAsked.get(number);
    if (asked === undefined) throw new Error("a read that nobody asked for is answered");
    this.#world.invariants.answers(this.id, asked.node);
    if (asked.committed !== undefined) this.#world.invariants.reads(this.id, index, asked.committed);
  }

  #checkHandedOut(raw: RawNode, apply: Apply): void {
    const { asyncStorageWrites, maxApplyUnpersistedEntries } = this.#world.options.config;
    const { commit, persisted, state } = raw.basicStatus();
    const ahead = state === "StateLeader" ? (maxApplyUnpersistedEntries ?? 0) : 0;
    const first = apply.entries[0]?.index ?? 0;
    const last = apply.entries.at(-1)?.index ?? 0;
    const durable = asyncStorageWrites ? persisted + ahead : Number.POSITIVE_INFINITY;
    this.#world.invariants.handsOut(this.id, { first, last }, { before: this.#handedOut, commit, durable });
    this.#handedOut = last;
  }

  #checkAppended(raw: RawNode, append: Append): void {
    this.#world.invariants.rule(this.id, brokenByAppend(append, this.#told));
    if (append.hardState !== undefined) this.#told = append.hardState;
    if (!this.isLeader) return;
    for (const change of append.entries) {
      if (change.type === "EntryNormal" || change.term !== raw.term) continue;
      const pending = this.#changeWithin(change.index, append.entries);
      this.#world.invariants.appendsConfChange(this.id, change.index, pending);
    }
  }

  /** Index of a configuration change in the log that is not applied and lies before `end`. */
  #changeWithin(end: number, newest: readonly Entry[] = []): number | undefined {
    // What a newer append replaces is not in the log any more, be it on the disk or on its way there.
    let before = end;
    const isPending = (entry: Entry): boolean =>
      entry.type !== "EntryNormal" && entry.index > this.applied && entry.index < before;
    const appends = [...this.#appends.map((append) => append.entries), newest];
    for (let at = appends.length - 1; at >= 0; at--) {
      const entries = appends[at] as readonly Entry[];
      const found = entries.find(isPending);
      if (found !== undefined) return found.index;
      if (entries[0] !== undefined) before = Math.min(before, entries[0].index);
    }
    const from = Math.max(this.applied + 1, this.disk.firstIndex());
    if (from > this.disk.lastIndex()) return undefined;
    return this.disk.tail(from as LogIndex).find(isPending)?.index;
  }

  write(): void {
    const append = this.#appends.shift();
    if (append === undefined) return;
    this.#persist(append);
    const { term, vote } = this.disk.initialState().hardState;
    this.#written.push({ append, term, vote, lastIndex: this.disk.lastIndex() });
    const { snapshot } = append;
    if (snapshot !== undefined) {
      this.#awaitsSnapshot = false;
      this.applied = snapshot.metadata.index;
      this.#handedOut = Math.max(this.#handedOut, this.applied);
      this.confState = snapshot.metadata.confState;
      this.#state = stateOf(snapshot);
      this.#world.invariants.applies(this.id, this.applied, this.#state);
    }
    this.#world.note(`write ${this.id} to ${this.disk.lastIndex()}`);
    this.check();
  }

  #persist(append: Append): void {
    const { invariants } = this.#world;
    const error = this.disk.persist(append, (term, index) => invariants.prefixAt(term, index));
    if (error !== undefined) throw new Error(`the write failed: ${error}`);
    for (const entry of append.entries) {
      const prefix = this.disk.prefix(entry.index);
      if (prefix !== undefined) invariants.writes(this.id, entry.index, entry.term, prefix);
    }
    if (append.hardState !== undefined) invariants.persistsTerm(this.id, append.hardState.term);
  }

  acknowledge(): void {
    const { raw } = this;
    if (raw === undefined) return;
    if (this.#ready !== undefined) this.#advance(raw, this.#ready);
    else if (this.#written.length > 0) this.#acknowledgeWrite(raw, this.#written.shift() as Written);
    else if (this.#appliedNotTold.length > 0) {
      raw.ackApply(this.#appliedNotTold.shift() as Apply);
      this.check();
    }
  }

  /** Asynchronous mode: which is acknowledged first, a write or what was applied, is nobody's concern. */
  acknowledgeApply(): boolean {
    const { raw } = this;
    if (raw === undefined || this.#ready !== undefined || this.#appliedNotTold.length === 0) return false;
    raw.ackApply(this.#appliedNotTold.shift() as Apply);
    this.check();
    return true;
  }

  #advance(raw: RawNode, ready: Ready): void {
    this.#ready = undefined;
    const written = this.#written.shift();
    this.#appliedNotTold.length = 0;
    for (const message of raw.advance(ready)) this.#leave(message, written);
    this.check();
  }

  #acknowledgeWrite(raw: RawNode, written: Written): void {
    for (const message of raw.ackAppend(written.append)) this.#leave(message, written);
    this.check();
  }

  apply(): void {
    const apply = this.#applies.shift();
    const { raw } = this;
    if (apply === undefined || raw === undefined) return;
    for (const entry of apply.entries) this.#applyEntry(raw, entry);
    this.#appliedNotTold.push(apply);
    this.#world.note(`apply ${this.id} to ${this.applied}`);
  }

  #applyEntry(raw: RawNode, entry: Entry): void {
    // A snapshot may overtake entries that were handed out to be applied before it came.
    if (entry.index <= this.applied) return;
    if (entry.index !== this.applied + 1) {
      throw new Error(`${this.id} applies ${entry.index} after ${this.applied}`);
    }
    this.#state = mix(mix(this.#state, entry.term), entryHash(entry));
    this.#world.invariants.applies(this.id, entry.index, this.#state);
    this.applied = entry.index;
    if (entry.type === "EntryNormal") return;
    const change = decodeConfChange(entry.data);
    if (change === undefined) throw new Error("a configuration change does not decode");
    const result = raw.applyConfChange(change);
    if (result.kind === "applied") {
      this.#world.invariants.changes(this.id, this.confState, result.confState);
      const expected = changed(this.confState, change);
      if (expected !== undefined) this.#world.invariants.configured(this.id, result.confState, expected);
      this.#matches.clear();
      this.#checkConfirmed();
      this.confState = result.confState;
      this.#grace = this.#ticks;
    }
    this.check();
  }

  #leave(message: Message, written?: Written): void {
    if (message.to === this.id || message.to <= 0)
      throw new Error(`sent to itself: ${describeMessage(message)}`);
    const { invariants } = this.#world;
    const { type, term } = message;
    if (type === "MsgTimeoutNow") this.#checkTransfer(message);
    if (type === "MsgHeartbeat" && message.context.length > 0) {
      const key = message.context.join();
      if (!this.#contexts.has(key)) this.#contexts.set(key, ++this.#moment);
    }
    if (type === "MsgVoteResp" && !message.reject) {
      invariants.votes(this.id, term, message.to);
      invariants.speaks(this.id, term, written?.term ?? 0);
    }
    if (type === "MsgAppResp" && !message.reject) {
      const disk = written ?? { term: 0, lastIndex: 0 };
      invariants.acknowledges(this.id, message.index, term, disk);
    }
    this.#world.send(message);
  }

  #checkTransfer(message: Message): void {
    const { raw } = this;
    this.timeoutNowTerm = message.term;
    // It was told some time since the Ready before this one, when the log ended there or later.
    if (raw === undefined || raw.term !== message.term || this.#lastTaken.term !== raw.term) return;
    raw.withProgress((id, { match }) => {
      if (id === message.to)
        this.#world.invariants.tellsToCampaign(this.id, id, match, this.#lastTaken.index);
    });
  }

  /** Index of the first entry that was handed out to be written and of whose write the library does not know. */
  #firstUnderWay(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { entries } of this.#appends) first = Math.min(first, entries[0]?.index ?? first);
    for (const { append } of this.#written) first = Math.min(first, append.entries[0]?.index ?? first);
    return first;
  }

  capture(): void {
    if (!this.#awaitsSnapshot) this.disk.capture(this.applied, this.confState, this.#state);
  }

  requestSnapshot(): void {
    if (this.raw === undefined || this.disk.stored().metadata.index >= this.raw.lastIndex) return;
    if (this.raw.requestSnapshot()) this.#awaitsSnapshot = true;
  }

  // Checks of this node alone: nothing else has changed.

  check(): void {
    const { raw } = this;
    if (raw === undefined) return;
    const { invariants } = this.#world;
    const status = raw.basicStatus();
    const { term, vote, commit, lastIndex, state } = status;
    const before = this.#before;
    const { hasPendingSnapshot } = raw;
    invariants.moves(this.id, before, status);
    if (!hasPendingSnapshot) {
      invariants.trusts(this.id, status.persisted, this.disk.lastIndex(), this.#firstUnderWay());
    }
    const isNews = state !== before.state || term !== before.term;
    const hasCommitted = commit > before.commit;
    this.#before = { term, vote, commit, lastIndex, state, hasPendingSnapshot };
    if (isNews) {
      this.#awaitsSnapshot = false;
      for (const [number, { isConfirmed }] of this.#reads) if (!isConfirmed) this.#readsLost.add(number);
      this.#reads.clear();
      this.#contexts.clear();
    }
    if (state !== "StateLeader") this.#owed = undefined;
    if (state === "StateFollower") return;
    if (state !== "StateLeader") {
      if (isNews) this.#checkMayCampaign(raw, term, before);
      if (isNews || hasCommitted) invariants.campaigns(this.id, this.#changeWithin(commit + 1));
      return;
    }
    if (isNews) this.#checkElected(term);
    if (this.#owed !== undefined) this.#checkComplete(term);
    if (hasCommitted) this.#checkCommit(raw, term, commit);
    this.#checkProgress(raw, status);
    if (status.leadTransferee !== 0) this.#grace = this.#ticks;
    if (this.timeoutNowTerm === term) invariants.endsLease(this.id, raw.inLease());
  }

  #checkMayCampaign(raw: RawNode, term: number, before: Situation): void {
    const { invariants } = this.#world;
    if (raw.hasPendingSnapshot) invariants.rule(this.id, "campaigns with a snapshot that is not in place");
    const { voters, votersOutgoing } = raw.config;
    const isVoter = voters.includes(this.id) || votersOutgoing.includes(this.id);
    if (!isVoter) invariants.rule(this.id, "campaigns without being a voter");
    const asks = raw.basicStatus().state === "StatePreCandidate";
    if (asks && term !== before.term) invariants.rule(this.id, "asks before the election in a new term");
  }

  #checkElected(term: number): void {
    const { hardState } = this.disk.initialState();
    this.#heard.clear();
    this.#matches.clear();
    this.#grace = this.#ticks;
    const { invariants } = this.#world;
    if (this.raw !== undefined) invariants.isElected(this.id, term, this.raw.config);
    invariants.leads(this.id, term, hardState.term === term && hardState.vote === this.id);
    this.#owed = invariants.committedBefore(term);
    this.#checkComplete(term);
    invariants.campaigns(this.id, this.#changeWithin(this.#before.commit + 1));
  }

  /** What the disk has not got yet is looked at when it has. */
  #checkComplete(term: number): void {
    const owed = this.#owed;
    if (owed === undefined || this.raw === undefined) return;
    const isOnItsWay = owed.index > this.disk.lastIndex() && owed.index <= this.raw.lastIndex;
    if (isOnItsWay) return;
    this.#owed = undefined;
    this.#world.invariants.isComplete(this.id, term, owed, this.holds(owed.index, owed.prefix));
  }

  /** What a node has compacted it had; a node that is down keeps its disk. */
  holds(index: number, prefix: number): boolean {
    const own = this.disk.prefix(index);
    return own === prefix || (own === undefined && index < this.disk.stored().metadata.index);
  }

  #checkCommit(raw: RawNode, term: number, commit: number): void {
    const { config } = raw;
    this.#world.invariants.leaderCommits(this.id, commit, term, (prefix) => {
      const holds = (id: NodeId): boolean => this.#world.node(id)?.holds(commit, prefix) === true;
      const isQuorum = (voters: readonly NodeId[]): boolean =>
        voters.length === 0 || voters.filter(holds).length * 2 > voters.length;
      return isQuorum(config.voters) && isQuorum(config.votersOutgoing);
    });
  }

  #checkProgress(raw: RawNode, status: BasicStatus): void {
    const { invariants, options } = this.#world;
    const { maxInflightMessages, maxInflightBytes, maxSizePerMessageBytes } = options.config;
    // The message that crosses the limit is admitted, and it holds one entry at least.
    const crossing = Math.max(maxSizePerMessageBytes ?? 0, 64);
    raw.withProgress((id, progress) => {
      const { match, next, inflights } = progress;
      if (match < (this.#matches.get(id) ?? 0))
        invariants.rule(this.id, `forgets what ${id} has acknowledged`);
      this.#matches.set(id, match);
      const believed = {
        match,
        next,
        inflight: inflights.count,
        inflightMax: maxInflightMessages ?? 256,
        bytes: inflights.bytes,
        bytesMax: maxInflightBytes ? maxInflightBytes + crossing : Number.POSITIVE_INFINITY,
        lastIndex: status.lastIndex,
      };
      invariants.believes(this.id, id, believed, this.#isHeldBy(id, match, status.term));
    });
  }

  /** A peer that has moved on to a later term may have lost what it had. */
  #isHeldBy(id: NodeId, match: number, term: number): boolean {
    const peer = this.#world.node(id);
    const own = this.disk.prefix(match);
    if (peer === undefined || match === 0 || own === undefined) return true;
    if (peer.disk.initialState().hardState.term > term) return true;
    return peer.holds(match, own);
  }
}
