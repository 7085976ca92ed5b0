/**
 * One seed: a group under faults with clients that write down what they saw, then healed, then judged. Registers must
 * be linearizable, commands of sessions must have taken effect exactly once, members must agree on one history, and
 * in the end the group must serve.
 */
import { randomBelow, SeededRandom } from "../../base/index.js";
import { checkRegister, type RegisterOperation } from "../../sim/checkers/linearizability.js";
import { Violation } from "../../sim/violation.js";
import { MS } from "../../sim/world.js";
import type { GroupConfigInit } from "../config.js";
import type { Outcome } from "../packet.js";
import { ByteReader } from "../wire.js";
import type { TestCommand } from "./machine.js";
import { decodeResponse, encodeCommand, SimGroup, type SimMember } from "./sim-group.js";

export const FAULTS = [
  "crash",
  "power",
  "partition",
  "loss",
  "pause",
  "clock",
  "disk",
  "wipe",
  "members",
] as const;
export type Fault = (typeof FAULTS)[number];

export interface SeedPlan {
  readonly seed: number;
  readonly founders: number;
  readonly clients: number;
  readonly faults: ReadonlySet<Fault>;
  readonly spanMs: number;
  readonly gapMs: number;
  readonly config: GroupConfigInit;
}

export interface SeedReport {
  readonly plan: SeedPlan;
  readonly failure: Error | undefined;
  readonly events: number;
  readonly virtualMs: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly trace: string;
  readonly probes: ReadonlyMap<string, number>;
  readonly lines: readonly string[];
}

export function drawPlan(seed: number): SeedPlan {
  const random = new SeededRandom(seed, 0x6709);
  const pick = <T>(...values: readonly T[]): T => values[randomBelow(random, values.length)] as T;
  const faults = new Set(FAULTS.filter(() => randomBelow(random, 100) < 45));
  return {
    seed,
    founders: pick(1, 3, 3, 3, 5),
    clients: 2 + randomBelow(random, 4),
    faults,
    spanMs: 6_000,
    gapMs: pick(60, 150, 400, 1_000),
    config: {
      tickMs: 20,
      reads: pick("readIndex", "lease"),
      timeoutMs: 2_000,
      entryBytesMax: pick(60, 400, 1 << 20),
      sessionTtlMs: 3_600_000,
      promoteEntries: pick(1, 20, 256),
      snapshots: {
        entries: pick(3, 10, 40, 0),
        bytes: pick(0, 500),
        intervalMs: pick(0, 0, 300),
        keepEntries: pick(0, 2, 20),
        chunkBytes: pick(64, 200, 10_000),
        windowChunks: pick(1, 3),
        sendBytesPerSecond: pick(0, 3_000, 1 << 20),
        timeoutMs: 2_000,
      },
    },
  };
}

/** Keys and operations per key are bounded, so that the search of the checker is. */
const KEYS = ["a", "b", "c"];
const OPERATIONS_PER_KEY = 160;

interface Client {
  readonly id: number;
  readonly session: string;
  isOpen: boolean;
  serial: number;
  /** Serials whose success was seen. */
  readonly counted: Set<number>;
  /** Serials that were ever proposed. */
  proposed: number;
}

class SeedRun {
  readonly group: SimGroup;
  readonly plan: SeedPlan;
  readonly random: SeededRandom;
  readonly history = new Map<string, RegisterOperation[]>(KEYS.map((key) => [key, []]));
  readonly clients: Client[];
  succeeded = 0;
  failed = 0;
  isOver = false;
  #value = 0;
  #joiners = 0;

  constructor(plan: SeedPlan) {
    this.plan = plan;
    this.random = new SeededRandom(plan.seed, 0xc11e);
    const isNoisy = plan.faults.has("loss");
    this.group = new SimGroup(plan.seed, {
      config: plan.config,
      latencyUs: 100 + randomBelow(this.random, 2_000),
      jitterUs: 100 + randomBelow(this.random, isNoisy ? 20_000 : 1_000),
      dropPerMillion: isNoisy ? randomBelow(this.random, 60_000) : 0,
      repeatPerMillion: isNoisy ? randomBelow(this.random, 60_000) : 0,
    });
    this.clients = Array.from({ length: plan.clients }, (_, id) => ({
      id,
      session: `client${id}`,
      isOpen: false,
      serial: 0,
      counted: new Set(),
      proposed: 0,
    }));
  }

  below(bound: number): number {
    return randomBelow(this.random, bound);
  }

  get up(): SimMember[] {
    return [...this.group.members.values()].filter(({ node, core }) => node.isUp && core.phase === "running");
  }

  // Clients: one operation at a time each, on any member.

  begin(): void {
    for (const client of this.clients) this.#next(client);
  }

  #next(client: Client): void {
    const { world } = this.group;
    const pauseMs = 1 + this.below(60);
    world.at(pauseMs * MS, "client", () => {
      if (this.isOver) return;
      const members = this.up;
      const member = members[this.below(Math.max(1, members.length))];
      if (member === undefined || member.node.isPaused) return this.#next(client);
      if (this.below(3) === 0) this.#count(client, member);
      else this.#register(client, member);
    });
  }

  /** Ends also when the process dies under it: then the outcome is not known. */
  #guard(member: SimMember, limitMs: number, then: (outcome: Outcome | "read" | undefined) => void) {
    let isOver = false;
    const { world } = this.group;
    const end = (outcome: Outcome | "read" | undefined): void => {
      if (isOver) return;
      isOver = true;
      world.at(0, "client", () => then(outcome));
    };
    world.at(limitMs * MS, "client", () => end(undefined));
    void member;
    return end;
  }

  #count(client: Client, member: SimMember): void {
    if (!client.isOpen) {
      const end = this.#guard(member, 3_000, (outcome) => {
        if (typeof outcome === "object" && outcome.kind === "applied") {
          client.isOpen = true;
          new ByteReader(outcome.response, "answer").varint();
        }
        this.#next(client);
      });
      member.core.propose({ kind: "open", clientId: client.session }, 2_000, end);
      return;
    }
    client.serial++;
    client.proposed = client.serial;
    this.#tryCount(client, client.serial, member);
  }

  #tryCount(client: Client, serial: number, member: SimMember): void {
    const { world } = this.group;
    const data = encodeCommand({ kind: "count", key: client.session });
    const command = {
      kind: "session",
      clientId: client.session,
      serial,
      acknowledged: serial - 1,
      data,
    } as const;
    const end = this.#guard(member, 3_000, (outcome) => {
      if (typeof outcome === "object" && outcome.kind === "applied") {
        client.counted.add(serial);
        this.succeeded++;
        const { count } = decodeResponse(outcome.response);
        if (count !== serial) {
          throw new Violation("exactly once", `${client.session} counts ${String(count)} after ${serial}`);
        }
        return this.#next(client);
      }
      this.failed++;
      if (typeof outcome === "object" && outcome.kind === "failed" && outcome.retry === "never") {
        const isRemoved = outcome.code === "memberRemoved" || outcome.code === "closed";
        if (!isRemoved) throw new Violation("sessions last", `${client.session}: ${outcome.message}`);
      }
      // The same serial again, on any member, until somebody says that it took effect.
      const again = (): void => {
        const next = this.up[this.below(Math.max(1, this.up.length))];
        if (next === undefined || next.node.isPaused) return void world.at(20 * MS, "client", again);
        this.#tryCount(client, serial, next);
      };
      world.at(20 * MS, "client", again);
    });
    member.core.propose(command, 2_000, end);
  }

  #register(client: Client, member: SimMember): void {
    const key = KEYS[this.below(KEYS.length)] as string;
    const history = this.history.get(key) as RegisterOperation[];
    if (history.length >= OPERATIONS_PER_KEY) return this.#next(client);
    const beganAt = this.group.world.nowUs;
    const at = history.length;
    const note = (call: RegisterOperation["call"], isKnown: boolean): void => {
      const endedAt = isKnown ? this.group.world.nowUs : undefined;
      history[at] = { client: client.id, call, beganAt, endedAt };
    };
    if (this.below(2) === 0) {
      history.push({
        client: client.id,
        call: { kind: "get", result: undefined },
        beganAt,
        endedAt: undefined,
      });
      let value: string | undefined;
      const end = this.#guard(member, 3_000, (outcome) => {
        if (outcome === "read") {
          note({ kind: "get", result: value }, true);
          this.succeeded++;
        } else this.failed++;
        this.#next(client);
      });
      member.core.read(2_000, (error) => {
        if (error !== undefined) return end(undefined);
        value = member.machine.registers.get(key);
        end("read");
      });
      return;
    }
    const value = `v${++this.#value}`;
    history.push({ client: client.id, call: { kind: "put", value }, beganAt, endedAt: undefined });
    const command: TestCommand = { kind: "put", key, value };
    const end = this.#guard(member, 3_000, (outcome) => {
      const isFailed = typeof outcome !== "object" || outcome.kind === "failed";
      if (!isFailed) {
        note({ kind: "put", value }, true);
        this.succeeded++;
      } else {
        this.failed++;
        // Without effect, so they say: then nobody may ever read it. A delete of nothing cannot be told from it.
        if (typeof outcome === "object" && outcome.kind === "failed" && outcome.retry !== "unknown") {
          note(
            { kind: "cas", expected: `never ${value}`, value, swapped: undefined, previous: undefined },
            false,
          );
        }
      }
      this.#next(client);
    });
    member.core.propose({ kind: "plain", data: encodeCommand(command) }, 2_000, end);
  }

  // Faults.

  unleash(): void {
    const { world } = this.group;
    const { faults, gapMs, spanMs } = this.plan;
    if (faults.size === 0) return;
    const list = [...faults];
    const next = (): void => {
      if (this.isOver || world.nowUs > spanMs * MS) return;
      this.#strike(list[this.below(list.length)] as Fault);
      world.at((1 + this.below(2 * gapMs)) * MS, "fault", next);
    };
    world.at(gapMs * MS, "fault", next);
  }

  #any(): SimMember {
    const all = [...this.group.members.values()];
    return all[this.below(all.length)] as SimMember;
  }

  #strike(fault: Fault): void {
    const { group } = this;
    const { world } = group;
    const member = this.#any();
    const later = (ms: number, run: () => void): void =>
      void world.at((1 + this.below(ms)) * MS, "heal", run);
    world.probe(`fault ${fault}`);
    switch (fault) {
      case "crash":
        group.kill(member);
        return later(800, () => group.restart(member));
      case "power": {
        const all = this.below(3) === 0 ? [...group.members.values()] : [member];
        for (const each of all) group.kill(each, true);
        for (const each of all) later(800, () => group.restart(each));
        return;
      }
      case "partition":
        if (this.below(2) === 0) group.isolate(member.name);
        else group.block(member.name, this.#any().name);
        return later(1_500, () => group.healAll());
      case "pause":
        if (!member.node.isUp) return;
        member.node.pause();
        return later(700, () => member.node.resume());
      case "clock":
        member.node.clock.wallOffsetMs += this.below(20_000) - 10_000;
        member.node.clock.rate = 1 + (this.below(80) - 40) / 1_000;
        return;
      case "disk":
        member.disk.knobs = {
          ...member.disk.knobs,
          syncUs: 100 + this.below(30_000),
          isVisibleEarly: this.below(2) === 0,
        };
        return;
      case "wipe":
        return this.#wipe(member);
      case "members":
        return this.#changeMembers();
      case "loss":
    }
  }

  /** One disk of a minority is lost, once in a run: its member must be refused, and may join anew. */
  #wipe(member: SimMember): void {
    if (member.isLost || this.#joiners > 0 || this.plan.founders < 3 || !member.node.isUp) return;
    if (member.core.phase !== "running" || member.core.raw?.commitIndex === undefined) return;
    this.#joiners++;
    this.group.kill(member);
    member.disk.wipe();
    member.isLost = true;
    this.group.world.probe("a disk was lost");
    this.group.restart(member);
  }

  #changeMembers(): void {
    const { group } = this;
    const leader = group.leader;
    if (leader === undefined) return;
    const members = [...leader.core.state.members.values()];
    const target = members[this.below(members.length)];
    switch (this.below(4)) {
      case 0:
        if (group.members.size >= this.plan.founders + 2) return;
        group.add(`j${group.members.size}`, {
          join: members.map(({ address }) => address),
          joinAs: this.below(4) === 0 ? "observer" : "learner",
        });
        return;
      case 1: {
        const voters = members.filter(({ role }) => role === "voter").length;
        if (target === undefined || (target.role === "voter" && voters <= 3)) return;
        return leader.core.membership.change([{ kind: "remove", id: target.id }], () => {});
      }
      case 2:
        if (target?.role !== "voter") return;
        leader.core.raw?.transferLeader(target.id);
        return leader.core.wake();
      default: {
        const learner = members.find(({ role }) => role !== "voter");
        const voters = members.filter(({ role }) => role === "voter");
        if (learner === undefined || voters.length < 3) return;
        // Both at once: a joint configuration.
        const demoted = voters[this.below(voters.length)]?.id ?? 0;
        return leader.core.membership.change(
          [
            { kind: "promote", id: learner.id },
            { kind: "demote", id: demoted },
          ],
          () => {},
        );
      }
    }
  }

  // The end.

  async heal(): Promise<void> {
    const { group } = this;
    group.healAll();
    group.knobs.dropPerMillion = 0;
    group.knobs.repeatPerMillion = 0;
    for (const member of group.members.values()) {
      member.node.resume();
      group.restart(member);
    }
    // Every counter that was begun comes to its end.
    const isDone = (): boolean => this.clients.every(({ counted, proposed }) => counted.size === proposed);
    this.isOver = true;
    await group.until("the group serves again, and every command of a session ends", isDone, 60_000);
    await this.#proposeLast();
    const serving = (): SimMember[] =>
      this.up.filter(({ isLost, core }) => !isLost && core.state.members.has(core.id));
    await group.until(
      "all members have the same state",
      () => {
        const all = serving();
        const commit = Math.max(0, ...all.map(({ core }) => core.raw?.commitIndex ?? 0));
        return all.length > 0 && all.every(({ core }) => core.applier.appliedIndex === commit);
      },
      60_000,
    );
    const [first, ...rest] = serving();
    for (const member of rest) {
      if (member.machine.hash !== first?.machine.hash) {
        throw new Violation("one history", `${member.name} and ${first?.name} ended in different states`);
      }
    }
    for (const { session, counted } of this.clients) {
      const count = first?.machine.counters.get(session) ?? 0;
      if (count !== counted.size) {
        throw new Violation("exactly once", `${session}: ${counted.size} commands had ${count} effects`);
      }
    }
  }

  /** After a restart of all nobody knows what is committed until something new is. */
  async #proposeLast(): Promise<void> {
    const { group } = this;
    let isDone = false;
    const attempt = (): void => {
      const member = this.up.find(({ isLost }) => !isLost);
      const data = encodeCommand({ kind: "put", key: "last", value: "last" });
      const again = (): void => void group.world.at(50 * MS, "client", attempt);
      if (member === undefined) return again();
      member.core.propose({ kind: "plain", data }, 2_000, (outcome) => {
        if (outcome.kind === "applied") isDone = true;
        else again();
      });
    };
    attempt();
    await group.until("the group takes a last proposal", () => isDone, 60_000);
  }

  judge(): void {
    for (const [key, history] of this.history) {
      const verdict = checkRegister(
        history.filter(({ call, endedAt }) => call.kind !== "get" || endedAt !== undefined),
      );
      if (verdict.kind === "violation") {
        const stuck = JSON.stringify(verdict.stuckAt);
        throw new Violation("linearizable", `register ${key}: no order explains ${stuck}`);
      }
      if (verdict.kind === "inconclusive") this.group.world.probe("a register was not decided");
    }
  }
}

export async function runSeed(seed: number, plan = drawPlan(seed)): Promise<SeedReport> {
  const run = new SeedRun(plan);
  const { group } = run;
  let failure: Error | undefined;
  try {
    group.found(plan.founders);
    run.begin();
    run.unleash();
    await group.run(plan.spanMs);
    await run.heal();
    run.judge();
  } catch (error) {
    failure = error as Error;
  }
  const { world } = group;
  if (failure !== undefined) for (const member of group.members.values()) world.note(describeMember(member));
  const lines = [...world.nodes.flatMap(({ lines }) => lines), ...world.lines]
    .sort((left, right) => left.atUs - right.atUs)
    .map(({ atUs, node, text }) => `${(atUs / 1000).toFixed(3)} ${node} ${text}`);
  return {
    plan,
    failure,
    events: world.events,
    virtualMs: world.nowUs / MS,
    succeeded: run.succeeded,
    failed: run.failed,
    trace: world.trace.value,
    probes: world.probes,
    lines,
  };
}

/** Where a member stands, for the report of a failed seed. */
function describeMember({ name, node, core, isLost }: SimMember): string {
  const { phase, id, leaderId, applier, raw, receiver, sender, keeper } = core;
  const members = [...core.state.members.values()].map((member) => `${member.id}:${member.role}`).join(" ");
  return (
    `${name} up=${node.isUp} lost=${isLost} ${phase} id=${id} leader=${leaderId} term=${raw?.term} commit=${raw?.commitIndex} ` +
    `applied=${applier.appliedIndex} paused=${applier.pausedBy} backlog=${applier.backlog} receiving=${receiver.isActive} ` +
    `sending=${sender.active} making=${keeper.isBusy} members=[${members}]`
  );
}
