// Runs TiKV's official clients against a cluster of our own: `npm run test:clients`. A tool chain that is missing is
// named; under CI that fails. Ends with one line: N passed, N failed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, ROOT } from "./clients/cluster.mjs";
import { buildGo, testGo, testGoV2 } from "./clients/go.mjs";
import { buildJava, testJava } from "./clients/java.mjs";
import { buildPython, testPython } from "./clients/python.mjs";
import { buildRust, testRust, testRustV2 } from "./clients/rust.mjs";
import { finish, killChildren, result, step } from "./clients/results.mjs";

/** Each builds before the cluster starts, so that no compiler competes with it, and tests if that worked. */
const SUITES = {
  go: { build: buildGo, test: testGo, testV2: testGoV2 },
  java: { build: buildJava, test: testJava },
  python: { build: buildPython, test: testPython },
  rust: { build: buildRust, test: testRust, testV2: testRustV2, onlyNamed: true },
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in SUITES));
if (unknown.length > 0) {
  console.error(
    `usage: node scripts/test-clients.mjs [${Object.keys(SUITES).join("] [")}]; unknown: ${unknown.join(" ")}`,
  );
  process.exit(2);
}
const suites = Object.entries(SUITES).filter(([name, { onlyNamed }]) =>
  wanted.length === 0 ? onlyNamed !== true : wanted.includes(name),
);

const directory = mkdtempSync(join(tmpdir(), "raftwerk-clients-"));
const cluster = new Cluster(join(directory, "cluster"));
/** Its keys belong to keyspaces. */
const v2Cluster = new Cluster(join(directory, "v2"), "[storage]\napi-version = 2\nenable-ttl = true\n");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, () => {
    killChildren();
    cluster.kill();
    v2Cluster.kill();
    rmSync(directory, { recursive: true, force: true });
    process.exit(1);
  });
}

try {
  // What is tested must be what is in the sources now.
  if (!(await step("npm run build", "npm", ["run", "build"], { cwd: ROOT })))
    throw new Error("it is not compiled");
  const built = [];
  for (const [, suite] of suites) if (await suite.build(directory)) built.push(suite);
  if (built.length > 0) {
    await cluster.start();
    result(true, "the cluster started");
    for (const suite of built) await suite.test(cluster, directory);
    const v2Suites = built.filter((suite) => suite.testV2 !== undefined);
    if (v2Suites.length > 0) {
      await cluster.stop();
      await v2Cluster.start();
      result(true, "the cluster with API V2 started");
      for (const suite of v2Suites) await suite.testV2(v2Cluster);
    }
  }
} catch (error) {
  result(false, "the cluster", error instanceof Error ? error.message : String(error));
} finally {
  killChildren();
  await cluster.stop();
  await v2Cluster.stop();
  rmSync(directory, { recursive: true, force: true });
}
finish();
