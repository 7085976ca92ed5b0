/**
 * The format of data-driven scripts: directives with input and expected output, as in cockroachdb/datadriven.
 *
 *     # a comment
 *     command argument key=value key=(v1, v2) \
 *       continued
 *     input
 *     ----
 *     expected output, up to a blank line; or between two pairs of ----, and then with blank lines
 */
import { must } from "../../base/assert.js";

export interface Argument {
  readonly key: string;
  readonly values: readonly string[];
}

export interface Directive {
  readonly line: number;
  readonly command: string;
  readonly args: readonly Argument[];
  readonly input: string;
  readonly expected: string;
}

/** A script is wrong in itself. */
export class ScriptError extends Error {
  override readonly name = "ScriptError";
}

/** What a file consists of, enough to write it again. */
type Piece =
  | { readonly kind: "text"; readonly lines: readonly string[] }
  | { readonly kind: "directive"; readonly lines: readonly string[]; readonly directive: Directive };

export interface Script {
  readonly pieces: readonly Piece[];
  readonly directives: readonly Directive[];
}

/** Splits at commas that are not inside parentheses; blanks after a comma are skipped. */
function splitValues(text: string): string[] {
  const values: string[] = [];
  let depth = 0;
  let value = "";
  for (const character of text) {
    if (character === "(") depth++;
    if (character === ")") depth--;
    if (character === "," && depth === 0) {
      values.push(value);
      value = "";
    } else if (character !== " " || value !== "") {
      value += character;
    }
  }
  values.push(value);
  return values;
}

function closingParenthesis(line: string, from: number): number {
  let depth = 0;
  for (let at = from; at < line.length; at++) {
    if (line[at] === "(") depth++;
    if (line[at] === ")" && --depth === 0) return at;
  }
  throw new ScriptError(`unbalanced parentheses: ${line}`);
}

export function parseLine(line: string): { command: string; args: Argument[] } {
  const trimmed = line.trim();
  const commandEnd = trimmed.search(/\s/);
  if (commandEnd < 0) return { command: trimmed, args: [] };
  const args: Argument[] = [];
  let at = commandEnd;
  while (at < trimmed.length) {
    if (/\s/.test(trimmed[at] as string)) {
      at++;
      continue;
    }
    const start = at;
    while (at < trimmed.length && !/[\s=]/.test(trimmed[at] as string)) at++;
    const key = trimmed.slice(start, at);
    if (trimmed[at] !== "=") {
      args.push({ key, values: [] });
      continue;
    }
    at++;
    if (trimmed[at] === "(") {
      const end = closingParenthesis(trimmed, at);
      args.push({ key, values: splitValues(trimmed.slice(at + 1, end)) });
      at = end + 1;
    } else {
      const valueStart = at;
      while (at < trimmed.length && !/\s/.test(trimmed[at] as string)) at++;
      args.push({ key, values: [trimmed.slice(valueStart, at)] });
    }
  }
  return { command: trimmed.slice(0, commandEnd), args };
}

class Reader {
  readonly #lines: readonly string[];
  at = 0;

  constructor(text: string) {
    const lines = text.split("\n").map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
    if (lines.at(-1) === "") lines.pop();
    this.#lines = lines;
  }

  next(): string | undefined {
    return this.#lines[this.at++];
  }
}

function readExpected(reader: Reader): string {
  const first = reader.next();
  const lines: string[] = [];
  if (first === "----") {
    for (let line = reader.next(); line !== undefined; line = reader.next()) {
      if (line !== "----") {
        lines.push(line);
        continue;
      }
      const second = reader.next();
      if (second === "----") {
        const blank = reader.next();
        if (blank !== undefined && blank !== "") {
          throw new ScriptError(`line ${reader.at}: a blank line must follow the closing pair of ----`);
        }
        break;
      }
      lines.push(line);
      if (second !== undefined) lines.push(second);
    }
  } else {
    for (let line = first; line !== undefined && line.trim() !== ""; line = reader.next()) lines.push(line);
  }
  return lines.map((line) => `${line}\n`).join("");
}

/** Reads a script. `subtest` lines group directives and are no directives themselves. */
export function parseScript(text: string): Script {
  const reader = new Reader(text);
  const pieces: Piece[] = [];
  const directives: Directive[] = [];
  let subtest: string | undefined;
  for (let raw = reader.next(); raw !== undefined; raw = reader.next()) {
    const trimmed = raw.trim();
    if (trimmed === "" || trimmed.startsWith("#")) {
      pieces.push({ kind: "text", lines: [raw] });
      continue;
    }
    const lines = [raw];
    const lineNumber = reader.at;
    let line = trimmed;
    while (line.endsWith("\\")) {
      const more = reader.next();
      if (more === undefined) break;
      lines.push(more);
      line = `${line.slice(0, -1)} ${more.trim()}`;
    }
    const { command, args } = parseLine(line);
    if (command === "subtest") {
      subtest = nextSubtest(subtest, args, lineNumber);
      pieces.push({ kind: "text", lines });
      continue;
    }
    const input: string[] = [];
    let separated = false;
    for (let more = reader.next(); more !== undefined; more = reader.next()) {
      if (more === "----") {
        separated = true;
        break;
      }
      lines.push(more);
      input.push(more);
    }
    const expected = separated ? readExpected(reader) : "";
    const directive = { line: lineNumber, command, args, input: input.join("\n").trim(), expected };
    directives.push(directive);
    pieces.push({ kind: "directive", lines, directive });
  }
  if (subtest !== undefined) throw new ScriptError(`subtest ${subtest} has no end`);
  return { pieces, directives };
}

function nextSubtest(open: string | undefined, args: readonly Argument[], line: number): string | undefined {
  const name = args[0]?.key;
  if (name === undefined) throw new ScriptError(`line ${line}: subtest needs a name`);
  if (name !== "end") {
    if (open !== undefined) throw new ScriptError(`line ${line}: subtest ${open} is not ended`);
    return name;
  }
  if (open === undefined) throw new ScriptError(`line ${line}: subtest end without a start`);
  if (args[1] !== undefined && args[1].key !== open) throw new ScriptError(`line ${line}: ${open} is open`);
  return undefined;
}

/** The script's text with these outputs instead of the expected ones. */
export function rewriteScript(script: Script, outputs: ReadonlyMap<Directive, string>): string {
  const lines: string[] = [];
  const blank = () => lines.length > 0 && lines.at(-1) !== "" && lines.push("");
  for (const piece of script.pieces) {
    if (piece.kind === "text") {
      for (const line of piece.lines) if (line !== "" || lines.at(-1) !== "") lines.push(line);
      continue;
    }
    const output = must(outputs.get(piece.directive), "a directive has no output");
    lines.push(...piece.lines, "----");
    if (/\n[ \t]*\n/.test(`\n${output}`)) lines.push("----", output.replace(/\n$/, ""), "----", "----");
    else if (output !== "") lines.push(output.replace(/\n$/, ""));
    blank();
  }
  while (lines.at(-1) === "") lines.pop();
  return `${lines.join("\n")}\n`;
}
