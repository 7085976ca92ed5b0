/**
 * Three members in one process, in a unit test: in-process links, storage in memory, no ports, no files. What is
 * tested is an application's state machine and how it bears the loss of its leader.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  GroupNode,
  type InProcessNetwork,
  inProcessNetwork,
  MemoryGroupStorage,
  type StateMachine,
} from "raftwerk/group";

class Counter implements StateMachine<number, number> {
  total = 0;
  apply({ command }: { readonly command: number }): number {
    this.total += command;
    return this.total;
  }
  async *snapshot(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(String(this.total));
  }
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks) this.total = Number(Buffer.from(chunk).toString());
  }
}

const members = { 1: "one", 2: "two", 3: "three" } as const;
let network: InProcessNetwork;
let nodes: GroupNode<number, number>[];

beforeEach(async () => {
  network = inProcessNetwork();
  nodes = await Promise.all(
    ([1, 2, 3] as const).map((id) =>
      GroupNode.start({
        id,
        members,
        transport: network.transport(members[id]),
        storage: new MemoryGroupStorage(),
        stateMachine: new Counter(),
        config: { tickMs: 10 },
      }),
    ),
  );
});

afterEach(() => Promise.all(nodes.map((node) => node.close())));

const totalAt = (node: GroupNode<number, number>): number => (node.stateMachine as Counter).total;

test("the count is the same on all, whoever was asked", async () => {
  const answers = await Promise.all(nodes.map((node) => node.propose(1)));
  expect([...answers].sort((left, right) => left - right)).toEqual([1, 2, 3]);
  for (const node of nodes) expect(await node.read(() => totalAt(node))).toBe(3);
});

test("the count goes on when its leader is cut off, and the old leader catches up", async () => {
  await nodes[0]?.propose(5);
  const leader = nodes.find(({ isLeader }) => isLeader) as GroupNode<number, number>;
  network.isolate(members[leader.id as 1 | 2 | 3]);
  const other = nodes.find((node) => node !== leader) as GroupNode<number, number>;
  await expect.poll(() => other.leader !== undefined && other.leader.id !== leader.id).toBe(true);
  expect(await other.propose(5)).toBe(10);
  network.heal(members[leader.id as 1 | 2 | 3]);
  await expect.poll(() => totalAt(leader)).toBe(10);
});
