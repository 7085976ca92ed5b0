/** The format of scripts: how they are read, and that writing them again changes nothing but outputs. */
import { describe, expect, test } from "vitest";
import { kindOf, regenerate, runScript } from "./conformance.js";
import { parseLine, parseScript, rewriteScript } from "./datadriven.js";

const only = (text: string) => {
  const { directives } = parseScript(text);
  expect(directives).toHaveLength(1);
  return directives[0];
};

describe("arguments", () => {
  test("keys stand alone, or have one value, or none but the empty one, or a list", () => {
    expect(parseLine("cmd 1 a= b=x c=(1, 2,3) d")).toEqual({
      command: "cmd",
      args: [
        { key: "1", values: [] },
        { key: "a", values: [""] },
        { key: "b", values: ["x"] },
        { key: "c", values: ["1", "2", "3"] },
        { key: "d", values: [] },
      ],
    });
  });

  test("parentheses inside of a list keep their commas, and what follows the list is the next argument", () => {
    expect(parseLine("cmd a=(x, f(y, z), w)b")).toEqual({
      command: "cmd",
      args: [
        { key: "a", values: ["x", "f(y, z)", "w"] },
        { key: "b", values: [] },
      ],
    });
    expect(parseLine("cmd a=()").args).toEqual([{ key: "a", values: [""] }]);
    expect(() => parseLine("cmd a=(x")).toThrow("unbalanced parentheses");
  });

  test("a line goes on after a backslash", () => {
    expect(only("cmd a \\\n   b=c \\\nd\n----\n")?.args.map(({ key }) => key)).toEqual(["a", "b", "d"]);
  });
});

describe("directives", () => {
  test("input is all up to the separator, comments and blank lines in it included", () => {
    const directive = only("cmd\n\n  one\n\n# no comment here\ntwo\n----\nout\n");
    expect(directive?.input).toBe("one\n\n# no comment here\ntwo");
    expect(directive?.expected).toBe("out\n");
  });

  test("expected output ends at a blank line or with the file", () => {
    const { directives } = parseScript("# about\n\nfirst\n----\nx\ny\n \nsecond\n----\nz");
    expect(directives.map(({ command, expected, line }) => ({ command, expected, line }))).toEqual([
      { command: "first", expected: "x\ny\n", line: 3 },
      { command: "second", expected: "z\n", line: 8 },
    ]);
    expect(only("cmd\n----\n")?.expected).toBe("");
  });

  test("lines may end as on Windows", () => {
    expect(only("cmd\r\ninput\r\n----\r\nout\r\n\r\n")).toMatchObject({ input: "input", expected: "out\n" });
  });

  test("output with blank lines stands between doubled separators", () => {
    const text = "cmd\n----\n----\na\n\nb\n----\nc\n----\n----\n\nnext\n----\nd\n";
    const { directives } = parseScript(text);
    expect(directives.map(({ expected }) => expected)).toEqual(["a\n\nb\n----\nc\n", "d\n"]);
    expect(() => parseScript("cmd\n----\n----\na\n----\n----\nnext\n----\n")).toThrow(
      "blank line must follow",
    );
  });

  test("subtests group, must be closed, and by their own name", () => {
    const { directives } = parseScript(
      "subtest a\n\ncmd\n----\nx\n\nsubtest end a\n\nsubtest b\n\nsubtest end\n",
    );
    expect(directives.map(({ command }) => command)).toEqual(["cmd"]);
    expect(() => parseScript("subtest a\n\n")).toThrow("subtest a has no end");
    expect(() => parseScript("subtest a\n\nsubtest b\n\n")).toThrow("subtest a is not ended");
    expect(() => parseScript("subtest a\n\nsubtest end b\n")).toThrow("a is open");
    expect(() => parseScript("subtest end\n")).toThrow("without a start");
    expect(() => parseScript("subtest\n")).toThrow("needs a name");
  });
});

describe("rewriting", () => {
  test("puts in the new outputs and keeps comments, inputs, continuations and subtests", () => {
    const text =
      "# about\n\nsubtest a\n\none \\\n  more\nin\n----\nold\n\n# between\ntwo\n----\nold\n\nsubtest end a\n";
    const script = parseScript(text);
    const outputs = new Map(script.directives.map((directive) => [directive, `new ${directive.command}\n`]));
    expect(rewriteScript(script, outputs)).toBe(text.replace("old", "new one").replace("old", "new two"));
  });

  test("doubles the separators around blank lines, and reads them back", () => {
    const script = parseScript("cmd\n----\nold\n");
    const rewritten = rewriteScript(script, new Map([[script.directives[0] as never, "a\n\nb\n"]]));
    expect(rewritten).toBe("cmd\n----\n----\na\n\nb\n----\n----\n");
    expect(only(rewritten)?.expected).toBe("a\n\nb\n");
  });

  test("fills in what a script leaves open, and then it passes", () => {
    const text = regenerate(
      "quorum",
      "committed cfg=(1,2,3) idx=(5,7,9)\n----\n\nvote cfg=(1) votes=(y)\n----\n",
    );
    expect(text).toContain("7\n\nvote cfg=(1) votes=(y)\n----\nVoteWon\n");
    expect(runScript("quorum", "x.txt", text)).toEqual({ passed: 2, failure: undefined });
    expect(regenerate("quorum", text)).toBe(text);
  });

  test("does not write down that a script is wrong in itself", () => {
    expect(() => regenerate("quorum", "fly cfg=(1) idx=(2)\n----\n")).toThrow("unknown command: fly");
    expect(() => regenerate("interaction", "add-nodes 1 colour=red\n----\n")).toThrow("unknown argument");
  });
});

describe("running", () => {
  test("logs are no part of the output, on either side", () => {
    const logged = "add-nodes 1 voters=(1) index=3\n----\nINFO 1 switched to configuration voters=(1)\n";
    expect(runScript("interaction", "x.txt", logged).failure).toBeUndefined();
  });

  test("a difference ends the file, and tells where it is and what came instead", () => {
    const text =
      "vote cfg=(1) votes=(y)\n----\nVoteWon\n\nvote cfg=(1) votes=(n)\n----\nVoteWon\n\nnever\n----\n";
    const result = runScript("quorum", "dir/x.txt", text);
    expect(result.passed).toBe(1);
    expect(result.failure).toBe("dir/x.txt:5: vote\n  - VoteWon\n  - \n  + VoteLost\n  + ");
  });

  test("the innermost folder of a path tells the kind", () => {
    expect(kindOf("/quorum/confchange/x.txt")).toBe("confchange");
    expect(kindOf("a\\interaction\\x.txt")).toBe("interaction");
    expect(kindOf("/elsewhere/quorum.txt")).toBeUndefined();
  });
});
