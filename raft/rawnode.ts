/**
 * `RawNode`: one Raft node for an embedder that owns the loop. Everything is synchronous and nothing is done behind
 * the caller's back: feed ticks, proposals and messages, take a `Ready`, do what it says, acknowledge.
 *
 * Several Readys may be under way in asynchronous mode; appends and applies are each acknowledged in the order they
 * were handed out (asserted). In synchronous mode one Ready is under way at a time, `advance` is both acks, and
 * committed entries may be handed out in the Ready that also stores them.
 */
import { assert } from "../base/assert.js";
import type { LogIndex, Term } from "../base/ids.js";
import { encodeConfChange } from "./confchange-codec.js";
import { restoreConfig } from "./confchange/restore.js";
import type { ConfigInit } from "./config.js";
import { isCount, nodeConfig } from "./config.js";
import { hup } from "./election.js";
import { sendRequestSnapshot } from "./follower.js";
import type { ApplyConfChangeResult } from "./membership.js";
import { appliedTo, applyConfChange, assertSameConfiguration, switchToConfig } from "./membership.js";
import {
  draftMessage,
  EMPTY_HARD_STATE,
  entriesBytes,
  isLocalMessage,
  isResponseMessage,
  makeEntry,
  makeMessage,
  NO_MESSAGES,
  NO_READ_STATES,
} from "./message.js";
import { malformation } from "./malformed.js";
import { propose } from "./proposals.js";
import { pushed, Raft } from "./raft.js";
import { broadcastHeartbeat } from "./heartbeat.js";
import { maybeCommit, maybeSendAppend, reduceUncommitted, sendAllowed } from "./replication.js";
import { becomeFollower } from "./roles.js";
import type { BasicStatus, ProgressVisitor, Status } from "./status.js";
import { basicStatusOf, statusOf } from "./status.js";
import { step } from "./step.js";
import { tick } from "./ticks.js";
import { traceState } from "./trace.js";
import type { TrackerConfig } from "./tracker/tracker.js";
import type {
  Append,
  Apply,
  ConfChangeV2,
  EntriesContext,
  Entry,
  EntryType,
  HardState,
  Message,
  NodeId,
  ProposalDropped,
  ProposeResult,
  Ready,
  Snapshot,
  StateType,
} from "./types.js";
import { APPEND_THREAD, APPLY_THREAD, NONE } from "./types.js";

/** What became of a message. */
export type StepResult =
  | { readonly kind: "ok" }
  /** Of a type that only the node itself may step. */
  | { readonly kind: "localMessage" }
  /** An answer of a node that is not in the configuration. */
  | { readonly kind: "peerNotFound" }
  | { readonly kind: "dropped"; readonly reason: ProposalDropped }
  /** Fields that no peer can have meant; nothing was changed. */
  | { readonly kind: "malformed"; readonly reason: string };

const OK: StepResult = Object.freeze({ kind: "ok" });
const LOCAL: StepResult = Object.freeze({ kind: "localMessage" });
const PEER_NOT_FOUND: StepResult = Object.freeze({ kind: "peerNotFound" });
const PROPOSED: ProposeResult = Object.freeze({ kind: "proposed" });

const stepped = (dropped: ProposalDropped | undefined): StepResult =>
  dropped === undefined ? OK : { kind: "dropped", reason: dropped };
const proposed = (dropped: ProposalDropped | undefined): ProposeResult =>
  dropped === undefined ? PROPOSED : { kind: "dropped", reason: dropped };

export class RawNode {
  readonly #raft: Raft;
  // What the last Ready told, to tell only what changed.
  #toldLead: NodeId = NONE;
  #toldState: StateType = "StateFollower";
  #toldHardState: HardState = EMPTY_HARD_STATE;
  #appends = 0;
  #appendsAcknowledged = 0;
  #applies = 0;
  #appliesAcknowledged = 0;

  constructor(init: ConfigInit) {
    const config = nodeConfig(init);
    const raft = new Raft(config);
    this.#raft = raft;
    const { hardState, confState } = config.storage.initialState();
    const restored = restoreConfig(raft.tracker, raft.log.lastIndex(), confState);
    assert(
      restored.kind === "changed",
      () => `the stored configuration is invalid: ${JSON.stringify(restored)}`,
    );
    if (hardState.term !== 0 || hardState.vote !== NONE || hardState.commit !== 0) this.#load(hardState);
    traceState(raft, "InitState");
    switchToConfig(raft, restored.config, restored.members);
    assertSameConfiguration(raft, confState);
    if (config.applied > 0) raft.log.restoreApplied(config.applied);
    becomeFollower(raft, raft.term, NONE);
    this.#toldHardState = raft.hardState();
  }

  #load(hardState: HardState): void {
    const log = this.#raft.log;
    assert(hardState.commit >= log.committed && hardState.commit <= log.lastIndex(), () => {
      return `stored commit ${hardState.commit} is out of [${log.committed}, ${log.lastIndex()}]`;
    });
    log.committed = hardState.commit;
    this.#raft.term = hardState.term;
    this.#raft.vote = hardState.vote;
  }

  get id(): NodeId {
    return this.#raft.id;
  }

  get term(): number {
    return this.#raft.term;
  }

  /** Of the log with everything proposed, durable or not. */
  get lastIndex(): number {
    return this.#raft.log.lastIndex();
  }

  get commitIndex(): number {
    return this.#raft.log.committed;
  }

  /** By its own state, which a handed out soft state follows within a turn. */
  get isLeading(): boolean {
    return this.#raft.state === "StateLeader";
  }

  /** Target of a leader transfer under way; 0 when there is none. */
  get leadTransferee(): NodeId {
    return this.#raft.leadTransferee;
  }

  /** A snapshot was accepted and is not acknowledged as durable yet. */
  get hasPendingSnapshot(): boolean {
    return this.#raft.log.unstable.snapshot !== undefined;
  }

  // Time, elections.

  /** One tick of the clock. True when there may be a Ready. */
  tick(): boolean {
    return tick(this.#raft);
  }

  /** Campaigns now, if this node may; without a pre-vote where nobody can lead whom an election would disturb. */
  campaign({ skipsPreVote = false } = {}): void {
    if (skipsPreVote) hup(this.#raft, "election");
    else step(this.#raft, makeMessage({ type: "MsgHup", from: this.#raft.id }));
  }

  /** Asks the leader to hand over to `id`; of the leader itself, does so. */
  transferLeader(id: NodeId): void {
    step(this.#raft, makeMessage({ type: "MsgTransferLeader", from: id }));
  }

  /** A follower forgets who leads, so that it grants pre-votes at once. Refused with lease based reads. */
  forgetLeader(): void {
    step(this.#raft, makeMessage({ type: "MsgForgetLeader", from: this.#raft.id }));
  }

  /** A leader sends heartbeats now, to wake peers that sleep. */
  ping(): void {
    if (this.#raft.state === "StateLeader") broadcastHeartbeat(this.#raft);
  }

  /** The embedder let no ticks pass for a while: a leader's check of its quorum, and its heartbeats, begin anew. */
  restartTicks(): void {
    this.#raft.electionElapsed = 0;
    this.#raft.heartbeatElapsed = 0;
  }

  setPriority(priority: number): void {
    this.#raft.priority = priority;
  }

  // Proposals, reads.

  propose(data: Uint8Array): ProposeResult {
    return this.#propose([makeEntry(0, 0, data)]);
  }

  /** Several entries at once: they enter the log together or not at all. */
  proposeMany(data: readonly Uint8Array[]): ProposeResult {
    if (data.length === 0) return PROPOSED;
    return this.#propose(data.map((one) => makeEntry(0, 0, one)));
  }

  /** `EntryConfChange` is the older form: exactly one change, no transition. */
  proposeConfChange(change: ConfChangeV2, type: EntryType = "EntryConfChangeV2"): ProposeResult {
    const malformed =
      type === "EntryNormal" ||
      (type === "EntryConfChange" && change.changes.length !== 1) ||
      change.changes.some((one) => !isCount(one.nodeId));
    if (malformed) return { kind: "dropped", reason: "malformedConfChange" };
    return this.#propose([makeEntry(0, 0, encodeConfChange(change, type), type)]);
  }

  #propose(entries: readonly Entry[]): ProposeResult {
    const raft = this.#raft;
    if (raft.state === "StateLeader") return proposed(propose(raft, entries));
    return proposed(step(raft, makeMessage({ type: "MsgProp", from: raft.id, entries })));
  }

  /** Asks for a linearizable read; answered by a `ReadState` with this context, or not at all: ask again then. */
  readIndex(context: Uint8Array): StepResult {
    return stepped(step(this.#raft, makeMessage({ type: "MsgReadIndex", from: this.#raft.id, context })));
  }

  /** A leader that checks its quorum and has not told another to campaign. Add a lease by the clock to it. */
  inLease(): boolean {
    const raft = this.#raft;
    return raft.state === "StateLeader" && raft.config.checkQuorum && !raft.timeoutNowSent;
  }

  // Messages of peers.

  /** Takes a message of a peer. Never throws for what it says. */
  step(message: Message): StepResult {
    if (isLocalMessage(message.type)) return LOCAL;
    const reason = malformation(this.#raft.id, message);
    if (reason !== undefined) return this.#refuse(message, reason);
    if (isResponseMessage(message.type) && this.#raft.tracker.progress(message.from) === undefined) {
      return PEER_NOT_FOUND;
    }
    return stepped(step(this.#raft, message));
  }

  #refuse(message: Message, reason: string): StepResult {
    const { type, from } = message;
    this.#raft.logger.error("refused a malformed message", { id: this.#raft.id, from, type, reason });
    return { kind: "malformed", reason };
  }

  /** The transport could not deliver a message to this peer. */
  reportUnreachable(id: NodeId): void {
    step(this.#raft, makeMessage({ type: "MsgUnreachable", from: id }));
  }

  /** How sending a MsgSnap ended. Must be reported: the leader sends nothing else to the peer until then. */
  reportSnapshot(id: NodeId, status: "finish" | "failure"): void {
    step(this.#raft, makeMessage({ type: "MsgSnapStatus", from: id, reject: status === "failure" }));
  }

  // Configuration.

  /**
   * Call when a configuration change entry is applied, and not at all when the application voids the change. Answers
   * with the configuration to store with snapshots.
   */
  applyConfChange(change: ConfChangeV2): ApplyConfChangeResult {
    return applyConfChange(this.#raft, change);
  }

  // Ready.

  hasReady(): boolean {
    const raft = this.#raft;
    const log = raft.log;
    return (
      raft.messages.length > 0 ||
      raft.messagesAfterAppend.length > 0 ||
      raft.readStates.length > 0 ||
      raft.lead !== this.#toldLead ||
      raft.state !== this.#toldState ||
      this.#hardStateChanged() ||
      log.unstable.hasNextEntries() ||
      log.unstable.nextSnapshot() !== undefined ||
      log.hasNextCommitted(!this.#raft.config.asyncStorageWrites)
    );
  }

  #hardStateChanged(): boolean {
    const raft = this.#raft;
    const told = this.#toldHardState;
    return raft.term !== told.term || raft.vote !== told.vote || raft.log.committed !== told.commit;
  }

  /** Takes what is to be done. Everything in it counts as under way from now on. */
  ready(): Ready {
    const raft = this.#raft;
    assert(
      this.#raft.config.asyncStorageWrites ||
        (this.#appends === this.#appendsAcknowledged && this.#applies === this.#appliesAcknowledged),
      "ready() again before advance(): only one Ready may be under way without asyncStorageWrites",
    );
    const softStateChanged = raft.lead !== this.#toldLead || raft.state !== this.#toldState;
    if (softStateChanged) {
      this.#toldLead = raft.lead;
      this.#toldState = raft.state;
    }
    const apply = this.#takeApply();
    const append = this.#takeAppend();
    const { messages, readStates } = raft;
    raft.messages = NO_MESSAGES;
    raft.readStates = NO_READ_STATES;
    if (raft.traceHook !== undefined) traceState(raft, "Ready");
    return {
      softState: softStateChanged ? raft.softState() : undefined,
      readStates,
      messages,
      append,
      apply,
    };
  }

  #takeAppend(): Append | undefined {
    const raft = this.#raft;
    const unstable = raft.log.unstable;
    const entries = unstable.nextEntries();
    const snapshot = unstable.nextSnapshot();
    const told = this.#toldHardState;
    const changed = this.#hardStateChanged();
    const waiting = raft.messagesAfterAppend;
    if (!changed && entries.length === 0 && snapshot === undefined && waiting.length === 0) return undefined;
    const mustSync =
      entries.length > 0 || snapshot !== undefined || raft.term !== told.term || raft.vote !== told.vote;
    if (changed) this.#toldHardState = raft.hardState();
    unstable.acceptInProgress();
    const mark = unstable.entries.length > 0 || snapshot !== undefined;
    const responses = mark ? pushed(waiting, this.#durableMark(snapshot)) : waiting;
    raft.messagesAfterAppend = NO_MESSAGES;
    return {
      sequence: ++this.#appends,
      hardState: changed ? this.#toldHardState : undefined,
      entries,
      snapshot,
      mustSync,
      responses,
    };
  }

  /**
   * Tells the log what an append made durable. It names the last entry even if that was handed out before: an earlier
   * mark may have been ignored for its term, and this one is then the chance to release the entries.
   */
  #durableMark(snapshot: Snapshot | undefined): Message {
    const raft = this.#raft;
    const draft = draftMessage("MsgStorageAppendResp", raft.id);
    draft.from = APPEND_THREAD;
    draft.term = raft.term as Term;
    if (raft.log.unstable.entries.length > 0) {
      draft.index = raft.log.lastIndex() as LogIndex;
      draft.logTerm = raft.log.lastTerm() as Term;
    }
    draft.snapshot = snapshot;
    return draft;
  }

  #takeApply(): Apply | undefined {
    const log = this.#raft.log;
    const entries = log.nextCommitted(!this.#raft.config.asyncStorageWrites);
    if (entries.length === 0) return undefined;
    const size = entriesBytes(entries);
    log.acceptApplying(
      (entries[entries.length - 1] as Entry).index,
      size,
      !this.#raft.config.asyncStorageWrites,
    );
    return { sequence: ++this.#applies, entries, size };
  }

  /**
   * The append is durable. Returns the messages that may leave now; those to the node itself are stepped here.
   */
  ackAppend(append: Append): readonly Message[] {
    this.#acknowledgeAppend(append);
    const raft = this.#raft;
    let remote: Message[] | undefined;
    for (let i = 0; i < append.responses.length; i++) {
      const message = append.responses[i] as Message;
      if (message.to === raft.id) step(raft, message);
      else if (remote === undefined) remote = [message];
      else remote.push(message);
    }
    return remote ?? NO_MESSAGES;
  }

  /** The entries are applied: `applyConfChange` was called for those that ask for it. */
  ackApply(apply: Apply): void {
    this.#acknowledgeApply(apply);
    this.#applied(apply.entries, apply.size);
  }

  #applied(entries: readonly Entry[], size: number): void {
    appliedTo(this.#raft, (entries[entries.length - 1] as Entry).index, size);
    reduceUncommitted(this.#raft, entries);
  }

  /** Both acknowledgements: the end of a Ready in synchronous mode. Returns the messages that may leave now. */
  advance(ready: Ready): readonly Message[] {
    const messages = ready.append === undefined ? NO_MESSAGES : this.ackAppend(ready.append);
    if (ready.apply !== undefined) this.ackApply(ready.apply);
    return messages;
  }

  #acknowledgeAppend(append: Append): void {
    assert(append.sequence === this.#appendsAcknowledged + 1, () => {
      const expected = this.#appendsAcknowledged + 1;
      return `append ${append.sequence} acknowledged, but append ${expected} is next: acks must keep the order`;
    });
    assert(append.sequence <= this.#appends, () => `append ${append.sequence} was never handed out`);
    this.#appendsAcknowledged++;
  }

  #acknowledgeApply(apply: Apply): void {
    assert(apply.sequence === this.#appliesAcknowledged + 1, () => {
      const expected = this.#appliesAcknowledged + 1;
      return `apply ${apply.sequence} acknowledged, but apply ${expected} is next: acks must keep the order`;
    });
    assert(apply.sequence <= this.#applies, () => `apply ${apply.sequence} was never handed out`);
    this.#appliesAcknowledged++;
  }

  // The message form of the acknowledgements, for drivers that queue them like any other message.

  /**
   * As `ackAppend`, but steps nothing: every message of `append.responses` is to be delivered, those to the node itself
   * by `stepDetached`, in order, once the append is durable.
   */
  detachAppend(append: Append): readonly Message[] {
    this.#acknowledgeAppend(append);
    return append.responses;
  }

  /** As `ackApply`, but only makes the message that acknowledges. */
  detachApply(apply: Apply): Message {
    this.#acknowledgeApply(apply);
    const { entries } = apply;
    return makeMessage({ type: "MsgStorageApplyResp", to: this.#raft.id, from: APPLY_THREAD, entries });
  }

  /** Steps a message that this node addressed to itself. */
  stepDetached(message: Message): StepResult {
    assert(message.to === this.#raft.id, () => `message to ${message.to} stepped by ${this.#raft.id}`);
    if (message.type === "MsgStorageApplyResp") {
      this.#applied(message.entries, entriesBytes(message.entries));
      return OK;
    }
    if (message.from === this.#raft.id && this.#raft.tracker.progress(message.from) === undefined) {
      return PEER_NOT_FOUND;
    }
    return stepped(step(this.#raft, message));
  }

  // Insight.

  status(): Status {
    return statusOf(this.#raft);
  }

  basicStatus(): BasicStatus {
    return basicStatusOf(this.#raft);
  }

  /** The configuration in force. */
  get config(): TrackerConfig {
    return this.#raft.tracker.config;
  }

  /** Visits the progress of every member without copying; of use on a leader. The visitor must not keep it. */
  withProgress(visitor: ProgressVisitor): void {
    const { tracker } = this.#raft;
    const wasAtRest = tracker.isAtRest;
    for (const member of tracker.members) visitor(member.id, member);
    if (wasAtRest) this.releaseBuffers();
  }

  // Options of raft-rs.

  /** As follower: asks the leader for a snapshot of at least this node's last index. False when it cannot. */
  requestSnapshot(): boolean {
    const raft = this.#raft;
    if (raft.state === "StateLeader" || raft.lead === NONE || raft.lead === raft.id) return false;
    if (raft.log.hasPendingSnapshot() || raft.pendingRequestSnapshot !== 0) return false;
    // A tail of an older term may not be what the leader has.
    const last = raft.log.lastIndex();
    if (last === 0 || raft.log.lastTerm() !== raft.term) return false;
    raft.pendingRequestSnapshot = last;
    sendRequestSnapshot(raft);
    return true;
  }

  /** Sets commit groups by node id; 0 takes a node out. Nodes not named keep theirs. */
  assignCommitGroups(groups: readonly (readonly [NodeId, number])[]): void {
    const raft = this.#raft;
    for (const [id, group] of groups) {
      const member = raft.tracker.progress(id);
      if (member !== undefined) member.commitGroup = group;
    }
    if (raft.state === "StateLeader" && raft.tracker.groupCommit) this.#recheckCommit();
  }

  enableGroupCommit(enabled: boolean): void {
    this.#raft.tracker.groupCommit = enabled;
    if (this.#raft.state === "StateLeader" && !enabled) this.#recheckCommit();
  }

  clearCommitGroups(): void {
    for (const member of this.#raft.tracker.members) member.commitGroup = 0;
  }

  /**
   * Whether group commit is on and the commit index is held by two groups. Undefined where this node cannot know: a
   * follower, or a leader that has not applied an entry of its term, before which a change of members may lie.
   */
  commitGroupsConsistent(): boolean | undefined {
    const raft = this.#raft;
    if (raft.state !== "StateLeader" || !raft.log.matchTerm(raft.log.applied, raft.term)) return undefined;
    if (!raft.tracker.groupCommit) return false;
    const result = raft.tracker.groupCommitted();
    return result.grouped && result.index === raft.log.committed;
  }

  #recheckCommit(): void {
    const raft = this.#raft;
    if (!maybeCommit(raft)) return;
    for (const member of raft.tracker.members) {
      if (member.id !== raft.id) maybeSendAppend(raft, member, true);
    }
  }

  /** The window of a peer from now on; 0 stops sending entries to it. */
  setMaxInflight(id: NodeId, countMax: number): void {
    this.#raft.tracker.progress(id)?.ownWindow().setCountMax(countMax);
  }

  setBatchAppend(enabled: boolean): void {
    this.#raft.batchAppend = enabled;
  }

  setSkipBroadcastCommit(enabled: boolean): void {
    this.#raft.skipBroadcastCommit = enabled;
  }

  /** The storage has the entries ready for which it answered `logTemporarilyUnavailable`. */
  onEntriesFetched(context: EntriesContext): void {
    const raft = this.#raft;
    if (context.reason !== "send" || raft.state !== "StateLeader" || context.term !== raft.term) return;
    const member = raft.tracker.progress(context.to);
    if (member === undefined) return;
    if (context.aggressively) sendAllowed(raft, member);
    else maybeSendAppend(raft, member, true);
  }

  /** Gives back what only work needs; for groups that go idle. It is made again when it is asked for. */
  releaseBuffers(): void {
    const { state, tracker, log, readOnly, id } = this.#raft;
    const last = log.lastIndex();
    const isDone = log.committed === last && (readOnly?.pending ?? 0) === 0;
    if (state === "StateFollower") tracker.rest();
    else if (state === "StateLeader" && isDone) tracker.restReplicated(id, last);
    else for (const member of tracker.members) member.releaseWindow();
  }

  /**
   * The leader is known to be gone: as follower, campaign after this many ticks of its silence, never less than an
   * election timeout, instead of the random number. Until the next change of role.
   */
  electAfter(ticks: number): void {
    const raft = this.#raft;
    if (raft.state !== "StateFollower") return;
    const least = Math.max(raft.config.minElectionTicks, ticks);
    raft.randomizedElectionTimeout = Math.min(raft.randomizedElectionTimeout, least);
  }

  /**
   * As pre-candidate, ask again after this many ticks: those asked may have been within the lease of a leader that is
   * gone. This node itself heard none for an election timeout, or it would not have asked. A question changes no term.
   */
  askAgainAfter(ticks: number): void {
    const raft = this.#raft;
    if (raft.state !== "StatePreCandidate") return;
    raft.randomizedElectionTimeout = Math.min(raft.randomizedElectionTimeout, ticks);
  }

  /**
   * As candidate, stand again after this many ticks instead of the random number: two that stood in the same term have
   * each voted for themselves, and of three voters the third is gone.
   */
  standAgainAfter(ticks: number): void {
    const raft = this.#raft;
    if (raft.state !== "StateCandidate") return;
    raft.randomizedElectionTimeout = Math.min(raft.randomizedElectionTimeout, ticks);
  }

  /**
   * As follower: the leader was silent for so many ticks more than this node has counted. It is free to vote that much
   * sooner, and campaigns no sooner.
   */
  missLeader(ticks: number): void {
    const raft = this.#raft;
    if (raft.state !== "StateFollower") return;
    raft.electionElapsed += ticks;
    raft.randomizedElectionTimeout += ticks;
  }

  /** Tests only: the timeout until the next change of role. */
  setRandomizedElectionTimeout(ticks: number): void {
    this.#raft.randomizedElectionTimeout = ticks;
  }

  /** Tests only: whether this node votes in the configuration it knows. */
  isVoter(): boolean {
    return this.#raft.tracker.isVoter(this.#raft.id);
  }
}
