/**
 * How a member comes to take part: it opens its storage and is what it was; or it founds a group with others; or it
 * asks to join one.
 */
import { type Env, RaftwerkError, type TimerHandle } from "../base/index.js";
import { EMPTY_CONF_STATE } from "../raft/index.js";
import { answerCall, askLeader } from "./calls.js";
import type { GroupCore } from "./core.js";
import { type Founder, groupIdOf, lostDisksMax, Pins } from "./founding.js";
import { GroupState, type Member } from "./members.js";
import { makeInitialSnapshot } from "./snapshot-maker.js";
import type { GroupIdentity, InitialState } from "./storage.js";

export interface StartOptions {
  /** Of a founder. */
  readonly id?: number | undefined;
  /** All members of a new group, this one among them; the same on each of them. Ignored once the group exists. */
  readonly members?: readonly Founder[] | undefined;
  /** Addresses of members of a group to join. Ignored once this member has its id. */
  readonly join?: readonly string[] | undefined;
  /** As what to join. */
  readonly joinAs?: "learner" | "observer" | undefined;
  /** Refuses to be in any other group. */
  readonly groupId?: string | undefined;
}

const refusal = (code: "invalidConfig" | "dataDirectoryMismatch" | "clusterIdMismatch", message: string) =>
  new RaftwerkError(code, message, { retry: "never" });

/** Random, of 96 bits. */
function newStorageId(env: Env): string {
  return [0, 1, 2].map(() => env.random.u32().toString(16).padStart(8, "0")).join("");
}

export class GroupStart {
  readonly #core: GroupCore;
  readonly #options: StartOptions;
  #timer: TimerHandle | undefined;
  #initial: InitialState | undefined;
  /** Founders that have kept this one's storage id, and those that came back without their disk. */
  readonly #heard = new Set<number>();
  readonly #lost = new Set<number>();
  #onTick: (() => void) | undefined;

  constructor(core: GroupCore, options: StartOptions) {
    this.#core = core;
    this.#options = options;
  }

  /** Returns at once; the core's events tell the rest. */
  run(): void {
    const core = this.#core;
    core.storage.open((error, initial) => {
      if (core.phase === "stopped") return;
      if (error !== undefined || initial === undefined) return core.fail(error ?? new Error("no storage"));
      this.#initial = initial;
      try {
        this.#opened(initial);
      } catch (problem) {
        core.fail(problem as Error);
      }
    });
  }

  #opened(initial: InitialState): void {
    const core = this.#core;
    const identity = initial.identity ?? this.#newIdentity(initial);
    this.#check(identity);
    core.pins = new Pins(core.storage, identity, (error) => core.fail(error));
    const then = (): void => {
      core.parts.transport.listen({
        onPacket: (packet) => core.receive(packet),
        onCall: (request, reply) => answerCall(core, request, reply),
      });
      this.#tick();
      if (identity.isFounded) this.#resume();
      else if (identity.nodeId === 0) this.#join();
      else this.#found();
    };
    if (initial.identity === undefined) core.pins.save(identity, then);
    else then();
  }

  #newIdentity(initial: InitialState): GroupIdentity {
    const { id, members, join } = this.#options;
    const { env, parts } = this.#core;
    if (initial.snapshot !== undefined || initial.hardState.term !== 0) {
      throw refusal("dataDirectoryMismatch", "the storage holds a log and no identity: it is damaged");
    }
    const blank = { storageId: newStorageId(env), address: parts.transport.address, pins: [] };
    if (members === undefined || members.length === 0) {
      if (join === undefined || join.length === 0) {
        throw refusal(
          "invalidConfig",
          "the storage is empty: give `members` to found a group, or `join` to join one",
        );
      }
      return { ...blank, groupId: "", nodeId: 0, isFounded: false };
    }
    const own = members.find((founder) => founder.id === id);
    if (own === undefined || id === undefined) {
      throw refusal("invalidConfig", `id ${String(id)} is not among members: name this member there`);
    }
    if (members.some((founder) => !Number.isSafeInteger(founder.id) || founder.id < 1)) {
      throw refusal("invalidConfig", "ids of members must be whole numbers from 1");
    }
    const [ids, addresses] = [new Set(members.map((m) => m.id)), new Set(members.map((m) => m.address))];
    if (ids.size < members.length || addresses.size < members.length) {
      throw refusal("invalidConfig", "two members have the same id or address");
    }
    const groupId = this.#options.groupId ?? groupIdOf(members);
    return { ...blank, groupId, nodeId: id, address: own.address, isFounded: false };
  }

  #check(identity: GroupIdentity): void {
    const { id, groupId } = this.#options;
    if (id !== undefined && identity.nodeId !== 0 && identity.nodeId !== id) {
      const text = `the storage belongs to member ${identity.nodeId}, not to ${id}: give each member its own`;
      throw refusal("dataDirectoryMismatch", text);
    }
    if (groupId !== undefined && identity.groupId !== "" && identity.groupId !== groupId) {
      const text = `the storage belongs to group ${identity.groupId}, not to ${groupId}`;
      throw refusal("clusterIdMismatch", text);
    }
  }

  #tick(): void {
    const core = this.#core;
    if (core.phase === "stopped") return;
    this.#timer = core.env.timers.set(core.parts.config.tickMs, () => this.#tick());
    try {
      this.#onTick?.();
      core.tick();
    } catch (error) {
      core.fail(error as Error);
    }
  }

  stop(): void {
    if (this.#timer !== undefined) this.#core.env.timers.clear(this.#timer);
    this.#onTick = undefined;
  }

  // Founding.

  #found(): void {
    const core = this.#core;
    const members = this.#options.members ?? [];
    if (members.length === 0) {
      return core.fail(
        refusal("invalidConfig", "the group was not founded to its end: start again with the same members"),
      );
    }
    core.phase = "founding";
    const others = members.filter(({ id }) => id !== core.id);
    for (const { id, address } of others) core.admission.learned.set(id, address);
    if (others.length === 0) return this.#founded();
    const isDone = (): boolean =>
      this.#lost.size <= lostDisksMax(members.length) &&
      others.every(({ id }) => this.#heard.has(id) || this.#lost.has(id));
    core.onFoundingItem = (from, item) => {
      if (item.kind !== "helloAck") return;
      this.#heard.add(from);
      if (isDone()) this.#founded();
    };
    core.admission.onFounderLost = (id) => {
      if (others.some((other) => other.id === id)) this.#lost.add(id);
      if (isDone()) this.#founded();
    };
    const greet = (): void => {
      for (const { id } of others) if (!this.#heard.has(id)) core.send(id, { kind: "hello" });
      core.wake();
    };
    let ticks = 0;
    this.#onTick = () => {
      greet();
      const missing = others.filter(({ id }) => !this.#heard.has(id)).map(({ address }) => address);
      if (++ticks % 50 === 0) {
        core.env.log.info("a new group begins when all its members are up", { missing: missing.join(", ") });
      }
    };
    greet();
  }

  #founded(): void {
    const core = this.#core;
    this.#onTick = undefined;
    core.onFoundingItem = undefined;
    core.admission.onFounderLost = undefined;
    core.phase = "opening";
    if (core.storage.snapshot() !== undefined) return this.#markFounded();
    const founders = [...(this.#options.members ?? [])].sort((left, right) => left.id - right.id);
    const members = founders.map((founder): Member => ({ ...founder, role: "voter", storageId: "" }));
    const source = {
      index: 1,
      term: 1,
      confState: { ...EMPTY_CONF_STATE, voters: founders.map(({ id }) => id) },
      groupState: GroupState.founded(members).encode(),
      storageId: core.envelope(0).storageId,
      pieceBytes: core.parts.config.snapshots.chunkBytes,
    };
    makeInitialSnapshot(core.env, core.storage, source, (error) => {
      if (error !== undefined) return core.fail(error);
      this.#markFounded();
    });
  }

  #markFounded(): void {
    const { pins } = this.#core;
    pins?.save({ ...pins.identity, isFounded: true }, () => this.#resume());
  }

  // Joining.

  #join(): void {
    const core = this.#core;
    const { join = [], joinAs = "learner", groupId = "" } = this.#options;
    if (join.length === 0) {
      const text = "this member has not joined yet: give `join`, addresses of members of the group";
      return core.fail(refusal("invalidConfig", text));
    }
    core.phase = "joining";
    const { address, storageId } = { address: core.parts.transport.address, ...core.pins?.identity };
    const changes = [{ kind: "add", address, storageId: storageId ?? "", role: joinAs } as const];
    const { timeoutMs } = core.parts.config;
    askLeader(
      core.env,
      core.parts.transport,
      join,
      { kind: "change", groupId, changes },
      timeoutMs,
      (error, result) => {
        if (core.phase !== "joining") return;
        const id = result?.ids?.[0];
        if (error !== undefined || id === undefined || result?.groupId === undefined) {
          if (error !== undefined && error.retry === "never") return core.fail(error);
          core.env.log.warn("joining takes time", { reason: error?.message ?? "no id in the answer" });
          return this.#join();
        }
        for (const [member, at] of result.members ?? []) core.admission.learned.set(member, at);
        const { pins } = core;
        const identity = { groupId: result.groupId, nodeId: id, isFounded: true };
        pins?.save({ ...pins.identity, ...identity }, () => this.#resume());
      },
    );
  }

  // Taking part.

  #resume(): void {
    const core = this.#core;
    const initial = this.#initial;
    if (core.phase === "stopped" || initial === undefined) return;
    const begin = (): void => {
      const kept = core.parts.machine.appliedIndex;
      if (kept > core.storage.lastIndex()) {
        const text =
          `the state machine has applied entry ${kept}, the log ends at ${core.storage.lastIndex()}: ` +
          "they do not belong together; restore both, or start empty";
        return core.fail(refusal("dataDirectoryMismatch", text));
      }
      this.#hintAddresses();
      core.begin(initial);
      this.#tellAddress();
    };
    if (core.storage.snapshot() === undefined) return begin();
    core.restoreLive((error) => {
      if (error !== undefined) return core.fail(error);
      begin();
    });
  }

  /** Where members are said to be at this start, if the group knows them elsewhere: all may have moved at once. */
  #hintAddresses(): void {
    const core = this.#core;
    for (const { id, address } of this.#options.members ?? []) {
      const known = core.state.members.get(id);
      if (id !== core.id && known !== undefined && known.address !== address)
        core.admission.learned.set(id, address);
    }
  }

  /** A member that came back at another address says so, until the group knows. */
  #tellAddress(): void {
    const core = this.#core;
    const { address } = core.parts.transport;
    let ticks = 0;
    let isAsking = false;
    this.#onTick = () => {
      const known = core.state.members.get(core.id);
      if (core.phase !== "running" || known === undefined || known.address === address || isAsking) return;
      if (++ticks % 10 !== 1) return;
      isAsking = true;
      const seeds = [...core.state.members.values()].filter(({ id }) => id !== core.id).map((m) => m.address);
      if (core.isLeader) seeds.unshift(address);
      const changes = [{ kind: "move", id: core.id, address } as const];
      askLeader(core.env, core.parts.transport, seeds, { kind: "change", changes }, 5_000, () => {
        isAsking = false;
      });
    };
  }
}
