/**
 * The tree against the house rules. What a rule refuses is said by its function in tidy-rules.ts; the second half
 * shows that each of them can refuse.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  ARROWS,
  bannedAmbients,
  defaultExports,
  difference,
  folderOf,
  foreignImports,
  headings,
  importCycles,
  isTest,
  leftOvers,
  longLines,
  missingOpening,
  type SourceFile,
  tooLong,
  unionMembers,
  wrongArrows,
} from "./tidy-rules.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

const FOLDERS = [...Object.keys(ARROWS), "ctl", "deploy", "bench", "test"];
const SKIPPED = /^(proto\/gen\/|test\/clients\/|node_modules\/|dist\/)/;

function sourceFiles(folder: string): SourceFile[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts") && !SKIPPED.test(path))
    .sort()
    .map((path) => ({ path, text: read(path) }));
}

const files = FOLDERS.flatMap(sourceFiles);
const production = files.filter((file) => !isTest(file.path));

describe("the tree", () => {
  test("has files to look at", () => {
    expect(production.length).toBeGreaterThan(100);
  });

  test("imports along the arrows only", () => {
    expect(files.flatMap(wrongArrows)).toEqual([]);
  });

  test("has no cycles of imports", () => {
    expect(importCycles(files)).toEqual([]);
  });

  test("keeps Node and native packages out of portable folders", () => {
    expect(files.flatMap(foreignImports)).toEqual([]);
  });

  test("takes time, chance, timers and log from Env in portable folders", () => {
    expect(files.flatMap(bannedAmbients)).toEqual([]);
  });

  test("keeps files and lines short", () => {
    expect([...files.flatMap(tooLong), ...files.flatMap(longLines)]).toEqual([]);
  });

  test("says at the top of every file what it is", () => {
    expect(production.flatMap(missingOpening)).toEqual([]);
  });

  test("has a README in every folder", () => {
    const folders = [...new Set(production.map((file) => folderOf(file.path)))];
    expect(folders.length).toBeGreaterThan(10);
    expect(folders.filter((folder) => !existsSync(join(root, folder, "README.md")))).toEqual([]);
  });

  test("exports by name and leaves nothing unfinished", () => {
    const own = files.filter((file) => !file.path.startsWith("test/tidy"));
    expect([...own.flatMap(defaultExports), ...own.flatMap(leftOvers)]).toEqual([]);
  });

  test("documents every error code, and no other", () => {
    const codes = unionMembers(read("base/errors.ts"), "ErrorCode");
    expect(codes.length).toBeGreaterThan(10);
    expect(difference("docs/errors.md", headings(read("docs/errors.md"), 2), codes)).toEqual([]);
  });

  test("documents every dependency, and no other", () => {
    const manifest = JSON.parse(read("package.json")) as { dependencies: Record<string, string> };
    const names = Object.keys(manifest.dependencies);
    expect(difference("docs/dependencies.md", headings(read("docs/dependencies.md"), 2), names)).toEqual([]);
  });
});

describe("the rules", () => {
  const file = (path: string, text: string): SourceFile => ({ path, text });

  test("see an import against an arrow, types included, and leave tests alone", () => {
    const text = 'import type { Peer } from "../region/peer.js";\n';
    expect(wrongArrows(file("raft/x.ts", text))).toHaveLength(1);
    expect(wrongArrows(file("store/x.ts", text))).toEqual([]);
    expect(wrongArrows(file("raft/x.test.ts", text))).toEqual([]);
    expect(wrongArrows(file("raft/deep/x.ts", 'export * from "../../pd/index.js";\n'))).toHaveLength(1);
    expect(wrongArrows(file("pd/x.ts", 'import {\n  a,\n  b,\n} from "../store/index.js";\n'))).toHaveLength(
      1,
    );
  });

  test("see a cycle of imports, and none through types alone", () => {
    const a = file("raft/a.ts", 'import { b } from "./b.js";\n');
    const b = file("raft/b.ts", 'import { a } from "./deep/c.js";\n');
    const c = file("raft/deep/c.ts", 'import { a } from "../a.js";\n');
    expect(importCycles([a, b, c])).toEqual(["raft/a.ts -> raft/b.ts -> raft/deep/c.ts -> raft/a.ts"]);
    const typesOnly = file("raft/deep/c.ts", 'import type { a } from "../a.js";\n');
    expect(importCycles([a, b, typesOnly])).toEqual([]);
  });

  test("see Node's modules and native packages in portable folders", () => {
    expect(foreignImports(file("raft/x.ts", 'import { join } from "node:path";\n'))).toHaveLength(1);
    expect(foreignImports(file("store/x.ts", 'import "classic-level";\n'))).toHaveLength(1);
    expect(foreignImports(file("proto/x.ts", 'import protobuf from "protobufjs/minimal.js";\n'))).toEqual([]);
    expect(foreignImports(file("adapters/x.ts", 'import { join } from "node:path";\n'))).toEqual([]);
  });

  test.each([
    "const t = Date.now();",
    "const t = new Date();",
    "setTimeout(f, 5);",
    "setInterval(f, 5);",
    "setImmediate(f);",
    "queueMicrotask(f);",
    "const x = Math.random();",
    "const t = performance.now();",
    "crypto.getRandomValues(b);",
    "console.log(1);",
    "process.exit(1);",
    "Buffer.from(b);",
  ])("see the banned ambient in: %s", (line) => {
    expect(bannedAmbients(file("store/x.ts", `/** A file. */\n${line}\n`))).toHaveLength(1);
    expect(bannedAmbients(file("engine/x.ts", `/** A file. */\n${line}\n`))).toEqual([]);
  });

  test("do not take words in comments, strings and own methods for ambients", () => {
    const text = '// setTimeout(f)\n/* Date.now() */\nconst a = "Buffer";\nthis.process.run(a.console.x);\n';
    expect(bannedAmbients(file("store/x.ts", text))).toEqual([]);
    expect(bannedAmbients(file("store/x.ts", 'const a = "//"; Date.now();\n'))).toHaveLength(1);
  });

  test("see files and lines that are too long", () => {
    expect(tooLong(file("raft/x.ts", "a\n".repeat(801)))).toHaveLength(1);
    expect(tooLong(file("raft/x.ts", "a\n".repeat(800)))).toEqual([]);
    expect(longLines(file("raft/x.ts", "a".repeat(131)))).toHaveLength(1);
  });

  test("see a missing opening comment, default exports and left-overs", () => {
    expect(missingOpening(file("raft/x.ts", 'import "./a.js";\n'))).toHaveLength(1);
    expect(missingOpening(file("raft/x.ts", "/** What. */\n"))).toEqual([]);
    expect(defaultExports(file("raft/x.ts", "export default 5;\n"))).toHaveLength(1);
    expect(leftOvers(file("raft/x.ts", "// TODO later\n"))).toHaveLength(1);
    expect(leftOvers(file("raft/x.test.ts", 'test.only("x", f);\n'))).toHaveLength(1);
  });

  test("see lists that differ, both ways", () => {
    expect(unionMembers('export type Code =\n  | "a"\n  | "b";\n', "Code")).toEqual(["a", "b"]);
    expect(headings("# t\n## `a`\n### no\n## c\n", 2)).toEqual(["a", "c"]);
    expect(difference("x", ["a", "c"], ["a", "b"])).toEqual(["x: b is missing", "x: c does not exist"]);
    expect(folderOf("pd-client/index.ts")).toBe("pd-client");
  });
});
