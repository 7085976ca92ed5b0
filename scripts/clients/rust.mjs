// The program on the Rust client. Compiling it takes some minutes the first time, so it runs only when it is named.
import { join } from "node:path";
import { ROOT } from "./cluster.mjs";
import { missing, result, runChecks, step, versionOf } from "./results.mjs";

const DIRECTORY = join(ROOT, "test", "clients", "rust");
const TARGET = process.env.CARGO_TARGET_DIR ?? join(DIRECTORY, "target");
const PROGRAM = join(TARGET, "debug", "checks");

export async function buildRust() {
  if (versionOf("cargo", "--version") === undefined) {
    missing("Rust client", "no `cargo` in the path: install Rust 1.84 or newer (rustup.rs)");
    return false;
  }
  return step("cargo build", "cargo", ["build", "--locked"], {
    cwd: DIRECTORY,
    env: { ...process.env, CARGO_TARGET_DIR: TARGET },
  });
}

/** As region borders are told under API V2: eight bytes at a time, each followed by how full they are. */
function memcomparable(key) {
  const groups = Math.floor(key.length / 8) + 1;
  const encoded = Buffer.alloc(groups * 9);
  for (let group = 0; group < groups; group++) {
    const part = key.subarray(group * 8, group * 8 + 8);
    part.copy(encoded, group * 9);
    encoded[group * 9 + 8] = 247 + part.length;
  }
  return encoded;
}

/** The client's scans take the empty end of the last region for a key: the keys get a region of their own. */
async function splitOff(pd, toBorder) {
  const keys = ["rust/", "rust0"].map((key) => toBorder(Buffer.from(key)).toString("hex").toUpperCase());
  const body = JSON.stringify({ split_keys: keys, retry_limit: 3 });
  const response = await fetch(`http://${pd}/pd/api/v1/regions/split`, { method: "POST", body });
  const { "processed-percentage": percentage } = await response.json();
  return result(percentage === 100, "a region for the Rust client's keys");
}

export async function testRust(cluster) {
  if (!(await splitOff(cluster.pd, (key) => key))) return;
  await runChecks("tikv-client (Rust)", PROGRAM, [cluster.pd]);
}

export async function testRustV2(cluster) {
  const prefix = Buffer.from([0x72, 0, 0, 0]);
  if (!(await splitOff(cluster.pd, (key) => memcomparable(Buffer.concat([prefix, key]))))) return;
  await runChecks("tikv-client (Rust), API V2", PROGRAM, [cluster.pd, "v2"]);
}
