// The programs on the Go client: rawkv, wire, history, and go-ycsb's workloads.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./cluster.mjs";
import { missing, result, run, runChecks, step, tail, versionOf } from "./results.mjs";

const CLIENTS = join(ROOT, "test", "clients");
const BIN = join(CLIENTS, "go", "bin");
const PROGRAMS = ["rawkv", "wire", "history"];
const ENV = { ...process.env, GOFLAGS: "-mod=readonly", GOTOOLCHAIN: "local" };

const build = (directory, target, name) =>
  step(`go build ${name}`, "go", ["build", "-o", join(BIN, name), target], {
    cwd: join(CLIENTS, directory),
    env: ENV,
  });

/** Builds every program before the cluster starts; false if there is no Go. */
export async function buildGo() {
  if (versionOf("go", "version") === undefined) {
    missing(
      "Go clients",
      "no `go` in the path: install Go 1.23 or newer (go.dev/dl, or `apt-get install golang`)",
    );
    return false;
  }
  mkdirSync(BIN, { recursive: true });
  let built = true;
  for (const name of PROGRAMS) built = (await build("go", `./${name}`, name)) && built;
  return (await build("go-ycsb", "github.com/pingcap/go-ycsb/cmd/go-ycsb", "go-ycsb")) && built;
}

export async function testGo(cluster, directory) {
  await runChecks("client-go rawkv", join(BIN, "rawkv"), ["-pd", cluster.pd]);
  await runChecks("kvproto without a client", join(BIN, "wire"), ["-pd", cluster.pd]);
  await workloads(cluster.pd);
  await faults(cluster, join(directory, "history.jsonl"));
}

/** The same checks in keyspace DEFAULT. */
export async function testGoV2(cluster) {
  await runChecks("client-go rawkv, API V2", join(BIN, "rawkv"), ["-pd", cluster.pd, "-api", "2"]);
}

/** Operations counted by go-ycsb's summary lines: `READ - Takes(s): 1.0, Count: 5021, OPS: ...`; the last of each name. */
function ycsbCounts(output) {
  const counts = {};
  for (const [, name, count] of output.matchAll(/^([A-Z_]+)\s+- Takes\(s\): [\d.]+, Count: (\d+)/gm)) {
    counts[name] = Number(count);
  }
  return counts;
}

const BASE = { recordcount: 2_000, fieldcount: 10, fieldlength: 100, workload: "core", readallfields: true };
/** Each workload's shares and the operations that its counts must add up to. */
const WORKLOADS = {
  a: { shares: { readproportion: 0.5, updateproportion: 0.5 }, counted: ["READ", "UPDATE"] },
  b: { shares: { readproportion: 0.95, updateproportion: 0.05 }, counted: ["READ", "UPDATE"] },
  c: { shares: { readproportion: 1, updateproportion: 0 }, counted: ["READ"] },
  d: {
    shares: {
      readproportion: 0.95,
      updateproportion: 0,
      insertproportion: 0.05,
      requestdistribution: "latest",
    },
    counted: ["READ", "INSERT"],
  },
  e: {
    shares: {
      readproportion: 0,
      updateproportion: 0,
      scanproportion: 0.95,
      insertproportion: 0.05,
      maxscanlength: 20,
    },
    counted: ["SCAN", "INSERT"],
  },
  f: {
    shares: { readproportion: 0.5, updateproportion: 0, readmodifywriteproportion: 0.5 },
    counted: ["READ"],
  },
};

async function ycsb(pd, title, mode, properties, counted, expected) {
  const options = { ...properties, "tikv.pd": pd, "tikv.type": "raw", "tikv.conncount": 4, threadcount: 16 };
  const args = [mode, "tikv"];
  for (const [key, value] of Object.entries(options)) args.push("-p", `${key}=${value}`);
  const { code, output, errors } = await run(join(BIN, "go-ycsb"), args, { timeoutMs: 300_000 });
  const counts = ycsbCounts(output);
  const wrong = Object.keys(counts).filter((name) => name.endsWith("_ERROR"));
  const total = counted.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
  const ok = code === 0 && wrong.length === 0 && total === expected;
  const why = `exit code ${code}, ${JSON.stringify(counts)}, want ${expected} of ${counted.join(" + ")}`;
  result(ok, title, ok ? `${total} operations` : `${why}\n${tail(output)}\n${tail(errors)}`);
}

async function workloads(pd) {
  await ycsb(pd, "go-ycsb load", "load", BASE, ["INSERT"], BASE.recordcount);
  for (const [letter, { shares, counted }] of Object.entries(WORKLOADS)) {
    const operationcount = letter === "e" ? 1_000 : 5_000;
    const properties = { ...BASE, requestdistribution: "zipfian", ...shares, operationcount };
    await ycsb(pd, `go-ycsb workload ${letter}`, "run", properties, counted, operationcount);
  }
}

const seconds = (count) => new Promise((resolve) => setTimeout(resolve, count * 1000));

/** A writer while servers are killed and started again: it sees no error, and all its writes stay. */
async function faults(cluster, file) {
  const prefix = "history/";
  const length = ["-seconds", "32", "-prefix", prefix];
  const writing = run(join(BIN, "history"), ["write", "-pd", cluster.pd, "-out", file, ...length]);
  // Twice whoever leads the keys that are written, then PD.
  for (const victim of [() => cluster.leaderOf(prefix), () => cluster.leaderOf(prefix), () => cluster.pd]) {
    await seconds(3);
    const address = await victim();
    await cluster.kill9(address);
    await seconds(2);
    cluster.startAgain(address);
    await seconds(4);
  }
  const wrote = await writing;
  const summary = wrote.output === "" ? undefined : JSON.parse(wrote.output);
  const ok = wrote.code === 0 && summary.errors === 0 && summary.acknowledged > 0;
  const title = "client-go writes while leaders and PD are killed";
  result(ok, title, wrote.output.trim() + (ok ? "" : tail(wrote.errors)));
  const verified = await run(join(BIN, "history"), ["verify", "-pd", cluster.pd, "-in", file]);
  const kept = verified.code === 0;
  result(
    kept,
    "every acknowledged write is there",
    verified.output.trim() + (kept ? "" : tail(verified.errors)),
  );
}
