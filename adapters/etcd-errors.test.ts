import { expect, test } from "vitest";
import { failureKind } from "./etcd-errors.js";

test.each([
  // A grant that was asked for twice: the second answer must end the question, not prolong it.
  ["2 UNKNOWN: etcdserver: lease already exists", "refused"],
  ["5 NOT_FOUND: etcdserver: requested lease not found", "refused"],
  ["11 OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted", "refused"],
  ["14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED 127.0.0.1:2379", "notSent"],
  ["14 UNAVAILABLE: etcdserver: request timed out", "unknown"],
  ["4 DEADLINE_EXCEEDED: Deadline exceeded", "unknown"],
])("etcd's %j means %s", (text, kind) => {
  expect(failureKind(new Error(text))).toBe(kind);
});
