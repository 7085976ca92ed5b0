import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { utf8 } from "../../base/index.js";
import { ProcessCluster } from "../support/process-cluster.js";
import { Scenario } from "../support/scenario.js";
import { Writers } from "../support/writers.js";

/** Each store in turn, then everything at once. */
test("kill -9 of any store, of PD and of all at once loses no acknowledged write", {
  timeout: 240_000,
}, async () => {
  await using cluster = await ProcessCluster.start();
  const client = await cluster.client();
  const writers = new Writers(client, 16);
  await delay(500);
  for (const name of cluster.storeNames) {
    await cluster.kill(name);
    const before = writers.writes;
    await cluster.waitUntil(async () => writers.writes > before + 50, 60_000, `no writes without ${name}`);
    cluster.restart(name);
    await cluster.waitUntil(
      async () => (await fetch(`http://${cluster.statusAddressOf(name)}/ready`)).ok,
      60_000,
      `${name} did not come back`,
    );
    await delay(500);
  }
  await cluster.kill("pd");
  const before = writers.writes;
  await cluster.waitUntil(async () => writers.writes > before + 50, 60_000, "no writes without PD");
  cluster.restart("pd");
  await delay(500);
  await Promise.all([...cluster.storeNames, "pd"].map((name) => cluster.kill(name)));
  for (const name of ["pd", ...cluster.storeNames]) cluster.restart(name);
  const atDeath = writers.writes;
  await cluster.waitUntil(
    async () => writers.writes > atDeath + 50,
    90_000,
    "no writes after the restart of all",
  );
  await writers.stop();
  expect(await writers.lost(client)).toEqual([]);
  expect(writers.writes).toBeGreaterThan(200);
});

/** How soon is a claim of the benches; here, that no write fails meanwhile and that the disks agree afterwards. */
test(
  "after kill -9 of the leader's store its regions are served by the others, and no write fails",
  {
    timeout: 240_000,
  },
  () =>
    Scenario.run({}, async (s) => {
      const name = await s.leader();
      await s.kill(name);
      await s.progress();
      expect(s.writers.errors).toEqual([]);
      s.restart(name);
      await s.ready(name);
    }),
);

test("a leader that was paused never answers with old data", { timeout: 60_000 }, async () => {
  await using cluster = await ProcessCluster.start();
  const client = await cluster.client();
  const key = utf8("register");
  await client.put(key, utf8("old"));
  const [region] = await cluster.regions();
  const leader = await cluster.leaderOf(region?.id ?? 0);
  await cluster.kill(leader, "SIGSTOP");
  // The others elect a leader and take a write; then the old leader wakes with its lease in mind.
  await client.put(key, utf8("new"));
  const other = await cluster.client();
  await cluster.kill(leader, "SIGCONT");
  for (let i = 0; i < 50; i++) {
    expect(new TextDecoder().decode(await other.get(key))).toBe("new");
    await delay(20);
  }
});
