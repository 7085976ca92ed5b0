/**
 * `BaseGroupNode`: a member of a group as its user sees it, with promises and typed commands. Portable: environment,
 * transport and storage are given. `GroupNode` of `raftwerk/group` adds the real ones.
 */
import { type Env, RaftwerkError } from "../base/index.js";
import type { ByteMachine } from "./applier.js";
import { askLeader, type GroupCall, type GroupCallResult } from "./calls.js";
import type { LogCommand } from "./command.js";
import type { CompactedLog } from "./compacted-log.js";
import { groupConfig, type GroupConfigInit } from "./config.js";
import { GroupCore } from "./core.js";
import { errorOf } from "./errors.js";
import type { GroupEventName, GroupEvents, GroupStatus } from "./events.js";
import type { Member } from "./members.js";
import type { MembershipChange } from "./membership.js";
import type { Outcome } from "./packet.js";
import { GroupSession } from "./session.js";
import { GroupStart, type StartOptions } from "./start.js";
import { type Codec, jsonCodec, type StateMachine } from "./state-machine.js";
import { statusOf } from "./status.js";
import type { GroupStorage } from "./storage.js";
import type { GroupTransport } from "./transport.js";
import { ByteReader } from "./wire.js";

export interface NodeOptions<Command, Response> extends StartOptions {
  readonly stateMachine: StateMachine<Command, Response>;
  readonly config?: GroupConfigInit | undefined;
  readonly commandCodec?: Codec<Command> | undefined;
  readonly responseCodec?: Codec<Response> | undefined;
  /** Ends a start that takes too long: it rejects with `closed`. */
  readonly signal?: AbortSignal | undefined;
  /** Takes the entries that leave the log. */
  readonly compactedLog?: CompactedLog | undefined;
}

/** What a node stands on. */
export interface NodeGround {
  readonly env: Env;
  readonly transport: GroupTransport;
  readonly storage: GroupStorage;
}

export interface WaitOptions {
  /** Default: `timeoutMs` of the configuration. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ProposeOptions extends WaitOptions {
  /** Of a session (`openSession`): the command takes effect once, however often it is proposed with this serial. */
  readonly clientId?: string | undefined;
  /** From 1. */
  readonly serial?: number | undefined;
  /** The answers of all serials up to this one were received and may be forgotten. */
  readonly acknowledged?: number | undefined;
}

type Listener<Name extends GroupEventName> = (event: GroupEvents[Name]) => void;

function byteMachine<Command, Response>(
  machine: StateMachine<Command, Response>,
  commands: Codec<Command>,
  responses: Codec<Response>,
): ByteMachine {
  let checked = false;
  return {
    apply(bytes, index, term, position, context) {
      const response = machine.apply({ command: commands.decode(bytes), index, term, position }, context);
      if (response instanceof Promise) {
        response.catch(() => {});
        throw new Error("apply returned a promise: it must be synchronous");
      }
      return responses.encode(response);
    },
    get appliedIndex() {
      if (machine.appliedIndex === undefined) return 0;
      if (!checked && machine.persist === undefined) {
        throw new RaftwerkError("invalidConfig", "a state machine with appliedIndex needs persist", {
          retry: "never",
        });
      }
      checked = true;
      return machine.appliedIndex();
    },
    persist: (index) => machine.persist?.(index),
  };
}

const aborted = (signal: AbortSignal): string =>
  signal.reason instanceof Error ? signal.reason.message : "cancelled by the caller";

export class BaseGroupNode<Command, Response> implements AsyncDisposable {
  readonly #core: GroupCore;
  readonly #start: GroupStart;
  readonly #machine: StateMachine<Command, Response>;
  readonly #commands: Codec<Command>;
  readonly #responses: Codec<Response>;
  readonly #ground: NodeGround;
  readonly #listeners = new Map<GroupEventName, Set<Listener<never>>>();
  #closing: Promise<void> | undefined;

  constructor(ground: NodeGround, options: NodeOptions<Command, Response>) {
    const { stateMachine, commandCodec, responseCodec, config, compactedLog } = options;
    this.#ground = ground;
    this.#machine = stateMachine;
    this.#commands = commandCodec ?? jsonCodec<Command>();
    this.#responses = responseCodec ?? jsonCodec<Response>();
    const validate = stateMachine.validate?.bind(stateMachine);
    this.#core = new GroupCore({
      ...ground,
      config: groupConfig(config),
      machine: byteMachine(stateMachine, this.#commands, this.#responses),
      stateMachine,
      validate: validate === undefined ? () => {} : (bytes) => validate(this.#commands.decode(bytes)),
      compactedLog,
      listener: (name, event) => this.#tell(name, event),
    });
    this.#start = new GroupStart(this.#core, options);
  }

  /** Resolves when this member takes part; rejects when it cannot. */
  protected begin(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => void this.close();
      signal?.addEventListener("abort", onAbort, { once: true });
      this.on("started", () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      this.on("stopped", ({ error }) => {
        // Without a promise that somebody waits for: what cannot be closed is said in the log.
        this.close().catch((reason: unknown) => {
          this.#ground.env.log.error("closing failed", { error: String(reason) });
        });
        reject(error ?? new RaftwerkError("closed", "closed before it took part", { retry: "safe" }));
      });
      this.#start.run();
    });
  }

  /** Starts a member on a given environment, transport and storage, all of which it closes at its end. */
  static async open<C, R>(ground: NodeGround, options: NodeOptions<C, R>): Promise<BaseGroupNode<C, R>> {
    const node = new BaseGroupNode(ground, options);
    await node.begin(options.signal);
    return node;
  }

  // Commands.

  /**
   * Resolves with the response once the command is durable on a majority and applied. On a member that does not lead
   * it goes to the leader. Rejects with a `RaftwerkError`: class `safe`: it had no effect; `never`: it was refused;
   * `unknown`: it may have taken effect. It is never sent again on its own after it may have taken effect.
   */
  propose(command: Command, options: ProposeOptions = {}): Promise<Response> {
    let log: LogCommand;
    try {
      log = this.#logCommand(this.#commands.encode(command), options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return this.#propose(log, options).then((bytes) => this.#responses.decode(bytes));
  }

  #logCommand(data: Uint8Array, { clientId, serial, acknowledged = 0 }: ProposeOptions): LogCommand {
    if (clientId === undefined && serial === undefined) return { kind: "plain", data };
    if (clientId === undefined || serial === undefined || !Number.isSafeInteger(serial) || serial < 1) {
      const text = "clientId and serial go together, and serial is a whole number from 1";
      throw new RaftwerkError("invalidArgument", text, { retry: "never" });
    }
    return { kind: "session", clientId, serial, acknowledged, data };
  }

  #propose(command: LogCommand, { timeoutMs, signal }: WaitOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        return reject(new RaftwerkError("cancelled", aborted(signal), { retry: "safe" }));
      }
      const settle = (outcome: Outcome): void => {
        signal?.removeEventListener("abort", onAbort);
        if (outcome.kind === "applied") resolve(outcome.response);
        else reject(errorOf(outcome));
      };
      const limitMs = timeoutMs ?? this.#core.parts.config.timeoutMs;
      const proposal = this.#core.propose(command, limitMs, settle);
      const onAbort = (): void => {
        if (proposal !== undefined && signal !== undefined)
          this.#core.proposals.cancel(proposal, aborted(signal));
      };
      if (proposal?.place !== "over") signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /**
   * Opens a session for exactly-once commands, or goes on with the one of that `clientId` after a restart of the
   * client. Without a `clientId` one is drawn.
   */
  async openSession(
    options: WaitOptions & { readonly clientId?: string } = {},
  ): Promise<GroupSession<Command, Response>> {
    const { random } = this.#ground.env;
    const clientId =
      options.clientId ?? [random.u32(), random.u32(), random.u32()].map((n) => n.toString(36)).join("");
    const bytes = await this.#propose({ kind: "open", clientId }, options);
    const highest = new ByteReader(bytes, "answer").varint();
    return new GroupSession(this, this.#ground.env, clientId, highest);
  }

  /** For sessions. */
  async closeSession(clientId: string, options: WaitOptions = {}): Promise<void> {
    await this.#propose({ kind: "close", clientId }, options);
  }

  // Reads.

  /**
   * A linearizable read: `query` runs on this member's state machine once that has everything that was committed
   * before the call. Without a query it resolves at that moment.
   */
  read(): Promise<void>;
  read<T>(query: () => T, options?: WaitOptions): Promise<T>;
  read<T>(query?: () => T, { timeoutMs, signal }: WaitOptions = {}): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        return reject(new RaftwerkError("cancelled", aborted(signal), { retry: "safe" }));
      }
      const limitMs = timeoutMs ?? this.#core.parts.config.timeoutMs;
      const pending = this.#core.read(limitMs, (error) => {
        signal?.removeEventListener("abort", onAbort);
        if (error !== undefined) return reject(error);
        try {
          resolve(query?.());
        } catch (thrown) {
          reject(thrown as Error);
        }
      });
      const onAbort = (): void => {
        if (pending === undefined || signal === undefined) return;
        this.#core.reads.cancel(pending, new RaftwerkError("cancelled", aborted(signal), { retry: "safe" }));
      };
      if (pending?.isOver === false) signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /**
   * What this member knows, at once: a state that was current at some time, and may be old. Throws while a snapshot
   * takes the state's place, and when the member has stopped.
   */
  readLocal<T>(query: () => T): T {
    const core = this.#core;
    if (core.applier.pausedBy === "restoring") {
      throw new RaftwerkError("groupUnavailable", "a snapshot is being restored on this member", {
        retry: "safe",
      });
    }
    if (core.phase === "stopped") {
      throw core.error ?? new RaftwerkError("closed", "this member is closed", { retry: "never" });
    }
    return query();
  }

  // Membership.

  get id(): number {
    return this.#core.id;
  }

  get groupId(): string {
    return this.#core.groupId;
  }

  /** Who leads, as far as this member knows. */
  get leader(): { readonly id: number; readonly address: string } | undefined {
    const { leaderId, state } = this.#core;
    const member = state.members.get(leaderId);
    return member === undefined ? undefined : { id: leaderId, address: member.address };
  }

  get isLeader(): boolean {
    return this.#core.isLeader;
  }

  get status(): GroupStatus {
    return statusOf(this.#core);
  }

  get members(): readonly Member[] {
    return [...this.#core.state.members.values()];
  }

  /**
   * Changes the membership; several changes take effect together (through a joint configuration). Resolves with the
   * ids once they are in force. Asked of any member.
   */
  async changeMembers(
    changes: readonly MembershipChange[],
    options: WaitOptions = {},
  ): Promise<readonly number[]> {
    const result = await this.#ask({ kind: "change", groupId: this.groupId, changes }, options);
    return result.ids ?? [];
  }

  async remove(id: number, options: WaitOptions = {}): Promise<void> {
    await this.changeMembers([{ kind: "remove", id }], options);
  }

  async promote(id: number, options: WaitOptions = {}): Promise<void> {
    await this.changeMembers([{ kind: "promote", id }], options);
  }

  /** A voter becomes an observer. */
  async demote(id: number, options: WaitOptions = {}): Promise<void> {
    await this.changeMembers([{ kind: "demote", id }], options);
  }

  /** Resolves when member `to` leads. */
  async transferLeader(to: number, options: WaitOptions = {}): Promise<void> {
    await this.#ask({ kind: "transfer", to }, options);
  }

  /** Leaves the group for good and closes. */
  async leave(options: WaitOptions = {}): Promise<void> {
    await this.remove(this.id, options);
    await this.close();
  }

  /** Makes a snapshot now, whatever the policy says; resolves with its index. */
  snapshotNow(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#core.keeper.request((error, info) => {
        if (info === undefined) reject(error ?? new Error("no snapshot"));
        else resolve(info.index);
      });
    });
  }

  #ask(call: GroupCall, { timeoutMs }: WaitOptions): Promise<GroupCallResult> {
    const core = this.#core;
    const { transport, config } = core.parts;
    const leader = this.leader?.address;
    const all = this.members.map(({ address }) => address);
    const seeds = leader === undefined ? all : [leader, ...all.filter((address) => address !== leader)];
    return new Promise((resolve, reject) => {
      askLeader(core.env, transport, seeds, call, timeoutMs ?? config.timeoutMs, (error, result) => {
        if (error !== undefined) reject(error);
        else resolve(result ?? {});
      });
    });
  }

  // Events.

  on<Name extends GroupEventName>(name: Name, listener: Listener<Name>): this {
    const listeners = this.#listeners.get(name) ?? new Set();
    listeners.add(listener as Listener<never>);
    this.#listeners.set(name, listeners);
    return this;
  }

  off<Name extends GroupEventName>(name: Name, listener: Listener<Name>): this {
    this.#listeners.get(name)?.delete(listener as Listener<never>);
    return this;
  }

  #tell<Name extends GroupEventName>(name: Name, event: GroupEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as Listener<Name>)(event);
      } catch (error) {
        this.#ground.env.log.error("a listener threw", { event: name, error: String(error) });
      }
    }
  }

  /** The error that stopped this member, if one did. */
  get error(): RaftwerkError | undefined {
    return this.#core.error;
  }

  /** The application's state machine. */
  get stateMachine(): StateMachine<Command, Response> {
    return this.#machine;
  }

  /** Resolves when nothing is under way and storage and transport are closed. A leader hands over first. */
  close(): Promise<void> {
    // Begun in a later step, so that what it causes finds it begun.
    this.#closing ??= Promise.resolve().then(() => this.#close());
    return this.#closing;
  }

  async #close(): Promise<void> {
    const core = this.#core;
    if (core.isLeader && core.phase === "running") await this.#handOver();
    this.#start.stop();
    await new Promise<void>((resolve) => core.stop(resolve));
    await new Promise<void>((resolve) => this.#ground.transport.close(resolve));
    await new Promise<void>((resolve) => this.#ground.storage.close(() => resolve()));
  }

  /** So that the others need not wait for an election. Gives up after an election timeout. */
  #handOver(): Promise<void> {
    const core = this.#core;
    const { voters } = core.applier.confState;
    let best = 0;
    let bestMatch = -1;
    core.raw?.withProgress((id, { match, recentActive }) => {
      if (id === core.id || !voters.includes(id) || !recentActive || match <= bestMatch) return;
      [best, bestMatch] = [id, match];
    });
    if (best === 0) return Promise.resolve();
    core.raw?.transferLeader(best);
    core.wake();
    const { tickMs, electionTicks } = core.parts.config;
    return new Promise((resolve) => {
      const timer = core.env.timers.set(tickMs * electionTicks, () => resolve());
      this.on("leader", () => {
        core.env.timers.clear(timer);
        resolve();
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
