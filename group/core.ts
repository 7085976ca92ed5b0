/**
 * One member as a synchronous machine: packets, proposals, reads, ticks and completions of the disk come in; packets,
 * writes and answers go out. Once per turn of the event loop everything that came in is worked off together:
 *
 *   1. proposals of the turn become entries, reads of the turn one round
 *   2. Readys of the Raft node: messages to the outbox, committed entries applied, the append staged
 *   3. one packet per member leaves
 *   4. the append is written, with one fsync; what waited for it leaves in the turn that its completion begins
 *
 * A synced append that has company on the wire is written in the next turn, so that the packets leave before the
 * thread waits for the disk. Starting, founding and joining are in `start.ts`.
 */
import { assert, type Env, must, RaftwerkError } from "../base/index.js";
import {
  type Append,
  type ConfChangeV2,
  EMPTY_CONF_STATE,
  type Entry,
  type HardState,
  makeHardState,
  makeMessage,
  makeSnapshot,
  type Message,
  RawNode,
  type Ready,
} from "../raft/index.js";
import { Admission } from "./admission.js";
import { Applier, type ByteMachine, machineFailed } from "./applier.js";
import type { CompactedLog } from "./compacted-log.js";
import type { LogCommand } from "./command.js";
import type { GroupConfig } from "./config.js";
import { failure, unavailable } from "./errors.js";
import type { GroupEventName, GroupEvents, GroupListener, GroupPhase } from "./events.js";
import type { Pins } from "./founding.js";
import type { GroupState, MemberChange } from "./members.js";
import { Membership } from "./membership.js";
import { Outbox } from "./outbox.js";
import type { Envelope, Item, Outcome } from "./packet.js";
import { type Proposal, Proposals } from "./proposals.js";
import { RaftStorage } from "./raft-storage.js";
import { type PendingRead, Reads } from "./reads.js";
import { SnapshotKeeper } from "./snapshot-keeper.js";
import { restoreSnapshot } from "./snapshot-restorer.js";
import { SnapshotReceiver } from "./snapshot-receiver.js";
import { SnapshotSender } from "./snapshot-sender.js";
import type { StateMachine } from "./state-machine.js";
import type { GroupStorage, InitialState } from "./storage.js";
import type { GroupTransport } from "./transport.js";

export interface CoreParts {
  readonly env: Env;
  readonly config: GroupConfig;
  readonly storage: GroupStorage;
  readonly transport: GroupTransport;
  readonly machine: ByteMachine;
  /** For snapshots; commands go through `machine`. */
  readonly stateMachine: Pick<
    StateMachine<unknown, unknown>,
    "snapshot" | "restore" | "snapshotsConcurrently"
  >;
  readonly validate: (command: Uint8Array) => void;
  readonly compactedLog: CompactedLog | undefined;
  readonly listener: GroupListener;
}

const ROUNDS_MAX = 16;
const INFLIGHT_MESSAGES = 256;
const MESSAGE_BYTES_MAX = 1 << 20;

export class GroupCore {
  readonly parts: CoreParts;
  readonly env: Env;
  readonly storage: GroupStorage;
  readonly admission: Admission;
  readonly outbox: Outbox;
  readonly proposals: Proposals;
  readonly reads: Reads;
  readonly applier: Applier;
  readonly membership: Membership;
  readonly keeper: SnapshotKeeper;
  readonly sender: SnapshotSender;
  readonly receiver: SnapshotReceiver;
  phase: GroupPhase = "opening";
  raw: RawNode | undefined;
  pins: Pins | undefined;
  /** Packets of founders, while the group is being founded. */
  onFoundingItem: ((from: number, item: Item) => void) | undefined;
  leaderId = 0;
  isLeader = false;
  error: RaftwerkError | undefined;
  turns = 0;
  syncedWrites = 0;
  unsyncedWrites = 0;
  elections = 0;
  snapshotsInstalled = 0;
  #hardState: HardState = makeHardState(0, 0, 0);
  #staged: Append | undefined;
  #writesUnderWay = 0;
  /** An append with a snapshot: waits until it is alone, and nothing is taken from the Raft node meanwhile. */
  #installing: Append | undefined;
  #votesFromMs = 0;
  #aloneTicks = 0;
  #isScheduled = false;
  #isRunning = false;
  readonly #onIdle: (() => void)[] = [];

  constructor(parts: CoreParts) {
    this.parts = parts;
    this.env = parts.env;
    this.storage = parts.storage;
    const { env, config, storage, transport } = parts;
    this.admission = new Admission(this, (from, items) => this.#process(from, items));
    this.outbox = new Outbox({
      transport,
      envelope: (to) => this.envelope(to),
      addressOf: (id) => this.admission.addressOf(id),
    });
    const send = (to: number, item: Item): boolean => this.send(to, item);
    const wake = (): void => this.wake();
    this.proposals = new Proposals({
      env,
      config,
      validate: parts.validate,
      append: (entries) => this.#appendEntries(entries),
      leader: () => this.leaderId,
      isLeader: () => this.isLeader,
      send,
      agreedTimeMs: () => this.state.sessions.timeMs,
      wake,
    });
    this.reads = new Reads({
      env,
      config,
      readIndex: (context) => this.raw !== undefined && this.raw.readIndex(context).kind === "ok",
      inLease: () => this.raw?.inLease() ?? false,
      term: () => this.raw?.term ?? 0,
      commitIndex: () => this.raw?.commitIndex ?? 0,
      appliedIndex: () => (this.applier.pausedBy === "restoring" ? undefined : this.applier.appliedIndex),
      wake,
    });
    this.applier = new Applier(this.#applierHost(), EMPTY_CONF_STATE);
    this.membership = new Membership(this.#membershipHost());
    const failed = (error: Error): void => this.fail(error);
    this.keeper = new SnapshotKeeper(this, failed);
    this.sender = new SnapshotSender({
      env,
      config,
      storage,
      send,
      pendingBytes: (to) => this.outbox.pendingBytes(to),
      report: (to, status) => {
        this.raw?.reportSnapshot(to, status);
        this.wake();
      },
      sent: (to, { index, bytes }) => this.emit("snapshot", { kind: "sent", index, bytes, to }),
    });
    this.receiver = new SnapshotReceiver({
      env,
      config,
      storage,
      send,
      isNeedless: ({ index }) => this.raw !== undefined && index <= this.raw.commitIndex,
      isFree: () =>
        !this.keeper.isBusy && this.#installing === undefined && this.applier.pausedBy === undefined,
      offer: (from, term, info) => this.#offerSnapshot(from, term, info.index, info.term, info.confState),
      failed,
    });
  }

  #applierHost(): ConstructorParameters<typeof Applier>[0] {
    return {
      proposals: this.proposals,
      machine: this.parts.machine,
      applyConfChange: (change) => this.#raw().applyConfChange(change),
      ackApply: (apply) => this.#raw().ackApply(apply),
      confChanged: (entry, changes) => this.#confChanged(entry, changes),
    };
  }

  #membershipHost(): ConstructorParameters<typeof Membership>[0] {
    const core = this;
    return {
      config: this.parts.config,
      get id() {
        return core.id;
      },
      state: () => this.state,
      confState: () => this.applier.confState,
      isLeader: () => this.isLeader,
      commitIndex: () => this.raw?.commitIndex ?? 0,
      isUp: (id) => this.admission.isUp(id),
      withProgress: (visitor) => this.raw?.withProgress(visitor),
      propose: (change) => this.#proposeConfChange(change),
      transfer: (to) => {
        this.raw?.transferLeader(to);
        this.wake();
      },
    };
  }

  get state(): GroupState {
    return this.applier.state;
  }

  get id(): number {
    return this.pins?.identity.nodeId ?? 0;
  }

  get groupId(): string {
    return this.pins?.identity.groupId ?? "";
  }

  #raw(): RawNode {
    return must(this.raw, "the Raft node is not there yet");
  }

  emit<Name extends GroupEventName>(name: Name, event: GroupEvents[Name]): void {
    this.parts.listener(name, event);
  }

  envelope(to: number): Envelope {
    const { identity } = must(this.pins, "no identity yet");
    return {
      groupId: identity.groupId,
      from: identity.nodeId,
      fromAddress: this.parts.transport.address,
      storageId: identity.storageId,
      to,
    };
  }

  send(to: number, item: Item): boolean {
    const isSent = this.outbox.add(to, item);
    if (isSent) this.wake();
    return isSent;
  }

  // The Raft node.

  /** The state of the snapshot is in place: takes part from here on. */
  begin(initial: InitialState): void {
    const { config } = this.parts;
    const snapshot = this.storage.snapshot();
    this.#hardState = initial.hardState;
    // Who voted, or heard a leader, before this start must not help to elect another within that leader's lease.
    if (initial.hardState.term > 0) {
      this.#votesFromMs = this.env.clock.monotonicMs() + config.electionTicks * config.tickMs;
    }
    this.raw = new RawNode({
      id: this.id,
      storage: new RaftStorage(this.storage, initial.hardState, () => this.keeper.want()),
      applied: snapshot?.index ?? 0,
      electionTicks: config.electionTicks,
      heartbeatTicks: config.heartbeatTicks,
      preVote: true,
      checkQuorum: true,
      asyncStorageWrites: true,
      disableProposalForwarding: true,
      stepDownOnRemoval: true,
      maxInflightMessages: INFLIGHT_MESSAGES,
      maxSizePerMessageBytes: MESSAGE_BYTES_MAX,
      maxCommittedSizePerReadyBytes: MESSAGE_BYTES_MAX,
      maxUncommittedEntriesBytes: config.waitingBytesMax * 2,
      random: this.env.random,
      logger: { ...this.env.log, info: (message, fields) => this.env.log.debug(message, fields) },
    });
    this.phase = "running";
    this.emit("started", { id: this.id });
    this.wake();
  }

  tick(): void {
    if (this.phase !== "running") return;
    this.#raw().tick();
    this.proposals.tick();
    this.reads.tick();
    this.sender.tick();
    this.receiver.tick();
    this.membership.tick();
    this.keeper.tick();
    this.#askWhenAlone();
    this.wake();
  }

  /** Without a leader for long: maybe this member was removed and nobody talks to it any more. Any answer tells. */
  #askWhenAlone(): void {
    const { electionTicks } = this.parts.config;
    this.#aloneTicks = this.leaderId === 0 ? this.#aloneTicks + 1 : 0;
    if (this.#aloneTicks < electionTicks * 3 || this.#aloneTicks % electionTicks !== 0) return;
    for (const id of this.state.members.keys()) if (id !== this.id) this.send(id, { kind: "hello" });
  }

  wake(): void {
    if (this.#isScheduled || this.#isRunning || this.phase === "stopped") return;
    this.#isScheduled = true;
    this.env.timers.nextTurn(() => {
      this.#isScheduled = false;
      this.#turn();
    });
  }

  #turn(): void {
    if (this.phase === "stopped") return;
    this.turns++;
    this.#isRunning = true;
    try {
      if (this.phase === "running") this.#work();
    } catch (error) {
      this.#isRunning = false;
      return this.fail(error as Error);
    }
    const isKept = this.outbox.endTurn();
    this.#isRunning = false;
    const isBehind = this.#staged !== undefined || (this.raw?.hasReady() && this.#installing === undefined);
    if (isKept || isBehind) this.wake();
  }

  #work(): void {
    if (this.#staged !== undefined) this.#write(this.#staged);
    this.proposals.flush();
    this.reads.ask();
    for (let round = 0; round < ROUNDS_MAX && this.#canTake(); round++) {
      this.#take(this.#raw().ready());
      this.#apply();
      if (this.#staged === undefined) continue;
      // With a packet to bring on its way first, the disk waits for the next turn.
      if (this.#staged.mustSync && this.outbox.flush()) return;
      this.#write(this.#staged);
    }
    this.#apply();
  }

  #canTake(): boolean {
    return (
      this.phase === "running" &&
      this.#installing === undefined &&
      this.#staged === undefined &&
      this.#raw().hasReady()
    );
  }

  #take(ready: Ready): void {
    if (ready.softState !== undefined) this.#roleChanged(ready.softState.lead, ready.softState.state);
    for (const message of ready.messages) this.#sendMessage(message);
    if (ready.apply !== undefined) this.applier.enqueue(ready.apply);
    for (const { index, requestContext } of ready.readStates) this.reads.answered(requestContext, index);
    const { append } = ready;
    if (append === undefined) return;
    if (append.hardState !== undefined) this.#hardState = append.hardState;
    if (append.snapshot === undefined) this.#staged = append;
    else {
      this.#installing = append;
      this.#maybeInstall();
    }
  }

  #sendMessage(message: Message): void {
    if (message.type === "MsgSnap") this.sender.begin(message.to, message.term);
    else this.outbox.add(message.to, { kind: "raft", message });
  }

  #roleChanged(lead: number, state: string): void {
    const isLeader = state === "StateLeader";
    if (isLeader && !this.isLeader) this.elections++;
    if (this.isLeader && !isLeader) this.sender.drop();
    this.isLeader = isLeader;
    const before = this.leaderId;
    this.leaderId = lead;
    const { electionTicks, tickMs } = this.parts.config;
    this.proposals.leaderChanged(electionTicks * tickMs);
    if (lead !== before) this.emit("leader", { id: lead, term: this.#raw().term, isSelf: isLeader });
  }

  #apply(): void {
    if (this.applier.run()) {
      this.reads.applied();
      this.keeper.applied();
    }
  }

  #write(append: Append): void {
    this.#staged = undefined;
    const isEmpty = append.entries.length === 0 && append.hardState === undefined;
    if (isEmpty && this.#writesUnderWay === 0) return this.#written(append);
    const mustSync = append.mustSync && !isEmpty;
    if (mustSync) this.syncedWrites++;
    else this.unsyncedWrites++;
    this.#writesUnderWay++;
    const { entries, hardState } = append;
    this.storage.write({ entries, hardState, mustSync }, (error) => {
      this.#writesUnderWay--;
      if (error !== undefined) return this.fail(error);
      if (this.phase === "stopped") return this.#idle();
      this.#written(append);
      this.#maybeInstall();
      this.wake();
    });
  }

  #written(append: Append): void {
    for (const message of this.#raw().ackAppend(append)) this.#sendMessage(message);
  }

  #appendEntries(
    entries: readonly Uint8Array[],
  ): { readonly first: number; readonly term: number } | undefined {
    const raw = this.#raw();
    if (raw.proposeMany(entries).kind === "dropped") return undefined;
    return { first: raw.lastIndex - entries.length + 1, term: raw.term };
  }

  #proposeConfChange(change: ConfChangeV2): { readonly index: number; readonly term: number } | undefined {
    const raw = this.#raw();
    if (raw.proposeConfChange(change).kind === "dropped") return undefined;
    this.wake();
    return { index: raw.lastIndex, term: raw.term };
  }

  // Snapshots that come in.

  #offerSnapshot(
    from: number,
    leaderTerm: number,
    index: number,
    term: number,
    confState: Parameters<typeof makeSnapshot>[2],
  ): void {
    const snapshot = makeSnapshot(index, term, confState);
    this.#raw().step(makeMessage({ type: "MsgSnap", from, to: this.id, term: leaderTerm, snapshot }));
    if (this.#raw().hasPendingSnapshot) this.wake();
    else this.receiver.declined();
  }

  #maybeInstall(): void {
    const append = this.#installing;
    if (append?.snapshot === undefined || this.#writesUnderWay > 0 || this.#staged !== undefined) return;
    const whole = must(this.receiver.whole, "the Raft node took a snapshot that nobody offered");
    const { info, writer } = whole;
    assert(info.index === append.snapshot.metadata.index, "the Raft node took another snapshot");
    const commit = Math.max(this.#hardState.commit, info.index);
    this.#hardState = makeHardState(this.#hardState.term, this.#hardState.vote, commit);
    this.applier.pausedBy = "restoring";
    this.#writesUnderWay++;
    this.storage.installSnapshot(writer, info, this.#hardState, (error) => {
      this.#writesUnderWay--;
      if (error !== undefined) return this.fail(error);
      if (this.phase === "stopped") return this.#idle();
      this.snapshotsInstalled++;
      this.receiver.installed();
      this.proposals.skipped(info.index);
      const { entries } = append;
      this.#installing = undefined;
      if (entries.length > 0) this.#write({ ...append, snapshot: undefined, hardState: undefined });
      else this.#written(append);
      this.restoreLive((error) => {
        if (error !== undefined) return this.fail(error);
        this.emit("snapshot", { kind: "installed", index: info.index, bytes: info.bytes });
      });
      this.wake();
    });
  }

  /** Puts the state of the live snapshot in place. */
  restoreLive(done: (error: Error | undefined) => void): void {
    const info = must(this.storage.snapshot(), "there is no snapshot to restore");
    this.applier.pausedBy = "restoring";
    const { machine, stateMachine } = this.parts;
    // At a start the state machine may have kept more than the snapshot holds.
    const isNeeded = this.raw !== undefined || machine.appliedIndex < info.index;
    const restore = isNeeded
      ? (chunks: AsyncIterable<Uint8Array>): Promise<void> => stateMachine.restore(chunks)
      : undefined;
    restoreSnapshot(this.storage, info, restore, (error, state) => {
      if (this.phase === "stopped") return;
      if (error !== undefined || state === undefined) return done(error);
      const before = this.state;
      this.applier.restored(state, info.confState, info.index, info.term);
      try {
        if (isNeeded) machine.persist(info.index);
      } catch (error) {
        return done(machineFailed("persist", info.index, error));
      }
      this.applier.pausedBy = undefined;
      this.#tellDifference(before, state);
      this.keeper.restored();
      this.reads.applied();
      done(undefined);
      this.wake();
    });
  }

  #tellDifference(before: GroupState, after: GroupState): void {
    for (const member of after.members.values()) {
      const known = before.members.get(member.id);
      if (known === undefined) this.emit("member", { kind: "added", member });
      else if (known.role !== member.role || known.address !== member.address) {
        this.emit("member", { kind: "changed", member });
      }
    }
    for (const member of before.members.values()) {
      if (!after.members.has(member.id)) this.emit("member", { kind: "removed", member });
    }
  }

  // Members.

  #confChanged(entry: Entry, changes: readonly MemberChange[]): void {
    for (const { kind, member } of changes) {
      this.emit("member", { kind, member });
      this.admission.settled(member.id);
      if (kind !== "removed") continue;
      this.sender.forget(member.id);
      this.proposals.forget(member.id);
      this.admission.forget(member.id);
      this.pins?.forget(member.id);
    }
    this.membership.applied(entry);
    const isOwn = changes.some(({ kind, member }) => kind === "removed" && member.id === this.id);
    if (isOwn) this.env.timers.nextTurn(() => this.wasRemoved());
  }

  /** The group goes on without this member. */
  wasRemoved(): void {
    if (this.phase !== "running") return;
    this.phase = "removed";
    const error = new RaftwerkError(
      "memberRemoved",
      `member ${this.id} was removed from the group: it may join again, with an empty directory`,
      { retry: "never" },
    );
    this.proposals.stop("this member was removed from the group");
    this.reads.stop(error);
    this.membership.stop(error);
    this.outbox.flush();
    this.emit("removed", { id: this.id });
  }

  // Packets.

  receive(bytes: Uint8Array): void {
    this.admission.receive(bytes);
  }

  #process(from: number, items: readonly Item[]): void {
    for (const item of items) {
      if (item.kind === "hello") this.send(from, { kind: "helloAck" });
      else if (this.phase === "founding") this.onFoundingItem?.(from, item);
      else if (this.phase === "running") this.#item(from, item);
    }
    this.wake();
  }

  #item(from: number, item: Item): void {
    switch (item.kind) {
      case "raft":
        return this.#step(from, item.message);
      case "propose":
        return this.proposals.receive(from, item);
      case "outcome":
        return this.proposals.answered(item.request, item.outcome);
      case "snapshotBegin":
        return this.receiver.begin(from, item.term, item.info);
      case "snapshotChunk":
        return this.receiver.chunk(from, item);
      case "snapshotAck":
        return this.sender.acknowledged(from, item.source, item.number, item.offset, item.status);
      case "hello":
      case "helloAck":
      case "refused":
    }
  }

  #step(from: number, message: Message): void {
    // A MsgReadIndex that is passed on names its author; everything else comes from who sent it.
    if (message.from !== from || message.type === "MsgSnap" || message.type === "MsgProp") return;
    const isVote = message.type === "MsgVote" || message.type === "MsgPreVote";
    // With a context the leader itself asked for the election: it has given up its lease.
    if (isVote && message.context.length === 0 && this.env.clock.monotonicMs() < this.#votesFromMs) return;
    const result = this.#raw().step(message);
    if (result.kind === "malformed")
      this.env.log.warn("a malformed message", { from, reason: result.reason });
  }

  // Clients.

  propose(command: LogCommand, timeoutMs: number, done: (outcome: Outcome) => void): Proposal | undefined {
    const reason = this.#refusal();
    if (reason === undefined) return this.proposals.add(command, timeoutMs, done);
    done(failure(reason.code, reason.retry, reason.message));
    return undefined;
  }

  read(timeoutMs: number, done: (error: RaftwerkError | undefined) => void): PendingRead | undefined {
    const reason = this.#refusal();
    if (reason === undefined) {
      const { waitingMax } = this.parts.config;
      if (this.reads.waiting < waitingMax) return this.reads.add(timeoutMs, done);
      done(new RaftwerkError("serverIsBusy", "too many reads wait on this member", { retry: "safe" }));
    } else done(reason);
    return undefined;
  }

  #refusal(): RaftwerkError | undefined {
    switch (this.phase) {
      case "running":
        return undefined;
      case "removed":
        return new RaftwerkError("memberRemoved", "this member was removed from the group", {
          retry: "never",
        });
      case "stopped":
        return this.error ?? new RaftwerkError("closed", "this member is closed", { retry: "never" });
      case "opening":
      case "founding":
      case "joining":
        return unavailable("this member does not take part yet");
    }
  }

  // The end.

  /** This member cannot go on. */
  fail(cause: Error): void {
    if (this.phase === "stopped") return;
    this.error = cause instanceof RaftwerkError ? cause : bug(cause);
    this.env.log.error("this member stops", { error: this.error.message });
    this.#halt(`this member stopped: ${this.error.message}`, this.error);
    this.emit("stopped", { error: this.error });
  }

  /** Ends by request; calls back when nothing is under way. */
  stop(done: () => void): void {
    if (this.phase !== "stopped") {
      this.outbox.flush();
      this.#halt("this member is closed", undefined);
      this.emit("stopped", { error: undefined });
    }
    if (this.#writesUnderWay === 0) done();
    else this.#onIdle.push(done);
  }

  #halt(reason: string, error: RaftwerkError | undefined): void {
    this.phase = "stopped";
    this.isLeader = false;
    this.leaderId = 0;
    this.proposals.stop(reason);
    const closed = error ?? new RaftwerkError("closed", reason, { retry: "safe" });
    this.reads.stop(closed);
    this.membership.stop(closed);
    this.keeper.stop();
    this.outbox.clear();
  }

  #idle(): void {
    if (this.#writesUnderWay > 0) return;
    for (const done of this.#onIdle.splice(0)) done();
  }
}

const bug = (cause: Error): RaftwerkError =>
  new RaftwerkError("assertionFailed", `a broken invariant stops this member: ${cause.message}`, {
    retry: "never",
    cause,
  });
