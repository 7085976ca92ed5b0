/** A group over virtual time: elections, faults, snapshots, members, in a world where nothing happens by chance. */
import { describe, expect, test } from "vitest";
import { RaftwerkError } from "../base/index.js";
import type { MembershipChange } from "./membership.js";
import { decodePacket, encodePacket, type Outcome } from "./packet.js";
import { TestMachine } from "./test/machine.js";
import { encodeCommand, SimGroup, type SimMember } from "./test/sim-group.js";

const many = async (group: SimGroup, member: SimMember, count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await group.put(member, `k${i}`, "x".repeat(50));
};

const othersOf = (group: SimGroup, member: SimMember): SimMember[] =>
  [...group.members.values()].filter((other) => other !== member);

const stopsOf = (member: SimMember): RaftwerkError[] =>
  member.events
    .filter(({ name }) => name === "stopped")
    .map(({ event }) => (event as { readonly error: RaftwerkError }).error);

/** Proposes and returns at once; the list fills as outcomes come. */
function propose(member: SimMember, key: string, outcomes: Outcome[], timeoutMs = 10_000): void {
  const data = encodeCommand({ kind: "put", key, value: key });
  member.core.propose({ kind: "plain", data }, timeoutMs, (outcome) => outcomes.push(outcome));
}

describe("a group", () => {
  test("is founded, elects a leader, and answers proposals and reads on every member", async () => {
    const group = new SimGroup(1);
    const members = group.found(3);
    await group.elected();
    for (const member of members) {
      await group.put(member, "k", member.name);
      for (const other of members) expect(await group.read(other, "k")).toBe(member.name);
    }
  });

  test("waits with its founding until all founders are up", async () => {
    const group = new SimGroup(2);
    const [, , third] = group.found(3) as [SimMember, SimMember, SimMember];
    group.kill(third);
    await group.run(5_000);
    expect([...group.members.values()].map(({ core }) => core.phase)).toEqual(
      ["founding", "founding", "founding"].with(2, "stopped"),
    );
    group.restart(third);
    await group.elected();
  });

  test("batches the proposals of a turn into one entry", async () => {
    const group = new SimGroup(3);
    group.found(3);
    const leader = await group.elected();
    const outcomes: Outcome[] = [];
    const before = leader.core.proposals.entries;
    for (let i = 0; i < 100; i++) propose(leader, `k${i}`, outcomes);
    await group.until("outcomes", () => outcomes.length === 100);
    expect(outcomes.every(({ kind }) => kind === "applied")).toBe(true);
    expect(leader.core.proposals.entries - before).toBe(1);
  });

  test("elects another leader when the leader dies, and keeps what was acknowledged", async () => {
    const group = new SimGroup(4);
    group.found(3);
    const first = await group.elected();
    await many(group, first, 5);
    group.kill(first, true);
    const second = await group.elected();
    expect(second).not.toBe(first);
    expect(await group.read(second, "k4")).toBe("x".repeat(50));
    await group.put(second, "k", "after");
    group.restart(first);
    await group.settled();
    expect(first.machine.registers.get("k")).toBe("after");
  });

  test("takes a proposal once that the network delivers twice, however late", async () => {
    const group = new SimGroup(23);
    group.found(3);
    const leader = await group.elected();
    const [one, two] = othersOf(group, leader) as [SimMember, SimMember];
    const copies: { readonly to: string; readonly packet: Uint8Array }[] = [];
    group.filter = (_from, to, packet) => {
      if (decodePacket(packet).items.some(({ kind }) => kind === "propose")) copies.push({ to, packet });
      return packet;
    };
    const deliverAgain = async (): Promise<void> => {
      for (const { to, packet } of copies) group.get(to).core.receive(packet.slice());
      await group.run(500);
    };
    await group.put(one, "k", "old");
    await group.put(two, "k", "new");
    expect(copies.map(({ to }) => to)).toEqual([leader.name, leader.name]);
    await deliverAgain();
    expect(leader.machine.registers.get("k")).toBe("new");
    // Another leader never saw them; the copies go where the packets went, and that one does not lead now.
    leader.core.raw?.transferLeader(one.core.id);
    leader.core.wake();
    await group.until("another leader", () => one.core.isLeader);
    await deliverAgain();
    one.core.raw?.transferLeader(leader.core.id);
    one.core.wake();
    await group.until("the first again", () => leader.core.isLeader);
    await deliverAgain();
    expect(leader.machine.registers.get("k")).toBe("new");
    expect(leader.machine.applied).toBe(2);
  });

  test("overwrites what a leader without a majority had appended, and tells its clients the truth", async () => {
    const group = new SimGroup(5);
    group.found(3);
    const old = await group.elected();
    await group.put(old, "k", "before");
    group.isolate(old.name);
    const outcomes: Outcome[] = [];
    for (let i = 0; i < 5; i++) propose(old, `lost${i}`, outcomes, 60_000);
    await group.run(100);
    expect(old.core.raw?.lastIndex).toBeGreaterThan(old.core.applier.appliedIndex);
    const others = othersOf(group, old);
    await group.until("another leader", () => others.some(({ core }) => core.isLeader));
    await many(group, others[0] as SimMember, 5);
    group.healAll();
    await group.settled();
    await group.until("outcomes", () => outcomes.length === 5);
    const known = [...others, old].map(({ machine }) => machine.registers.has("lost0"));
    expect(new Set(known).size).toBe(1);
    // Either their entry was overwritten and they were proposed again, or nobody knows.
    for (const outcome of outcomes) {
      if (outcome.kind === "applied") expect(known[0]).toBe(true);
      else expect(outcome.retry).toBe("unknown");
    }
  });

  test("comes back from the log, and from a snapshot, after all lost power at once", async () => {
    for (const entries of [0, 5]) {
      const config = { tickMs: 20, snapshots: { entries, bytes: 0, keepEntries: 1 } };
      const group = new SimGroup(6, { config });
      const members = group.found(3);
      await many(group, await group.elected(), 23);
      await group.run(200);
      for (const member of members) group.kill(member, true);
      for (const member of members) group.restart(member);
      await group.elected();
      await group.settled();
      for (const { machine, core } of members) {
        expect(machine.registers.size).toBe(23);
        expect(machine.restores > 0).toBe(entries > 0);
        expect(core.storage.firstIndex() > 2).toBe(entries > 0);
      }
    }
  });
});

describe("members", () => {
  const CUT = { tickMs: 20, snapshots: { entries: 4, bytes: 0, keepEntries: 0, chunkBytes: 100 } };

  test("join through a snapshot, are promoted, and take over", async () => {
    const group = new SimGroup(7, { config: CUT });
    group.found(3);
    const leader = await group.elected();
    await many(group, leader, 20);
    const joiner = group.add("j", { join: ["n2"] });
    await group.until("promotion", () => leader.core.state.members.get(4)?.role === "voter");
    expect(joiner.core.id).toBe(4);
    await group.settled();
    expect(joiner.machine.registers.size).toBe(20);
    expect(joiner.machine.restores).toBe(1);
    leader.core.raw?.transferLeader(4);
    await group.until("the joiner leads", () => joiner.core.isLeader);
    await group.put(joiner, "k", "new leader");
  });

  test("are told when they are removed, even if they were down", async () => {
    const group = new SimGroup(8);
    group.found(3);
    const leader = await group.elected();
    const [one] = othersOf(group, leader) as [SimMember];
    group.kill(one);
    leader.core.membership.change([{ kind: "remove", id: one.core.id }], () => {});
    await group.until("removal", () => leader.core.state.members.size === 2);
    group.restart(one);
    await group.until("the news", () => one.core.phase === "removed");
    await expect(group.put(one, "k", "v")).rejects.toMatchObject({ code: "memberRemoved", retry: "never" });
  });

  test("change together through a joint configuration", async () => {
    const group = new SimGroup(9);
    group.found(3);
    const leader = await group.elected();
    group.add("j", { join: ["n1"], joinAs: "observer" });
    await group.until("an observer", () => leader.core.state.members.get(4)?.role === "observer");
    await group.settled();
    await group.run(100);
    const [one] = othersOf(group, leader) as [SimMember];
    let done: readonly number[] | undefined;
    leader.core.membership.change(
      [
        { kind: "promote", id: 4 },
        { kind: "demote", id: one.core.id },
      ],
      (error, ids) => {
        expect(error).toBeUndefined();
        done = ids;
      },
    );
    await group.until("the change", () => done !== undefined);
    const roles = [...leader.core.state.members.values()].map(({ id, role }) => `${id} ${role}`);
    expect(roles.filter((role) => role.endsWith("voter"))).toHaveLength(3);
    expect(roles).toContain(`${one.core.id} observer`);
    await group.put(one, "k", "v");
  });

  test("are not promoted while they are down or behind, nor removed when no majority would be up", async () => {
    const group = new SimGroup(24);
    group.found(3);
    const leader = await group.elected();
    const change = async (...changes: readonly MembershipChange[]): Promise<RaftwerkError | undefined> => {
      let answer: { readonly error: RaftwerkError | undefined } | undefined;
      leader.core.membership.change(changes, (error) => (answer = { error }));
      await group.until("an answer", () => answer !== undefined);
      return answer?.error;
    };
    const [one, two] = othersOf(group, leader) as [SimMember, SimMember];
    // Its place is made, and it never comes.
    const absent = { kind: "add", address: "j", storageId: "s", role: "observer" } as const;
    expect(await change(absent)).toBeUndefined();
    const promoted = await change({ kind: "promote", id: 4 }, { kind: "demote", id: one.core.id });
    expect(promoted).toMatchObject({ code: "groupUnavailable", retry: "safe" });
    expect(promoted?.message).toMatch(/member 4 has not caught up yet, or is down/);
    group.kill(one);
    await group.run(1_000);
    const removed = await change({ kind: "remove", id: two.core.id });
    expect(removed).toMatchObject({ retry: "safe" });
    expect(removed?.message).toMatch(/of the 2 voters after that change only 1 are up, which is no majority/);
    await group.put(two, "k", "unharmed");
    expect(await change({ kind: "remove", id: one.core.id })).toBeUndefined();
    expect(await change({ kind: "remove", id: two.core.id })).toBeUndefined();
    await group.put(leader, "k", "alone");
  });

  test("that come back at another address are found there", async () => {
    const group = new SimGroup(10);
    group.found(3);
    const leader = await group.elected();
    const [one] = othersOf(group, leader) as [SimMember];
    group.kill(one);
    group.members.delete(one.name);
    const moved = group.add("elsewhere", one.options, new TestMachine());
    group.kill(moved);
    moved.disk = one.disk;
    group.restart(moved);
    await group.until(
      "the new address",
      () => leader.core.state.members.get(one.core.id)?.address === "elsewhere",
    );
    await group.put(moved, "k", "v");
    expect(leader.machine.registers.get("k")).toBe("v");
  });

  test("are refused under their old id when they come back with an empty disk, and join under a new one", async () => {
    const group = new SimGroup(11);
    group.found(3);
    const leader = await group.elected();
    await many(group, leader, 3);
    const [one] = othersOf(group, leader) as [SimMember];
    const { id } = one.core;
    group.kill(one);
    one.disk.wipe();
    group.restart(one);
    await group.until("a refusal", () => stopsOf(one).length > 0);
    expect(stopsOf(one)[0]).toMatchObject({ code: "memberLostItsDisk", retry: "never" });
    expect(stopsOf(one)[0]?.message).toMatch(/Remove it .* let it join again/s);
    leader.core.membership.change([{ kind: "remove", id }], () => {});
    await group.until("removal", () => leader.core.state.members.size === 2);
    group.kill(one);
    one.disk.wipe();
    one.options = { join: [leader.name] };
    group.restart(one);
    await group.until("a new member", () => leader.core.state.members.get(4)?.role === "voter");
    await group.settled();
    expect(one.machine.registers.size).toBe(3);
  });

  test("refuse a joiner that means another group", async () => {
    const group = new SimGroup(12);
    group.found(3);
    const leader = await group.elected();
    group.onStopped = () => {};
    const joiner = group.add("j", { join: ["n1", "n2"], groupId: "another" });
    await group.until("a refusal", () => stopsOf(joiner).length > 0);
    expect(stopsOf(joiner)[0]).toMatchObject({ code: "clusterIdMismatch" });
    expect(stopsOf(joiner)[0]?.message).toMatch(/belongs to group .* not to another: check the address/);
    expect(leader.core.state.members.size).toBe(3);
    await group.put(leader, "k", "unharmed");
  });

  test("founded with other lists do not mix", async () => {
    const group = new SimGroup(13);
    group.onStopped = () => {};
    group.found(3);
    await group.elected();
    const stranger = group.add("s", {
      id: 2,
      members: [
        { id: 1, address: "n1" },
        { id: 2, address: "s" },
      ],
    });
    await group.until("a refusal", () => stopsOf(stranger).length > 0);
    expect(stopsOf(stranger)[0]).toMatchObject({ code: "clusterIdMismatch" });
  });
});

describe("a member that cannot go on", () => {
  test("stops when apply throws, says where and why, and harms nobody", async () => {
    class Poisoned extends TestMachine {
      override apply(
        ...[entry, context]: Parameters<TestMachine["apply"]>
      ): ReturnType<TestMachine["apply"]> {
        if (entry.command.key === "poison") throw new Error("cannot digest");
        return super.apply(entry, context);
      }
    }
    const group = new SimGroup(14);
    group.onStopped = () => {};
    group.found(3);
    const leader = await group.elected();
    const [one] = othersOf(group, leader) as [SimMember];
    group.kill(one);
    group.boot(one, new Poisoned());
    await group.settled();
    await group.put(leader, "poison", "1");
    await group.until("a stop", () => stopsOf(one).length > 0);
    expect(stopsOf(one)[0]).toMatchObject({ code: "stateMachineFailed", retry: "never" });
    expect(stopsOf(one)[0]?.message).toMatch(/apply of the state machine failed at entry \d+: cannot digest/);
    await expect(group.put(one, "k", "v")).rejects.toMatchObject({ code: "stateMachineFailed" });
    await group.put(leader, "k", "others go on");
    // Corrected, it goes on where it was.
    group.kill(one);
    group.boot(one);
    await group.settled();
    expect(one.machine.registers.get("poison")).toBe("1");
  });

  test("stops when its disk is full, acknowledges nothing more, and harms nobody", async () => {
    const group = new SimGroup(15);
    group.onStopped = () => {};
    group.found(3);
    const leader = await group.elected();
    const [one] = othersOf(group, leader) as [SimMember];
    one.disk.failure = new RaftwerkError("diskFull", "no space left: free some and start again", {
      retry: "never",
    });
    await group.put(leader, "k", "1");
    await group.until("a stop", () => stopsOf(one).length > 0);
    expect(stopsOf(one)[0]).toMatchObject({ code: "diskFull" });
    await group.put(leader, "k", "2");
    group.kill(one);
    group.restart(one);
    await group.settled();
    expect(one.machine.registers.get("k")).toBe("2");
  });

  test("stops when its disk is full while it leads: another leads, and nobody is told what is not known", async () => {
    const group = new SimGroup(25);
    group.onStopped = () => {};
    group.found(3);
    const leader = await group.elected();
    await group.put(leader, "k", "1");
    leader.disk.failure = new RaftwerkError("diskFull", "no space left: free some and start again", {
      retry: "never",
    });
    const outcomes: Outcome[] = [];
    propose(leader, "under way", outcomes);
    await group.until("a stop", () => stopsOf(leader).length > 0);
    expect(stopsOf(leader)[0]).toMatchObject({ code: "diskFull", retry: "never" });
    expect(outcomes).toMatchObject([{ kind: "failed", retry: "unknown" }]);
    const next = await group.elected();
    expect(next).not.toBe(leader);
    await group.put(next, "k", "2");
    group.kill(leader);
    group.restart(leader);
    await group.settled();
    expect(leader.machine.registers.get("k")).toBe("2");
  });

  test("refuses a command that is too long before anything happens", async () => {
    const group = new SimGroup(16, { config: { tickMs: 20, commandBytesMax: 1_000 } });
    const members = group.found(3);
    await group.elected();
    for (const member of members) {
      const long = group.put(member, "k", "x".repeat(1_000));
      await expect(long).rejects.toMatchObject({ code: "invalidArgument", retry: "never" });
    }
    await group.put(members[0] as SimMember, "k", "short");
  });
});

describe("snapshots on their way", () => {
  const SMALL = {
    tickMs: 20,
    snapshots: { entries: 10, bytes: 0, keepEntries: 0, chunkBytes: 200, windowChunks: 2 },
  };

  async function behind(seed: number): Promise<{ group: SimGroup; leader: SimMember; late: SimMember }> {
    const group = new SimGroup(seed, { config: SMALL });
    group.found(3);
    const leader = await group.elected();
    const [late] = othersOf(group, leader) as [SimMember];
    group.kill(late);
    await many(group, leader, 40);
    return { group, leader, late };
  }

  test.each([
    ["corrupted", (data: Uint8Array) => data.map((byte, i) => (i === 5 ? byte ^ 1 : byte))],
    ["truncated", (data: Uint8Array) => data.subarray(0, data.length - 1)],
  ])("that are %s are refused, begin anew, and harm nobody", async (_name, damage) => {
    const { group, late } = await behind(17);
    let damaged = 0;
    group.filter = (_from, to, packet) => {
      if (to !== late.name || damaged > 0) return packet;
      const { envelope, items } = decodePacket(packet);
      const changed = items.map((item) => {
        if (item.kind !== "snapshotChunk" || item.offset === 0 || damaged > 0) return item;
        damaged++;
        return { ...item, data: damage(item.data) };
      });
      return encodePacket({ envelope, items: changed });
    };
    group.restart(late);
    await group.settled();
    expect(damaged).toBe(1);
    expect(late.core.receiver.refusedChunks).toBe(1);
    expect(late.machine.registers.size).toBe(40);
  });

  test("go on where they were after a broken connection", async () => {
    const { group, leader, late } = await behind(18);
    // The last one that the policy wants is made, too.
    await group.run(500);
    const size = leader.core.storage.snapshot()?.bytes ?? 0;
    expect(size).toBeGreaterThan(2_000);
    group.restart(late);
    await group.until("the half", () => late.core.receiver.bytes > size / 2);
    group.isolate(late.name);
    await group.run(1_500);
    expect(late.core.receiver.bytes).toBeLessThan(size);
    group.healAll();
    await group.settled();
    expect(late.core.snapshotsInstalled).toBe(1);
    // Every chunk is taken once; what was under way at the cut, a window at most, is sent twice.
    expect(late.core.receiver.bytes).toBe(size);
    expect(leader.core.sender.bytes).toBeLessThanOrEqual(size + 2 * 200);
  });

  test("are sent no faster than they may be", async () => {
    const group = new SimGroup(19, {
      config: { ...SMALL, snapshots: { ...SMALL.snapshots, sendBytesPerSecond: 1_000 } },
    });
    group.found(3);
    const leader = await group.elected();
    const [late] = othersOf(group, leader) as [SimMember];
    group.kill(late);
    await many(group, leader, 40);
    const size = leader.core.storage.snapshot()?.bytes ?? 0;
    group.restart(late);
    const beganUs = group.world.nowUs;
    await group.until("an installation", () => late.core.snapshotsInstalled > 0, 60_000);
    expect((group.world.nowUs - beganUs) / 1e6).toBeGreaterThan((size - 1_000) / 1_000 / 1.2);
  });
});

describe("sessions", () => {
  async function openSession(group: SimGroup, member: SimMember, clientId: string): Promise<void> {
    let isOpen = false;
    member.core.propose({ kind: "open", clientId }, 5_000, () => (isOpen = true));
    await group.until("a session", () => isOpen);
  }

  async function count(
    group: SimGroup,
    member: SimMember,
    serial: number,
    acknowledged = 0,
  ): Promise<Outcome> {
    const outcomes: Outcome[] = [];
    const data = encodeCommand({ kind: "count", key: "n" });
    const command = { kind: "session", clientId: "c", serial, acknowledged, data } as const;
    member.core.propose(command, 5_000, (outcome) => outcomes.push(outcome));
    await group.until("an outcome", () => outcomes.length > 0);
    return outcomes[0] as Outcome;
  }

  test("apply a command once, whoever is asked, over restarts and snapshots", async () => {
    const group = new SimGroup(20, { config: { tickMs: 20, snapshots: { entries: 3, keepEntries: 0 } } });
    const members = group.found(3);
    await openSession(group, await group.elected(), "c");
    const first = await count(group, members[0] as SimMember, 1);
    for (const member of members) expect(await count(group, member, 1)).toMatchObject({ kind: "applied" });
    await many(group, members[0] as SimMember, 10);
    await group.run(200);
    for (const member of members) group.kill(member, true);
    for (const member of members) group.restart(member);
    await group.elected();
    const again = await count(group, members[1] as SimMember, 1);
    expect(first.kind === "applied" && again.kind === "applied" && again.response).toEqual(
      first.kind === "applied" && first.response,
    );
    expect(members[1]?.machine.counters.get("n")).toBe(1);
    expect(await count(group, members[1] as SimMember, 2, 1)).toMatchObject({ kind: "applied" });
    expect(await count(group, members[1] as SimMember, 1)).toMatchObject({
      code: "responseLost",
      retry: "never",
    });
  });

  test("end when they were idle for long, by the time in the log, on all members alike", async () => {
    const group = new SimGroup(21, { config: { tickMs: 20, sessionTtlMs: 1_000 } });
    const members = group.found(3);
    const leader = await group.elected();
    await openSession(group, leader, "c");
    expect(await count(group, leader, 1)).toMatchObject({ kind: "applied" });
    await group.run(3_000);
    expect(await count(group, leader, 2)).toMatchObject({ code: "sessionExpired", retry: "never" });
    await group.settled();
    expect(members.map(({ core }) => core.state.sessions.count)).toEqual([0, 0, 0]);
    expect(leader.machine.counters.get("n")).toBe(1);
  });

  test("do not expire when a leader's wall clock goes back", async () => {
    const group = new SimGroup(22, { config: { tickMs: 20, sessionTtlMs: 5_000 } });
    group.found(3);
    const leader = await group.elected();
    await openSession(group, leader, "c");
    leader.node.clock.wallOffsetMs -= 3_600_000;
    await many(group, leader, 3);
    expect(await count(group, leader, 1)).toMatchObject({ kind: "applied" });
  });
});
