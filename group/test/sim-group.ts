/**
 * A group in the simulated world: members on machines whose disks forget what was not synced, over a network that
 * loses, repeats, delays and reorders packets. Everything is decided by the world's seed.
 */
import type { SimEngine } from "../../sim/engine.js";
import { QUIET_DISK, SimDisk } from "../../sim/engine.js";
import type { SimNode } from "../../sim/node.js";
import { Violation } from "../../sim/violation.js";
import { MS, World } from "../../sim/world.js";
import type { ByteMachine } from "../applier.js";
import { groupConfig, type GroupConfigInit } from "../config.js";
import { GroupCore } from "../core.js";
import type { GroupEventName, GroupEvents } from "../events.js";
import { EngineGroupStorage, type GroupTransport, jsonCodec, type TransportHandlers } from "../index.js";
import { GroupStart, type StartOptions } from "../start.js";
import { type TestCommand, TestMachine, type TestResponse } from "./machine.js";

export interface GroupKnobs {
  latencyUs: number;
  jitterUs: number;
  dropPerMillion: number;
  repeatPerMillion: number;
  config: GroupConfigInit;
}

export const QUIET_KNOBS: GroupKnobs = {
  latencyUs: 200,
  jitterUs: 200,
  dropPerMillion: 0,
  repeatPerMillion: 0,
  config: { tickMs: 20 },
};

const commands = jsonCodec<TestCommand>();
const responses = jsonCodec<TestResponse>();

export const drain = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export interface SimMember {
  readonly name: string;
  readonly node: SimNode;
  disk: SimDisk;
  core: GroupCore;
  start: GroupStart;
  machine: TestMachine;
  options: StartOptions;
  readonly events: { readonly name: GroupEventName; readonly event: unknown }[];
  /** It came back with an empty disk, or was removed: it is not expected to serve. */
  isLost: boolean;
}

export class SimGroup {
  readonly world: World;
  readonly knobs: GroupKnobs;
  readonly members = new Map<string, SimMember>();
  readonly #handlers = new Map<string, { readonly node: SimNode; readonly handlers: TransportHandlers }>();
  readonly #blocked = new Set<string>();
  /** Fingerprint of the state after each command, as first seen. */
  readonly #hashes = new Map<string, { readonly hash: number; readonly by: string }>();
  /** Changes packets on their way; undefined drops one. */
  filter: ((from: string, to: string, packet: Uint8Array) => Uint8Array | undefined) | undefined;

  constructor(seed: number, knobs: Partial<GroupKnobs> = {}) {
    this.world = new World(seed, drain);
    this.knobs = { ...QUIET_KNOBS, ...knobs };
  }

  /** A new machine; `founders` names those that found the group. */
  add(name: string, options: StartOptions, machine = new TestMachine()): SimMember {
    const node = this.world.addNode(name);
    const disk = new SimDisk(node, { ...QUIET_DISK });
    const member = { name, node, disk, options, events: [], isLost: false } as unknown as SimMember;
    Object.defineProperty(node, "usesPromises", {
      // A promise is under way while a snapshot is made or restored.
      get: () =>
        member.core !== undefined &&
        (member.core.keeper.isBusy || member.core.applier.pausedBy !== undefined),
      set: () => {},
    });
    this.members.set(name, member);
    this.boot(member, machine);
    return member;
  }

  found(count: number): SimMember[] {
    const members = Array.from({ length: count }, (_, i) => ({ id: i + 1, address: `n${i + 1}` }));
    return members.map(({ id, address }) => this.add(address, { id, members }));
  }

  get(name: string): SimMember {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`no member ${name}`);
    return member;
  }

  boot(member: SimMember, machine = new TestMachine()): void {
    const env = member.node.boot();
    const engine: SimEngine = member.disk.open();
    member.machine = machine;
    machine.onApply = (index, position, hash) => this.#compare(member, `${index}.${position}`, hash);
    machine.onTwice = (what) => {
      throw new Violation("exactly once", `${member.name} applied ${what} twice`);
    };
    const byteMachine: ByteMachine = {
      apply: (bytes, index, term, position, context) =>
        responses.encode(machine.apply({ command: commands.decode(bytes), index, term, position }, context)),
      appliedIndex: 0,
      persist() {},
    };
    member.core = new GroupCore({
      env,
      config: groupConfig(this.knobs.config),
      storage: new EngineGroupStorage(engine),
      transport: this.#transport(member),
      machine: byteMachine,
      stateMachine: machine,
      validate: () => {},
      compactedLog: undefined,
      listener: (name, event) => this.#event(member, name, event),
    });
    member.start = new GroupStart(member.core, member.options);
    member.start.run();
  }

  #event<Name extends GroupEventName>(member: SimMember, name: Name, event: GroupEvents[Name]): void {
    member.events.push({ name, event });
    if (name === "snapshot") this.world.probe(`snapshot ${(event as GroupEvents["snapshot"]).kind}`);
    if (name === "removed") member.isLost = true;
    if (name !== "stopped") return;
    const { error } = event as GroupEvents["stopped"];
    if (error === undefined) return;
    if (member.isLost) return;
    if (error.code === "memberLostItsDisk" || error.code === "memberRemoved") member.isLost = true;
    else this.onStopped(member, error);
  }

  /** A member stopped for another reason than its disk or its removal: a bug, unless the test wants it. */
  onStopped: (member: SimMember, error: Error) => void = (member, error) => {
    this.world.fail(
      new Violation("members run", `${member.name} stopped: ${error.message} ${String(error.cause)}`),
    );
  };

  #compare(member: SimMember, at: string, hash: number): void {
    const known = this.#hashes.get(at);
    if (known === undefined) this.#hashes.set(at, { hash, by: member.name });
    else if (known.hash !== hash) {
      throw new Violation("one history", `${member.name} and ${known.by} differ at ${at}`);
    }
  }

  kill(member: SimMember, isPowerLoss = false): void {
    if (!member.node.isUp) return;
    // A process that ends takes its promises with it.
    member.core.phase = "stopped";
    member.core.keeper.stop();
    member.node.kill();
    member.disk.crash(isPowerLoss);
    this.#handlers.delete(member.name);
  }

  restart(member: SimMember): void {
    if (!member.node.isUp) this.boot(member);
  }

  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  isolate(name: string): void {
    for (const other of this.members.keys()) {
      if (other === name) continue;
      this.block(name, other);
      this.block(other, name);
    }
  }

  healAll(): void {
    this.#blocked.clear();
  }

  #chance(perMillion: number): boolean {
    return perMillion > 0 && this.world.random.u32() % 1_000_000 < perMillion;
  }

  #deliver(from: SimNode, to: string, then: (handlers: TransportHandlers) => void): void {
    if (this.#blocked.has(`${from.name}>${to}`) || this.#chance(this.knobs.dropPerMillion)) return;
    const times = this.#chance(this.knobs.repeatPerMillion) ? 2 : 1;
    for (let i = 0; i < times; i++) {
      const delayUs = this.knobs.latencyUs + (this.world.random.u32() % (this.knobs.jitterUs + 1));
      this.world.at(delayUs, "network", () => {
        const target = this.#handlers.get(to);
        if (target === undefined || !target.node.isUp || this.#blocked.has(`${from.name}>${to}`)) return;
        target.node.after(0, "packet", () => then(target.handlers));
      });
    }
  }

  #transport(member: SimMember): GroupTransport {
    const { node, name } = member;
    const incarnation = node.incarnation;
    return {
      address: name,
      listen: (handlers) => void this.#handlers.set(name, { node, handlers }),
      send: (to, packet) => {
        const filtered = this.filter === undefined ? packet.slice() : this.filter(name, to, packet.slice());
        if (filtered !== undefined) this.#deliver(node, to, (handlers) => handlers.onPacket(filtered));
      },
      pendingBytes: () => 0,
      call: (to, request, timeoutMs, callback) => {
        let isOver = false;
        const end = (error: Error | undefined, response?: Uint8Array): void => {
          if (isOver || node.incarnation !== incarnation) return;
          isOver = true;
          callback(error, response);
        };
        node.after(timeoutMs * MS, "call timeout", () => end(new Error("no answer in time")));
        const target = this.#handlers.get(to)?.node;
        this.#deliver(node, to, (handlers) =>
          handlers.onCall(request.slice(), (response) => {
            if (target === undefined) return;
            this.#deliver(target, name, () => end(undefined, response.slice()));
          }),
        );
      },
      close: (done) => done(),
    };
  }

  // What tests do.

  async run(ms: number, done?: () => boolean): Promise<void> {
    await this.world.run(this.world.nowUs + ms * MS, done);
  }

  /** Runs until `done`, or fails. */
  async until(what: string, done: () => boolean, ms = 20_000): Promise<void> {
    await this.run(ms, done);
    if (!done()) throw new Error(`within ${ms} ms: ${what}`);
  }

  get leader(): SimMember | undefined {
    return [...this.members.values()].find(
      ({ node, core }) => node.isUp && core.phase === "running" && core.isLeader,
    );
  }

  async elected(ms = 20_000): Promise<SimMember> {
    await this.until("a leader", () => this.leader !== undefined, ms);
    return this.leader as SimMember;
  }

  /** Proposes and runs the world until there is an outcome. */
  async propose(member: SimMember, command: TestCommand): Promise<TestResponse> {
    let result: TestResponse | Error | undefined;
    member.core.propose({ kind: "plain", data: commands.encode(command) }, 10_000, (outcome) => {
      result =
        outcome.kind === "applied"
          ? responses.decode(outcome.response)
          : Object.assign(new Error(outcome.message), { code: outcome.code, retry: outcome.retry });
    });
    await this.until("an outcome", () => result !== undefined);
    if (result instanceof Error) throw result;
    return result as TestResponse;
  }

  async put(member: SimMember, key: string, value: string): Promise<TestResponse> {
    return this.propose(member, { kind: "put", key, value });
  }

  /** A linearizable read on that member. */
  async read(member: SimMember, key: string): Promise<string | undefined> {
    let outcome: { readonly value: string | undefined } | Error | undefined;
    member.core.read(10_000, (error) => {
      outcome = error ?? { value: member.machine.registers.get(key) };
    });
    await this.until("a read", () => outcome !== undefined);
    if (outcome instanceof Error) throw outcome;
    return outcome?.value;
  }

  /** All members that run have applied the same. */
  async settled(ms = 20_000): Promise<void> {
    const running = (): SimMember[] => [...this.members.values()].filter(({ node }) => node.isUp);
    await this.until(
      "all members at one index",
      () => {
        const indexes = running().map(({ core }) => core.applier.appliedIndex);
        const commit = Math.max(...running().map(({ core }) => core.raw?.commitIndex ?? 0));
        return commit > 1 && indexes.every((index) => index === commit);
      },
      ms,
    );
  }
}

export const encodeCommand = (command: TestCommand): Uint8Array => commands.encode(command);
export const decodeResponse = (bytes: Uint8Array): TestResponse => responses.decode(bytes);
