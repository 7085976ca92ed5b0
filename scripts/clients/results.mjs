// Counting and running for scripts/test-clients.mjs: one line per check, one sum at the end.
import { spawn, spawnSync } from "node:child_process";

/** Children that still run; ended when this process ends early. */
const children = new Set();
let passed = 0;
let failed = 0;

export function result(ok, title, detail = "") {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? "ok  " : "FAIL"} ${title}${detail === "" ? "" : `: ${detail}`}`);
  return ok;
}

/** The last line of everything; decides the exit code. */
export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

/** A tool chain that is not there: a failure in CI, a remark elsewhere. */
export function missing(title, text) {
  if (process.env.CI) result(false, title, text);
  else console.log(`skip ${title}: ${text}`);
}

/** The first line that a command prints, or undefined if it cannot be run. */
export function versionOf(command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? (stdout || stderr).split("\n")[0] : undefined;
}

const TIMEOUT_MS = 600_000;

/** Runs a program to its end, in a process group of its own; never rejects. */
export function run(command, args, { timeoutMs = TIMEOUT_MS, ...options } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    const timer = setTimeout(() => {
      errors += `\nended after ${timeoutMs / 1000} s`;
      killGroup(child);
    }, timeoutMs);
    const done = (code) => {
      clearTimeout(timer);
      children.delete(child);
      resolve({ code: code ?? -1, output, errors });
    };
    child.on("error", (error) => {
      errors += error.message;
      done(-1);
    });
    child.on("close", done);
  });
}

function killGroup(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

export function killChildren() {
  for (const child of children) killGroup(child);
}

/** Runs a step that says nothing when it works, such as a build. */
export async function step(title, command, args, options) {
  const { code, output, errors } = await run(command, args, options);
  return result(code === 0, title, code === 0 ? "" : `exit code ${code}\n${tail(output + errors)}`);
}

/** Runs a program that prints `ok NAME` and `FAIL NAME: reason` lines and ends with its counts. */
export async function runChecks(title, command, args, options) {
  const { code, output, errors } = await run(command, args, options);
  const counts = [...output.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1);
  for (const line of output.split("\n")) if (line.startsWith("FAIL")) console.log(`  ${title}: ${line}`);
  if (counts === undefined) {
    result(false, title, `no counts; exit code ${code}\n${tail(output)}\n${tail(errors)}`);
    return;
  }
  passed += Number(counts[1]);
  failed += Number(counts[2]);
  console.log(`${counts[2] === "0" ? "ok  " : "FAIL"} ${title}: ${counts[0]}`);
  // Counts that look well do not excuse a program that broke down after them.
  if (code !== 0 && counts[2] === "0") result(false, title, `exit code ${code}\n${tail(errors)}`);
}

export const tail = (text) => text.slice(-2_000).trimEnd();
