/** A group over virtual time: elections, faults, snapshots, members, in a world where nothing happens by chance. */
import { describe, expect, test } from "vitest";
import { SimGroup } from "./test/sim-group.js";

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
});
