/** The lock example: leases end, tokens grow, late owners are fenced off. */
import { expect, test } from "vitest";
import { GroupNode, inProcessNetwork, MemoryGroupStorage } from "raftwerk/group";
import { FencedFile, type LockCommand, type LockResponse, Locks, LockTable } from "./locks.js";

test("one owner at a time, and a late one is fenced off", async () => {
  const network = inProcessNetwork();
  const members = { 1: "a", 2: "b", 3: "c" } as const;
  const nodes = await Promise.all(
    ([1, 2, 3] as const).map((id) =>
      GroupNode.start<LockCommand, LockResponse>({
        id,
        members,
        transport: network.transport(members[id]),
        storage: new MemoryGroupStorage(),
        stateMachine: new LockTable(),
        config: { tickMs: 20 },
      }),
    ),
  );
  const [first, second] = nodes;
  if (first === undefined || second === undefined) throw new Error("no nodes");
  const ann = new Locks(await first.openSession());
  const bob = new Locks(await second.openSession());
  const file = new FencedFile();

  const annsToken = (await ann.acquire("file", "ann", 300)) as number;
  expect(await bob.acquire("file", "bob", 300)).toBeUndefined();
  expect(file.write(annsToken, "ann was here")).toBe(true);
  expect(await ann.renew("file", annsToken, 300)).toBe(true);

  // Ann's process stands still for longer than her lease.
  await new Promise((resolve) => setTimeout(resolve, 400));
  const bobsToken = (await bob.acquire("file", "bob", 10_000)) as number;
  expect(bobsToken).toBeGreaterThan(annsToken);
  expect(file.write(bobsToken, "bob was here")).toBe(true);
  expect(file.write(annsToken, "ann again")).toBe(false);
  expect(await ann.renew("file", annsToken, 300)).toBe(false);
  expect(await bob.release("file", bobsToken)).toBe(true);
  expect(file.lines).toEqual(["ann was here", "bob was here"]);
  await expect(ann.acquire("file", "ann", 0)).rejects.toThrow("ttlMs must be from 1 ms to an hour");
  await Promise.all(nodes.map((node) => node.close()));
});
