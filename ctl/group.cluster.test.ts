/** `raftwerk group` against members in this process and their directories, up to the loss of a majority. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { GroupNode } from "../adapters/group-entry.js";
import { type TestCommand, TestMachine, type TestResponse } from "../group/test/machine.js";

const root = mkdtempSync(join(tmpdir(), "raftwerk-group-ctl-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const ENTRY = fileURLToPath(new URL("../bin/raftwerk.js", import.meta.url));

function raftwerk(...args: string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [ENTRY, "group", ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, output: stdout + stderr });
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

type Node = GroupNode<TestCommand, TestResponse>;
const put = (node: Node, key: string, value: string): Promise<TestResponse> =>
  node.propose({ kind: "put", key, value });

const directory = (name: string): string => join(root, name);
const common = {
  engine: "leveldb",
  config: { tickMs: 20, snapshots: { entries: 5, bytes: 0, keepEntries: 0 } },
} as const;

test("shows, changes, inspects, and recovers a group that lost its majority", async () => {
  const members: Record<number, string> = {};
  for (const id of [1, 2, 3]) members[id] = `127.0.0.1:${await freePort()}`;
  const keepCompactedLog = { directory: directory("kept") };
  const nodes: Node[] = await Promise.all(
    [1, 2, 3].map((id) =>
      GroupNode.start({
        ...common,
        id,
        members,
        listen: members[id],
        storage: directory(`m${id}`),
        stateMachine: new TestMachine(),
        ...(id === 1 ? { keepCompactedLog } : {}),
      }),
    ),
  );
  const [first, second, third] = nodes as [Node, Node, Node];
  for (let i = 0; i < 12; i++) await put(first, `k${i}`, `v${i}`);
  const address = members[2] as string;

  const [status, list, nobody, nowhere] = await Promise.all([
    raftwerk("status", address),
    raftwerk("members", address, "--json"),
    raftwerk("status", `127.0.0.1:${await freePort()}`, "--timeout", "1"),
    raftwerk("inspect", directory("nowhere")),
  ]);
  expect(status.output).toMatch(/phase\s.*running/);
  expect(JSON.parse(list.output)).toHaveLength(3);
  expect(nobody).toMatchObject({ code: 1 });
  expect(nobody.output).toMatch(/does not answer .*: is the member up\?/);
  expect(nowhere.output).toMatch(/is not the directory of a member/);
  expect((await raftwerk("transfer", address, "--to", "3")).output).toBe("member 3 leads\n");
  expect(third.isLeader).toBe(true);
  const listen = `127.0.0.1:${await freePort()}`;
  const joined = await raftwerk(
    "join",
    address,
    "--engine",
    "leveldb",
    "--directory",
    directory("m4"),
    "--listen",
    listen,
    "--observer",
  );
  expect(joined.output).toMatch(/^member 4 of group [0-9a-f]+: start it/);
  const fourth = await GroupNode.start({
    ...common,
    listen,
    storage: directory("m4"),
    stateMachine: new TestMachine(),
  });
  expect(await fourth.read(() => (fourth.stateMachine as TestMachine).registers.size)).toBe(12);
  expect((await raftwerk("promote", address, "--id", "4")).output).toBe("voter now: member 4\n");
  expect((await raftwerk("demote", address, "--id", "4")).output).toBe("observer now: member 4\n");
  expect((await raftwerk("snapshot", listen)).output).toMatch(/^snapshot at index \d+\n$/);
  await fourth.close();
  expect((await raftwerk("remove", address, "--id", "4")).output).toBe("removed: member 4\n");
  expect((await raftwerk("remove", address, "--id", "9")).output).toMatch(/there is no member 9/);
  await put(first, "last", "words");
  await first.read();
  await Promise.all([first.close(), second.close(), third.close()]);

  // The kept log has what left the log.
  const kept = readdirSync(directory("kept")).sort();
  expect(kept[0]).toBe("0000000000000002.jsonl");
  expect(readFileSync(join(directory("kept"), kept[0] as string), "utf8")).toMatch(/^\{"index":2,/);

  expect((await raftwerk("inspect", directory("nowhere"))).output).toMatch(
    /is not the directory of a member/,
  );
  const shown = await raftwerk("inspect", directory("m1"));
  expect(shown.output).toMatch(/snapshot: index \d+, term \d+, \d+ bytes/);
  expect(shown.output).toMatch(/commands\tplain \{"kind":"put","key":"last","value":"words"\}/);
  const decode = directory("decode.mjs");
  writeFileSync(decode, "export const decodeCommand = (bytes) => `seen ${bytes.length}`;\n");
  const inspected = await raftwerk("inspect", directory("m1"), "--json", "--decode", decode);
  const { identity, entries } = JSON.parse(inspected.output) as {
    identity: { nodeId: number };
    entries: { commands?: { command: string }[] }[];
  };
  expect(identity.nodeId).toBe(1);
  expect(entries.some(({ commands }) => commands?.[0]?.command.startsWith("seen "))).toBe(true);

  // Members 2 and 3 are gone for good.
  const refused = await raftwerk("recover", "--from-log", directory("m1"));
  expect(refused.output).toMatch(
    /members 2 \(.*\), 3 \(.*\) may have newer data: .*--i-accept-data-loss .*dataLossNotAccepted/,
  );
  const fromLog = ["--from-log", directory("m1"), "--to", directory("r1")];
  const recovered = await raftwerk("recover", ...fromLog, "--i-accept-data-loss");
  expect(recovered.output).toMatch(/group [0-9a-f]+ with one member, 1 at .*given up: member 2/s);
  const notes = JSON.parse(readFileSync(join(directory("r1"), "RECOVERY.json"), "utf8")) as {
    membersGivenUp: { id: number }[];
  };
  // Member 4 was removed, which the survivor's log says if its last snapshot does not.
  expect(notes.membersGivenUp.map(({ id }) => id)).toEqual([2, 3]);

  const fromSnapshot = ["--from-snapshot", directory("m1"), "--to", directory("r2"), "--json"];
  const lesser = await raftwerk("recover", ...fromSnapshot, "--i-accept-data-loss");
  const { dropped, lastIndex } = JSON.parse(lesser.output) as {
    dropped: { from: number };
    lastIndex: number;
  };
  expect(dropped.from).toBe(lastIndex + 1);

  for (const [name, hasLast] of [
    ["r1", true],
    ["r2", false],
  ] as const) {
    const alone = await GroupNode.start({
      ...common,
      id: 1,
      listen: members[1],
      storage: directory(name),
      stateMachine: new TestMachine(),
    });
    const { registers } = alone.stateMachine as TestMachine;
    await put(alone, "new", "life");
    expect([registers.size >= 10, (alone.stateMachine as TestMachine).registers.has("last")]).toEqual([
      hasLast || registers.size >= 10,
      hasLast,
    ]);
    expect(alone.members.map(({ id }) => id)).toEqual([1]);
    // A member of the old group that comes back does not mix with it.
    expect(alone.groupId).not.toBe(first.groupId);
    await alone.close();
  }
}, 120_000);
