/** What the commands of interaction scripts do and print, one by one. */
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

const QUIET = "log-level none";
const LOUD = "log-level debug";
const led = (options = ""): string[] => [
  QUIET,
  `add-nodes 3 voters=(1,2,3) index=10 ${options}`,
  "campaign 1",
  "stabilize",
  LOUD,
];
const ASYNC = led("async-storage-writes=true");

describe("process-ready", () => {
  test("prints one node as it is and several with headers, in the order named", () => {
    expect(run(...led(), "process-ready 2")).toBe("<empty Ready>");
    expect(run(...led(), "process-ready 3 1")).toBe(
      "> 3 handling Ready\n  <empty Ready>\n> 1 handling Ready\n  <empty Ready>\n",
    );
  });
});

describe("the threads of asynchronous nodes", () => {
  test("say when there is nothing to do, without an end of line", () => {
    expect(run(...ASYNC, "process-append-thread 1")).toBe("no append work to perform");
    expect(run(...ASYNC, "process-apply-thread 1")).toBe("no apply work to perform");
    expect(run(...ASYNC, "process-append-thread 1 2")).toBe(
      "> 1 processing append thread\n  no append work to perform\n" +
        "> 2 processing append thread\n  no append work to perform\n",
    );
    expect(run(...ASYNC, "process-apply-thread 2 1")).toBe(
      "> 2 processing apply thread\n  no apply work to perform\n" +
        "> 1 processing apply thread\n  no apply work to perform\n",
    );
  });

  test("do one piece of work a call, print it without its responses, and queue those", () => {
    const two = [...ASYNC, "propose 1 a", "process-ready 1", "propose 1 b", "process-ready 1"];
    expect(run(...two, "process-append-thread 1")).toBe(
      "Processing:\n" +
        '1->AppendThread MsgStorageAppend Term:0 Log:0/0 Entries:[1/12 EntryNormal "a"]\n' +
        "Responses:\n" +
        "1->1 MsgAppResp Term:1 Log:0/12\n" +
        "AppendThread->1 MsgStorageAppendResp Term:1 Log:1/12\n",
    );
    expect(run(...two, "process-append-thread 1", "process-append-thread 1", "deliver-msgs 1")).toBe(
      "1->1 MsgAppResp Term:1 Log:0/12\n" +
        "AppendThread->1 MsgStorageAppendResp Term:1 Log:1/12\n" +
        "1->1 MsgAppResp Term:1 Log:0/13\n" +
        "AppendThread->1 MsgStorageAppendResp Term:1 Log:1/13\n",
    );
  });
});

describe("deliver-msgs", () => {
  const sent = [...led(), "propose 1 x", "process-ready 1"];

  test("serves recipients in the order they are named", () => {
    expect(
      run(...sent, "deliver-msgs 3 2")
        .split("\n")
        .map((line) => line.slice(0, 4)),
    ).toEqual(["1->3", "1->2", ""]);
  });

  test("drops what it is told to, with a mark, and says when there was nothing", () => {
    expect(run(...sent, "deliver-msgs drop=(2,3)")).toBe(
      'dropped: 1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal "x"]\n' +
        'dropped: 1->3 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal "x"]\n',
    );
    expect(run(...sent, "deliver-msgs drop=(2,3)", "deliver-msgs 2 3")).toBe("no messages\n");
    expect(run(...sent, "deliver-msgs 1 drop=3", "deliver-msgs 3")).toBe("no messages\n");
  });

  test("takes messages of one type and leaves the others", () => {
    const both = [...sent, "tick-heartbeat 1", "process-ready 1"];
    expect(run(...both, "deliver-msgs type=MsgHeartbeat 2")).toBe(
      "1->2 MsgHeartbeat Term:1 Log:0/0 Commit:11\n",
    );
    expect(run(...both, "deliver-msgs 2 type=MsgHeartbeat", "deliver-msgs 2")).toContain("MsgApp ");
    expect(run(...both, "deliver-msgs 2 type=MsgSnap")).toBe("no messages\n");
    expect(() => run(...both, "deliver-msgs 2 type=MsgSnow")).toThrow("unknown message type MsgSnow");
  });

  test("never drops what a node says to itself or its threads say to it", () => {
    const written = [...ASYNC, "propose 1 a", "process-ready 1", "process-append-thread 1"];
    expect(run(...written, "deliver-msgs drop=(1)")).toBe("no messages\n");
    expect(run(...written, "deliver-msgs drop=(1)", "deliver-msgs 1")).toContain("1->1 MsgAppResp");
  });

  test("refuses a node that is to get and to lose its messages", () => {
    expect(() => run(...sent, "deliver-msgs 2 drop=(2)")).toThrow(
      "messages to 2 are both delivered and dropped",
    );
  });

  test("prints why a node could not take a message, on a line of its own", () => {
    const answers = [...led(), "propose-conf-change 1 v1=true\nr3", "process-ready 1", "deliver-msgs 2 3"];
    const applied = [...answers, "process-ready 2", "deliver-msgs 1", "process-ready 1"];
    expect(run(...applied, "process-ready 3", "deliver-msgs 1")).toBe(
      "3->1 MsgAppResp Term:1 Log:0/12\nraft: cannot step as peer not found\n",
    );
    const lost = [
      ...led(),
      "forget-leader 1",
      "propose 2 y",
      "process-ready 2",
      "transfer-leadership from=1 to=3",
    ];
    expect(run(...lost, "deliver-msgs 1")).toBe(
      '2->1 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal "y"]\nraft proposal dropped\n',
    );
  });
});
