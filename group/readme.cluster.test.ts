/** The counter of the README as a newcomer meets it: the very program, the very requests, the answers beside them. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { freePorts } from "./test/free-ports.js";

const ROOT = join(import.meta.dirname, "..");
const README = readFileSync(join(ROOT, "group", "README.md"), "utf8");
const PROGRAM = /`counter\.js`:\n\n```js\n([\s\S]*?)```/.exec(README)?.[1] ?? "";
/** Method, member and answer of each request that the README shows. */
const REQUESTS = [...README.matchAll(/^curl (-X POST )?http:\/\/127\.0\.0\.1:800(\d) +# (\{[^}]*\})/gm)].map(
  ([, post, member, answer]) => ({
    method: post === undefined ? "GET" : "POST",
    member: Number(member),
    answer: JSON.parse(answer as string) as unknown,
  }),
);

const directory = mkdtempSync(join(tmpdir(), "raftwerk-counter-"));
const children = new Map<number, ChildProcess>();
afterAll(() => {
  for (const child of children.values()) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** Resolves when the member says that it serves. */
function start(id: number): Promise<void> {
  const child = spawn(process.execPath, ["counter.js", String(id)], { cwd: directory });
  children.set(id, child);
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
      if (said.startsWith(`member ${id} at `)) resolve();
    });
    child.stderr.on("data", (data: Buffer) => (said += data.toString()));
    child.once("exit", (code) => reject(new Error(`member ${id} ended with ${String(code)}: ${said}`)));
  });
}

async function kill(id: number): Promise<void> {
  const child = children.get(id) as ChildProcess;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

test("the README's counter has fewer than 100 lines and imports the public entry point alone", () => {
  expect(PROGRAM.split("\n").length).toBeGreaterThan(20);
  expect(PROGRAM.split("\n").length).toBeLessThan(100);
  const imports = [...PROGRAM.matchAll(/from "([^"]+)"/g)].map((match) => match[1]);
  expect(imports).toEqual(["node:http", "raftwerk/group"]);
});

test("the README's counter answers as the README says, and counts on when one is killed, and when all are", async () => {
  const [http, raft] = [await freePorts(3), await freePorts(3)];
  mkdirSync(join(directory, "node_modules"));
  symlinkSync(ROOT, join(directory, "node_modules", "raftwerk"), "dir");
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }\n');
  // Ports of this run in the place of the README's.
  const program = PROGRAM.replace(/:700(\d)/g, (_, id) => `:${raft[Number(id) - 1]}`).replaceAll(
    "8000 + id",
    `${JSON.stringify(http)}[id - 1]`,
  );
  expect(program).not.toMatch(/700\d|8000/);
  writeFileSync(join(directory, "counter.js"), program);
  const ask = async (id: number, method: string): Promise<{ readonly total?: number }> => {
    const response = await fetch(`http://127.0.0.1:${http[id - 1]}`, { method });
    const text = await response.text();
    return response.ok ? (JSON.parse(text) as { readonly total: number }) : {};
  };

  await Promise.all([1, 2, 3].map(start));
  expect(REQUESTS).toHaveLength(3);
  for (const { method, member, answer } of REQUESTS) expect(await ask(member, method)).toEqual(answer);
  await kill(1);
  await expect.poll(() => ask(2, "POST"), { timeout: 30_000 }).toHaveProperty("total");
  await start(1);
  const { total } = await ask(1, "GET");
  expect(total).toBeGreaterThanOrEqual(3);
  await Promise.all([1, 2, 3].map(kill));
  await Promise.all([1, 2, 3].map(start));
  expect(await ask(2, "GET")).toEqual({ total });
});
