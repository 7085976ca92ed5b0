/**
 * `npm run raft:conformance -- DIR [--rewrite]`: runs all .txt scripts below DIR (or one file), whose folder names
 * tell their kind. Prints the first difference of each failing file; fails when a case fails or when there was none.
 * `--rewrite` puts what comes out in the place of what was expected: read it before it is kept.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ScriptKind } from "./conformance.js";
import { kindOf, regenerate, runScript, SCRIPT_KINDS } from "./conformance.js";
import { ScriptError } from "./datadriven.js";

function scripts(folder: string): string[] {
  if (statSync(folder).isFile()) return [folder];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".txt"))
    .sort()
    .map((name) => join(folder, name));
}

/** What is wrong with the script itself, which is left as it is then. */
function rewriteFile(kind: ScriptKind, file: string): string | undefined {
  const text = readFileSync(file, "utf8");
  try {
    const rewritten = regenerate(kind, text);
    if (rewritten !== text) writeFileSync(file, rewritten);
    return undefined;
  } catch (error) {
    if (error instanceof ScriptError) return `${file}: ${error.message}`;
    throw error;
  }
}

function main(args: readonly string[]): number {
  const rewrite = args.includes("--rewrite");
  const folder = args.find((argument) => !argument.startsWith("--"));
  if (folder === undefined) {
    process.stderr.write("usage: npm run raft:conformance -- DIR [--rewrite]\n");
    return 2;
  }
  let passed = 0;
  let failed = 0;
  for (const file of scripts(resolve(folder))) {
    const kind = kindOf(file);
    if (kind === undefined) {
      process.stderr.write(`skipped ${file}: not below a folder named ${SCRIPT_KINDS.join(", ")}\n`);
      continue;
    }
    const unusable = rewrite ? rewriteFile(kind, file) : undefined;
    const result = runScript(kind, file, readFileSync(file, "utf8"));
    passed += result.passed;
    const failure = unusable ?? result.failure;
    if (failure === undefined) continue;
    failed++;
    process.stdout.write(`${failure}\n\n`);
  }
  process.stdout.write(`${passed} cases passed, ${failed} failed\n`);
  return failed > 0 || passed === 0 ? 1 : 0;
}

process.exitCode = main(process.argv.slice(2));
