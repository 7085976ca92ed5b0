/** How a group comes into being when founders lose their disks before all of them are through. */
import { expect, test } from "vitest";
import { decodePacket, encodePacket } from "./packet.js";
import { SimGroup, type SimMember } from "./test/sim-group.js";

/** Founders of whom `last` hears greetings and no answers, so that it waits. */
function halfFounded(seed: number): { readonly group: SimGroup; readonly founders: SimMember[] } {
  const group = new SimGroup(seed);
  group.onStopped = () => {};
  group.filter = (_from, to, packet) => {
    if (to !== "n3") return packet;
    const { envelope, items } = decodePacket(packet);
    return encodePacket({ envelope, items: items.filter(({ kind }) => kind !== "helloAck") });
  };
  return { group, founders: group.found(3) };
}

function loseDisk(group: SimGroup, member: SimMember): void {
  group.kill(member);
  member.disk.wipe();
  group.restart(member);
}

test("a founder that lost its disk meanwhile is not waited for, and the others go on without it", async () => {
  const { group, founders } = halfFounded(1);
  const [first, second, third] = founders as [SimMember, SimMember, SimMember];
  await group.until(
    "two are through",
    () => first.core.phase === "running" && second.core.phase === "running",
  );
  expect(third.core.phase).toBe("founding");
  group.kill(first);
  loseDisk(group, second);
  await group.until("a refusal", () => second.core.phase === "stopped");
  expect(second.core.error).toMatchObject({ code: "memberLostItsDisk", retry: "never" });
  expect(second.core.error?.message).toMatch(/If the group was never founded, empty the directories of all/);
  group.filter = undefined;
  group.restart(first);
  await group.elected();
  await group.put(third, "k", "v");
  expect([first, third].map(({ core }) => core.phase)).toEqual(["running", "running"]);
  expect(second.core.phase).toBe("stopped");
});

test("when more than a minority lost their disks, nobody begins anew with what they promised", async () => {
  const { group, founders } = halfFounded(2);
  const [first, second, third] = founders as [SimMember, SimMember, SimMember];
  await group.until(
    "two are through",
    () => first.core.phase === "running" && second.core.phase === "running",
  );
  loseDisk(group, first);
  loseDisk(group, second);
  group.filter = undefined;
  await group.run(10_000);
  expect(founders.map(({ core }) => core.phase)).toEqual(["stopped", "stopped", "founding"]);
  expect(third.core.isLeader).toBe(false);
});
