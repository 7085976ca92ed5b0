/** Commands of interaction scripts that look at nodes, or do to them what no message does. */
import { describe, expect, test } from "vitest";
import { parseScript } from "./datadriven.js";
import { interactionHandler } from "./interaction.js";

/** Runs commands (with input after a line break) in one environment and answers with what the last one prints. */
function run(...commands: string[]): string {
  const handler = interactionHandler();
  let output = "";
  for (const command of commands) {
    for (const directive of parseScript(`${command}\n----\n`).directives) output = handler(directive);
  }
  return output;
}

const led = (options = ""): string[] => [
  "log-level none",
  `add-nodes 3 voters=(1,2,3) index=10 ${options}`,
  "campaign 1",
  "stabilize",
  "log-level debug",
];

describe("views", () => {
  test("raft-log shows what is written, and an empty log by its bounds", () => {
    const pending = [...led(), "propose 1 x"];
    expect(run(...pending, "raft-log 1")).toBe('1/11 EntryNormal ""\n');
    expect(run(...pending, "process-ready 1", "raft-log 1")).toBe(
      '1/11 EntryNormal ""\n1/12 EntryNormal "x"\n',
    );
    expect(run(...led(), "compact 1 11")).toBe("log is empty: first index=12, last index=11");
    expect(run(...led(), "propose 1 x", "process-ready 1", "compact 1 11")).toBe('1/12 EntryNormal "x"\n');
  });

  test("raft-state shows all nodes; either half of a joint configuration makes a voter", () => {
    const joint = [...led(), "propose-conf-change 1 transition=explicit\nr3", "log-level none", "stabilize"];
    expect(run(...joint, "log-level debug", "raft-state")).toBe(
      "1: StateLeader (Voter) Term:1 Lead:1\n" +
        "2: StateFollower (Voter) Term:1 Lead:1\n" +
        "3: StateFollower (Voter) Term:1 Lead:1\n",
    );
    const left = [...joint, "propose-conf-change 1", "stabilize", "log-level debug"];
    expect(run(...left, "raft-state")).toContain("3: StateFollower (Non-Voter) Term:1 Lead:1\n");
  });

  test("status is that of a leader; others have none", () => {
    expect(run(...led(), "status 1")).toBe(
      "1: StateReplicate match=11 next=12\n2: StateReplicate match=11 next=12\n3: StateReplicate match=11 next=12\n",
    );
    expect(run(...led(), "status 2")).toBe("ok");
  });

  test("progress shows in flight, full, paused, inactive, learner and pending snapshot", () => {
    const sent = [...led("inflight=2"), "propose 1 a", "status 1"];
    expect(run(...sent)).toContain("2: StateReplicate match=11 next=13 inflight=1\n");
    expect(run(...sent, "propose 1 b", "status 1")).toContain(
      "2: StateReplicate match=11 next=14 paused inflight=2[full]\n",
    );
    const grown = [...led(), "propose-conf-change 1\nl4", "log-level none", "stabilize", "log-level debug"];
    expect(run(...grown, "status 1")).toContain("4: StateProbe match=0 next=12 learner paused\n");
  });
});

describe("time", () => {
  test("tick-election and tick-heartbeat are as long as the timeouts of the node", () => {
    const slow = ["add-nodes 2 voters=(1,2) index=10 election-tick=7 heartbeat-tick=2"];
    const timed = [...slow, "set-randomized-election-timeout 1 timeout=8"];
    expect(run(...timed, "tick-election 1", "raft-state")).toContain("1: StateFollower");
    expect(run(...timed, "tick-election 1", "tick 1 n=1", "raft-state")).toContain("1: StateCandidate");
    const leading = [...slow, "campaign 1", "stabilize log-level=none"];
    expect(run(...leading, "tick 1 n=1", "process-ready 1")).toBe("<empty Ready>");
    expect(run(...leading, "tick-heartbeat 1", "process-ready 1")).toContain("1->2 MsgHeartbeat");
    expect(run(...leading, "ping 1", "process-ready 1")).toContain("1->2 MsgHeartbeat");
  });

  test("a timeout must be given", () => {
    expect(() => run(...led(), "set-randomized-election-timeout 1")).toThrow("timeout= is missing");
  });
});

describe("propose-conf-change", () => {
  const change = (line: string): string =>
    run(...led(), `propose-conf-change 1 ${line}`, "process-ready 1").split("\n")[2] ?? "";

  test("has all operations, both forms and all transitions", () => {
    expect(change("\nv4 l5 r2 u3")).toBe("1/12 EntryConfChangeV2 v4 l5 r2 u3");
    expect(change("v1=true\nu3")).toBe("1/12 EntryConfChange u3");
    expect(change("v1=false transition=auto\nl4")).toBe("1/12 EntryConfChangeV2 l4");
    for (const [transition, config] of [
      ["implicit", "voters=(1 2)&&(1 2 3) autoleave"],
      ["explicit", "voters=(1 2)&&(1 2 3)"],
      ["auto", "voters=(1 2)"],
    ] as const) {
      const proposed = [...led(), `propose-conf-change 1 transition=${transition}\nr3`, "process-ready 1"];
      const applied = [...proposed, "deliver-msgs 2", "process-ready 2", "deliver-msgs 1", "process-ready 1"];
      expect(run(...applied, "conf-state 1")).toBe(config);
    }
  });

  test("refuses what it does not understand", () => {
    expect(run(...led(), "propose-conf-change 1\nv")).toBe("unknown token v");
    expect(run(...led(), "propose-conf-change 1\nx4")).toBe("unknown input: x4");
    expect(run(...led(), "propose-conf-change 1\nvx")).toContain('parsing "x": invalid syntax');
    expect(run(...led(), "propose-conf-change 1 transition=later\nv4")).toBe("unknown transition later");
  });
});

describe("beside the protocol", () => {
  test("send-snapshot queues and prints a message, without an end of line", () => {
    const text =
      "1->3 MsgSnap Term:1 Log:0/0\n  Snapshot: Index:11 Term:1 ConfState:Voters:[1 2 3] VotersOutgoing:[] " +
      "Learners:[] LearnersNext:[] AutoLeave:false";
    expect(run(...led(), "send-snapshot 1 3")).toBe(text);
    expect(run(...led(), "send-snapshot 1 3", "deliver-msgs 3")).toBe(`${text}\n`);
  });

  test("a restart keeps what is written and loses the rest", () => {
    const kept = [...led(), "propose 1 x", "process-ready 1", "propose 1 lost", "restart 1"];
    expect(run(...kept, "raft-state")).toContain("1: StateFollower (Voter) Term:1 Lead:0\n");
    expect(run(...kept, "raft-log 1")).toBe('1/11 EntryNormal ""\n1/12 EntryNormal "x"\n');
    expect(run(...kept, "applied-data 1")).toBe('index=11 term=1 data=""');
  });

  test("report-unreachable and report-snapshot reach the leader", () => {
    expect(run(...led(), "report-unreachable 1 2", "status 1")).toContain("2: StateProbe match=11 next=12\n");
    expect(run(...led(), "report-snapshot 1 2")).toBe("status is finish or failure");
  });

  test("forget-leader, transfer-leadership and set-max-inflight do what they say", () => {
    expect(run(...led(), "forget-leader 2", "raft-state")).toContain(
      "2: StateFollower (Voter) Term:1 Lead:0\n",
    );
    expect(run(...led(), "transfer-leadership to=2 from=1", "transferee 1")).toBe("2");
    expect(() => run(...led(), "transfer-leadership to=2")).toThrow("from= is missing");
    expect(run(...led(), "set-max-inflight 1 2 max=0", "propose 1 x", "status 1")).toContain(
      "2: StateReplicate match=11 next=12 paused\n",
    );
  });
});
