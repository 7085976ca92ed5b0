/** The trace hook against the schema that etcd's trace specification reads (tag, event, names, types of fields). */
import { describe, expect, it } from "vitest";
import { makeConfChange, traceLine } from "./index.js";
import type { TraceEvent } from "./index.js";
import { makeMember, Network } from "./test/network.js";
import { MemStorage } from "./storage.js";

const NAMES = new Set([
  "InitState",
  "BecomeCandidate",
  "BecomeFollower",
  "BecomeLeader",
  "Commit",
  "Replicate",
  "ChangeConf",
  "ApplyConfChange",
  "Ready",
  "SendAppendEntriesRequest",
  "SendAppendEntriesResponse",
  "SendRequestVoteRequest",
  "SendRequestVoteResponse",
  "SendSnapshot",
  "ReceiveAppendEntriesRequest",
  "ReceiveAppendEntriesResponse",
  "ReceiveRequestVoteRequest",
  "ReceiveRequestVoteResponse",
  "ReceiveSnapshot",
]);

type Check = (value: unknown) => boolean;
const number: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const id: Check = (value) => typeof value === "string" && /^\d+$/.test(value);
const bool: Check = (value) => typeof value === "boolean";
const oneOf =
  (...values: string[]): Check =>
  (value) =>
    values.includes(value as string);
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
/** An object with these fields and no others. */
const record =
  (fields: Record<string, Check>): Check =>
  (value) =>
    typeof value === "object" &&
    value !== null &&
    Object.keys(value).every((key) => key in fields) &&
    Object.entries(fields).every(([key, check]) => check((value as Record<string, unknown>)[key]));

const MESSAGE = record({
  type: oneOf(
    "MsgApp",
    "MsgAppResp",
    "MsgVote",
    "MsgVoteResp",
    "MsgSnap",
    "MsgHeartbeat",
    "MsgHeartbeatResp",
  ),
  term: number,
  from: id,
  to: id,
  entries: number,
  logTerm: number,
  index: number,
  commit: number,
  vote: id,
  reject: bool,
  rejectHint: number,
});
const CHANGE = record({ nid: id, action: oneOf("AddNewServer", "RemoveServer", "AddLearner") });
const CONF_CHANGE: Check = (value) =>
  (record({ changes: list(CHANGE) })(value) && (value as { changes: unknown[] }).changes.length > 0) ||
  record({ newconf: list(id) })(value);
const LINE = record({
  tag: oneOf("trace"),
  event: record({
    name: (value) => NAMES.has(value as string),
    nid: id,
    state: record({ term: number, vote: id, commit: number }),
    role: oneOf("StateFollower", "StatePreCandidate", "StateCandidate", "StateLeader"),
    log: number,
    conf: (value) => Array.isArray(value) && value.length === 2 && value.every(list(id)),
    msg: optional(MESSAGE),
    prop: (value) =>
      value === undefined ||
      record({ cc: CONF_CHANGE })(value) ||
      record({ match: number, next: number })(value),
  }),
});

/** Three members, one of them late: election, entries, a joint change, a snapshot. */
function tracedRun(): TraceEvent[] {
  const events: TraceEvent[] = [];
  const traceHook = (event: TraceEvent): void => void events.push(event);
  const network = Network.of(3, { traceHook, preVote: true, checkQuorum: true });
  network.members.set(4, makeMember(4, [], { traceHook, storage: new MemStorage() }));
  network.isolate(3);
  network.campaign(1);
  network.propose(1, "a");
  network.compact(1);
  network.recover();
  network.tick(1, 2);
  const change = makeConfChange([
    { type: "ConfChangeAddNode", nodeId: 4 },
    { type: "ConfChangeRemoveNode", nodeId: 2 },
  ]);
  network.raw(1).proposeConfChange(change);
  network.settle();
  network.tick(1, 2);
  network.settle();
  return events;
}

describe("the trace hook", () => {
  it("writes only lines that the trace specification reads", () => {
    for (const event of tracedRun()) {
      const line = traceLine(event);
      expect(line).not.toContain("\n");
      expect(LINE(JSON.parse(line)), line).toBe(true);
    }
  });

  it("names what happened in the order of causes, with the state each event left", () => {
    const events = tracedRun();
    const of = (nid: string): string[] =>
      events.filter((event) => event.nid === nid).map((event) => event.name);
    expect(of("1").slice(0, 3)).toEqual(["InitState", "ApplyConfChange", "BecomeFollower"]);
    const first = (name: string): TraceEvent => {
      const found = events.find((event) => event.name === name);
      if (found === undefined) throw new Error(`no ${name} was traced`);
      return found;
    };
    expect(first("BecomeCandidate")).toMatchObject({ nid: "1", role: "StateCandidate", state: { term: 1 } });
    expect(first("BecomeLeader")).toMatchObject({
      nid: "1",
      role: "StateLeader",
      state: { term: 1, vote: "1" },
    });
    expect(first("SendRequestVoteRequest").msg).toMatchObject({ type: "MsgVote", from: "1", term: 1 });
    expect(events.indexOf(first("SendRequestVoteRequest"))).toBeLessThan(
      events.indexOf(first("ReceiveRequestVoteRequest")),
    );
    expect(first("ChangeConf").prop).toEqual({
      cc: {
        changes: [
          { nid: "4", action: "AddNewServer" },
          { nid: "2", action: "RemoveServer" },
        ],
      },
    });
    const joint = events.filter((event) => event.conf[1].length > 0);
    expect(joint[0]?.conf).toEqual([
      ["1", "3", "4"],
      ["1", "2", "3"],
    ]);
  });

  it("counts a snapshot as an append that holds as many entries as its index", () => {
    const snapshots = tracedRun().filter((event) => event.msg?.type === "MsgSnap");
    expect(snapshots.length).toBeGreaterThan(0);
    for (const { name, msg } of snapshots) {
      expect(name).toMatch(/^(Send|Receive)AppendEntriesRequest$/);
      expect(msg).toMatchObject({ logTerm: 0, index: 0 });
      expect(msg?.entries).toBeGreaterThanOrEqual(2);
    }
  });

  it("tells with every append what its sender knows of the receiver, as properties of the event", () => {
    const events = tracedRun();
    const appends = events.filter((event) => event.msg?.type === "MsgApp");
    for (const { name, prop } of appends) {
      if (name === "ReceiveAppendEntriesRequest") expect(prop).toBeUndefined();
      else expect(Object.keys(prop ?? {})).toEqual(["match", "next"]);
    }
    expect(appends.length).toBeGreaterThan(3);
    const sent = events.find(
      ({ name, msg }) => name === "SendAppendEntriesRequest" && msg?.type === "MsgApp",
    );
    expect(sent?.prop).toEqual({ match: 0, next: 1 });
  });

  it("has one change of the configuration for a joint change: leaving it changes nobody", () => {
    const names = tracedRun().filter(({ nid }) => nid === "1");
    expect(names.filter(({ name }) => name === "ChangeConf").length).toBe(1);
    // At start, when the joint configuration is entered, and when it is left.
    expect(names.filter(({ name }) => name === "ApplyConfChange").length).toBe(3);
  });

  it("traces neither pre-votes nor reads nor transfers nor proposals", () => {
    const types = new Set(tracedRun().map((event) => event.msg?.type));
    for (const type of ["MsgPreVote", "MsgPreVoteResp", "MsgReadIndex", "MsgTransferLeader", "MsgProp"]) {
      expect(types.has(type as never)).toBe(false);
    }
  });
});
