/** What PDs that follow know, how they learn who leads, and how a member is forgotten. (PD: tests/server) */
import { describe, expect, test, vi } from "vitest";
import { fromUtf8, must, utf8 } from "../base/index.js";
import { PdService } from "../proto/index.js";
import { MetaKeys } from "./keys.js";
import { encodeMember } from "./members.js";
import type { MetaCallback, MetaStore } from "./meta-store.js";
import { MemoryEngine } from "./test/memory-engine.js";
import { PdCluster, type PdProcess } from "./test/pd-cluster.js";

function started(size: number): PdCluster {
  const cluster = new PdCluster(size);
  cluster.waitForLeader();
  cluster.env.advance(2_000);
  return cluster;
}

/** Each answer of etcd so much later, however many are asked for at once. */
const answersAfter =
  (ms: number) =>
  (store: MetaStore, { env }: PdCluster): MetaStore => {
    const late =
      <T>(callback: MetaCallback<T>): MetaCallback<T> =>
      (error, result) =>
        void env.timers.set(ms, () => callback(error, result));
    return {
      get: (key, callback) => store.get(key, late(callback)),
      range: (range, callback) => store.range(range, late(callback)),
      put: (key, value, callback) => store.put(key, value, late(callback)),
      delete: (key, callback) => store.delete(key, late(callback)),
      transact: (transaction, callback) => store.transact(transaction, late(callback)),
      transactOutOfLine: (transaction, callback) => store.transactOutOfLine(transaction, late(callback)),
      grantLease: (seconds, callback) => store.grantLease(seconds, late(callback)),
      keepAliveLease: (id, callback) => store.keepAliveLease(id, late(callback)),
      revokeLease: (id, callback) => store.revokeLease(id, late(callback)),
      watch: (start, end, from, listener) => store.watch(start, end, from, listener),
      close: (callback) => store.close(callback),
    };
  };

const others = (cluster: PdCluster): PdProcess[] =>
  cluster.processes.filter(({ pd }) => pd !== undefined && !pd.isServing);

const leaderSeenBy = (cluster: PdCluster, process: PdProcess): string | undefined =>
  cluster.ask(process, PdService.GetMembers, {}).leader?.name;

function http(process: PdProcess, cluster: PdCluster, method: string, path: string) {
  let answer = { status: 0, body: "" };
  const request = { method, path: `/pd/api/v1${path}`, query: {}, headers: {}, body: utf8("") };
  process.pd?.handleHttp(request, (status, _type, body) => {
    answer = { status, body };
  });
  cluster.env.advance(100);
  return answer;
}

/** Region `id` is [id, id + 1) of a hundred; the first and the last go to the ends. */
function heartbeats(cluster: PdCluster, count: number): void {
  const key = (i: number): Uint8Array => utf8(i === 0 || i === count ? "" : String(i).padStart(4, "0"));
  for (let i = 0; i < count; i++) {
    const region = {
      id: 100 + i,
      startKey: key(i),
      endKey: key(i + 1),
      regionEpoch: { confVer: 1, version: 9 },
      peers: [{ id: 1_000 + i, storeId: 1 }],
    };
    const leader = { id: 1_000 + i, storeId: 1 };
    cluster.call(cluster.leader(), PdService.RegionHeartbeat, { region, leader, term: 5 });
  }
  cluster.env.advance(500);
}

describe("PDs that follow", () => {
  test("learn of every change of the leader at once [TestWatcher]", () => {
    const cluster = started(3);
    for (let round = 0; round < 4; round++) {
      const old = cluster.leader().name;
      expect(http(cluster.leader(), cluster, "POST", "/leader/resign").status).toBe(200);
      cluster.waitForLeader();
      cluster.env.advance(100);
      const { name } = cluster.leader();
      expect(name).not.toBe(old);
      expect(cluster.processes.map((process) => leaderSeenBy(cluster, process))).toEqual([name, name, name]);
      cluster.env.advance(4_000);
    }
  });

  test("learn of it too when etcd forgot what they had not seen so far [TestWatcherCompacted]", () => {
    const cluster = started(3);
    const [deaf] = others(cluster) as [PdProcess];
    deaf.store.knobs.isCut = true;
    const old = cluster.leader().name;
    cluster.kill(old);
    cluster.waitForLeader();
    // Something more happens, and all of it is forgotten.
    cluster.env.advance(3_000);
    cluster.etcd.compact();
    deaf.store.knobs.isCut = false;
    cluster.env.advance(1_500);
    expect(leaderSeenBy(cluster, deaf)).toBe(cluster.leader().name);
    // And its watch goes on from there.
    cluster.kill(cluster.leader().name);
    expect(cluster.waitForLeader()).toBeLessThan(3_500);
    expect(cluster.leader().name).toBe(deaf.name);
  });

  test("that come later get all regions there are [TestFullSyncWithAddMember]", () => {
    const cluster = started(2);
    const [late] = others(cluster) as [PdProcess];
    cluster.kill(late.name);
    late.rows.clear();
    cluster.bootstrap();
    heartbeats(cluster, 60);
    cluster.restart(late.name);
    cluster.env.advance(3_000);
    expect(late.pd?.cluster.regions.count).toBe(60);
    const allowed = { "pd-allow-follower-handle": "true" };
    const found = cluster.ask(late, PdService.GetRegion, { regionKey: utf8("0042x") }, allowed);
    expect([found.region?.id, found.region?.regionEpoch?.version, found.leader?.id]).toEqual([142, 9, 1042]);
  });

  test("plan as soon as they lead, because they know the regions already [TestPrepareCheckerWithTransferLeader]", () => {
    const cluster = started(2);
    cluster.bootstrap();
    const beat = (): void => {
      const stats = { storeId: 1, capacity: 1e12, available: 9e11, regionCount: 20 };
      cluster.ask(cluster.leader(), PdService.StoreHeartbeat, { stats });
    };
    beat();
    heartbeats(cluster, 20);
    expect(cluster.leader().pd?.cluster.isPrepared).toBe(true);
    http(cluster.leader(), cluster, "POST", "/leader/resign");
    cluster.waitForLeader();
    cluster.env.advance(100);
    beat();
    expect(cluster.leader().pd?.cluster.isPrepared).toBe(true);
  });

  test("serve three rounds to etcd after the office was won, and read no region from their disk", () => {
    const ROUND_MS = 50;
    const cluster = new PdCluster(2, 1, { delayMs: 0 }, {}, { metaStore: answersAfter(ROUND_MS) });
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    cluster.bootstrap();
    heartbeats(cluster, 60);
    cluster.env.advance(1_000);
    const [next] = others(cluster) as [PdProcess];
    const scans = vi.spyOn(MemoryEngine.prototype, "scan");
    const leaderKey = new MetaKeys(cluster.clusterId).leader;
    const isElected = (): boolean =>
      fromUtf8(cluster.etcd.peek(leaderKey)?.value ?? utf8("")).includes(next.name);
    http(cluster.leader(), cluster, "POST", "/leader/resign");
    while (!isElected()) cluster.env.advance(1);
    // The answer that it was won, the settings, everything else, the window of timestamps.
    cluster.env.advance(4 * ROUND_MS + 10);
    expect(cluster.leaders().map(({ name }) => name)).toEqual([next.name]);
    expect(cluster.ask(next, PdService.GetRegion, { regionKey: utf8("0042x") }).region?.id).toBe(142);
    expect(cluster.ask(next, PdService.AllocID, {}).id).toBeGreaterThan(1_000);
    expect(scans).not.toHaveBeenCalled();
    scans.mockRestore();
  });
});

describe("a member", () => {
  test("is forgotten by name or id, but not while it leads [TestMemberDelete]", () => {
    const cluster = started(3);
    const leader = cluster.leader();
    const [first, second] = others(cluster) as [PdProcess, PdProcess];
    const list = () => cluster.ask(leader, PdService.GetMembers, {}).members;
    const idOf = (name: string) => list().find((member) => member.name === name)?.memberId;
    const secondId = String(idOf(second.name));
    for (const path of ["/members/name/nobody", "/members/id/99", "/members/id/x"])
      expect(http(leader, cluster, "DELETE", path).status).toBe(404);
    expect(http(leader, cluster, "DELETE", `/members/name/${leader.name}`).status).toBe(500);
    expect(list()).toHaveLength(3);
    cluster.kill(first.name);
    cluster.kill(second.name);
    expect(http(leader, cluster, "DELETE", `/members/name/${first.name}`).status).toBe(200);
    expect(list().map(({ name }) => name)).not.toContain(first.name);
    expect(http(leader, cluster, "DELETE", `/members/id/${secondId}`).status).toBe(200);
    expect(list().map(({ name }) => name)).toEqual([leader.name]);
    // One that comes back is a member again.
    cluster.restart(second.name);
    cluster.env.advance(2_000);
    expect(list()).toHaveLength(2);
  });
});

describe("the leader key", () => {
  test.each(["is deleted", "is overwritten", "loses its lease"])(
    "%s: the term ends [TestExitWatch]",
    (how) => {
      const cluster = started(3);
      const old = cluster.leader();
      const { leader: key } = new MetaKeys(cluster.clusterId);
      const entry = must(cluster.etcd.peek(key), "no leader key");
      const stranger = encodeMember({ name: "x", memberId: 77n, clientUrls: ["http://x:1"], peerUrls: [] });
      if (how === "is deleted") cluster.etcd.transact({ compares: [], onSuccess: [{ kind: "delete", key }] });
      else if (how === "loses its lease") cluster.etcd.revokeLease(entry.leaseId);
      else {
        const leaseId = cluster.etcd.grantLease(1);
        cluster.etcd.transact({ compares: [], onSuccess: [{ kind: "put", key, value: stranger, leaseId }] });
      }
      cluster.env.advance(50);
      expect(old.pd?.isServing === true && cluster.etcd.peek(key)?.leaseId === entry.leaseId).toBe(false);
      cluster.waitForLeader();
      expect(cluster.etcd.peek(key)?.leaseId).not.toBe(entry.leaseId);
      expect(cluster.ask(cluster.leader(), PdService.AllocID, {}).id).toBeGreaterThan(0);
    },
  );
});
