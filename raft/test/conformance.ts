/**
 * Runs data-driven scripts against the library and compares. The kind of a script is the name of its folder. Lines of
 * log output are no part of the protocol: they are dropped from both sides.
 */
import { confChangeHandler } from "./confchange-script.js";
import type { Directive } from "./datadriven.js";
import { parseScript, rewriteScript, ScriptError } from "./datadriven.js";
import { interactionHandler } from "./interaction.js";
import { quorumHandler } from "./quorum-script.js";

export const SCRIPT_KINDS = ["interaction", "confchange", "quorum"] as const;
export type ScriptKind = (typeof SCRIPT_KINDS)[number];
export type Handler = (directive: Directive) => string;

/** Handlers with a fresh environment: one a file. */
const HANDLERS: Readonly<Record<ScriptKind, () => Handler>> = {
  interaction: interactionHandler,
  confchange: confChangeHandler,
  quorum: quorumHandler,
};

export interface ScriptResult {
  readonly passed: number;
  /** Text of the first difference; the file ends there. */
  readonly failure: string | undefined;
}

const LOG_LINE = /^\s*(DEBUG|INFO|WARN|ERROR|FATAL)\b/;

function withoutLog(text: string): string {
  return text
    .split("\n")
    .filter((line) => !LOG_LINE.test(line))
    .join("\n");
}

const terminated = (text: string): string => (text === "" || text.endsWith("\n") ? text : `${text}\n`);

/** Output that was log alone reads `ok` here, where logs are not part of the output. */
function matches(expected: string, actual: string): boolean {
  const want = withoutLog(expected);
  if (want === actual) return true;
  return want === "" && expected !== "" && actual === "ok\n";
}

function difference(file: string, directive: Directive, actual: string): string {
  const expectedLines = withoutLog(directive.expected).split("\n");
  const actualLines = actual.split("\n");
  let first = 0;
  while (expectedLines[first] === actualLines[first] && first < expectedLines.length) first++;
  const from = Math.max(0, first - 3);
  const lines = [`${file}:${directive.line}: ${directive.command}`];
  for (let i = from; i < first; i++) lines.push(`    ${expectedLines[i]}`);
  for (let i = first; i < Math.min(expectedLines.length, first + 6); i++)
    lines.push(`  - ${expectedLines[i]}`);
  for (let i = first; i < Math.min(actualLines.length, first + 6); i++) lines.push(`  + ${actualLines[i]}`);
  return lines.join("\n");
}

function run(handler: Handler, directive: Directive): string {
  try {
    return terminated(handler(directive));
  } catch (error) {
    if (error instanceof ScriptError) throw error;
    return `threw: ${error instanceof Error ? error.message : String(error)}\n`;
  }
}

export function runScript(kind: ScriptKind, file: string, text: string): ScriptResult {
  let passed = 0;
  try {
    const handler = HANDLERS[kind]();
    for (const directive of parseScript(text).directives) {
      const actual = run(handler, directive);
      if (!matches(directive.expected, actual)) {
        return { passed, failure: difference(file, directive, actual) };
      }
      passed++;
    }
  } catch (error) {
    if (error instanceof ScriptError) return { passed, failure: `${file}: ${error.message}` };
    throw error;
  }
  return { passed, failure: undefined };
}

/** The script with the outputs of today. */
export function regenerate(kind: ScriptKind, text: string): string {
  const script = parseScript(text);
  const handler = HANDLERS[kind]();
  const outputs = new Map<Directive, string>();
  for (const directive of script.directives) outputs.set(directive, run(handler, directive));
  return rewriteScript(script, outputs);
}

/** The kind that a path names by one of its folders; the innermost counts. */
export function kindOf(path: string): ScriptKind | undefined {
  const folders = path.split(/[\\/]/).slice(0, -1).reverse();
  for (const folder of folders) {
    const kind = SCRIPT_KINDS.find((name) => name === folder);
    if (kind !== undefined) return kind;
  }
  return undefined;
}
