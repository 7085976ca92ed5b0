/**
 * Applies committed entries, in order, to the group's state and to the application's. An error here is final: this
 * member's state would differ from that of the others, so it stops and says why.
 *
 * After a restart entries behind the snapshot are handed out again. Those whose effects the application kept itself
 * (`appliedIndex`) run through the sessions alone: that a command was applied is known again, its response is not.
 */
import { EMPTY_BYTES, type ErrorCode, RaftwerkError } from "../base/index.js";
import {
  type Apply,
  type ApplyConfChangeResult,
  type ConfChangeV2,
  type ConfState,
  decodeConfChange,
  type Entry,
  isConfChangeEntry,
} from "../raft/index.js";
import { decodeBatch, type LogCommand } from "./command.js";
import { failure } from "./errors.js";
import { decodeContext, GroupState, type MemberChange } from "./members.js";
import type { Outcome } from "./packet.js";
import type { Proposals } from "./proposals.js";
import { SERIALS_MAX } from "./sessions.js";
import type { ApplyContext } from "./state-machine.js";
import { ByteWriter } from "./wire.js";

/** A state machine behind its codecs. */
export interface ByteMachine {
  apply(
    command: Uint8Array,
    index: number,
    term: number,
    position: number,
    context: ApplyContext,
  ): Uint8Array;
  readonly appliedIndex: number;
  persist(index: number): void;
}

export interface ApplyHost {
  readonly proposals: Proposals;
  readonly machine: ByteMachine;
  applyConfChange(change: ConfChangeV2): ApplyConfChangeResult;
  ackApply(apply: Apply): void;
  /** A change of the configuration, or what stood in its place, was applied. */
  confChanged(entry: Entry, changes: readonly MemberChange[]): void;
}

export class Applier {
  readonly #host: ApplyHost;
  #queue: Apply[] = [];
  state = new GroupState([], 1);
  confState: ConfState;
  appliedIndex = 0;
  appliedTerm = 0;
  /** Why nothing is applied now: a snapshot is made or restored. */
  pausedBy: "making" | "restoring" | undefined;
  commands = 0;

  constructor(host: ApplyHost, confState: ConfState) {
    this.#host = host;
    this.confState = confState;
  }

  enqueue(apply: Apply): void {
    this.#queue.push(apply);
  }

  get backlog(): number {
    return this.#queue.length;
  }

  /** A snapshot is in place of all entries up to its index. */
  restored(state: GroupState, confState: ConfState, index: number, term: number): void {
    this.state = state;
    this.confState = confState;
    this.appliedIndex = index;
    this.appliedTerm = term;
  }

  /** Applies what is queued, unless paused. True when anything was applied. Throws when this member must stop. */
  run(): boolean {
    let did = false;
    while (this.pausedBy === undefined && this.#queue.length > 0) {
      const apply = this.#queue.shift() as Apply;
      for (const entry of apply.entries) this.#applyEntry(entry);
      const { machine } = this.#host;
      if (machine.appliedIndex < this.appliedIndex) {
        guard("persist", this.appliedIndex, () => machine.persist(this.appliedIndex));
      }
      this.#host.ackApply(apply);
      did = true;
    }
    return did;
  }

  #applyEntry(entry: Entry): void {
    // An append that was handed out before a snapshot came in its place.
    if (entry.index <= this.appliedIndex) return;
    const waiting = this.#host.proposals.take(entry.index, entry.term);
    this.appliedIndex = entry.index;
    this.appliedTerm = entry.term;
    if (isConfChangeEntry(entry)) return this.#applyConfChange(entry);
    if (entry.data.length === 0) return this.#host.confChanged(entry, []);
    const { timeMs, sessionTtlMs, commands } = decodeBatch(entry.data);
    this.state.sessions.advance(timeMs, sessionTtlMs);
    try {
      commands.forEach((command, position) => {
        const outcome = this.#applyCommand(command, entry, position);
        const proposal = waiting?.[position];
        if (proposal !== undefined) this.#host.proposals.finish(proposal, outcome);
      });
    } catch (error) {
      // Committed: the others apply what this member cannot.
      const text = `this member stopped while it was applied: ${(error as Error).message}`;
      for (const proposal of waiting ?? []) {
        this.#host.proposals.finish(proposal, failure("undeterminedResult", "unknown", text));
      }
      throw error;
    }
    this.commands += commands.length;
  }

  #applyConfChange(entry: Entry): void {
    const change = decodeConfChange(entry.data);
    if (change === undefined) throw damaged(`entry ${entry.index} holds no configuration change`);
    const result = this.#host.applyConfChange(change);
    if (result.kind === "invalid") {
      // All members see the same configuration and refuse alike; nothing changed.
      this.#host.confChanged(entry, []);
      return;
    }
    this.confState = result.confState;
    const changes = this.state.apply(decodeContext(change.context), result.confState);
    this.#host.confChanged(entry, changes);
  }

  #applyCommand(command: LogCommand, entry: Entry, position: number): Outcome {
    const { sessions } = this.state;
    switch (command.kind) {
      case "plain":
        return applied(entry.index, this.#applyData(command.data, entry, position, undefined, undefined));
      case "open": {
        const highest = sessions.open(command.clientId);
        return applied(entry.index, new ByteWriter(8).varint(highest).finish());
      }
      case "close":
        sessions.close(command.clientId);
        return applied(entry.index, EMPTY_BYTES);
      case "session": {
        const { clientId, serial, acknowledged, data } = command;
        const verdict = sessions.check(clientId, serial, acknowledged);
        if (verdict.kind === "noSession") return noSession(clientId);
        if (verdict.kind === "forgotten") return forgotten(clientId, serial);
        if (verdict.kind === "seen") {
          return verdict.response === undefined
            ? lostResponse(clientId, serial)
            : applied(entry.index, verdict.response);
        }
        const response = this.#applyData(data, entry, position, clientId, serial);
        sessions.keep(clientId, serial, response);
        return response === undefined ? lostResponse(clientId, serial) : applied(entry.index, response);
      }
    }
  }

  #applyData(
    data: Uint8Array,
    { index, term }: Entry,
    position: number,
    clientId: string | undefined,
    serial: number | undefined,
  ): Uint8Array | undefined {
    if (index <= this.#host.machine.appliedIndex) return undefined;
    const context = { timeMs: this.state.sessions.timeMs, clientId, serial };
    return guard("apply", index, () => this.#host.machine.apply(data, index, term, position, context));
  }
}

const applied = (index: number, response: Uint8Array | undefined): Outcome => ({
  kind: "applied",
  index,
  response: response ?? EMPTY_BYTES,
});

const noSession = (clientId: string): Outcome =>
  failure(
    "sessionExpired",
    "never",
    `there is no session ${clientId}: it was never opened, or was idle too long; open one. This command was not ` +
      "applied; earlier ones of the session whose answers were lost may have been",
  );

const forgotten = (clientId: string, serial: number): Outcome =>
  failure(
    "responseLost",
    "never",
    `serial ${serial} of session ${clientId} was acknowledged, or lies more than ${SERIALS_MAX} behind the latest: ` +
      "it is not applied again",
  );

const lostResponse = (clientId: string, serial: number): Outcome =>
  failure(
    "responseLost",
    "never",
    `serial ${serial} of session ${clientId} was applied, once; its response was lost in a restart`,
  );

const damaged = (message: string): RaftwerkError =>
  new RaftwerkError("corruptData", message, { retry: "never" });

/** Errors of the application stop the member, with its own words. */
export function guard<T>(method: string, index: number, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw machineFailed(method, index, error);
  }
}

export function machineFailed(method: string, index: number, cause: unknown): RaftwerkError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const code: ErrorCode = "stateMachineFailed";
  const text =
    `${method} of the state machine failed at entry ${index}: ${reason}. This member stops, since its state would ` +
    "differ from that of the others. Correct the state machine and start it again";
  return new RaftwerkError(code, text, { retry: "never", cause });
}
