import { describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { PdService, type pdpb } from "../proto/index.js";
import { type MetaKeys, MetaKeys as Keys } from "./keys.js";
import { PdCluster } from "./test/pd-cluster.js";

const keysOf = (cluster: PdCluster): MetaKeys => new Keys(cluster.clusterId);

describe("several PDs", () => {
  test("elect one leader and agree on the cluster id and who leads", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    const leader = cluster.leader();
    const ids = new Set(cluster.processes.map(({ pd }) => pd?.clusterId));
    expect(ids.size).toBe(1);
    for (const process of cluster.processes) {
      const members = cluster.ask(process, PdService.GetMembers, {});
      expect(members.members.map(({ name }) => name)).toEqual(["pd1", "pd2", "pd3"]);
      expect(members.leader?.name).toBe(leader.name);
      expect(members.header?.clusterId).toBe(cluster.clusterId);
    }
  });

  test("another leads within a lease after the leader was killed", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(5_000);
    const old = cluster.leader().name;
    cluster.kill(old);
    expect(cluster.waitForLeader()).toBeLessThan(2_150);
    expect(cluster.leader().name).not.toBe(old);
  });

  test("another leads as soon when etcd elects at the same time and gives every lease its time again", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(5_000);
    cluster.etcd.setQuorum(false);
    cluster.kill(cluster.leader().name);
    cluster.env.advance(1_500);
    cluster.etcd.setQuorum(true);
    expect(cluster.waitForLeader()).toBeLessThan(1_000);
  });

  test("a leader whose renewals are held up stops by itself before another takes over", () => {
    const cluster = new PdCluster(3, 5, { timeoutMs: 10_000 });
    cluster.waitForLeader();
    for (const delayMs of [500, 900, 1_500, 3_000]) {
      cluster.env.advance(3_000);
      const old = cluster.leader();
      old.store.knobs.delayMs = delayMs;
      for (let passed = 0; passed < 8_000; passed += 5) {
        cluster.env.advance(5);
        expect(cluster.leaders().length).toBeLessThan(2);
      }
      old.store.knobs.delayMs = 1;
      cluster.env.advance(2_000);
      expect(cluster.leaders()).toHaveLength(1);
    }
  });

  test("a leader with a longer lease than those who follow is given all of it", () => {
    const cluster = new PdCluster(3);
    cluster.leaseSeconds.set("pd1", 10);
    cluster.kill("pd1");
    cluster.restart("pd1");
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    for (let tries = 0; cluster.leader().name !== "pd1"; tries++) {
      expect(tries).toBeLessThan(20);
      const [other] = cluster.leaders();
      cluster.kill(other?.name ?? "");
      cluster.waitForLeader();
      cluster.restart(other?.name ?? "");
      cluster.env.advance(2_000);
    }
    cluster.leader().store.knobs.isCut = true;
    let overlaps = 0;
    for (let passed = 0; passed < 12_000; passed += 5) {
      cluster.env.advance(5);
      if (cluster.leaders().length > 1) overlaps += 1;
    }
    expect(overlaps).toBe(0);
    expect(cluster.leader().name).not.toBe("pd1");
  });

  test("a leader that stops in order is replaced at once", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    cluster.leader().pd?.stop();
    cluster.env.advance(1);
    expect(cluster.waitForLeader()).toBeLessThan(500);
  });

  test("a leader that was paused beyond its lease neither serves nor writes when it wakes", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    cluster.bootstrap();
    const old = cluster.leader();
    old.env.pause();
    // What the sleeper is asked meanwhile it takes up when it wakes.
    const request = { store: { id: 1, address: "elsewhere:1", version: "8.5.0" } };
    const late = cluster.call(old, PdService.PutStore, request);
    cluster.waitForLeader();
    const key = keysOf(cluster).store(1);
    const before = cluster.etcd.peek(key)?.modRevision;
    old.env.resume();
    cluster.env.advance(2_000);
    expect(late.status?.message).toBe("not leader");
    expect(cluster.etcd.peek(key)?.modRevision).toBe(before);
    expect(cluster.leaders().map(({ name }) => name)).toEqual([cluster.leader().name]);
    expect(cluster.leader().name).not.toBe(old.name);
  });

  test("a write of a deposed leader that was under way changes nothing", () => {
    const cluster = new PdCluster(2);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    cluster.bootstrap();
    const old = cluster.leader();
    // Slow enough to arrive when another leads.
    old.store.knobs.delayMs = 100_000;
    cluster.call(old, PdService.PutStore, { store: { id: 1, address: "late:1", version: "8.5.0" } });
    cluster.env.advance(1);
    old.store.knobs.delayMs = 1;
    old.store.knobs.isCut = true;
    cluster.waitForLeader();
    old.store.knobs.isCut = false;
    cluster.env.advance(200_000);
    const stored = cluster.etcd.peek(keysOf(cluster).store(1));
    expect(new TextDecoder().decode(stored?.value)).not.toContain("late:1");
  });

  test("cut off from etcd the leader stops by itself before another can lead", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    const old = cluster.leader();
    old.store.knobs.isCut = true;
    let both = 0;
    for (let i = 0; i < 4_000; i += 5) {
      cluster.env.advance(5);
      if (cluster.leaders().length > 1) both += 1;
    }
    expect(both).toBe(0);
    expect(cluster.leader().name).not.toBe(old.name);
    old.store.knobs.isCut = false;
    cluster.env.advance(3_000);
    expect(cluster.leaders()).toHaveLength(1);
  });

  test("an answer of etcd that is lost leaves neither a hole nor a deposed leader", () => {
    const cluster = new PdCluster(3, 7, { loseAnswerOneIn: 6, timeoutMs: 300 });
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    const ids = new Set<number>();
    for (let i = 0; i < 200; i++) {
      if (cluster.leaders().length === 0) cluster.waitForLeader();
      const answer = cluster.call(cluster.leader(), PdService.AllocID, { count: 100 });
      cluster.env.advance(500);
      const got = answer.messages[0] as pdpb.AllocIDResponse | undefined;
      if (got === undefined || got.header?.error) continue;
      for (let id = got.id - 99; id <= got.id; id++) {
        expect(ids.has(id)).toBe(false);
        ids.add(id);
      }
    }
    expect(ids.size).toBeGreaterThan(15_000);
  });

  test("a cluster whose bootstrap was never answered is there at the next attempt", () => {
    const cluster = new PdCluster(1);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    const { knobs } = cluster.leader().store;
    const region = { id: 2, regionEpoch: { confVer: 1, version: 1 }, peers: [{ id: 3, storeId: 1 }] };
    const request = { store: { id: 1, address: "s1:1", version: "8.5.0" }, region };
    knobs.loseAnswerOneIn = 1;
    const lost = cluster.call(cluster.leader(), PdService.Bootstrap, request);
    cluster.env.advance(20);
    expect(lost.messages).toHaveLength(0);
    knobs.loseAnswerOneIn = 0;
    cluster.env.advance(3_000);
    cluster.waitForLeader();
    cluster.ask(cluster.leader(), PdService.Bootstrap, request);
    expect(cluster.leader().pd?.cluster.isBootstrapped).toBe(true);
    expect([...(cluster.leader().pd?.cluster.stores.keys() ?? [])]).toEqual([1]);
  });

  test("who waits for a timestamp when the term ends is told so, and does not wait for the next term", () => {
    const cluster = new PdCluster(1);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    const leader = cluster.leader();
    // More than a millisecond has: the last ones wait for the next tick of the clock.
    const asked = [1, 2, 3].map(() => cluster.call(leader, PdService.Tso, { count: 200_000 }));
    expect(asked.map(({ messages }) => messages.length)).toContain(0);
    cluster.etcd.connect(cluster.env).delete(keysOf(cluster).leader, () => {});
    cluster.env.advance(30);
    for (const { messages, status } of asked) {
      expect(messages.length > 0 || /not leader/.test(status?.message ?? "")).toBe(true);
    }
    cluster.waitForLeader();
  });

  test("the leadership is passed on by resign, and to a member by name", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    const http = (path: string): { status: number; body: string } => {
      let answer = { status: 0, body: "" };
      const request = { method: "POST", path: `/pd/api/v1${path}`, query: {}, headers: {}, body: utf8("") };
      cluster.leader().pd?.handleHttp(request, (status, _type, body) => {
        answer = { status, body };
      });
      cluster.env.advance(50);
      return answer;
    };
    const first = cluster.leader().name;
    expect(http("/leader/resign")).toEqual({ status: 200, body: '"The resign command is submitted."\n' });
    expect(cluster.waitForLeader()).toBeLessThan(1_000);
    const second = cluster.leader().name;
    expect(second).not.toBe(first);
    cluster.env.advance(5_000);
    expect(http(`/leader/transfer/${first}`).status).toBe(200);
    expect(cluster.waitForLeader()).toBeLessThan(1_000);
    expect(cluster.leader().name).toBe(first);
    expect(http("/leader/transfer/nobody").status).toBe(500);
    // Alone there is nobody to pass it to.
    for (const { name } of cluster.processes) if (name !== first) cluster.kill(name);
    cluster.env.advance(1_000);
    expect(http("/leader/resign")).toEqual({
      status: 500,
      body: '"no valid pd to transfer etcd leader"\n',
    });
  });

  test("the member with the highest priority comes to lead", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    const wanted = cluster.processes.find(({ name }) => name !== cluster.leader().name);
    cluster.leader().pd?.handleHttp(
      {
        method: "POST",
        path: `/pd/api/v1/members/name/${wanted?.name}`,
        query: {},
        headers: {},
        body: utf8('{"leader-priority": 5}'),
      },
      (status) => expect(status).toBe(200),
    );
    cluster.env.advance(30_000);
    expect(cluster.leader().name).toBe(wanted?.name);
    cluster.kill(wanted?.name ?? "");
    cluster.waitForLeader();
    cluster.restart(wanted?.name ?? "");
    cluster.env.advance(30_000);
    expect(cluster.leader().name).toBe(wanted?.name);
  });

  test("followers know the regions with their leaders and answer for them where that is allowed", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    cluster.bootstrap();
    const leader = cluster.leader();
    const heartbeat = {
      region: {
        id: 2,
        regionEpoch: { confVer: 1, version: 7 },
        peers: [{ id: 3, storeId: 1 }],
      },
      leader: { id: 3, storeId: 1 },
      term: 5,
      approximateSize: 50 << 20,
    };
    cluster.call(leader, PdService.RegionHeartbeat, heartbeat);
    cluster.env.advance(500);
    const [follower] = cluster.processes.filter(({ name }) => name !== leader.name);
    const key = { regionKey: utf8("k") };
    const allowed = { "pd-allow-follower-handle": "true" };
    const found = cluster.ask(follower as never, PdService.GetRegion, key, allowed);
    expect(found.region?.regionEpoch?.version).toBe(7);
    expect(found.leader?.id).toBe(3);
    const refused = cluster.call(follower as never, PdService.GetRegion, key);
    cluster.env.advance(10);
    expect(refused.status).toEqual({ code: 14, message: "not leader and follower handling not allowed" });
    const missing = cluster.ask(follower as never, PdService.GetRegionByID, { regionId: 99 }, allowed);
    expect(missing.header?.error?.message).toBe("region not found");
    // And after its election it serves the lookup at once.
    cluster.kill(leader.name);
    cluster.waitForLeader();
    const again = cluster.ask(cluster.leader(), PdService.GetRegion, key);
    expect(again.leader?.id).toBe(3);
    expect(cluster.leader().pd?.cluster.regions.freshCount).toBe(1);
  });

  test("a call may go through a follower to the leader, and to nobody else", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    const leader = cluster.leader();
    const [follower] = cluster.processes.filter(({ name }) => name !== leader.name);
    const through = (host: string) =>
      cluster.call(follower as never, PdService.AllocID, {}, { "pd-forwarded-host": host });
    const good = through(`http://${leader.address}`);
    const evil = through("http://169.254.169.254:80");
    const own = through(`http://${follower?.address}`);
    cluster.env.advance(100);
    expect(good.messages).toHaveLength(1);
    expect(good.messages[0]?.id).toBeGreaterThan(0);
    expect(evil.status?.message).toMatch(/is not a client URL of the PD leader/);
    expect(own.status?.message).toBe("not leader");
  });

  test("without etcd lookups go on, and what must be durable is refused as unavailable", () => {
    const cluster = new PdCluster(3);
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    cluster.bootstrap();
    cluster.env.advance(500);
    const old = cluster.leader();
    cluster.etcd.setQuorum(false);
    cluster.env.advance(10_000);
    expect(cluster.leaders()).toHaveLength(0);
    for (const process of cluster.processes) {
      const found = cluster.ask(process, PdService.GetRegion, { regionKey: utf8("k") });
      expect(found.region?.id).toBe(2);
      const stores = cluster.ask(process, PdService.GetAllStores, {});
      expect(stores.stores.map(({ id }) => id)).toEqual([1]);
    }
    const refused = cluster.call(old, PdService.AllocID, {});
    cluster.env.advance(10);
    expect(refused.status).toEqual({ code: 14, message: "not leader" });
    cluster.etcd.setQuorum(true);
    expect(cluster.waitForLeader()).toBeLessThan(4_000);
    expect(cluster.ask(cluster.leader(), PdService.AllocID, {}).id).toBeGreaterThan(0);
  });

  test("settings and stores written by one leader are those of the next", () => {
    const cluster = new PdCluster(2);
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    cluster.bootstrap();
    const { pd } = cluster.leader();
    pd?.handleHttp(
      {
        method: "POST",
        path: "/pd/api/v1/config",
        query: {},
        headers: {},
        body: utf8('{"leader-schedule-limit": 11}'),
      },
      (status) => expect(status).toBe(200),
    );
    cluster.env.advance(200);
    cluster.kill(cluster.leader().name);
    cluster.waitForLeader();
    const next = cluster.leader().pd;
    expect(next?.cluster.context.config.number("schedule.leader-schedule-limit")).toBe(11);
    expect([...(next?.cluster.stores.keys() ?? [])]).toEqual([1]);
    expect(next?.cluster.isBootstrapped).toBe(true);
  });
});
