// Runs TiKV's official clients against a cluster of our own: `npm run test:clients`. Needs Go; says so if it is missing.
// Ends with one line: N passed, N failed.
import { spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLIENTS = join(ROOT, "test", "clients");
const BIN = join(CLIENTS, "go", "bin");
const READY_TIMEOUT_MS = 90_000;

let passed = 0;
let failed = 0;
const result = (ok, title, detail = "") => {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? "ok  " : "FAIL"} ${title}${detail === "" ? "" : `: ${detail}`}`);
};

/** Runs a program to its end; resolves with its exit code and everything it printed. */
function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.on("error", (error) => resolve({ code: -1, output, errors: error.message }));
    child.on("close", (code) => resolve({ code: code ?? -1, output, errors }));
  });
}

/** Consecutive free ports below the range of outgoing connections. */
async function freePorts(count) {
  const isFree = (port) =>
    new Promise((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
  for (;;) {
    const first = randomInt(11_000, 31_000);
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)));
    if (free.every(Boolean)) return first;
  }
}

async function startCluster(directory) {
  const port = await freePorts(20);
  const args = ["bin/raftwerk.js", "playground", "--data-dir", directory, "--stores", "3"];
  args.push("--pd-port", String(port), "--store-port", String(port + 1), "--status-port", String(port + 10));
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const gone = new Promise((resolve) => child.on("exit", resolve));
  await new Promise((resolve, reject) => {
    let output = "";
    const timer = setTimeout(() => reject(new Error(`no \`ready\`:\n${output}`)), READY_TIMEOUT_MS);
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (!/^ready$/m.test(output)) return;
      clearTimeout(timer);
      resolve();
    });
    gone.then(() => reject(new Error(`the cluster ended:\n${output}`)));
  });
  const stop = async () => {
    child.kill("SIGINT");
    const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await gone;
    clearTimeout(timer);
  };
  return { pd: `127.0.0.1:${port}`, store: `127.0.0.1:${port + 1}`, stop };
}

const has = (command, ...args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;

async function goBuild(directory, target, output) {
  const built = await run("go", ["build", "-o", join(BIN, output), target], { cwd: join(CLIENTS, directory) });
  result(built.code === 0, `go build ${target}`, built.code === 0 ? "" : built.errors.slice(-2_000));
  return built.code === 0;
}

/** A program that prints `ok NAME` and `FAIL NAME: reason` lines and ends with its counts. */
async function runChecks(title, command, args, options) {
  const { code, output, errors } = await run(command, args, options);
  const counts = /^(\d+) passed, (\d+) failed$/m.exec(output);
  for (const line of output.split("\n")) if (line.startsWith("FAIL")) console.log(`  ${title} ${line}`);
  if (counts === null) return result(false, title, `no counts; exit code ${code}\n${output}\n${errors.slice(-2_000)}`);
  passed += Number(counts[1]);
  failed += Number(counts[2]);
  console.log(`${counts[2] === "0" ? "ok  " : "FAIL"} ${title}: ${counts[0]}`);
}

/** Operations counted by go-ycsb's summary lines: `READ - Takes(s): 1.0, Count: 5021, OPS: ...`. */
function ycsbCounts(output) {
  const counts = {};
  for (const [, name, count] of output.matchAll(/^([A-Z_]+)\s+- Takes\(s\): [\d.]+, Count: (\d+)/gm)) {
    counts[name] = Number(count);
  }
  return counts;
}

async function ycsb(pd, mode, letter, properties) {
  const options = { ...properties, "tikv.pd": pd, "tikv.type": "raw", "tikv.conncount": 4, threadcount: 16 };
  const args = [mode, "tikv"];
  for (const [key, value] of Object.entries(options)) args.push("-p", `${key}=${value}`);
  const title = `go-ycsb ${mode} ${letter}`;
  const { code, output, errors } = await run(join(BIN, "go-ycsb"), args);
  const counts = ycsbCounts(output);
  const wrong = Object.keys(counts).filter((name) => name.endsWith("_ERROR"));
  const total = counts.TOTAL ?? Object.values(counts).reduce((sum, count) => sum + count, 0);
  const expected = mode === "load" ? properties.recordcount : properties.operationcount;
  const ok = code === 0 && wrong.length === 0 && total >= expected;
  result(ok, title, ok ? `${total} operations` : `${JSON.stringify(counts)}\n${output.slice(-1_500)}\n${errors.slice(-1_500)}`);
}

const WORKLOADS = {
  a: { readproportion: 0.5, updateproportion: 0.5, requestdistribution: "zipfian" },
  b: { readproportion: 0.95, updateproportion: 0.05, requestdistribution: "zipfian" },
  c: { readproportion: 1, updateproportion: 0, requestdistribution: "zipfian" },
  d: { readproportion: 0.95, updateproportion: 0, insertproportion: 0.05, requestdistribution: "latest" },
  e: { readproportion: 0, updateproportion: 0, scanproportion: 0.95, insertproportion: 0.05, requestdistribution: "uniform", maxscanlength: 20 },
  f: { readproportion: 0.5, updateproportion: 0, readmodifywriteproportion: 0.5, requestdistribution: "zipfian" },
};

async function goClients(cluster) {
  if (await goBuild("go", "./rawkv", "rawkv")) {
    await runChecks("client-go rawkv", join(BIN, "rawkv"), ["-pd", cluster.pd]);
  }
  if (await goBuild("go-ycsb", "github.com/pingcap/go-ycsb/cmd/go-ycsb", "go-ycsb")) {
    const base = { recordcount: 2_000, fieldcount: 1, fieldlength: 100, workload: "core" };
    await ycsb(cluster.pd, "load", "", base);
    for (const [letter, shares] of Object.entries(WORKLOADS)) {
      const operationcount = letter === "e" ? 1_000 : 5_000;
      await ycsb(cluster.pd, "run", letter, { ...base, ...shares, operationcount });
    }
  }
}

async function main() {
  const goMissing = !has("go", "version");
  if (goMissing) {
    const text = "the Go tool chain is missing: install Go 1.23 or newer (https://go.dev/dl, or Debian's golang)";
    if (process.env.CI) result(false, "Go clients", text);
    else console.log(`skipped: ${text}`);
    return;
  }
  mkdirSync(BIN, { recursive: true });
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-clients-"));
  let cluster;
  try {
    cluster = await startCluster(directory);
    result(true, "the cluster started");
    await goClients(cluster);
  } catch (error) {
    result(false, "the cluster", error instanceof Error ? error.message : String(error));
  } finally {
    await cluster?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

await main();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
