/**
 * Whole stores: splits from the wish to the children's leaders, snapshots to a new replica, log garbage collection,
 * recovery from any crash, first start. Names in brackets are TiKV's of the same scenario.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { PREPARE_BOOTSTRAP_KEY, raftLogKey, regionStateKey, STORE_IDENT_KEY } from "../region/keys.js";
import { encodeRegionState, readRegionState } from "../region/local-state.js";
import type { kvrpcpb } from "../proto/index.js";
import type { Region } from "../region/region.js";
import { peerOf, regionOf } from "../region/test/fixtures.js";
import { DEFAULT_REGION_CONFIG } from "../region/config.js";
import { type LogGcInput, logGcTarget } from "./log-gc.js";
import { loadRegions, type LoadedRegion } from "./recovery.js";
import { Stores } from "./test/harness.js";
import type { RegionError } from "../region/errors.js";

const regionsOf = (stores: Stores, id = 1): string[] =>
  [...stores.store(id).peers.all()]
    .map(
      ({ region }) =>
        `${region.id}:${String.fromCharCode(...region.startKey)}-${String.fromCharCode(...region.endKey)}`,
    )
    .toSorted();

function splitAt(
  stores: Stores,
  keys: readonly string[],
  epoch = stores.peer().region.epoch,
): RegionError | undefined {
  const answers: (RegionError | undefined)[] = [];
  stores.store().splits.splitAt(stores.peer(), epoch, keys.map(utf8), (error) => answers.push(error));
  stores.pass(300);
  expect(answers).toHaveLength(1);
  return answers[0];
}

describe.each([
  ["writes at once", 0],
  ["writes later", 3],
])("over an engine that %s:", (_what, writeDelayMs) => {
  beforeAll(() => {
    Stores.writeDelayMs = writeDelayMs;
  });
  afterAll(() => {
    Stores.writeDelayMs = 0;
  });

  describe("a split", () => {
    test("at a key makes a region that leads at once and keeps its data [test_node_quick_election_after_split]", () => {
      const stores = Stores.led(3);
      stores.put("a", "1");
      stores.put("p", "2");
      expect(splitAt(stores, ["m"])).toBeUndefined();
      expect(regionsOf(stores)).toEqual(["1000:-m", "2:m-"]);
      expect(stores.peer(1, 1000).isLeader).toBe(true);
      expect([stores.get("a", 1, 1000), stores.get("p")]).toEqual(["1", "2"]);
      expect(() => stores.get("a")).toThrow("not in region");
    });

    test("lets those wait who ask its part while that elects its leader", () => {
      const stores = Stores.led(3);
      stores.put("a", "1");
      let answered: kvrpcpb.IRawPutResponse | undefined;
      let read: kvrpcpb.IRawGetResponse | undefined;
      let wasLeading = true;
      const { raw, splits } = stores.store();
      splits.splitAt(stores.peer(), stores.peer().region.epoch, [utf8("m")], () => {
        wasLeading = stores.peer(1, 1000).isLeader;
        const context = stores.context(1, 1000);
        raw.put({ context, key: utf8("b"), value: utf8("2") }, (answer) => (answered = answer));
        raw.get({ context, key: utf8("a") }, (answer) => (read = answer));
      });
      stores.pass(100);
      expect(wasLeading).toBe(false);
      expect([answered, read]).toEqual([{}, { value: utf8("1") }]);
      expect(stores.get("b", 1, 1000)).toBe("2");
      expect(stores.store().admission.budgets.proposals.bytes).toBe(0);
    });

    test("refuses those who wait for its part when that cannot elect a leader", () => {
      const stores = Stores.led(3);
      let answered: kvrpcpb.IRawPutResponse | undefined;
      const { raw, splits } = stores.store();
      splits.splitAt(stores.peer(), stores.peer().region.epoch, [utf8("m")], () => {
        stores.crash(2);
        stores.crash(3);
        raw.put({ context: stores.context(1, 1000), key: utf8("b"), value: utf8("2") }, (answer) => {
          answered = answer;
        });
      });
      stores.pass(500);
      expect(answered).toBeUndefined();
      stores.pass(1_000);
      expect(answered?.regionError?.notLeader).toMatchObject({ regionId: 1000 });
      expect(stores.store().admission.budgets.proposals.bytes).toBe(0);
    });

    test("is made on every replica", () => {
      const stores = Stores.led(3);
      splitAt(stores, ["m"]);
      stores.pass(500);
      for (const id of [2, 3]) expect(regionsOf(stores, id)).toEqual(["1000:-m", "2:m-"]);
    });

    test("at many keys, in any order and twice, makes each region once [test_server_split_region_twice]", () => {
      const stores = Stores.led();
      expect(splitAt(stores, ["t", "d", "m", "d"])).toBeUndefined();
      expect(regionsOf(stores)).toEqual(["1000:-d", "1002:d-m", "1004:m-t", "2:t-"]);
      const { region } = stores.peer();
      expect(region.epoch.version).toBe(4);
    });

    test("at the region's own start is left out among others, and refused alone", () => {
      const stores = Stores.led(1, {}, 1, regionOf(2, 1, "b", ""));
      expect(splitAt(stores, ["b"])?.message).toContain("inside the region");
      expect(splitAt(stores, ["b", "m"])).toBeUndefined();
      expect(regionsOf(stores)).toEqual(["1000:b-m", "2:m-"]);
    });

    test("under an old version is refused with the parts [test_server_split_epoch_not_match_right_derive]", () => {
      const stores = Stores.led();
      const { epoch } = stores.peer().region;
      splitAt(stores, ["m"]);
      const error = splitAt(stores, ["t"], epoch);
      expect(error?.epochNotMatch?.currentRegions?.map((region) => region.id)).toEqual([2, 1000]);
    });

    test("that PD refuses or does not answer harms nothing", () => {
      const stores = Stores.led();
      stores.pd.refuseSplit = new Error("splitting is off");
      expect(splitAt(stores, ["m"])?.message).toContain("splitting is off");
      let answer: (() => void) | undefined;
      stores.pd.refuseSplit = undefined;
      stores.pd.holdSplit = (give) => {
        answer = give;
      };
      const answers: unknown[] = [];
      stores
        .store()
        .splits.splitAt(stores.peer(), stores.peer().region.epoch, [utf8("m")], (error) =>
          answers.push(error),
        );
      stores.pass(1000);
      expect([answers, regionsOf(stores)]).toEqual([[], ["2:-"]]);
      stores.put("a", "1");
      answer?.();
      stores.pass(100);
      expect([answers, regionsOf(stores)]).toEqual([[undefined], ["1000:-m", "2:m-"]]);
    });

    test("whose ids came after the region had changed is refused [test_split_race_with_conf_change]", () => {
      const stores = Stores.led();
      const answers: (() => void)[] = [];
      stores.pd.holdSplit = (give) => answers.push(give);
      const errors: (RegionError | undefined)[] = [];
      for (const key of ["m", "t"]) {
        stores
          .store()
          .splits.splitAt(stores.peer(), stores.peer().region.epoch, [utf8(key)], (e) => errors.push(e));
      }
      for (const give of answers) {
        give();
        stores.pass(100);
      }
      expect(errors[0]).toBeUndefined();
      expect(errors[1]?.epochNotMatch).toBeDefined();
      expect(regionsOf(stores)).toEqual(["1000:-m", "2:m-"]);
    });

    test("by the number of keys comes by itself, the last part never tiny [test_auto_split_region]", () => {
      const stores = Stores.led(1, { regionSplitKeys: 7, regionMaxKeys: 10, splitCheckTickMs: 100 });
      for (let i = 0; i < 60; i++) stores.put(`k${String(i).padStart(3, "0")}`, "v");
      stores.pass(3000);
      const peers = [...stores.store().peers.all()];
      expect(peers.length).toBeGreaterThan(4);
      for (const peer of peers) {
        expect(peer.approximateKeys).toBeLessThan(10);
        expect(peer.approximateKeys).toBeGreaterThan(1);
      }
      expect(stores.store().peers.gaps()).toEqual([]);
    });

    test("by size comes by itself, and its parts are small enough [test_auto_split_region]", () => {
      const stores = Stores.led(1, { regionSplitBytes: 4000, regionMaxBytes: 6000, splitCheckTickMs: 100 });
      for (let i = 0; i < 100; i++) stores.put(`k${String(i).padStart(3, "0")}`, "v".repeat(100));
      stores.pass(3000);
      const peers = [...stores.store().peers.all()];
      expect(peers.length).toBeGreaterThan(1);
      for (const peer of peers) expect(peer.approximateBytes).toBeLessThanOrEqual(6000);
      expect(stores.store().peers.gaps()).toEqual([]);
    });

    test("in half parts the rows evenly", () => {
      const stores = Stores.led();
      for (let i = 0; i < 10; i++) stores.put(`k${i}`, "v");
      stores.store().splits.splitInHalf(stores.peer(), stores.peer().region.epoch);
      stores.pass(200);
      expect(regionsOf(stores)).toEqual(["1000:-k5", "2:k5-"]);
    });
  });

  describe("a new replica", () => {
    function joined(): Stores {
      const stores = Stores.led(3, {}, 2);
      for (let i = 0; i < 50; i++) stores.put(`k${i}`, `v${i}`);
      const { region, term } = stores.peer();
      stores
        .peer()
        .admin(
          region.epoch,
          { kind: "compactLog", index: stores.peer().appliedIndex as never, term: term as never },
          () => {},
        );
      stores.pass(100);
      const change = { kind: "addLearner", peer: peerOf(23, 3, "learner") } as const;
      stores.peer().admin(region.epoch, { kind: "changePeer", changes: [change] }, () => {});
      return stores;
    }

    test("is made by the leader's heartbeat and filled by a snapshot", () => {
      const stores = joined();
      stores.pass(2000);
      expect(stores.peer(3).isInitialized).toBe(true);
      expect(stores.peer(3).appliedIndex).toBe(stores.peer().appliedIndex);
      const at = (key: string): string | undefined => {
        const value = stores.member(3).engine.get("default", utf8(`z${key}`));
        return value === undefined ? undefined : String.fromCharCode(...value.subarray(0, -1));
      };
      expect([at("k0"), at("k49")]).toEqual(["v0", "v49"]);
    });

    test("that crashes while it is filled is well after its restart [test_destroy_peer_on_pending_snapshot_and_restart]", () => {
      for (const ms of [20, 40, 60, 80, 100, 130, 160, 200, 300]) {
        const stores = joined();
        stores.pass(ms);
        stores.restart(3);
        stores.pass(4000);
        expect(stores.peer(3).isApplyingSnapshot).toBe(false);
        expect(stores.peer(3).appliedIndex).toBe(stores.peer().appliedIndex);
        expect(stores.member(3).fatal).toBeUndefined();
      }
    });

    test("removed again leaves a tombstone and no data", () => {
      const stores = joined();
      stores.pass(2000);
      const remove = { kind: "remove", peer: peerOf(23, 3, "learner") } as const;
      stores.peer().admin(stores.peer().region.epoch, { kind: "changePeer", changes: [remove] }, () => {});
      stores.pass(2000);
      expect(stores.store(3).peers.get(2)).toBeUndefined();
      const { engine } = stores.member(3);
      expect(readRegionState(engine, 2)?.state).toBe("tombstone");
      engine.scan("default", { start: utf8(""), end: undefined, limit: 10 }, (_error, { rows }) =>
        expect(rows).toEqual([]),
      );
      stores.restart(3);
      expect(stores.store(3).peers.size).toBe(0);
    });

    test("removed while it was away is told so when it asks [test_node_stale_peer]", () => {
      const stores = Stores.led(3);
      stores.crash(3);
      const remove = { kind: "remove", peer: peerOf(23, 3) } as const;
      stores.peer().admin(stores.peer().region.epoch, { kind: "changePeer", changes: [remove] }, () => {});
      stores.pass(2000);
      stores.start(3, stores.member(3).engine);
      stores.pass(6000);
      expect(stores.store(3).peers.get(2)).toBeUndefined();
      expect(readRegionState(stores.member(3).engine, 2)?.state).toBe("tombstone");
      expect(stores.peer(1).isLeader || stores.peer(2).isLeader).toBe(true);
    });
  });

  describe("a crash", () => {
    test("of one store or of all at once loses nothing that was acknowledged", () => {
      const stores = Stores.led(3);
      for (let i = 0; i < 20; i++) expect(stores.put(`k${i}`, `v${i}`)).toEqual({});
      for (const id of [1, 2, 3]) stores.restart(id);
      stores.pass(4000);
      const leader = [1, 2, 3].find((id) => stores.peer(id).isLeader) as number;
      expect(leader).toBeDefined();
      for (let i = 0; i < 20; i++) expect(stores.get(`k${i}`, leader)).toBe(`v${i}`);
    });

    test("of the leader is followed by another one, with all writes", () => {
      const stores = Stores.led(3);
      stores.put("k", "v");
      stores.crash(1);
      stores.pass(4000);
      const leader = [2, 3].find((id) => stores.peer(id).isLeader) as number;
      expect(stores.get("k", leader)).toBe("v");
    });

    test("right behind a split finds all its parts, on every store", () => {
      const stores = Stores.led(3);
      stores.put("a", "1");
      splitAt(stores, ["m"]);
      for (const id of [1, 2, 3]) stores.restart(id);
      stores.pass(4000);
      for (const id of [1, 2, 3]) expect(regionsOf(stores, id)).toEqual(["1000:-m", "2:m-"]);
      const leader = [1, 2, 3].find((id) => stores.peer(id, 1000).isLeader) as number;
      expect(stores.get("a", leader, 1000)).toBe("1");
    });

    test("after which a store votes only when an election timeout has passed: its vote may back a lease", () => {
      const stores = Stores.led(3);
      stores.restart(2);
      stores.crash(3);
      stores.peer(2).campaign();
      stores.pass(300);
      expect(stores.peer(1).isLeader).toBe(true);
    });
  });
});

describe("recovery", () => {
  const load = (engine: MemoryEngine): LoadedRegion[] => {
    let regions: LoadedRegion[] | undefined;
    loadRegions(engine, 1, (error, found) => {
      if (error !== undefined) throw error;
      regions = found;
    });
    return regions ?? [];
  };
  const onDisk = (engine: MemoryEngine, state: "normal" | "applying" | "tombstone", region: Region): void => {
    const batch = engine.batch();
    batch.put("raft", regionStateKey(region.id), encodeRegionState({ state, region }));
    batch.put("raft", raftLogKey(region.id, 6), utf8("x"));
    engine.write(batch, { sync: true }, () => {});
  };

  test("keeps one key in memory where a region begins at the end of another, whatever their ids", () => {
    const engine = new MemoryEngine();
    onDisk(engine, "normal", regionOf(2, 3, "m", "t"));
    onDisk(engine, "normal", regionOf(3, 3, "", "m"));
    onDisk(engine, "normal", regionOf(4, 3, "u", ""));
    const [middle, first, last] = load(engine).map(({ region }) => region);
    expect(first?.endKey).toBe(middle?.startKey);
    expect([middle?.endKey, last?.startKey]).toEqual([utf8("t"), utf8("u")]);
    expect([first?.startKey.length, last?.endKey.length]).toEqual([0, 0]);
  });

  test("makes peers of normal and applying regions, none of tombstones, whose logs go", () => {
    const engine = new MemoryEngine();
    onDisk(engine, "normal", regionOf(2, 3, "", "m"));
    onDisk(engine, "applying", regionOf(3, 3, "m", ""));
    onDisk(engine, "tombstone", regionOf(4, 3));
    expect(load(engine).map(({ region, peerId, applying }) => [region.id, peerId, applying])).toEqual([
      [2, 21, false],
      [3, 31, true],
    ]);
    expect(engine.get("raft", raftLogKey(4, 6))).toBeUndefined();
    expect(engine.get("raft", raftLogKey(2, 6))).toBeDefined();
  });

  test("reads thousands of regions in pages", () => {
    const engine = new MemoryEngine();
    for (let id = 1; id <= 3000; id++) onDisk(engine, "normal", regionOf(id, 1));
    expect(load(engine)).toHaveLength(3000);
  });

  test("refuses a directory whose region has no peer on this store", () => {
    const engine = new MemoryEngine();
    onDisk(engine, "normal", { ...regionOf(2, 3), peers: [peerOf(22, 2)] });
    expect(() => load(engine)).toThrow("no peer on store 1");
  });

  test("deletes data that no region here owns, and nothing else", () => {
    const stores = new Stores();
    const engine = new MemoryEngine();
    const batch = engine.batch();
    for (const key of ["za", "zc", "ze"]) batch.put("default", utf8(key), utf8("v\0"));
    engine.write(batch, { sync: true }, () => {});
    stores.add(1, [regionOf(2, 1, "b", "d")], engine);
    const left = ["za", "zc", "ze"].filter((key) => engine.get("default", utf8(key)) !== undefined);
    expect(left).toEqual(["zc"]);
  });
});

describe("the first start", () => {
  const fresh = (): Stores => {
    const stores = new Stores();
    stores.pd.bootstrapped = false;
    return stores;
  };

  test("makes the first region, once [test_node_bootstrap_idempotent]", () => {
    const stores = fresh();
    const { engine } = stores.start(1, new MemoryEngine());
    stores.pass(500);
    expect(stores.pd.bootstrapped).toBe(true);
    expect(regionsOf(stores)).toHaveLength(1);
    expect(engine.get("raft", PREPARE_BOOTSTRAP_KEY)).toBeUndefined();
    const before = regionsOf(stores);
    stores.restart(1);
    expect(regionsOf(stores)).toEqual(before);
  });

  test("after a crash between preparing and PD's answer offers the same region [test_node_bootstrap_with_prepared_data]", () => {
    const stores = fresh();
    const answer = stores.pd.bootstrap;
    stores.pd.bootstrap = () => {};
    const { engine } = stores.start(1, new MemoryEngine());
    expect(engine.get("raft", PREPARE_BOOTSTRAP_KEY)).toBeDefined();
    stores.pd.bootstrap = answer;
    stores.restart(1);
    stores.pass(500);
    expect(engine.get("raft", PREPARE_BOOTSTRAP_KEY)).toBeUndefined();
    expect(stores.pd.firstRegion?.id).toBe([...stores.store().peers.all()][0]?.regionId);
  });

  test("that loses to another store forgets its own region", () => {
    const stores = fresh();
    const answer = stores.pd.bootstrap;
    stores.pd.bootstrap = () => {};
    const { engine } = stores.start(1, new MemoryEngine());
    stores.pd.bootstrap = answer;
    stores.pd.bootstrapped = true;
    stores.pd.firstRegion = { id: 5 };
    stores.restart(1);
    stores.pass(500);
    expect(stores.store().peers.size).toBe(0);
    expect(engine.get("raft", PREPARE_BOOTSTRAP_KEY)).toBeUndefined();
  });

  test("on a directory of another cluster, or with data of nobody, is refused with what to do", () => {
    const stores = fresh();
    const other = stores.start(1, new MemoryEngine());
    Object.defineProperty(stores.pd, "clusterId", { value: 99n });
    expect(() => stores.restart(1)).toThrow("belongs to cluster 77");
    expect(other.engine.get("raft", STORE_IDENT_KEY)).toBeDefined();
    const engine = new MemoryEngine();
    const batch = engine.batch();
    batch.put("default", utf8("za"), utf8("v"));
    engine.write(batch, { sync: true }, () => {});
    expect(() => stores.start(2, engine)).toThrow("empty --data-dir");
  });
});

describe("log garbage collection", () => {
  const input: LogGcInput = {
    firstIndex: 100,
    lastIndex: 1000,
    appliedIndex: 990,
    replicatedIndex: 900,
    logBytes: 0,
    skips: 0,
  };
  const target = (change: Partial<LogGcInput>): number | string =>
    logGcTarget({ ...input, ...change }, DEFAULT_REGION_CONFIG);

  test("goes as far as every peer has the log", () => {
    expect(target({})).toBe(899);
    expect(target({ replicatedIndex: 995 })).toBe(989);
  });

  test("waits for a lagging peer", () => {
    expect(target({ replicatedIndex: 99 })).toBe("none");
    expect(target({ replicatedIndex: 0 })).toBe("none");
  });

  test("is not worth an entry for a few entries, but not put off for ever", () => {
    expect(target({ replicatedIndex: 120 })).toBe("skip");
    expect(target({ replicatedIndex: 120, skips: 6 })).toBe(119);
    expect(target({ lastIndex: 102, appliedIndex: 102, replicatedIndex: 102 })).toBe("none");
  });

  test("leaves a lagging peer to a snapshot when the log has outgrown its count or bytes [test_node_compact_size_limit]", () => {
    const { logGcBytesLimit, logGcCountLimit } = DEFAULT_REGION_CONFIG;
    expect(target({ replicatedIndex: 0, logBytes: logGcBytesLimit })).toBe(549);
    const far = 100 + logGcCountLimit;
    expect(target({ replicatedIndex: 0, appliedIndex: far, lastIndex: far })).toBe(
      100 + logGcCountLimit / 2 - 1,
    );
  });

  test("cuts a running region's log on every replica, entries on disk included", () => {
    const stores = Stores.led(3, { logGcThreshold: 10 });
    for (let i = 0; i < 40; i++) stores.put(`k${i}`, "v");
    stores.pass(3000);
    for (const id of [1, 2, 3]) {
      const first = stores.peer(id).storage.firstIndex();
      expect(first).toBeGreaterThan(20);
      expect(stores.member(id).engine.get("raft", raftLogKey(2, first - 1))).toBeUndefined();
    }
  });
});
