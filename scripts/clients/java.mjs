// The program on the Java client, which Maven fetches from its registry.
import { readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ROOT } from "./cluster.mjs";
import { missing, runChecks, step, versionOf } from "./results.mjs";

const PROJECT = join(ROOT, "test", "clients", "java");
const CLASS_PATH = join(PROJECT, "target", "class-path.txt");

/** Compiles the program before the cluster starts; false if there is no Java or no Maven. */
export async function buildJava() {
  const absent = Object.entries({ javac: "-version", mvn: "-v" }).filter(
    ([command, flag]) => versionOf(command, flag) === undefined,
  );
  if (absent.length > 0) {
    const names = absent.map(([command]) => `\`${command}\``).join(" and no ");
    const remedy = "install a JDK of 11 or newer and Maven (`apt-get install default-jdk-headless maven`)";
    missing("Java client", `no ${names} in the path: ${remedy}`);
    return false;
  }
  const args = ["-q", "-B", "compile", "dependency:build-classpath", `-Dmdep.outputFile=${CLASS_PATH}`];
  return step("mvn compile", "mvn", args, { cwd: PROJECT });
}

export async function testJava(cluster) {
  const path = [join(PROJECT, "target", "classes"), readFileSync(CLASS_PATH, "utf8").trim()].join(delimiter);
  await runChecks("tikv-client-java", "java", ["-cp", path, "dev.raftwerk.clients.RawKv", "-pd", cluster.pd]);
}
