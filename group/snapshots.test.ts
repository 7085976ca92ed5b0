/** When snapshots are made, and how much of the log stays for members that are slow. */
import { describe, expect, test } from "vitest";
import { decodePacket, encodePacket } from "./packet.js";
import { TestMachine } from "./test/machine.js";
import { SimGroup, type SimMember } from "./test/sim-group.js";

const puts = async (group: SimGroup, member: SimMember, count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await group.put(member, `k${i % 5}`, "x".repeat(50));
};

const madeBy = (member: SimMember): number[] =>
  member.events.flatMap(({ name, event }) => {
    const { kind, index } = event as { readonly kind: string; readonly index: number };
    return name === "snapshot" && kind === "created" ? [index] : [];
  });

describe("a snapshot is made", () => {
  test("after so many entries", async () => {
    const group = new SimGroup(1, { config: { tickMs: 20, snapshots: { entries: 10, bytes: 0 } } });
    group.found(1);
    const leader = await group.elected();
    await puts(group, leader, 35);
    await group.run(100);
    // The first of all is at 1.
    expect(madeBy(leader)).toEqual([11, 21, 31]);
  });

  test("when the log behind the last one holds so many bytes", async () => {
    const group = new SimGroup(2, { config: { tickMs: 20, snapshots: { entries: 0, bytes: 1_000 } } });
    group.found(1);
    const leader = await group.elected();
    await puts(group, leader, 40);
    const made = madeBy(leader);
    const bytes = leader.core.storage.logBytes() / 40;
    expect(made.length).toBeGreaterThan(1);
    for (const [i, index] of made.entries()) {
      expect((index - (made[i - 1] ?? 1)) * bytes).toBeGreaterThan(900);
      expect((index - (made[i - 1] ?? 1)) * bytes).toBeLessThan(1_300);
    }
  });

  test("after a time, if there is anything new", async () => {
    const group = new SimGroup(3, {
      config: { tickMs: 20, snapshots: { entries: 0, bytes: 0, intervalMs: 500 } },
    });
    group.found(1);
    const leader = await group.elected();
    await puts(group, leader, 3);
    await group.run(2_000);
    expect(madeBy(leader)).toHaveLength(1);
    await puts(group, leader, 1);
    await group.run(1_000);
    expect(madeBy(leader)).toHaveLength(2);
  });

  test("again later when the application could not give one, which harms nothing", async () => {
    const group = new SimGroup(4, { config: { tickMs: 20, snapshots: { entries: 5, bytes: 0 } } });
    group.found(1);
    const leader = await group.elected();
    let isWilling = false;
    leader.machine.snapshot = () => {
      if (!isWilling) throw new Error("not now");
      return TestMachine.prototype.snapshot.call(leader.machine);
    };
    await puts(group, leader, 8);
    expect(madeBy(leader)).toEqual([]);
    expect(leader.events.filter(({ name }) => name === "stopped")).toEqual([]);
    isWilling = true;
    await group.run(31_000);
    expect(madeBy(leader)).toHaveLength(1);
  });
});

describe("for a member that is slow", () => {
  /** One member hears that there is a leader, and gets no entry. */
  async function starve(seed: number, logBytesMax: number) {
    const snapshots = { entries: 5, bytes: 0, keepEntries: 0, logBytesMax };
    const group = new SimGroup(seed, { config: { tickMs: 20, snapshots } });
    group.found(3);
    const leader = await group.elected();
    const late = [...group.members.values()].find((member) => member !== leader) as SimMember;
    await group.settled();
    const had = late.core.storage.lastIndex();
    group.filter = (_from, to, packet) => {
      if (to !== late.name) return packet;
      const { envelope, items } = decodePacket(packet);
      const kept = items.filter((item) => item.kind !== "raft" || item.message.entries.length === 0);
      return encodePacket({ envelope, items: kept });
    };
    await puts(group, leader, 30);
    await group.run(200);
    return { group, leader, late, had };
  }

  test("the log stays, and no snapshot is needed", async () => {
    const { group, leader, late, had } = await starve(5, 1 << 20);
    expect(madeBy(leader).length).toBeGreaterThan(3);
    expect(leader.core.storage.firstIndex()).toBe(had + 1);
    group.filter = undefined;
    await group.settled();
    expect(late.core.snapshotsInstalled).toBe(0);
    // With everybody up to date the next snapshot cuts it.
    await puts(group, leader, 6);
    await group.run(200);
    expect(leader.core.storage.firstIndex()).toBeGreaterThan(had + 20);
  });

  test("but within its bound: beyond, it is cut, and the member gets a snapshot", async () => {
    const { group, leader, late, had } = await starve(6, 1_000);
    expect(leader.core.storage.firstIndex()).toBeGreaterThan(had + 1);
    expect(leader.core.storage.logBytes()).toBeLessThan(1_000);
    group.filter = undefined;
    await group.settled();
    expect(late.core.snapshotsInstalled).toBeGreaterThan(0);
    expect(late.machine.registers.size).toBe(5);
  });
});
