import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { type RegionJson, ProcessCluster, voters } from "../support/process-cluster.js";
import { Writers } from "../support/writers.js";

const hex = (text: string): string => Buffer.from(text).toString("hex").toUpperCase();

/** Regions in key order cover everything, without gap or overlap. */
function tile(regions: readonly RegionJson[]): boolean {
  const sorted = [...regions].sort((a, b) => (a.start_key < b.start_key ? -1 : 1));
  let at = "";
  for (const [i, region] of sorted.entries()) {
    if (region.start_key !== at) return false;
    at = region.end_key;
    if (at === "") return i === sorted.length - 1;
  }
  return false;
}

test("regions split, change leaders and move to a fourth store while a client writes and sees no error", {
  timeout: 120_000,
}, async () => {
  await using cluster = await ProcessCluster.start({
    // Balance would move regions under the test's own operators.
    pdConfig: "[schedule]\nleader-schedule-limit = 0\nregion-schedule-limit = 0\n",
  });
  const client = await cluster.client();
  const writers = new Writers(client, 16);
  const [first] = await cluster.regions();
  const regionId = first?.id ?? 0;

  const keys = ["w12", "w3", "w7"].map(hex).join(",");
  const split = await cluster.ctl(
    "operator",
    "add",
    "split-region",
    `${regionId}`,
    "--policy=usekey",
    `--keys=${keys}`,
  );
  expect(split).toMatchObject({ code: 0 });
  await cluster.waitUntil(
    async () => (await cluster.regions()).length === 4 && tile(await cluster.regions()),
    10_000,
    "no split",
  );

  const region = (await cluster.regions())[0] as RegionJson;
  const leader = region.leader?.store_id;
  const target = voters(region).find((id) => id !== leader) ?? 0;
  expect(await cluster.ctl("operator", "add", "transfer-leader", `${region.id}`, `${target}`)).toMatchObject({
    code: 0,
  });
  const regionNow = (): Promise<RegionJson> => cluster.pdGet<RegionJson>(`region/id/${region.id}`);
  await cluster.waitUntil(async () => (await regionNow()).leader?.store_id === target, 10_000, "no transfer");

  const fourth = await cluster.addStore();
  await cluster.waitUntil(async () => (await cluster.stores()).length === 4, 10_000, "no fourth store");
  const fourthId = await cluster.storeIdOf(fourth);
  const from = voters(region).find((id) => id !== target) ?? 0;
  const move = await cluster.ctl(
    "operator",
    "add",
    "transfer-peer",
    `${region.id}`,
    `${from}`,
    `${fourthId}`,
  );
  expect(move).toMatchObject({ code: 0 });
  await cluster.waitUntil(
    async () => {
      const on = voters(await regionNow());
      return on.includes(fourthId) && !on.includes(from) && on.length === 3;
    },
    20_000,
    "the peer did not move",
  );
  await delay(500);
  await writers.stop();
  expect(writers.errors).toEqual([]);
  expect(await writers.lost(client)).toEqual([]);
  const status = await (await fetch(`http://${cluster.statusAddressOf(fourth)}/region/${region.id}`)).json();
  expect(status).toMatchObject({ region: { id: region.id } });
});

test("regions split by size, and the parts are found by a client that knew the whole", {
  timeout: 120_000,
}, async () => {
  await using cluster = await ProcessCluster.start({
    storeConfig:
      '[coprocessor]\nregion-split-size = "256KiB"\nregion-max-size = "384KiB"\n' +
      '[raftstore]\nsplit-region-check-tick-interval = "200ms"\n',
  });
  const client = await cluster.client();
  const value = new Uint8Array(1_000).fill(65);
  const encoder = new TextEncoder();
  const key = (i: number): Uint8Array => encoder.encode(`key${String(i).padStart(6, "0")}`);
  for (let i = 0; i < 3_000; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, j) => client.put(key(i + j), value)));
  }
  // PD hears of the parts one by one: between two reports there may be a gap in what it knows.
  const isSplit = (regions: readonly RegionJson[]): boolean => regions.length >= 6 && tile(regions);
  await cluster.waitUntil(async () => isSplit(await cluster.regions()), 20_000, "too few splits");
  let rows = 0;
  for await (const row of client.scan({ start: key(0), end: encoder.encode("l"), limit: 10_000 })) {
    expect(Buffer.from(row.key).equals(Buffer.from(key(rows)))).toBe(true);
    rows++;
  }
  expect(rows).toBe(3_000);
});
