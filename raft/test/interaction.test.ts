/** The runner of scripts itself: every command, argument and text form works even where no script happens to use it. */
import { describe, expect, test } from "vitest";
import { runScript } from "./conformance.js";
import { parseScript } from "./datadriven.js";
import { interactionHandler } from "./interaction.js";

/** Runs one-line commands in one environment and answers with what the last one prints. */
function run(...commands: string[]): string {
  const handler = interactionHandler();
  let output = "";
  for (const command of commands) {
    for (const directive of parseScript(`${command}\n----\n`).directives) output = handler(directive);
  }
  return output;
}

const QUIET = "log-level none";
const LOUD = "log-level debug";
const THREE = ["add-nodes 3 voters=(1,2,3) index=10"];
const LED = [...THREE, QUIET, "campaign 1", "stabilize", LOUD];

describe("what a command answers", () => {
  test("ok when it prints nothing", () => {
    expect(run("_breakpoint")).toBe("ok");
  });

  test("an unknown command is an error of the script's output", () => {
    expect(run("fly 1")).toBe("unknown command");
  });

  test("errors are printed even where output is silenced, and then alone", () => {
    expect(run(...LED, QUIET, "compact 1 99")).toBe("requested entry at index is unavailable");
    expect(run(...LED, "compact 1 10")).toBe("requested index is unavailable due to compaction");
  });

  test("log levels have any case, and others are refused", () => {
    for (const level of ["debug", "INFO", "Warn", "error", "fatal", "None"]) {
      expect(run(`log-level ${level}`)).toBe("ok");
    }
    expect(run("log-level loud")).toBe("log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]");
  });

  test("only level none silences", () => {
    expect(run(...LED, "log-level FATAL", "raft-log 1")).toBe('1/11 EntryNormal ""\n');
    expect(run(...LED, "log-level none", "raft-log 1")).toBe("ok");
  });

  test("stabilize has a level of its own, for its own time", () => {
    const before = [...THREE, "campaign 1"];
    expect(run(...before, "stabilize log-level=none")).toBe("ok");
    expect(run(...before, "stabilize log-level=none", "raft-log 2")).toBe('1/11 EntryNormal ""\n');
    expect(run(...before, "stabilize log-level=shy")).toContain("log levels must be either of");
  });
});

describe("add-nodes", () => {
  test("a first snapshot must be above index 1", () => {
    for (const text of ["voters=(1)", "voters=(1) index=1", "content=x", "learners=(1) index=1"]) {
      expect(run(`add-nodes 1 ${text}`)).toBe("index must be specified as > 1 due to bootstrap");
    }
  });

  test("without a snapshot nodes are empty and members of nothing", () => {
    expect(run("add-nodes 1", "raft-log 1")).toBe("log is empty: first index=1, last index=0");
    expect(run("add-nodes 1", "raft-state")).toBe("1: StateFollower (Non-Voter) Term:0 Lead:0\n");
  });

  test("ids count on over several commands, and begin with the data of the snapshot", () => {
    const nodes = ["add-nodes 2 voters=(1,2) learners=(3) index=2 content=abc", "add-nodes 1"];
    expect(run(...nodes, "raft-state").split("\n")).toHaveLength(4);
    expect(run(...nodes, "applied-data 2")).toBe('index=2 term=1 data="abc"');
    expect(run(...nodes, "conf-state 1")).toBe("voters=(1 2) learners=(3)");
  });

  test("truth values have Go's spellings", () => {
    for (const yes of ["1", "t", "T", "TRUE", "true", "True"]) {
      expect(run(`add-nodes 1 voters=(1) index=3 prevote=${yes}`, "campaign 1", "raft-state")).toContain(
        "StatePreCandidate",
      );
    }
    for (const no of ["0", "f", "F", "FALSE", "false", "False"]) {
      expect(run(`add-nodes 1 voters=(1) index=3 prevote=${no}`, "campaign 1", "raft-state")).toContain(
        "StateCandidate",
      );
    }
    expect(() => run("add-nodes 1 prevote=maybe")).toThrow("prevote is not a truth value");
    expect(() => run("add-nodes 1 prevote")).toThrow("prevote is not a truth value");
  });

  test("a misspelt option does not pass for an absent one", () => {
    expect(() => run("add-nodes 1 pre-vote=true")).toThrow("unknown argument pre-vote=");
    expect(run("add-nodes 1 read-only=sometimes")).toBe('invalid read-only option "sometimes"');
    expect(() => run("add-nodes many")).toThrow("not a number: many");
  });

  test("lease-based reads need checkquorum, as in any configuration", () => {
    const result = runScript("interaction", "x.txt", "add-nodes 1 read-only=lease-based\n----\nok\n");
    expect(result.failure).toContain("readOnlyOption leaseBased needs checkQuorum");
    expect(run("add-nodes 1 read-only=lease-based checkquorum=true")).toBe("ok");
  });
});

describe("nodes that do not exist", () => {
  test("are named", () => {
    expect(run(...THREE, "campaign 4")).toBe("no node 4");
    expect(run("campaign")).toBe("campaign: argument 1 is missing");
  });
});
