/** Members in one process with real timers, real disks and gRPC: what `raftwerk/group` gives its user. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  GroupCaller,
  GroupNode,
  type GroupNodeOptions,
  type GroupTls,
  inProcessNetwork,
  MemoryGroupStorage,
  RaftwerkError,
} from "../adapters/group-entry.js";
import { type TestCommand, TestMachine, type TestResponse } from "./test/machine.js";

const root = mkdtempSync(join(tmpdir(), "raftwerk-group-node-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Node = GroupNode<TestCommand, TestResponse>;
const QUICK = { tickMs: 20 };

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function addresses(count: number): Promise<Record<number, string>> {
  const members: Record<number, string> = {};
  for (let id = 1; id <= count; id++) members[id] = `127.0.0.1:${await freePort()}`;
  return members;
}

const startAll = (
  members: Readonly<Record<number, string>>,
  more: (id: number) => Partial<GroupNodeOptions<TestCommand, TestResponse>>,
): Promise<Node[]> =>
  Promise.all(
    Object.entries(members).map(([id, listen]) =>
      GroupNode.start({
        id: Number(id),
        listen,
        members,
        storage: new MemoryGroupStorage(),
        stateMachine: new TestMachine(),
        config: QUICK,
        ...more(Number(id)),
      }),
    ),
  );

const machineOf = (node: Node): TestMachine => node.stateMachine as TestMachine;

describe("a group in one process", () => {
  test("keeps what was proposed, on every member, over in-process links", async () => {
    const network = inProcessNetwork();
    const members = { 1: "a", 2: "b", 3: "c" };
    const nodes = await startAll(members, (id) => ({
      listen: undefined,
      transport: network.transport(members[id as 1 | 2 | 3]),
    }));
    const [first, second, third] = nodes as [Node, Node, Node];
    expect(await first.propose({ kind: "put", key: "k", value: "1" })).toEqual({});
    expect(await second.propose({ kind: "put", key: "k", value: "2" })).toEqual({ previous: "1" });
    expect(await third.read(() => machineOf(third).registers.get("k"))).toBe("2");
    const session = await second.openSession();
    expect(await session.propose({ kind: "count", key: "n" })).toEqual({ count: 1 });
    expect(await session.propose({ kind: "count", key: "n" })).toEqual({ count: 2 });
    expect(await first.read(() => machineOf(first).counters.get("n"))).toBe(2);
    await Promise.all(nodes.map((node) => node.close()));
    await expect(first.propose({ kind: "put", key: "k", value: "3" })).rejects.toMatchObject({
      code: "closed",
    });
  });
});

describe("validate", () => {
  test("runs on the leader alone, before anything enters the log, whoever was asked", async () => {
    const network = inProcessNetwork();
    const members = { 1: "a", 2: "b", 3: "c" };
    const validated: number[] = [];
    const nodes = await startAll(members, (id) => ({
      listen: undefined,
      transport: network.transport(members[id as 1 | 2 | 3]),
      stateMachine: Object.assign(new TestMachine(), {
        validate({ key }: TestCommand) {
          validated.push(id);
          if (key === "") throw new RaftwerkError("invalidArgument", "a key is needed", { retry: "never" });
          if (key === "odd") throw new Error("not this one");
        },
      }),
    }));
    const [first, second] = nodes as [Node, Node, Node];
    await first.propose({ kind: "put", key: "k", value: "1" });
    await first.transferLeader(2);
    validated.length = 0;
    for (const node of nodes) await node.propose({ kind: "put", key: "k", value: "2" });
    expect(validated).toEqual([2, 2, 2]);
    await expect
      .poll(() => nodes.map(({ status }) => status.appliedIndex))
      .toEqual(Array.from({ length: 3 }, () => second.status.lastIndex));
    const before = nodes.map(({ status }) => status.lastIndex);
    for (const node of nodes) {
      await expect(node.propose({ kind: "put", key: "odd", value: "3" })).rejects.toMatchObject({
        code: "commandRefused",
        retry: "never",
        message: "not this one",
      });
      await expect(node.propose({ kind: "put", key: "", value: "3" })).rejects.toMatchObject({
        code: "invalidArgument",
        message: "a key is needed",
      });
    }
    expect(nodes.map(({ status }) => status.lastIndex)).toEqual(before);
    await Promise.all(nodes.map((node) => node.close()));
  });
});

describe("a group over gRPC and disks", () => {
  test.each(["rocksdb", "leveldb"] as const)("comes back from its directories, over %s", async (engine) => {
    const members = await addresses(3);
    const options = (id: number) => ({ storage: join(root, `${engine}${id}`), engine });
    let nodes = await startAll(members, options);
    await nodes[0]?.propose({ kind: "put", key: "k", value: "kept" });
    await Promise.all(nodes.map((node) => node.close()));
    nodes = await startAll(members, options);
    const [, second] = nodes as [Node, Node, Node];
    expect(await second.read(() => machineOf(second).registers.get("k"))).toBe("kept");
    const text = await second.metrics().metrics();
    expect(text).toMatch(/raftwerk_group_members\{group="[0-9a-f]+",member="2"\} 3/);
    await Promise.all(nodes.map((node) => node.close()));
  });

  test("lets a member join by asking any other, promotes it, and lets it leave", async () => {
    const members = await addresses(1);
    const [founder] = (await startAll(members, () => ({}))) as [Node];
    await founder.propose({ kind: "put", key: "k", value: "1" });
    const joiners: Node[] = [];
    for (let i = 0; i < 2; i++) {
      joiners.push(
        await GroupNode.start({
          listen: `127.0.0.1:${await freePort()}`,
          join: [members[1] as string],
          storage: new MemoryGroupStorage(),
          stateMachine: new TestMachine(),
          config: QUICK,
        }),
      );
    }
    const [second, third] = joiners as [Node, Node];
    expect([second.id, third.id]).toEqual([2, 3]);
    expect(await third.read(() => machineOf(third).registers.get("k"))).toBe("1");
    await expect
      .poll(() => founder.members.map(({ role }) => role), { timeout: 10_000 })
      .toEqual(["voter", "voter", "voter"]);
    await founder.transferLeader(3);
    await founder.leave();
    expect(await second.propose({ kind: "put", key: "k", value: "2" })).toEqual({ previous: "1" });
    await expect.poll(() => second.members.map(({ id }) => id)).toEqual([2, 3]);
    await Promise.all([second.close(), third.close()]);
  });

  test("speaks TLS, and refuses who has no certificate of its authority", async () => {
    const at = (name: string): string => join(root, name);
    const openssl = (...args: string[]): void => void execFileSync("openssl", args, { stdio: "ignore" });
    const ca = ["-keyout", at("ca.key"), "-out", at("ca.crt")];
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl("req", "-x509", ...curve, ...ca, "-days", "2", "-subj", "/CN=authority");
    const own = ["-keyout", at("m.key"), "-out", at("m.crt"), "-CA", at("ca.crt"), "-CAkey", at("ca.key")];
    const san = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"];
    openssl("req", "-x509", ...curve, ...own, "-days", "2", "-subj", "/CN=member", ...san);
    const tls = { ca: at("ca.crt"), cert: readFileSync(at("m.crt")), key: at("m.key") };
    const members = await addresses(2);
    const nodes = await startAll(members, () => ({ tls }));
    await nodes[0]?.propose({ kind: "put", key: "k", value: "1" });
    const stranger = GroupNode.start({
      listen: `127.0.0.1:${await freePort()}`,
      join: [members[1] as string],
      storage: new MemoryGroupStorage(),
      stateMachine: new TestMachine(),
      config: { ...QUICK, timeoutMs: 300 },
      signal: AbortSignal.timeout(1_000),
    });
    await expect(stranger).rejects.toMatchObject({ code: "closed" });
    expect(nodes[0]?.members).toHaveLength(2);
    const ask = (tlsOfCaller: GroupTls | undefined): Promise<string> =>
      new Promise((resolve) => {
        const caller = new GroupCaller(tlsOfCaller);
        caller.call(members[2] as string, Buffer.from('{"kind":"status"}'), 1_000, (error, answer) => {
          caller.close();
          resolve(error === undefined ? Buffer.from(answer ?? []).toString() : "refused");
        });
      });
    expect(await ask(tls)).toMatch(/"phase":"running"/);
    expect(await ask(undefined)).toBe("refused");
    expect(await ask({ ...tls, serverName: "another.name" })).toBe("refused");
    await Promise.all(nodes.map((node) => node.close()));
  });
});
