/** The first start of the first store, crashed after every step that it takes. Names in brackets are TiKV's. */
import { expect, it } from "vitest";
import type { DiskOperation } from "../engine.js";
import { PREPARE_BOOTSTRAP_KEY } from "../../region/keys.js";
import { readIdent } from "../../store/bootstrap.js";
import { rawScript, type Script } from "../test/script.js";

const touches =
  (isDelete: boolean) =>
  (operations: readonly DiskOperation[]): boolean =>
    operations.some(
      ({ space, key, value }) =>
        space === "raft" &&
        key.length === 2 &&
        key[1] === PREPARE_BOOTSTRAP_KEY[1] &&
        (value === undefined) === isDelete,
    );

/** PD serves; store 1 starts for the first time. */
async function firstStart(prepare: (s: Script) => void): Promise<Script> {
  const s = rawScript({ stores: 1 });
  s.cluster.pd.start();
  await s.until("PD serves", () => s.cluster.pd.pd !== undefined);
  s.cluster.addStore();
  prepare(s);
  s.at(1).start();
  return s;
}

const identOf = (s: Script): number => readIdent(s.at(1).disk.memory as never)?.storeId ?? 0;
const isPrepared = (s: Script): boolean =>
  s.at(1).disk.memory.get("raft", PREPARE_BOOTSTRAP_KEY) !== undefined;

async function mustServe(s: Script): Promise<void> {
  await s.restart(1);
  await s.until("there is one region and it is led", () =>
    [...s.running(1).peers.all()].some((peer) => peer.isLeader),
  );
  expect([
    s.running(1).peers.size,
    isPrepared(s),
    s.pd.cluster.regions.scan(new Uint8Array(0), new Uint8Array(0), 9).length,
  ]).toEqual([1, false, 1]);
  s.first = [...s.running(1).peers.all()][0]?.regionId ?? 0;
  const written = await s.answerTo(s.sendPut(1, "k", "v"));
  expect([written.regionError ?? null, await s.readOn(1, "k")]).toEqual([null, "v"]);
}

it("a store that crashed with its identity and nothing else goes on from there [test_bootstrap_half_way_failure_after_bootstrap_store]", async () => {
  const s = await firstStart((started) => started.holdWrites(1, touches(false)));
  await s.until("the first region is being prepared", () => s.at(1).disk.heldWrites > 0);
  const ident = identOf(s);
  s.crash(1, { power: true, keeps: "none" });
  expect([ident > 0, identOf(s), isPrepared(s)]).toEqual([true, ident, false]);
  await mustServe(s);
  expect(s.storeId(1)).toBe(ident);
});

it("one that has prepared its region and not asked PD asks after the crash [test_bootstrap_half_way_failure_after_prepare_bootstrap_cluster]", async () => {
  const s = await firstStart((started) => {
    started.frames = ({ path }) => (path.endsWith("/Bootstrap") ? "drop" : "pass");
  });
  await s.until("the first region is prepared", () => isPrepared(s));
  await s.pass(200);
  s.crash(1, { power: true, keeps: "none" });
  expect([isPrepared(s), s.pd.cluster.isBootstrapped]).toEqual([true, false]);
  s.frames = undefined;
  await mustServe(s);
});

it("one that crashed between PD's word and its own note of it finds that the region is its own [test_bootstrap_half_way_failure_after_bootstrap_cluster]", async () => {
  const s = await firstStart((started) => started.holdWrites(1, touches(true)));
  await s.until("PD has agreed", () => s.at(1).disk.heldWrites > 0);
  s.crash(1, { power: true, keeps: "none" });
  expect([isPrepared(s), s.pd.cluster.isBootstrapped]).toEqual([true, true]);
  const [known] = s.pd.cluster.regions.all();
  await mustServe(s);
  expect(s.first).toBe(known?.meta.id);
});

it("one that prepared a region while another store was first forgets it and joins [test_node_bootstrap_with_prepared_data]", async () => {
  const s = await firstStart((started) => {
    started.frames = ({ path, from }) =>
      path.endsWith("/Bootstrap") && started.numberOf(from) === 1 ? "drop" : "pass";
  });
  await s.until("the first region is prepared", () => isPrepared(s));
  s.crash(1, { power: true, keeps: "none" });
  s.cluster.addStore().start();
  await s.until("store 2 has made the first region", () => (s.at(2).store?.peers.size ?? 0) === 1);
  s.frames = undefined;
  await s.restart(1);
  expect([
    isPrepared(s),
    s.running(1).peers.size,
    s.pd.cluster.regions.scan(new Uint8Array(0), new Uint8Array(0), 9).length,
  ]).toEqual([false, 0, 1]);
  s.first = [...s.running(2).peers.all()][0]?.regionId ?? 0;
  await s.addVoter(1);
  expect(s.roles()).toEqual({ 1: "voter", 2: "voter" });
});

it("later starts find the region, and make no other [test_node_bootstrap_idempotent]", async () => {
  const s = await firstStart(() => {});
  await s.until("it serves", () => s.at(1).store?.isServing);
  s.crash(1);
  await mustServe(s);
  const { first } = s;
  s.crash(1);
  await mustServe(s);
  expect(s.first).toBe(first);
});
