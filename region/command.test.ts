/** What entries say: compact writes, administrative commands, and the epoch table that both are held against. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KeySpace, logIndex, peerId, regionId, storeId, term, utf8 } from "../base/index.js";
import {
  type AdminCommand,
  decodeAdmin,
  decodeConfChangeContext,
  encodeAdminEntry,
  epochCheckOf,
  epochMatches,
  toConfChange,
} from "./admin.js";
import { decodeCommand, isDependent, putBytes, visitWrites, WriteBatchEncoder } from "./command.js";
import { dataEndKey, dataKey } from "./keys.js";
import { rawTrailer } from "./raw-value.js";

type Operation = readonly unknown[];

/** What a visitor is told, as a list. */
function operationsOf(data: Uint8Array): { epochVersion: number; operations: Operation[] } {
  const command = decodeCommand(data);
  if (command.kind !== "writes") throw new Error("not a batch of writes");
  const operations: Operation[] = [];
  visitWrites(command.body, {
    put: (...all) => operations.push(["put", ...all]),
    delete: (...all) => operations.push(["delete", ...all]),
    deleteRange: (...all) => operations.push(["deleteRange", ...all]),
    compareAndSwap: (...all) => operations.push(["compareAndSwap", ...all]),
  });
  return { epochVersion: command.epochVersion, operations };
}

const space = fc.constantFrom<KeySpace>("default", "lock", "write");
const bytes = fc.uint8Array({ maxLength: 200 });
const optional = fc.option(bytes, { nil: undefined });
const NO_TRAILER = new Uint8Array(0);

const step = fc.oneof(
  fc.record({ kind: fc.constant("put" as const), space, key: bytes, value: bytes }),
  fc.record({ kind: fc.constant("delete" as const), space, key: bytes }),
  fc.record({ kind: fc.constant("range" as const), space, start: bytes, end: bytes }),
  fc.record({ kind: fc.constant("swap" as const), key: bytes, expected: optional, value: optional }),
);

describe("a batch of writes", () => {
  test("tells the visitor what the encoder was told, in order", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1 }), fc.nat(2 ** 30), fc.nat(), (steps, version, now) => {
        const encoder = new WriteBatchEncoder();
        encoder.start(version);
        const expected = steps.map((each): Operation => {
          switch (each.kind) {
            case "put":
              encoder.put(each.space, each.key, each.value, NO_TRAILER);
              return ["put", each.space, dataKey(each.key), each.value];
            case "delete":
              encoder.delete(each.space, each.key);
              return ["delete", each.space, dataKey(each.key)];
            case "range":
              encoder.deleteRange(each.space, each.start, each.end);
              return ["deleteRange", each.space, dataKey(each.start), dataEndKey(each.end)];
            case "swap":
              encoder.compareAndSwap(each.key, each.expected, each.value, NO_TRAILER, now);
              return ["compareAndSwap", dataKey(each.key), each.expected, each.value, now];
          }
        });
        const data = encoder.finish();
        expect(operationsOf(data)).toEqual({ epochVersion: version, operations: expected });
        expect(isDependent(data)).toBe(steps.some((each) => each.kind === "range" || each.kind === "swap"));
      }),
    );
  });

  test("forgets the batch before when it is started again, its dependence too", () => {
    const encoder = new WriteBatchEncoder();
    encoder.start(1);
    encoder.deleteRange("default", utf8("a"), utf8("b"));
    const first = encoder.finish();
    encoder.start(2);
    encoder.delete("default", utf8("c"));
    const second = encoder.finish();
    expect(isDependent(first)).toBe(true);
    expect(isDependent(second)).toBe(false);
    expect(operationsOf(second).operations).toHaveLength(1);
    expect(operationsOf(first).epochVersion).toBe(1);
  });

  test("grows by no more than was announced for a put", () => {
    fc.assert(
      fc.property(bytes, bytes, fc.nat(), (key, value, expiry) => {
        const encoder = new WriteBatchEncoder();
        encoder.start(1);
        const before = encoder.bytes;
        encoder.put("default", key, value, rawTrailer(expiry));
        expect(encoder.bytes - before).toBeLessThanOrEqual(putBytes(key, value));
      }),
    );
  });

  test("cut anywhere is refused, never applied in part beyond the cut", () => {
    const encoder = new WriteBatchEncoder();
    encoder.start(3);
    encoder.put("default", utf8("key"), utf8("value"), rawTrailer(0));
    const data = encoder.finish();
    for (let length = 2; length < data.length; length++) {
      if (length === 2) expect(operationsOf(data.subarray(0, length)).operations).toEqual([]);
      else expect(() => operationsOf(data.subarray(0, length))).toThrow("log");
    }
  });

  test.each([
    ["an unknown kind of command", [0x09, 0x01]],
    ["an unknown kind of write", [0x01, 0x01, 0x09, 0x00, 0x00]],
    ["an unknown key space", [0x01, 0x01, 0x01, 0x09, 0x00, 0x00]],
    ["nothing at all", []],
  ])("with %s is refused", (_what, data) => {
    expect(() => operationsOf(Uint8Array.from(data))).toThrow();
  });

  test("of no writes cannot be finished", () => {
    const encoder = new WriteBatchEncoder();
    encoder.start(1);
    expect(() => encoder.finish()).toThrow("without writes");
  });
});

const epoch = { confVer: 4, version: 9 };
const peer = (id: number, store: number) =>
  ({ id: peerId(id), storeId: storeId(store), role: "voter" }) as const;
const ADMINS: readonly AdminCommand[] = [
  { kind: "compactLog", index: logIndex(99), term: term(7) },
  { kind: "changePeer", changes: [] },
  { kind: "changePeer", changes: [{ kind: "remove", peer: peer(5, 2) }] },
  {
    kind: "changePeer",
    changes: [
      { kind: "addVoter", peer: peer(6, 3) },
      { kind: "addLearner", peer: { ...peer(5, 2), role: "learner" } },
    ],
  },
  {
    kind: "split",
    rightDerive: true,
    splits: [{ splitKey: utf8("m"), newRegionId: regionId(7), newPeerIds: [peerId(8), peerId(9)] }],
  },
];

describe("an administrative command", () => {
  test.each(ADMINS)("comes back from its log entry: $kind", (command) => {
    const decoded = decodeCommand(encodeAdminEntry(epoch, command));
    expect(decoded.kind).toBe("admin");
    if (decoded.kind === "admin") expect(decodeAdmin(decoded.request)).toEqual({ epoch, command });
  });

  test("of peers comes back from the context of Raft's conf change", () => {
    for (const command of ADMINS) {
      if (command.kind !== "changePeer") continue;
      const change = toConfChange(epoch, command.changes);
      expect(decodeConfChangeContext(change.context)).toEqual({ epoch, command });
      expect(change.changes.map((single) => single.nodeId)).toEqual(
        command.changes.map((each) => each.peer.id),
      );
      const explicit = change.transition === "ConfChangeTransitionJointExplicit";
      expect(explicit).toBe(command.changes.length > 1);
    }
  });

  test("that nobody knows stops the peer rather than being skipped", () => {
    expect(() => decodeAdmin({ adminRequest: { cmdType: 77 } } as never)).toThrow("unknown administrative");
  });
});

describe("the epoch table", () => {
  const older = { confVer: 3, version: 8 };
  test.each([
    ["changePeer", { version: false, confVer: true }],
    ["split", { version: true, confVer: true }],
    ["compactLog", { version: false, confVer: false }],
  ] as const)("%s checks %o", (kind, check) => {
    const command = ADMINS.find((each) => each.kind === kind) as AdminCommand;
    expect(epochCheckOf(command)).toEqual(check);
    for (const other of [older, { confVer: 5, version: 10 }]) {
      // Newer than this peer is refused as well: it must not answer from an old range.
      expect(epochMatches(check, { ...epoch, version: other.version }, epoch)).toBe(!check.version);
      expect(epochMatches(check, { ...epoch, confVer: other.confVer }, epoch)).toBe(!check.confVer);
    }
    expect(epochMatches(check, epoch, epoch)).toBe(true);
  });
});
