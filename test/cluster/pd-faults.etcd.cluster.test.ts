import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { EtcdCluster } from "../support/etcd-cluster.js";
import { PdTraffic } from "../support/pd-traffic.js";
import { ProcessCluster } from "../support/process-cluster.js";
import { Writers } from "../support/writers.js";

/** With default leases: 2 s, the lease of the lost leader, and what its successor needs to take over. */
const PAUSE_MS_MAX = 3_000;
/** A scene is tried again once if the machine was too slow for it; order is not excused by anything. */
const RETRIES = 1;
const CLOCK = new URL("../support/wall-clock.mjs", import.meta.url).pathname;

describe("three PDs on three etcd nodes, with ids, timestamps and writes under way", {
  retry: RETRIES,
}, () => {
  const violations: string[] = [];
  let etcd: EtcdCluster;
  let cluster: ProcessCluster;
  let traffic: PdTraffic;
  let writers: Writers;

  beforeAll(async () => {
    etcd = await EtcdCluster.start(3);
    cluster = await ProcessCluster.start({ etcdUrls: etcd.urls, pds: 3 });
  });
  afterAll(async () => {
    await cluster?.close();
    await etcd?.close();
    if (violations.length > 0) throw new Error(`order was broken: ${violations.join(", ")}`);
  });
  beforeEach(async () => {
    await ready();
    traffic = await PdTraffic.start(cluster.pdAddresses);
    writers = new Writers(await cluster.client(), 4, { prefix: `w${performance.now()}-` });
    await delay(1_500);
    traffic.resetPauses();
    writers.longestPauseMs = 0;
  });
  afterEach(async () => {
    await traffic.stop();
    await writers.stop();
  });

  /** All processes run and follow again. */
  async function ready(): Promise<void> {
    for (const name of cluster.pdNames) {
      if (!cluster.isRunning(name)) cluster.restart(name);
      await cluster.kill(name, "SIGCONT");
    }
    await cluster.waitUntil(
      async () => {
        const health = await cluster.pdGet<readonly { health: boolean }[]>("health");
        return health.length === 3 && health.every((member) => member.health);
      },
      60_000,
      "the PDs are not all healthy",
    );
  }

  /** What was handed out twice or in a wrong order, who saw an error, and whether the pause was long. */
  async function problems(share = 1): Promise<string[]> {
    await delay(500);
    const [ids, timestamps] = [traffic.ids, traffic.timestamps];
    await cluster.waitUntil(
      async () => traffic.ids > ids + 5 && traffic.timestamps > timestamps + 5,
      15_000,
      "PD does not serve again",
    );
    await traffic.stop();
    await writers.stop();
    const lost = await writers.lost(await cluster.client());
    const pauseMs = Math.round(traffic.longestPauseMs);
    const limitMs = PAUSE_MS_MAX * share;
    const pauses = pauseMs < limitMs ? [] : [`a pause of ${pauseMs} ms, more than ${limitMs}`];
    violations.push(...traffic.broken, ...lost);
    process.stdout.write(
      `  longest pause ${pauseMs} ms, ${traffic.ids} ids, ${traffic.timestamps} timestamps\n`,
    );
    return [...traffic.broken, ...traffic.errors, ...writers.errors, ...lost, ...pauses];
  }

  test("kill -9 of the PD leader", async () => {
    const leader = await cluster.pdLeader();
    await cluster.kill(leader);
    await delay(4_000);
    expect(await cluster.pdLeader()).not.toBe(leader);
    cluster.restart(leader);
    expect(await problems()).toEqual([]);
  });

  test("SIGSTOP of the PD leader, which wakes after its lease", async () => {
    const leader = await cluster.pdLeader();
    await cluster.kill(leader, "SIGSTOP");
    await delay(5_000);
    const next = await cluster.pdLeader();
    expect(next).not.toBe(leader);
    await cluster.kill(leader, "SIGCONT");
    await delay(1_000);
    expect(await cluster.pdLeader()).toBe(next);
    expect(await problems()).toEqual([]);
  });

  test("SIGSTOP of the PD leader for less than its lease", async () => {
    const leader = await cluster.pdLeader();
    for (let i = 0; i < 3; i++) {
      await cluster.kill(leader, "SIGSTOP");
      await delay(700);
      await cluster.kill(leader, "SIGCONT");
      await delay(1_500);
    }
    expect(await problems()).toEqual([]);
  });

  test("SIGTERM of the PD leader hands over with a short pause", async () => {
    const leader = await cluster.pdLeader();
    await cluster.kill(leader, "SIGTERM");
    await delay(2_000);
    cluster.restart(leader);
    expect(await problems(0.5)).toEqual([]);
  });

  test("kill -9 of a PD that follows is not noticed", async () => {
    const leader = await cluster.pdLeader();
    const [follower] = cluster.pdNames.filter((name) => name !== leader);
    await cluster.kill(follower as string);
    await delay(3_000);
    cluster.restart(follower as string);
    expect(await problems(0.5)).toEqual([]);
  });

  test("kill -9 of two PDs: the third serves", async () => {
    const leader = await cluster.pdLeader();
    const [other] = cluster.pdNames.filter((name) => name !== leader);
    await Promise.all([cluster.kill(leader), cluster.kill(other as string)]);
    await delay(5_000);
    expect(await problems()).toEqual([]);
  });

  test("kill -9 of the etcd leader", async () => {
    const leader = await etcd.leader();
    await etcd.kill(leader);
    await delay(4_000);
    etcd.restart(leader);
    expect(await problems()).toEqual([]);
  });

  test("SIGSTOP of the etcd leader, which wakes when another leads", async () => {
    const leader = await etcd.leader();
    await etcd.kill(leader, "SIGSTOP");
    await delay(5_000);
    await etcd.kill(leader, "SIGCONT");
    await delay(1_000);
    expect(await problems()).toEqual([]);
  });

  test("kill -9 of an etcd node that follows", async () => {
    const leader = await etcd.leader();
    const [follower] = etcd.names.filter((name) => name !== leader);
    await etcd.kill(follower as string);
    await delay(3_000);
    etcd.restart(follower as string);
    expect(await problems()).toEqual([]);
  });

  test("SIGSTOP of each etcd node in turn", async () => {
    for (const name of etcd.names) {
      await etcd.kill(name, "SIGSTOP");
      await delay(4_000);
      await etcd.kill(name, "SIGCONT");
      await delay(2_000);
    }
    expect(await problems()).toEqual([]);
  });

  test("kill -9 of the PD leader and of an etcd node at once", async () => {
    const [leader, node] = [await cluster.pdLeader(), await etcd.leader()];
    await Promise.all([cluster.kill(leader), etcd.kill(node)]);
    await delay(6_000);
    etcd.restart(node);
    cluster.restart(leader);
    expect(await problems()).toEqual([]);
  });

  test("etcd without a majority: writes of clients and lookups go on, ids wait; then all is well again", async () => {
    const leader = await etcd.leader();
    const lost = [leader, etcd.names.find((name) => name !== leader) as string];
    for (const name of lost) await etcd.kill(name);
    await delay(4_000);
    const written = writers.writes;
    await delay(1_000);
    expect(writers.writes).toBeGreaterThan(written);
    // A client that knows nothing so far finds its way: lookups need no leader.
    const late = await cluster.client();
    await late.put(new TextEncoder().encode("late"), new TextEncoder().encode("1"));
    for (const name of lost) etcd.restart(name);
    await etcd.waitUntilReady();
    // No id leaves without a majority: the pause is counted from its return.
    traffic.resetPauses();
    expect(await problems()).toEqual([]);
  });

  test("all of etcd is stopped for a while and wakes", async () => {
    for (const name of etcd.names) await etcd.kill(name, "SIGSTOP");
    await delay(5_000);
    traffic.resetPauses();
    for (const name of etcd.names) await etcd.kill(name, "SIGCONT");
    expect(await problems()).toEqual([]);
  });

  test("the leadership goes round by name, ten times", async () => {
    for (let i = 0; i < 10; i++) {
      const leader = await cluster.pdLeader();
      const next = cluster.pdNames[(cluster.pdNames.indexOf(leader) + 1) % 3];
      await fetch(`http://${cluster.pdAddress}/pd/api/v1/leader/transfer/${next}`, { method: "POST" });
      await cluster.waitUntil(
        async () => (await cluster.pdLeader()) === next,
        5_000,
        `${next} does not lead`,
      );
      await ready();
    }
    expect(await problems(0.5)).toEqual([]);
  });

  test("kill -9 of the PD leader in the middle of a split and of operators", async () => {
    const ids = (await cluster.stores()).map(({ store }) => store.id);
    for (let round = 0; round < 2; round++) {
      const regions = await cluster.regions();
      const leader = await cluster.pdLeader();
      const post = (path: string, body: object): Promise<unknown> =>
        fetch(`http://${cluster.pdAddress}/pd/api/v1/${path}`, {
          method: "POST",
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(5_000),
        }).catch(() => undefined);
      const keys = ["41", "42", "43"].map((hex) => `${hex}${round}0`);
      const asked = [
        post("regions/split", { split_keys: keys, retry_limit: 1 }),
        ...regions.map((region) =>
          post("operators", {
            name: "transfer-leader",
            region_id: region.id,
            to_store_id: ids[round % ids.length],
          }),
        ),
      ];
      await delay(50);
      await cluster.kill(leader);
      await Promise.all(asked);
      await delay(4_000);
      cluster.restart(leader);
      await ready();
    }
    await cluster.waitUntil(
      async () => {
        const regions = await cluster.regions();
        const keys = regions.map(({ start_key }) => start_key);
        return (
          regions.length > 0 &&
          new Set(keys).size === keys.length &&
          regions.every(({ leader }) => (leader?.id ?? 0) > 0)
        );
      },
      20_000,
      "regions are not whole",
    );
    expect(await problems()).toEqual([]);
  });
});

describe("three PDs whose wall clocks differ", { retry: RETRIES }, () => {
  test.each([
    ["an hour ahead", 3_600_000],
    ["an hour behind", -3_600_000],
  ])("timestamps only grow when a leader %s hands over and takes over again", async (_title, offsetMs) => {
    await using etcd = await EtcdCluster.start(1);
    const clock = join(etcd.directory, "clock");
    writeFileSync(clock, String(offsetMs));
    process.env["WALL_CLOCK_FILE"] = clock;
    await using cluster = await ProcessCluster.start({
      etcdUrls: etcd.urls,
      pds: 3,
      stores: 1,
      pdNodeArgs: (index) => (index === 1 ? ["--import", CLOCK] : []),
    });
    const traffic = await PdTraffic.start(cluster.pdAddresses);
    for (const name of ["pd1", "pd2", "pd1", "pd3"]) {
      if ((await cluster.pdLeader()) !== name) {
        await cluster.waitUntil(
          async () => {
            const path = `http://${cluster.pdAddress}/pd/api/v1/leader/transfer/${name}`;
            await fetch(path, { method: "POST" });
            await delay(500);
            return (await cluster.pdLeader()) === name;
          },
          15_000,
          `${name} does not lead`,
        );
      }
      await delay(500);
    }
    // A jump while it leads, both ways.
    for (const jump of [offsetMs + 10_000, offsetMs - 10_000]) {
      writeFileSync(clock, String(jump));
      await delay(1_000);
    }
    await traffic.stop();
    expect(traffic.broken).toEqual([]);
    expect(traffic.errors).toEqual([]);
    expect(traffic.timestamps).toBeGreaterThan(50);
  });
});
