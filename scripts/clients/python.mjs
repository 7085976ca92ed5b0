// The program on the Python client, which pip fetches from its registry into an environment of its own.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./cluster.mjs";
import { missing, runChecks, step, versionOf } from "./results.mjs";

const FOLDER = join(ROOT, "test", "clients", "python");
const VENV = join(FOLDER, "venv");
const PYTHON = join(VENV, "bin", "python");

// The client's wheels are made for this version alone. An environment can be made without pip where Debian's
// python3-venv is missing; ensurepip tells.
const FITS = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))";

/** Makes the environment before the cluster starts; false if there is no Python that fits. */
export async function buildPython() {
  const python = ["python3.11", "python3"].find((name) => versionOf(name, "-c", FITS) !== undefined);
  if (python === undefined) {
    const remedy = "install both (`apt-get install python3.11 python3.11-venv`)";
    missing("Python client", `no Python 3.11 with the modules venv and ensurepip in the path: ${remedy}`);
    return false;
  }
  if (!existsSync(PYTHON)) await step(`${python} -m venv`, python, ["-m", "venv", "--clear", VENV]);
  const requirements = join(FOLDER, "requirements.txt");
  const quiet = ["--quiet", "--disable-pip-version-check"];
  return step("pip install tikv-client", PYTHON, ["-m", "pip", "install", ...quiet, "-r", requirements]);
}

export async function testPython(cluster) {
  await runChecks("tikv-client for Python", PYTHON, [join(FOLDER, "check.py"), "--pd", cluster.pd]);
}
