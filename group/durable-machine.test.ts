/** A state machine that keeps its own durable state: nothing is applied twice, nothing is forgotten. */
import { expect, test } from "vitest";
import {
  GroupNode,
  inProcessNetwork,
  MemoryGroupStorage,
  type StateMachine,
} from "../adapters/group-entry.js";

/** What is on the application's disk. */
interface Disk {
  applied: number;
  total: number;
  applies: number;
}

class DurableCounter implements StateMachine<number, number> {
  readonly #disk: Disk;
  #total: number;

  constructor(disk: Disk) {
    this.#disk = disk;
    this.#total = disk.total;
  }
  get total(): number {
    return this.#total;
  }
  apply({ command }: { readonly command: number }): number {
    this.#disk.applies++;
    this.#total += command;
    return this.#total;
  }
  appliedIndex(): number {
    return this.#disk.applied;
  }
  persist(index: number): void {
    this.#disk.applied = index;
    this.#disk.total = this.#total;
  }
  async *snapshot(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(String(this.#total));
  }
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    this.#disk.applied = 0;
    for await (const chunk of chunks) this.#total = Number(Buffer.from(chunk).toString());
  }
}

type Node = GroupNode<number, number>;

const start = (storage: MemoryGroupStorage, disk: Disk): Promise<Node> =>
  GroupNode.start({
    id: 1,
    members: { 1: "a" },
    transport: inProcessNetwork().transport("a"),
    storage,
    stateMachine: new DurableCounter(disk),
    config: { tickMs: 10 },
  });

const totalAt = (node: Node): number => (node.stateMachine as DurableCounter).total;

test("after a restart its own state goes on, and what it has is not applied again", async () => {
  const [storage, disk] = [new MemoryGroupStorage(), { applied: 0, total: 0, applies: 0 }];
  let node = await start(storage, disk);
  const session = await node.openSession({ clientId: "c" });
  expect(await session.propose(5)).toBe(5);
  expect(await node.propose(2)).toBe(7);
  await node.close();

  node = await start(storage, disk);
  expect(await node.read(() => totalAt(node))).toBe(7);
  expect(disk.applies).toBe(2);
  // The command is known to have been applied; its answer went with the restart.
  const again = node.propose(5, { clientId: "c", serial: 1 });
  await expect(again).rejects.toMatchObject({ code: "responseLost", retry: "never" });
  expect((await node.openSession({ clientId: "c" })).clientId).toBe("c");
  expect(await node.propose(1)).toBe(8);
  await node.close();
});

test("behind its snapshot it is restored from it; ahead of its log it refuses to start", async () => {
  const [storage, disk] = [new MemoryGroupStorage(), { applied: 0, total: 0, applies: 0 }];
  let node = await start(storage, disk);
  await node.propose(5);
  await node.snapshotNow();
  await node.propose(1);
  await node.close();
  const lost = { applied: 0, total: 0, applies: 0 };
  node = await start(storage, lost);
  expect(await node.read(() => totalAt(node))).toBe(6);
  expect(lost.applies).toBe(1);
  await node.close();
  const ahead = start(storage, { applied: 1_000, total: 0, applies: 0 });
  await expect(ahead).rejects.toMatchObject({ code: "dataDirectoryMismatch" });
});

test("without persist it is refused, and a promise from apply stops the member", async () => {
  class Half extends DurableCounter {
    override persist = undefined as unknown as (index: number) => void;
  }
  const options = {
    id: 1,
    members: { 1: "a" },
    storage: new MemoryGroupStorage(),
    config: { tickMs: 10 },
  } as const;
  const half = GroupNode.start({
    ...options,
    transport: inProcessNetwork().transport("a"),
    stateMachine: new Half({ applied: 0, total: 0, applies: 0 }),
  });
  await expect(half).rejects.toMatchObject({ code: "invalidConfig" });
  const said: string[] = [];
  const note = (message: string): void => void said.push(message);
  const node = await GroupNode.start<number, unknown>({
    ...options,
    log: { debug() {}, info: note, warn: note, error: note },
    storage: new MemoryGroupStorage(),
    transport: inProcessNetwork().transport("a"),
    stateMachine: {
      apply: () => Promise.resolve(1),
      async *snapshot() {},
      restore: () => Promise.resolve(),
    },
  });
  await expect(node.propose(1)).rejects.toMatchObject({ retry: "unknown" });
  expect(node.error?.message).toMatch(/apply returned a promise/);
  expect(said).toContain("this member stops");
});

test("a leader's validate refuses with its own words, a signal with what it means", async () => {
  const node = await GroupNode.start<number, number>({
    id: 1,
    members: { 1: "a" },
    transport: inProcessNetwork().transport("a"),
    storage: new MemoryGroupStorage(),
    stateMachine: Object.assign(new DurableCounter({ applied: 0, total: 0, applies: 0 }), {
      validate(command: number) {
        if (command > 100) throw new Error("too much at once");
      },
    }),
    config: { tickMs: 10 },
  });
  const refused = node.propose(101);
  await expect(refused).rejects.toMatchObject({
    code: "commandRefused",
    retry: "never",
    message: "too much at once",
  });
  await expect(node.propose(1, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "cancelled",
    retry: "safe",
  });
  const controller = new AbortController();
  const cancelled = node.propose(1, { signal: controller.signal });
  controller.abort(new Error("no time"));
  await expect(cancelled).rejects.toMatchObject({ code: "cancelled" });
  expect(await node.propose(1)).toBeGreaterThan(0);
  await node.close();
});
