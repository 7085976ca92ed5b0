/** Texts of messages, Readys and configurations: scripts compare them byte by byte, so each form is pinned here. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../../base/bytes.js";
import type { LogIndex } from "../../base/ids.js";
import { encodeConfChange, makeConfChange } from "../confchange-codec.js";
import type { DescribedReady } from "../describe.js";
import {
  describeEntry,
  describeHardState,
  describeMessage,
  describeReady,
  describeSnapshot,
  quote,
} from "../describe.js";
import { makeEntry, makeHardState, makeMessage, makeSnapshot } from "../message.js";
import { describeConfig } from "../tracker/tracker.js";
import type { ConfChangeSingle } from "../types.js";
import { APPEND_THREAD, APPLY_THREAD } from "../types.js";

const entry = (index: number, text = ""): ReturnType<typeof makeEntry> => makeEntry(2, index, utf8(text));
const SNAPSHOT = makeSnapshot(7, 3, {
  voters: [1, 2],
  votersOutgoing: [1],
  learnersNext: [3],
  autoLeave: true,
});
const SNAPSHOT_TEXT =
  "Index:7 Term:3 ConfState:Voters:[1 2] VotersOutgoing:[1] Learners:[] LearnersNext:[3] AutoLeave:true";

describe("data", () => {
  test("is quoted as Go quotes it", () => {
    expect(quote(utf8('a "b" \\ \n\t\r'))).toBe('"a \\"b\\" \\\\ \\n\\t\\r"');
    expect(quote(new Uint8Array([0, 0x1f, 0x7f, 0x80, 0xff]))).toBe('"\\x00\\x1f\\x7f\\x80\\xff"');
    expect(quote(utf8("äß€ 日本 😀"))).toBe('"äß€ 日本 😀"');
    expect(quote(utf8("\u0007\b\f\v\u00a0\u200b\u{e0001}"))).toBe('"\\a\\b\\f\\v\\u00a0\\u200b\\U000e0001"');
    expect(quote(new Uint8Array([0xe2, 0x82]))).toBe('"\\xe2\\x82"');
    expect(quote(utf8("\ufffd"))).toBe('"\ufffd"');
  });

  test("of normal entries is quoted even when it is empty; that of changes is left out then", () => {
    expect(describeEntry(entry(4))).toBe('2/4 EntryNormal ""');
    expect(describeEntry(entry(4, "x"))).toBe('2/4 EntryNormal "x"');
    const changes: ConfChangeSingle[] = [
      { type: "ConfChangeAddNode", nodeId: 1 },
      { type: "ConfChangeAddLearnerNode", nodeId: 12 },
      { type: "ConfChangeRemoveNode", nodeId: 3 },
      { type: "ConfChangeUpdateNode", nodeId: 4 },
    ];
    const change = makeConfChange(changes);
    const encoded = encodeConfChange(change, "EntryConfChangeV2");
    expect(describeEntry(makeEntry(1, 5, encoded, "EntryConfChangeV2"))).toBe(
      "1/5 EntryConfChangeV2 v1 l12 r3 u4",
    );
    const leave = encodeConfChange(makeConfChange([]), "EntryConfChangeV2");
    expect(describeEntry(makeEntry(1, 6, leave, "EntryConfChangeV2"))).toBe("1/6 EntryConfChangeV2");
  });
});

describe("states", () => {
  test("a vote is shown when there is one", () => {
    expect(describeHardState(makeHardState(3, 0, 5))).toBe("Term:3 Commit:5");
    expect(describeHardState(makeHardState(3, 2, 5))).toBe("Term:3 Vote:2 Commit:5");
  });

  test("snapshots show their configuration", () => {
    expect(describeSnapshot(SNAPSHOT)).toBe(SNAPSHOT_TEXT);
  });

  test("configurations show what is not empty", () => {
    const none = { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
    expect(describeConfig(none)).toBe("voters=()");
    expect(
      describeConfig({
        voters: [1, 2, 17],
        votersOutgoing: [1, 10],
        learners: [4],
        learnersNext: [10],
        autoLeave: true,
      }),
    ).toBe("voters=(1 2 11)&&(1 a) learners=(4) learners_next=(a) autoleave");
  });
});

describe("messages", () => {
  test("show route, type, term and log position, ids in hexadecimal", () => {
    const message = makeMessage({ type: "MsgApp", from: 17, to: 255, term: 3, logTerm: 2, index: 20 });
    expect(describeMessage(message)).toBe("11->ff MsgApp Term:3 Log:2/20");
    expect(describeMessage(makeMessage({ type: "MsgHup", from: 1 }))).toBe("1->None MsgHup Term:0 Log:0/0");
    const local = makeMessage({ type: "MsgStorageApply", from: APPEND_THREAD, to: APPLY_THREAD });
    expect(describeMessage(local)).toBe("AppendThread->ApplyThread MsgStorageApply Term:0 Log:0/0");
  });

  test("show a rejection, commit and vote where they say something", () => {
    const message = makeMessage({
      type: "MsgAppResp",
      from: 1,
      to: 2,
      term: 3,
      reject: true,
      rejectHint: 0,
      commit: 9,
      vote: 4,
    });
    expect(describeMessage(message)).toBe(
      "1->2 MsgAppResp Term:3 Log:0/0 Rejected (Hint: 0) Commit:9 Vote:4",
    );
  });

  test("show options of raft-rs only when they are used", () => {
    const message = makeMessage({ from: 1, to: 2, commitTerm: 3, requestSnapshot: 4, priority: -5 });
    expect(describeMessage(message)).toBe(
      "1->2 MsgHup Term:0 Log:0/0 CommitTerm:3 RequestSnapshot:4 Priority:-5",
    );
  });

  test("show one entry in the line and several below it, at the message's own indentation", () => {
    const base = { type: "MsgApp", from: 1, to: 2, term: 2 } as const;
    expect(describeMessage(makeMessage({ ...base, entries: [entry(4, "x")] }))).toBe(
      '1->2 MsgApp Term:2 Log:0/0 Entries:[2/4 EntryNormal "x"]',
    );
    expect(describeMessage(makeMessage({ ...base, entries: [entry(4), entry(5)] }), "  ")).toBe(
      '  1->2 MsgApp Term:2 Log:0/0 Entries:[\n    2/4 EntryNormal ""\n    2/5 EntryNormal ""\n  ]',
    );
  });

  test("show a snapshot below, unless it is empty, and responses nested", () => {
    const inner = makeMessage({ type: "MsgAppResp", from: 1, to: 2, term: 2, index: 7 });
    const message = makeMessage({
      type: "MsgStorageAppend",
      from: 1,
      to: APPEND_THREAD,
      snapshot: SNAPSHOT,
      responses: [inner, { ...inner, snapshot: SNAPSHOT }],
    });
    expect(describeMessage(message)).toBe(
      `1->AppendThread MsgStorageAppend Term:0 Log:0/0\n  Snapshot: ${SNAPSHOT_TEXT} Responses:[\n` +
        "  1->2 MsgAppResp Term:2 Log:0/7\n" +
        `  1->2 MsgAppResp Term:2 Log:0/7\n    Snapshot: ${SNAPSHOT_TEXT}\n]`,
    );
    expect(describeMessage({ ...inner, snapshot: makeSnapshot(0, 0) })).toBe(
      "1->2 MsgAppResp Term:2 Log:0/7",
    );
  });
});

describe("a Ready", () => {
  const nothing: DescribedReady = {
    mustSync: false,
    softState: undefined,
    hardState: undefined,
    readStates: [],
    entries: [],
    snapshot: undefined,
    committedEntries: [],
    messages: [],
  };

  test("with nothing in it says so, without an end of line", () => {
    expect(describeReady(nothing)).toBe("<empty Ready>");
    expect(describeReady({ ...nothing, mustSync: true })).toBe("<empty Ready>");
  });

  test("shows its parts in order, each only if it is there", () => {
    const ready: DescribedReady = {
      mustSync: true,
      softState: { lead: 2, state: "StatePreCandidate" },
      hardState: makeHardState(2, 0, 5),
      readStates: [
        { index: 5 as LogIndex, requestContext: utf8("ab") },
        { index: 6 as LogIndex, requestContext: utf8("") },
      ],
      entries: [entry(6)],
      snapshot: SNAPSHOT,
      committedEntries: [entry(4), entry(5)],
      messages: [makeMessage({ type: "MsgHeartbeat", from: 1, to: 2, term: 2 })],
    };
    expect(describeReady(ready)).toBe(
      "Ready MustSync=true:\nLead:2 State:StatePreCandidate\nHardState Term:2 Commit:5\n" +
        "ReadStates [{5 [97 98]} {6 []}]\n" +
        'Entries:\n2/6 EntryNormal ""\n' +
        `Snapshot ${SNAPSHOT_TEXT}\n` +
        'CommittedEntries:\n2/4 EntryNormal ""\n2/5 EntryNormal ""\n' +
        "Messages:\n1->2 MsgHeartbeat Term:2 Log:0/0\n",
    );
    expect(describeReady({ ...nothing, snapshot: SNAPSHOT })).toBe(
      `Ready MustSync=false:\nSnapshot ${SNAPSHOT_TEXT}\n`,
    );
  });
});
