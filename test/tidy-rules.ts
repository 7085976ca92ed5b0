/**
 * The house rules as functions of (path, text): each returns the problems it sees, as lines a reader can act on.
 * `tidy.test.ts` runs them over the tree, and over small made-up files to show that each can fail. No TypeScript API
 * is used: imports are found by their form at the beginning of a line, which the formatter guarantees.
 */

export interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** Which folders a folder may import from; itself always. Absent: it may import from every folder. */
export const ARROWS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  proto: ["base"],
  raft: ["base"],
  engine: ["base"],
  region: ["raft", "proto", "base"],
  store: ["region", "raft", "proto", "base", "pd-client"],
  pd: ["proto", "base"],
  "pd-client": ["proto", "base"],
  client: ["pd-client", "proto", "base"],
  group: ["raft", "base"],
  adapters: ["base", "proto", "store", "pd", "pd-client", "client", "engine", "group"],
  embed: ["adapters", "base", "client", "engine", "pd", "pd-client", "proto", "raft", "region", "store"],
  sim: ["base", "client", "engine", "group", "pd", "pd-client", "proto", "raft", "region", "store"],
};

/** Folders whose code runs anywhere: on a machine, in a test, in a simulator. */
export const PORTABLE: readonly string[] = [
  "base",
  "proto",
  "raft",
  "region",
  "store",
  "pd",
  "pd-client",
  "client",
  "sim",
  "group",
];

export const FILE_LINES_MAX = 800;
/** The formatter breaks code at 110; comments and messages, broken by hand, may go a little further. */
export const LINE_LENGTH_MAX = 120;

const BANNED_IN_PORTABLE: readonly (readonly [RegExp, string])[] = [
  [/\bnew Date\b|\bDate\.(now|parse|UTC)\b/, "Date: take the time from Env.clock"],
  [/(?<![.\w#])setTimeout\b/, "setTimeout: take timers from Env.timers"],
  [/(?<![.\w#])setInterval\b/, "setInterval: take timers from Env.timers"],
  [/(?<![.\w#])setImmediate\b/, "setImmediate: take turns from Env.timers.nextTurn"],
  [/(?<![.\w#])queueMicrotask\b/, "queueMicrotask: take turns from Env.timers.nextTurn"],
  [/\bMath\.random\b/, "Math.random: take randomness from Env.random"],
  [/(?<![.\w#])performance\./, "performance: take the time from Env.clock"],
  [/(?<![.\w#])crypto\./, "crypto: take randomness from Env.random"],
  [/(?<![.\w#])console\./, "console: log through Env.log"],
  [/(?<![.\w#])process\./, "process: portable code knows no process"],
  [/(?<![.\w#])Buffer\b/, "Buffer: bytes are Uint8Array"],
];

export const folderOf = (path: string): string => path.split("/")[0] as string;

export const isTest = (path: string): boolean =>
  path.endsWith(".test.ts") || path.startsWith("test/") || path.includes("/test/");

/** The text with comments and the insides of strings blanked, line breaks kept. */
export function stripCommentsAndStrings(text: string): string {
  const token = new RegExp(
    [
      /\/\*[\s\S]*?\*\/|\/\/[^\n]*/,
      /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\$]|\\.|\$(?!\{))*`/,
      // A regular expression literal stands where a value may begin.
      /(?<=[(,=:[!&|?{};\n]\s*)\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/,
    ]
      .map((part) => part.source)
      .join("|"),
    "g",
  );
  return text.replace(token, (found) => found.replace(/[^\n]/g, " "));
}

export interface ImportStatement {
  readonly specifier: string;
  /** The whole statement is `import type` or `export type`. */
  readonly typeOnly: boolean;
}

export function importsOf(text: string): ImportStatement[] {
  const found: ImportStatement[] = [];
  const pattern = /^(?:import|export)\s+(type\s)?(?:[^;"']*?\sfrom\s+)?["']([^"']+)["']/gm;
  for (const match of text.matchAll(pattern)) {
    found.push({ specifier: match[2] as string, typeOnly: match[1] !== undefined });
  }
  for (const match of text.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g)) {
    found.push({ specifier: match[1] as string, typeOnly: false });
  }
  return found;
}

/** The path of the file that a relative import names. */
export function resolveImport(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/").replace(/\.js$/, ".ts");
}

/** Imports against the arrows. Tests may import what they need. */
export function wrongArrows(file: SourceFile): string[] {
  const folder = folderOf(file.path);
  const allowed = ARROWS[folder];
  if (allowed === undefined || isTest(file.path)) return [];
  const problems: string[] = [];
  for (const { specifier } of importsOf(file.text)) {
    const target = resolveImport(file.path, specifier);
    if (target === undefined) continue;
    const to = folderOf(target);
    if (to !== folder && !allowed.includes(to)) {
      problems.push(`${file.path}: ${folder} must not import from ${to} (${specifier})`);
    }
  }
  return problems;
}

/** Node's modules and native packages in portable folders. */
export function foreignImports(file: SourceFile): string[] {
  if (!PORTABLE.includes(folderOf(file.path)) || isTest(file.path)) return [];
  const allowed = /^(\.{1,2}\/|protobufjs(\/|$))/;
  return importsOf(file.text)
    .filter(({ specifier }) => !allowed.test(specifier))
    .map(({ specifier }) => `${file.path}: a portable folder must not import ${specifier}`);
}

/** Ambient time, chance, timers, log and Node's globals in portable folders. */
export function bannedAmbients(file: SourceFile): string[] {
  if (!PORTABLE.includes(folderOf(file.path)) || isTest(file.path)) return [];
  const problems: string[] = [];
  stripCommentsAndStrings(file.text)
    .split("\n")
    .forEach((line, i) => {
      for (const [pattern, advice] of BANNED_IN_PORTABLE) {
        if (pattern.test(line)) problems.push(`${file.path}:${i + 1}: ${advice}`);
      }
    });
  return problems;
}

/** Chains of imports that come back to their beginning, one per file that begins one. */
export function importCycles(files: readonly SourceFile[]): string[] {
  const known = new Set(files.map((file) => file.path));
  const graph = new Map(
    files.map((file) => [
      file.path,
      importsOf(file.text)
        .filter((statement) => !statement.typeOnly)
        .map((statement) => resolveImport(file.path, statement.specifier))
        .filter((target): target is string => target !== undefined && known.has(target)),
    ]),
  );
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) {
      cycles.push([...trail.slice(at), path].join(" -> "));
      return;
    }
    if (done.has(path)) return;
    for (const target of graph.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return cycles;
}

export function tooLong(file: SourceFile): string[] {
  const lines = file.text.split("\n");
  return lines.length - 1 > FILE_LINES_MAX
    ? [`${file.path}: ${lines.length - 1} lines, more than ${FILE_LINES_MAX}: it holds more than one concept`]
    : [];
}

/** One literal, a test title or the text of an error, that no formatter breaks. */
const LONG_LITERAL = /(["'`]).{60,}\1/;

export function longLines(file: SourceFile): string[] {
  const problems: string[] = [];
  file.text.split("\n").forEach((line, i) => {
    if (line.length > LINE_LENGTH_MAX && !LONG_LITERAL.test(line))
      problems.push(`${file.path}:${i + 1}: ${line.length} characters`);
  });
  return problems;
}

export function missingOpening(file: SourceFile): string[] {
  return /^(#![^\n]*\n)?\s*(\/\*\*|\/\/)/.test(file.text)
    ? []
    : [`${file.path}: opens without a comment that says what it is`];
}

export function defaultExports(file: SourceFile): string[] {
  return /^export default\b/m.test(stripCommentsAndStrings(file.text))
    ? [`${file.path}: has a default export; use a named one`]
    : [];
}

export function leftOvers(file: SourceFile): string[] {
  const problems: string[] = [];
  if (/\b(TODO|FIXME|XXX)\b/.test(file.text)) problems.push(`${file.path}: holds a note of unfinished work`);
  if (/\b(?:test|describe|it)\.only\(/.test(stripCommentsAndStrings(file.text))) {
    problems.push(`${file.path}: runs only one of its tests`);
  }
  return problems;
}

/** Members of `export type NAME = "a" | "b"`. */
export function unionMembers(text: string, name: string): string[] {
  const body = new RegExp(`export type ${name} =([^;]*);`).exec(text)?.[1] ?? "";
  return [...body.matchAll(/"([^"]+)"/g)].map((match) => match[1] as string);
}

/** Headings of one level in a document, backquotes removed. */
export function headings(markdown: string, level: number): string[] {
  const mark = "#".repeat(level);
  return [...markdown.matchAll(new RegExp(`^${mark} (.+)$`, "gm"))].map((match) =>
    (match[1] as string).replaceAll("`", "").trim(),
  );
}

/** What is in one list and not in the other. */
export function difference(what: string, have: readonly string[], want: readonly string[]): string[] {
  return [
    ...want.filter((name) => !have.includes(name)).map((name) => `${what}: ${name} is missing`),
    ...have.filter((name) => !want.includes(name)).map((name) => `${what}: ${name} does not exist`),
  ];
}
