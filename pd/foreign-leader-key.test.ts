/** Somebody else writes into PD's keys: no PD ends by it, and one leads again once the key is gone. */
import { expect, test } from "vitest";
import { MetaKeys } from "./keys.js";
import { PdCluster } from "./test/pd-cluster.js";

const NO_MEMBER = new Uint8Array([0x0a, 0xff, 0xff, 0xff]);

test("a leader key that holds no member stops nobody, and is waited out", () => {
  const cluster = new PdCluster(2);
  cluster.waitForLeader();
  const keys = new MetaKeys(cluster.clusterId);
  const intruder = cluster.etcd.connect(cluster.env);
  intruder.put(keys.leader, NO_MEMBER, () => {});
  cluster.env.advance(3_000);
  expect(cluster.etcd.peek(keys.leader)?.value).toEqual(NO_MEMBER);
  intruder.transact({ compares: [], onSuccess: [{ kind: "delete", key: keys.leader }] }, () => {});
  cluster.env.advance(5_000);
  cluster.waitForLeader();
  expect(cluster.etcd.peek(keys.leader)?.value).not.toEqual(NO_MEMBER);
});

test("a member's key that holds no member is passed over", () => {
  const cluster = new PdCluster(2);
  cluster.waitForLeader();
  const keys = new MetaKeys(cluster.clusterId);
  const intruder = cluster.etcd.connect(cluster.env);
  intruder.put(keys.member(99n, "member"), NO_MEMBER, () => {});
  cluster.env.advance(3_000);
  expect(cluster.leader().pd).toBeDefined();
});
