import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Playground, PROGRAM } from "../support/playground.js";
import { freePort } from "../support/process-cluster.js";

const cleanUps: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function start(args: readonly string[]): Playground {
  const playground = new Playground(args);
  cleanUps.push(async () => {
    playground.child.kill("SIGKILL");
    await playground.gone;
  });
  return playground;
}

function run(args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("close", (code) => resolve({ code, output }));
  });
}

async function fresh(): Promise<{
  readonly directory: string;
  readonly args: readonly string[];
  readonly pd: string;
}> {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-playground-"));
  cleanUps.push(() => rmSync(directory, { recursive: true, force: true }));
  const [pd, store, status] = [await freePort(), await freePort(), await freePort()];
  const args = ["--data-dir", directory, "--pd-port", `${pd}`, "--store-port", `${store}`];
  return { directory, args: [...args, "--status-port", `${status}`], pd: `127.0.0.1:${pd}` };
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test("one command starts a cluster, tells what runs, survives a kill, and continues after Ctrl-C", {
  timeout: 90_000,
}, async () => {
  const { directory, args, pd } = await fresh();
  const first = start(args);
  await first.until(/^ready$/m, 30_000);
  const manifest = first.manifest(directory);
  expect(manifest.pd.clientUrl).toBe(`http://${pd}`);
  expect(manifest.stores.length).toBe(3);
  expect(new Set(manifest.stores.map(({ id }) => id)).size).toBe(3);
  for (const { pid, statusAddr } of manifest.stores) {
    expect(isAlive(pid)).toBe(true);
    expect((await fetch(`http://${statusAddr}/status`)).ok).toBe(true);
  }
  expect((await run(["kv", "--pd", pd, "put", "name", "value"])).code).toBe(0);

  const victim = manifest.stores[0]?.pid ?? 0;
  process.kill(victim, "SIGKILL");
  await first.until(/was killed by SIGKILL[\s\S]*npx raftwerk store .*--data-dir/, 5_000);
  expect(await run(["kv", "--pd", pd, "get", "name"])).toEqual({ code: 0, output: "value\n" });

  // A second one on the same ports is refused before it starts anything.
  const second = start(args);
  expect(await second.gone).toBe(1);
  expect(second.output).toContain("is in use");

  first.child.kill("SIGINT");
  expect(await first.gone).toBe(0);
  for (const { pid } of manifest.stores) expect(isAlive(pid)).toBe(false);
  expect(isAlive(manifest.pd.pid)).toBe(false);

  const again = start(args);
  await again.until(/^ready$/m, 30_000);
  expect(await run(["kv", "--pd", pd, "get", "name"])).toEqual({ code: 0, output: "value\n" });
  again.child.kill("SIGINT");
  expect(await again.gone).toBe(0);
});

test("when the parent is killed its processes stop by themselves", { timeout: 60_000 }, async () => {
  const { directory, args } = await fresh();
  const playground = start([...args, "--stores", "1"]);
  await playground.until(/^ready$/m, 30_000);
  const manifest = playground.manifest(directory);
  playground.child.kill("SIGKILL");
  const pids = [manifest.pd.pid, ...manifest.stores.map(({ pid }) => pid)];
  for (let i = 0; i < 200 && pids.some(isAlive); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(pids.filter(isAlive)).toEqual([]);
});

test("bad flags are refused with a sentence", { timeout: 60_000 }, async () => {
  for (const [args, text] of [
    [["playground", "--stores", "0"], "--stores must be a whole number from 1 to 16"],
    [["store", "--addr", "127.0.0.1:1"], "--pd is missing"],
    [["store", "--pd", "127.0.0.1:1", "--addr", "nonsense"], "is no address"],
    [["store", "--pd", "127.0.0.1:1", "--labels", "zone"], "is no label"],
    [["store", "--pd", "127.0.0.1:1", "--engine", "sqlite"], "is none of auto, rocksdb, leveldb"],
    [["store", "--pd", "127.0.0.1:1", "--config", "/nonexistent.toml"], "cannot read config file"],
    [["pd", "--client-urls", "https://127.0.0.1:1"], "https is not supported"],
    [["pd", "--nonsense"], "unknown option"],
    [["kv", "--pd", "127.0.0.1:1", "put", "", "x"], "127.0.0.1:1"],
  ] as const) {
    const { code, output } = await run(args);
    expect(`${args.join(" ")}: ${output}`).toContain(text);
    expect(code).toBe(1);
  }
});
