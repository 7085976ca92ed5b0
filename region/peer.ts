/**
 * One replica of a region: a Raft node, its storage, the queue of its writers and readers, its lease. All methods are
 * synchronous steps of the store's turn. The order inside `collect` is that of raftstore rules 4.1; what may be told to
 * the outside before the turn's batch is durable is decided by the Raft library (`Ready.messages` against
 * `append.responses`).
 *
 * Applied effects become visible in two moments: `collect` stages them into the batch (applier's view), `written` makes
 * them the peer's own view once the batch is in the engine. Reads only see the second; writers are answered at the
 * first (`ProposalQueue.staged`).
 */
import { assert, type EngineBatch, type PeerId, type RegionId, misbehaves } from "../base/index.js";
import type { Entry, Message, RawNode } from "../raft/index.js";
import type { Append, Apply, Ready, Snapshot, SoftState, StateType } from "../raft/types.js";
import {
  type AdminCommand,
  encodeAdminEntry,
  epochCheckOf,
  epochMatches,
  type PeerChange,
  toConfChange,
} from "./admin.js";
import type { ApplyEffect, ApplyRun } from "./applier.js";
import { matchesOf, refuseChange } from "./change-peer.js";
import { Contacts } from "./contacts.js";
import {
  epochNotMatch,
  notLeader,
  plainError,
  raftEntryTooLarge,
  type RegionError,
  readIndexNotReady,
  regionNotFound,
  serverIsBusy,
  staleCommand,
} from "./errors.js";
import type { Lease } from "./lease.js";
import type { RegionFlow } from "./figures.js";
import { type ApplyState, regionOfSnapshot } from "./local-state.js";
import type { PeerHost, StagedWork, WriteRequest } from "./peer-host.js";
import { PeerWork } from "./peer-work.js";
import { PeerStorage } from "./peer-storage.js";
import { isPlainHeartbeat } from "./plain-heartbeat.js";
import type { WriteDone } from "./proposals.js";
import { raftNode } from "./raft-node.js";
import type { ReadRequest } from "./reads.js";
import { findPeer, isInitialized, type PeerMeta, type Region, type RegionEpoch } from "./region.js";
import { NO_FLOW, Traffic } from "./traffic.js";
import type { StoredStates } from "./stored-states.js";
import { refuseTransfer } from "./transfer.js";
import { Waiting } from "./waiting.js";
import { refuseWrite, tooManyWrites } from "./write-admission.js";

export type { PeerBudgets, PeerHost, StagedWork, WriteRequest } from "./peer-host.js";

type SnapshotPhase = "none" | "staging" | "loading";

export class Peer {
  readonly regionId: RegionId;
  readonly peerId: PeerId;
  readonly storage: PeerStorage;
  readonly #host: PeerHost;
  readonly #node: RawNode;
  /** Undefined while the peer sleeps, unless somebody asked; see there for what may be in it then. */
  #working: PeerWork | undefined;
  /** Undefined while there is nothing to remember of others. */
  #contacts: Contacts | undefined;
  #traffic: Traffic | undefined;
  /** Of `Waiting`. Begins at random: a late answer to a former peer of this id must not confirm a read of this one. */
  #nextLife: number;

  // What Raft's last soft state said.
  #lead = 0;
  #state: StateType = "StateFollower";
  #snapshotPhase: SnapshotPhase = "none";
  #removed = false;

  /** The peer gets no ticks: everything is at rest on all replicas. Set by the store. */
  isQuiet = false;
  /** Ticks since something was asked of this peer, or changed. */
  idleTicks = 0;
  /** Bytes of data in the region, estimated; 0 = unknown. */
  approximateBytes = 0;
  approximateKeys = 0;
  /** Bytes of the log that is not cut yet, estimated, on leaders and followers alike. */
  logBytesSinceGc = 0;

  /** `states`: what is stored of the region, if that was read already. */
  constructor(host: PeerHost, region: Region, peerId: PeerId, states?: StoredStates) {
    this.#host = host;
    this.regionId = region.id;
    this.peerId = peerId;
    const { config, env, engine, budgets } = host;
    this.storage = new PeerStorage(engine, region, config.entryCacheBytesMax, budgets.entryCache, states);
    // 31 bits: a larger number would be an object of its own.
    this.#nextLife = env.random.u32() >>> 1;
    this.#node = raftNode(peerId, this.storage, config, env.random);
  }

  // ---- what others may know

  get region(): Region {
    return this.storage.region;
  }
  get isInitialized(): boolean {
    return isInitialized(this.storage.region);
  }
  get isLeader(): boolean {
    return this.#state === "StateLeader" && !this.#removed;
  }
  get isRemoved(): boolean {
    return this.#removed;
  }
  get isApplyingSnapshot(): boolean {
    return this.#snapshotPhase !== "none";
  }
  get leaderId(): number {
    return this.#lead;
  }
  get term(): number {
    return this.#node.term;
  }
  get node(): RawNode {
    return this.#node;
  }
  get meta(): PeerMeta | undefined {
    return findPeer(this.region, this.peerId);
  }
  get leader(): PeerMeta | undefined {
    return this.#lead === 0 ? undefined : this.peerById(this.#lead);
  }
  get workUnderWay(): boolean {
    return this.#working?.isUnderWay === true;
  }
  get appliedIndex(): number {
    return this.storage.applyState.appliedIndex;
  }
  get splitInFlight(): boolean {
    return (this.#working?.splitInFlight ?? 0) > 0;
  }
  get lease(): Lease {
    return this.#work.lease;
  }

  get #work(): PeerWork {
    return (this.#working ??= new PeerWork(this.#host, this.storage));
  }
  get #queues(): Waiting | undefined {
    return this.#working?.queues;
  }
  get #waiting(): Waiting {
    const work = this.#work;
    return (work.queues ??= new Waiting(this.peerId, this.#nextLife, this.#host));
  }

  get traffic(): Traffic {
    return (this.#traffic ??= new Traffic());
  }

  /** What went in and out since this was last called. */
  takeFlow(): RegionFlow {
    const flow = this.#traffic?.takeFlow() ?? NO_FLOW;
    if (this.isQuiet && this.#traffic?.isEmpty === true) this.#traffic = undefined;
    return flow;
  }

  get #known(): Contacts {
    return (this.#contacts ??= new Contacts());
  }

  peerById(id: number): PeerMeta | undefined {
    return this.#contacts?.find(this.region, id) ?? findPeer(this.region, id as PeerId);
  }

  rememberPeer(meta: PeerMeta): void {
    if (findPeer(this.region, meta.id) === undefined) this.#known.remember(this.region, meta);
  }

  /** Milliseconds since this peer was heard from; undefined when never. */
  silentMs(peerId: number, nowMs: number): number | undefined {
    return this.#contacts?.silentMs(peerId, nowMs);
  }

  // ---- input

  step(message: Message): void {
    if (this.#removed) return;
    const nowMs = this.#host.env.clock.monotonicMs();
    const { raftBaseTickMs } = this.#host.config;
    if (!isPlainHeartbeat(message, this)) this.#touch(message.from === this.leaderId);
    else if (!this.isLeader) {
      if (this.isQuiet) this.#host.heardLeader(this);
    } else if (!this.isQuiet && !this.#known.takesAnswer(message.from, nowMs, raftBaseTickMs)) return;
    if (!this.isQuiet) this.#known.heard(message.from, nowMs);
    this.#node.step(message);
    // The last answers to heartbeats come when a leader sleeps already.
    if (this.isQuiet) this.#node.releaseBuffers();
    this.#host.wake(this);
  }

  #touch(byLeader = false): void {
    this.idleTicks = 0;
    if (this.isQuiet) this.#host.awaken(this, byLeader);
  }

  tick(nowMs: number): void {
    if (this.#removed || this.#snapshotPhase !== "none") return;
    this.#node.tick();
    this.#queues?.awaitedElection.tick();
    this.idleTicks++;
    // Never with a leader known: having answered it this peer owes it the time of its lease.
    const mayCampaign = !this.isLeader && this.leaderId === 0;
    if (mayCampaign && misbehaves(this.#host.env, "an election too early", 400)) this.#node.campaign();
    const work = this.#work;
    if (work.leadTransferee !== 0 && this.#node.leadTransferee === 0) work.leadTransferee = 0;
    if (this.isLeader && work.lease.isSuspect && work.leadTransferee === 0) {
      // After a transfer that failed only an entry of our own makes the lease usable again.
      this.#propose(new Uint8Array(0), [], nowMs);
    }
    const overdue = this.isLeader ? undefined : this.#queues?.reads.contextToRetry(nowMs);
    if (overdue !== undefined) this.#node.readIndex(overdue);
    this.#host.wake(this);
  }

  campaign(): void {
    this.#touch();
    this.#node.campaign();
    this.#host.wake(this);
  }

  /** For a peer that a split has just made. Nobody has led the region yet, so there is nobody to ask beforehand. */
  campaignAfterSplit(): void {
    this.#waiting.awaitedElection.begin(this.#host.config.raftElectionTicks);
    this.#node.campaign({ skipsPreVote: true });
    this.#host.wake(this);
  }

  /** The leader's store is dead: what only a leader serves waits here for the election that is due. */
  awaitSuccessor(): void {
    if (!this.isLeader) this.#waiting.awaitedElection.begin(2 * this.#host.config.raftElectionTicks);
  }

  /** There is nothing to wait for: the leader is back. */
  awaitNobody(): void {
    this.#queues?.awaitedElection.end();
  }

  /** A leader is about to be elected: what only a leader serves waits for the outcome. */
  get awaitsElection(): boolean {
    return this.#queues?.awaitedElection.isUnderWay === true && !this.#removed;
  }

  reportUnreachable(peerId: number): void {
    this.#node.reportUnreachable(peerId);
  }

  reportSnapshot(peerId: number, outcome: "finish" | "failure"): void {
    this.#node.reportSnapshot(peerId, outcome);
    this.#host.wake(this);
  }

  /** Takes a write into this turn's entry, or answers at once why not. */
  write(request: WriteRequest): void {
    const { config } = this.#host;
    const refuse = (error: RegionError): void => request.done(error, undefined);
    if (this.#removed) return refuse(regionNotFound(this.regionId));
    this.#touch();
    const work = this.#work;
    if (!this.isLeader || work.leadTransferee !== 0) {
      if (work.queues?.awaitedElection.wait(request.bytes, () => this.write(request)) === true) return;
      return refuse(this.notLeaderError());
    }
    if (request.bytes > config.raftEntryBytesMax) {
      this.#host.refused("raft entry too large");
      return refuse(raftEntryTooLarge(this.regionId, request.bytes, config.raftEntryBytesMax));
    }
    if (request.epoch.version !== this.region.epoch.version) return refuse(this.epochError(request.epoch));
    if (misbehaves(this.#host.env, "a write is refused", 8)) return refuse(serverIsBusy("mischief", 20));
    if (work.splitInFlight > 0 && !misbehaves(this.#host.env, "a write is proposed behind a split", 2)) {
      this.#waiting.park(request.done);
      return;
    }
    const nowMs = this.#host.env.clock.monotonicMs();
    const { proposals, gatherer } = this.#waiting;
    const underWay = proposals.bytes + gatherer.bytes;
    const isFull = this.#host.budgets.proposals.isSpent;
    const tooMuch = refuseWrite(this.regionId, underWay, proposals.oldestMs, isFull, nowMs, config);
    if (tooMuch !== undefined) {
      this.#host.refused(tooMuch.reason);
      return refuse(serverIsBusy(tooMuch.message, this.#host.busyForMs(request.bytes)));
    }
    if (!gatherer.isEmpty && gatherer.bytes + request.bytes > config.proposalBytesMax) this.flushWrites();
    gatherer.add(request.epoch.version, nowMs, request.fill, request.isSwap, request.done);
    if (misbehaves(this.#host.env, "a write is an entry of its own")) this.flushWrites();
    this.#host.wake(this);
  }

  /** Proposes what this turn has gathered. */
  flushWrites(): void {
    const queues = this.#queues;
    if (queues === undefined || queues.gatherer.isEmpty) return;
    const { data, waiters, createdMs } = queues.gatherer.take();
    if (data.length > this.#host.config.raftEntryBytesMax) {
      const error = raftEntryTooLarge(this.regionId, data.length, this.#host.config.raftEntryBytesMax);
      for (const waiter of waiters) waiter.done(error, undefined);
      return;
    }
    const { figures, env } = this.#host;
    figures.writeEntries++;
    figures.time("wait", env.clock, createdMs, waiters.length);
    this.#propose(data, waiters, createdMs);
  }

  /** Administrative commands. `done` is told when the command was applied, or why it was not proposed. */
  admin(epoch: RegionEpoch, command: AdminCommand, done: WriteDone): void {
    const refuse = (error: RegionError): void => done(error, undefined);
    if (this.#removed) return refuse(regionNotFound(this.regionId));
    this.#touch();
    if (!this.isLeader) return refuse(this.notLeaderError());
    if (this.storage.applyState.appliedTerm !== this.term) {
      return refuse(plainError(`peer ${this.peerId} has not applied an entry of its term yet; try again`));
    }
    if (!epochMatches(epochCheckOf(command), epoch, this.region.epoch)) return refuse(this.epochError(epoch));
    this.flushWrites();
    if (command.kind === "changePeer") return this.#proposeConfChange(epoch, command.changes, done);
    const work = this.#work;
    if (command.kind === "split" && (work.splitInFlight > 0 || work.confChangeInFlight > 0)) {
      return refuse(serverIsBusy(`region ${this.regionId} is being changed already`, 100));
    }
    const nowMs = this.#host.env.clock.monotonicMs();
    this.#host.figures.adminProposed[command.kind]++;
    const index = this.#propose(encodeAdminEntry(epoch, command), [{ done, swapIndex: -1 }], nowMs);
    if (command.kind === "split" && index > 0) {
      work.splitInFlight = index;
      // The parts cannot elect leaders before their replicas know that they exist.
      this.#node.setSkipBroadcastCommit(false);
    }
    this.#host.wake(this);
  }

  /** Advice, as in TiKV: undefined when begun, else why not. */
  transferLeader(target: PeerId): string | undefined {
    if (misbehaves(this.#host.env, "a transfer of leadership is refused")) return "mischief";
    if (!this.isLeader) return "this peer is not the leader";
    if (target === this.peerId) return undefined;
    if (this.#work.confChangeInFlight > 0) return "a change of peers is under way";
    const { leaderTransferLogLagMax } = this.#host.config;
    const refusal = refuseTransfer(this.region, target, this.#node, leaderTransferLogLagMax);
    if (refusal !== undefined) return refusal;
    this.#touch();
    this.flushWrites();
    this.#work.leadTransferee = target;
    this.#node.transferLeader(target);
    this.#host.figures.transfers++;
    this.#host.wake(this);
    return undefined;
  }

  // ---- reads

  /**
   * Whether a read may take its data now; `confirmAfterRead` must be asked again once the data is taken. Otherwise the
   * caller queues it with `queueRead`.
   */
  mayReadLocally(nowMs: number): boolean {
    if (this.#snapshotPhase !== "none" || !this.#isLeased(nowMs)) return false;
    return this.storage.applyState.appliedIndex >= this.#node.commitIndex;
  }

  #isLeased(nowMs: number): boolean {
    return (
      this.isLeader &&
      this.storage.applyState.appliedTerm === this.term &&
      this.#node.inLease() &&
      this.#working !== undefined &&
      this.lease.inspect(nowMs) === "valid"
    );
  }

  /** The clock is read after the data: a pause between the two cannot hide a lost lease. (rule 11.8) */
  confirmAfterRead(): boolean {
    if (misbehaves(this.#host.env, "a lease is not trusted")) return false;
    return this.isLeader && this.lease.inspect(this.#host.env.clock.monotonicMs()) === "valid";
  }

  /**
   * Why data just taken may not be given out, whoever confirmed the read: meanwhile the peer may be destroyed and its
   * range deleted, a snapshot may be replacing the data, or a split may have given the keys to another region.
   */
  refusalAfterRead(version: number): RegionError | undefined {
    if (this.#removed) return regionNotFound(this.regionId);
    if (this.#snapshotPhase !== "none") return readIndexNotReady(this.regionId, "a snapshot is being loaded");
    return this.region.epoch.version === version ? undefined : epochNotMatch(this.region, [this.region]);
  }

  queueRead(request: ReadRequest, isReplicaRead: boolean): void {
    if (this.#removed) return request.fail(regionNotFound(this.regionId));
    if (!this.isLeader) {
      if (this.isQuiet) this.#host.needed(this);
      const again = (): void => this.queueRead(request, isReplicaRead);
      if (this.#queues?.awaitedElection.wait(0, again) === true) return;
      if (!isReplicaRead) return request.fail(this.notLeaderError());
      if (this.#lead === 0) return request.fail(notLeader(this.regionId, undefined));
    }
    const { reads } = this.#waiting;
    if (reads.waiting >= this.#host.config.readsWaitingMax) {
      this.#host.refused("region has too many reads");
      return request.fail(serverIsBusy(`region ${this.regionId} has too many reads waiting`, 200));
    }
    if (this.#work.committedSplit > 0)
      return request.fail(readIndexNotReady(this.regionId, "the region is being split"));
    this.#touch();
    const nowMs = this.#host.env.clock.monotonicMs();
    const leased = this.#isLeased(nowMs);
    if (leased) reads.addConfirmed(request, this.#node.commitIndex, nowMs);
    else reads.add(request);
    this.#host.wake(this);
  }

  /** Starts a round that renews the lease before it runs out, when reads are asking. */
  renewLeaseEarly(nowMs: number): void {
    if (this.lease.remainingMs(nowMs) > this.#host.config.leaseMs / 2 || this.#waiting.reads.length > 0)
      return;
    this.#touch();
    this.#waiting.reads.add({ run() {}, fail() {} });
    this.#host.wake(this);
  }

  notLeaderError(): RegionError {
    return notLeader(this.regionId, this.isLeader ? undefined : this.leader);
  }

  epochError(requested: RegionEpoch): RegionError {
    return epochNotMatch(this.region, this.#host.siblings(this, requested.version));
  }

  // ---- quiet

  /** Nothing is open here: the whole log is committed and applied, nobody waits, nothing is being changed. */
  get isAtRest(): boolean {
    const { appliedIndex, appliedTerm } = this.storage.applyState;
    const { lastIndex, commitIndex } = this.#node;
    if (this.#removed || !this.isInitialized || this.isApplyingSnapshot || this.workUnderWay) return false;
    if (appliedIndex !== lastIndex || commitIndex !== lastIndex || this.storage.lastIndex() !== lastIndex)
      return false;
    if (this.#queues?.isEmpty === false) return false;
    if (this.#working?.isChanging === true) return false;
    return (
      !this.isLeader ||
      (appliedTerm === this.term && this.#working?.lease.isSuspect !== true && this.approximateBytes > 0)
    );
  }

  /** As leader: that peer is known to hold the whole log. */
  holdsAll(id: number): boolean {
    let match = -1;
    this.#node.withProgress((peer, progress) => {
      if (peer === id) match = progress.match;
    });
    return match === this.#node.lastIndex;
  }

  /** No ticks from now on, and nothing in memory that only work needs. */
  fallQuiet(): void {
    this.isQuiet = true;
    this.storage.dropCache();
    this.#contacts?.forgetTimes();
    if (this.#contacts?.isEmpty === true) this.#contacts = undefined;
    this.#node.releaseBuffers();
    if (this.#traffic?.isEmpty === true) this.#traffic = undefined;
    if (this.#working?.isOver !== true) return;
    this.#nextLife = this.#queues?.nextLife ?? this.#nextLife;
    this.#working = undefined;
  }

  /** As leader, after ticks were left out: for how long each peer was silent is known of its store. */
  resumeLeading(deadMs: (meta: PeerMeta) => number): void {
    const nowMs = this.#host.env.clock.monotonicMs();
    for (const meta of this.region.peers) this.#known.heard(meta.id, nowMs - deadMs(meta));
    this.#node.restartTicks();
  }

  /** Ticks in which the leader was silent, and which nobody counted here. */
  missTicks(count: number): void {
    for (let i = 0; i < count; i++) this.#node.tick();
    this.#host.wake(this);
  }

  /** The same of a leader that may live: this peer may vote for another sooner, and stands for election no sooner. */
  missLeader(ticks: number): void {
    if (ticks > 0) this.#node.missLeader(ticks);
  }

  /** As leader: heartbeats to all, which also make peers that do not exist yet. */
  ping(): void {
    this.#node.ping();
    this.#host.wake(this);
  }

  // ---- the turn

  /** Stages everything the node wants written into `batch`, hands out its messages; undefined when there is nothing. */
  collect(batch: EngineBatch): StagedWork | undefined {
    if (this.#removed || this.#working?.applier.isRemoved === true || this.#snapshotPhase !== "none")
      return undefined;
    // Those who waited for the election come into the Ready that begins the term.
    if (this.awaitsElection && this.#node.isLeading)
      this.#onSoftState({ lead: this.peerId, state: "StateLeader" });
    this.flushWrites();
    this.#askReadIndex();
    // Those that a lease confirmed when nothing was left to apply: no Ready and no write will serve them.
    this.#serveReads();
    const rest = this.#collectRest(batch);
    if (rest !== undefined) return rest;
    if (this.#working?.restApply !== undefined || !this.#node.hasReady()) return undefined;
    if (this.#node.hasPendingSnapshot && this.workUnderWay) return undefined;
    const ready = this.#node.ready();
    if (ready.softState !== undefined) this.#onSoftState(ready.softState);
    this.#noteCommitted(ready);
    this.#host.figures.countReady(ready);
    for (const message of ready.messages) this.#send(message);
    for (const state of ready.readStates) {
      const createdMs = this.#queues?.reads.confirm(state.requestContext, state.index);
      if (createdMs !== undefined && this.#mayRenewLease() && !this.lease.isSuspect)
        this.lease.renew(createdMs);
    }
    // Those that wait for no apply: maybe nothing of this Ready is to be written, then no `written` would serve them.
    if (ready.readStates.length > 0) this.#serveReads();
    const snapshot =
      ready.append?.snapshot === undefined ? undefined : this.#stageSnapshot(batch, ready.append);
    if (ready.append !== undefined) {
      this.#work.appendsUnderWay++;
      for (const entry of ready.append.entries) this.logBytesSinceGc += entry.data.length;
      if (snapshot === undefined) this.storage.stageAppend(batch, ready.append);
    }
    const run = ready.apply === undefined ? undefined : this.#apply(ready.apply, ready.apply.entries, batch);
    if (ready.append === undefined && ready.apply === undefined) return undefined;
    return {
      peer: this,
      append: ready.append,
      apply: run === undefined || run.rest.length > 0 ? undefined : ready.apply,
      run,
      snapshot,
    };
  }

  /** The batch with this work is in the engine (and on disk, if it was synced). */
  written(work: StagedWork): void {
    if (this.#removed) {
      if (work.append !== undefined) this.#work.appendsUnderWay--;
      if (work.run !== undefined) this.#runWritten(work.run, undefined);
      return;
    }
    if (work.append !== undefined) {
      this.#work.appendsUnderWay--;
      if (work.snapshot !== undefined) {
        this.#snapshotStaged(work.append, work.snapshot.state, work.snapshot.region);
        return;
      }
      this.storage.appendWritten(work.append);
      for (const message of this.#node.ackAppend(work.append)) this.#send(message);
    }
    if (work.run !== undefined) this.#runWritten(work.run, work.apply);
    if (this.#removed) return;
    this.#serveReads();
    if (this.#node.hasReady() || this.#working?.restApply !== undefined) this.#host.wake(this);
  }

  /** The data of an accepted snapshot is loaded and its region state is `normal`. */
  snapshotApplied(): void {
    const work = this.#work;
    const append = work.loadingAppend;
    assert(this.#snapshotPhase === "loading" && append !== undefined, "no snapshot is being loaded");
    this.#snapshotPhase = "none";
    work.loadingAppend = undefined;
    work.applier.reset(this.region, this.storage.applyState);
    for (const message of this.#node.ackAppend(append)) this.#send(message);
    this.#queues?.proposals.failAll(staleCommand());
    this.#serveReads();
    this.#host.wake(this);
  }

  /** After `Applying` was found on disk: as `loading`, with no message to send. */
  resumeSnapshotLoad(): void {
    this.#snapshotPhase = "loading";
  }
  finishResumedLoad(): void {
    this.#snapshotPhase = "none";
    this.#host.wake(this);
  }

  /** Ends the peer: everybody waiting learns that the region is not here. */
  destroy(): void {
    this.#removed = true;
    this.storage.dropCache();
    this.#contacts?.forgetTimes();
    this.#working?.lease.expire();
    this.#queues?.end(regionNotFound(this.regionId));
  }

  // ---- inside

  #propose(
    data: Uint8Array,
    waiters: readonly { done: WriteDone; swapIndex: number }[],
    createdMs: number,
  ): number {
    const result = this.#node.propose(data);
    if (result.kind === "dropped") {
      const error =
        result.reason === "uncommittedQuota"
          ? serverIsBusy(tooManyWrites(this.regionId), this.#host.busyForMs(data.length))
          : this.notLeaderError();
      for (const waiter of waiters) waiter.done(error, undefined);
      return 0;
    }
    const index = this.#node.lastIndex;
    this.#waiting.proposals.push({ term: this.term, index, createdMs, bytes: data.length, waiters });
    return index;
  }

  #proposeConfChange(epoch: RegionEpoch, changes: readonly PeerChange[], done: WriteDone): void {
    const refusal = this.#confChangeRefusal(changes);
    if (refusal !== undefined) return done(plainError(refusal), undefined);
    const nowMs = this.#host.env.clock.monotonicMs();
    const result = this.#node.proposeConfChange(toConfChange(epoch, changes));
    if (result.kind === "dropped") return done(this.notLeaderError(), undefined);
    this.#host.figures.adminProposed.changePeer++;
    const index = this.#node.lastIndex;
    this.#work.confChangeInFlight = index;
    const waiters = [{ done, swapIndex: -1 }];
    this.#waiting.proposals.push({ term: this.term, index, createdMs: nowMs, bytes: 0, waiters });
    this.#host.wake(this);
  }

  #confChangeRefusal(changes: readonly PeerChange[]): string | undefined {
    if (misbehaves(this.#host.env, "a change of peers is refused")) return "mischief";
    const work = this.#work;
    if (work.confChangeInFlight > 0 || work.splitInFlight > 0) return "the region is being changed already";
    return refuseChange(this.region, changes, this.peerId, matchesOf(this.#node), this.storage.firstIndex());
  }

  #collectRest(batch: EngineBatch): StagedWork | undefined {
    const work = this.#working;
    const rest = work?.restApply;
    if (work === undefined || rest === undefined || work.appliesUnderWay > 0) return undefined;
    work.restApply = undefined;
    const run = this.#apply(rest.apply, rest.entries, batch);
    const apply = run.rest.length > 0 ? undefined : rest.apply;
    return { peer: this, append: undefined, apply, run, snapshot: undefined };
  }

  #apply(apply: Apply, entries: readonly Entry[], batch: EngineBatch): ApplyRun {
    const isSlow = entries.length > 1 && misbehaves(this.#host.env, "entries are applied one by one");
    const now = isSlow ? entries.slice(0, 1) : entries;
    const work = this.#work;
    const run = work.applier.run(now, batch, work.appliesUnderWay > 0);
    const behind = work.applier.isRemoved ? [] : entries.slice(now.length);
    const rest = behind.length === 0 ? run.rest : [...run.rest, ...behind];
    if (rest.length > 0) work.restApply = { apply, entries: rest };
    work.appliesUnderWay++;
    this.storage.applyStaged();
    const staged = behind.length === 0 ? run : { ...run, rest };
    work.queues?.proposals.staged(staged);
    return staged;
  }

  #runWritten(run: ApplyRun, apply: Apply | undefined): void {
    const work = this.#work;
    work.appliesUnderWay--;
    const before = this.region;
    this.storage.applyWritten(run.state, run.region);
    if (run.region !== undefined) this.#known.rememberGone(before, this.region);
    if (run.keysWritten > 0) this.traffic.wrote(run.bytesWritten, run.keysWritten);
    if (this.approximateBytes > 0) {
      this.approximateBytes += run.bytesWritten;
      this.approximateKeys += run.keysWritten;
    }
    // Of a peer that was told to go meanwhile the parts of a split live on.
    for (const effect of run.effects) if (!this.#removed || effect.kind === "split") this.#follow(effect);
    work.queues?.proposals.written(run);
    if (this.#removed) return;
    const applied = run.state.appliedIndex;
    if (work.splitInFlight > 0 && applied >= work.splitInFlight) this.#splitOver(work);
    work.changesApplied(applied);
    if (apply !== undefined) this.#node.ackApply(apply);
  }

  #splitOver(work: PeerWork): void {
    work.splitInFlight = 0;
    this.#node.setSkipBroadcastCommit(true);
    const parked = work.queues?.takeParked() ?? [];
    if (parked.length === 0) return;
    const answer = epochNotMatch(this.region, this.#host.siblings(this, this.region.epoch.version - 1));
    for (const done of parked) done(answer, undefined);
  }

  #follow(effect: ApplyEffect): void {
    this.#host.figures.adminApplied[effect.kind === "confChange" ? "changePeer" : effect.kind]++;
    if (effect.kind === "confChange" && effect.change !== undefined) {
      const result = this.#node.applyConfChange(effect.change);
      assert(result.kind === "applied", () => `region ${this.regionId}: raft refused an applied conf change`);
      const nowMs = this.#host.env.clock.monotonicMs();
      for (const { id } of effect.region.peers) if (!this.#known.wasHeard(id)) this.#known.heard(id, nowMs);
    }
    if (effect.kind === "compactLog") {
      const last = this.storage.lastIndex() as number;
      const kept = Math.max(0, last - effect.toIndex) / Math.max(1, last - effect.fromIndex + 1);
      this.logBytesSinceGc = Math.floor(this.logBytesSinceGc * kept);
    }
    // The parts of a split may elect leaders of their own from now on.
    if (effect.kind === "split") this.lease.expire();
    this.#host.applied(this, effect);
  }

  #onSoftState(next: SoftState): void {
    const before = this.#state;
    if (next.state === before && next.lead === this.#lead) return;
    this.#state = next.state;
    this.#lead = next.lead;
    this.#touch();
    const nowMs = this.#host.env.clock.monotonicMs();
    if (next.state === "StateLeader" && before !== "StateLeader") {
      // Harmless: reads also need an applied entry of this term, which a quorum has to acknowledge first.
      this.lease.expire();
      this.lease.renew(nowMs);
      // Others had no reason to talk to a follower: their silence counts from now, also of those never heard of.
      for (const meta of this.region.peers) this.#known.heard(meta.id, nowMs);
      this.approximateBytes = 0;
      this.approximateKeys = 0;
    }
    if (next.state !== "StateLeader" && before === "StateLeader") {
      const work = this.#work;
      work.leadershipOver();
      this.#node.setSkipBroadcastCommit(true);
      for (const done of this.#queues?.takeParked() ?? []) done(this.notLeaderError(), undefined);
    }
    this.#queues?.reads.fail(this.notLeaderError(), "unconfirmed");
    if (next.lead !== 0) this.#queues?.awaitedElection.end();
    this.#host.roleChanged(this);
  }

  /** Before any message leaves: followers may act on a commit as soon as they learn it. (rule 4.1.7) */
  #noteCommitted(ready: Ready): void {
    const entries = ready.apply?.entries;
    const last = entries?.[entries.length - 1];
    if (last === undefined || !this.isLeader) return;
    const work = this.#work;
    if (work.splitInFlight > 0 && last.index >= work.splitInFlight) work.committedSplit = work.splitInFlight;
    const createdMs = work.queues?.proposals.createdMsUpTo(this.term, last.index);
    if (createdMs === undefined) return;
    if (this.#mayRenewLease()) this.lease.renew(createdMs);
    this.#host.figures.time("commit", this.#host.env.clock, createdMs);
  }

  #mayRenewLease(): boolean {
    return this.isLeader && this.#work.committedSplit === 0;
  }

  #send(message: Message): void {
    if (message.type === "MsgTimeoutNow") this.lease.suspect(this.#host.env.clock.monotonicMs());
    this.#host.send(this, message);
  }

  #askReadIndex(): void {
    const reads = this.#queues?.reads;
    if (reads === undefined || !reads.hasUnsent) return;
    this.#host.figures.readIndexes++;
    const context = reads.seal(this.#host.env.clock.monotonicMs());
    this.#node.readIndex(context);
  }

  #serveReads(): void {
    const reads = this.#queues?.reads;
    if (reads === undefined || reads.length === 0) return;
    if (this.#snapshotPhase !== "none" || this.#work.committedSplit > 0) return;
    if (this.isLeader && this.storage.applyState.appliedTerm !== this.term) return;
    for (const request of reads.takeReady(this.storage.applyState.appliedIndex)) request.run();
  }

  #stageSnapshot(batch: EngineBatch, append: Append): { state: ApplyState; region: Region } {
    const region = regionOfSnapshot((append.snapshot as Snapshot).data);
    assert(region !== undefined, "a snapshot without its region");
    this.#snapshotPhase = "staging";
    return { state: this.storage.stageSnapshot(batch, append, region), region };
  }

  #snapshotStaged(append: Append, state: ApplyState, region: Region): void {
    const previous = this.region;
    this.storage.snapshotWritten(append, state, region);
    this.#known.rememberGone(previous, region);
    this.#snapshotPhase = "loading";
    this.#work.loadingAppend = append;
    this.#host.loadSnapshot(this, append.snapshot as Snapshot, previous);
  }
}
