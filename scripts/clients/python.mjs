// The program on the Python client, which pip fetches from its registry into an environment of its own.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./cluster.mjs";
import { missing, runChecks, step, versionOf } from "./results.mjs";

const FOLDER = join(ROOT, "test", "clients", "python");
const VENV = join(FOLDER, "venv");
const PYTHON = join(VENV, "bin", "python");

/** Makes the environment before the cluster starts; false if there is no Python, or one without venv. */
export async function buildPython() {
  // An environment can be made without pip where Debian's python3-venv is missing; ensurepip tells.
  if (versionOf("python3", "-c", "import venv, ensurepip") === undefined) {
    const remedy = "install Python 3.7 or newer with venv (`apt-get install python3 python3-venv`)";
    missing("Python client", `no \`python3\` with the modules venv and ensurepip in the path: ${remedy}`);
    return false;
  }
  if (!existsSync(PYTHON)) await step("python3 -m venv", "python3", ["-m", "venv", "--clear", VENV]);
  const requirements = join(FOLDER, "requirements.txt");
  const quiet = ["--quiet", "--disable-pip-version-check"];
  return step("pip install tikv-client", PYTHON, ["-m", "pip", "install", ...quiet, "-r", requirements]);
}

export async function testPython(cluster) {
  await runChecks("tikv-client for Python", PYTHON, [join(FOLDER, "check.py"), "--pd", cluster.pd]);
}
