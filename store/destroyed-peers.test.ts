/**
 * What a destroyed peer leaves behind, and what must wait until it is gone. The engine writes later, as a disk
 * does.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Engine, utf8 } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { dataKey, snapshotChunkKey } from "../region/keys.js";
import { readRegionState } from "../region/local-state.js";
import type { RegionError } from "../region/errors.js";
import { ReadBatcher } from "./reads.js";
import { peerOf } from "../region/test/fixtures.js";
import { Stores } from "./test/harness.js";

const WRITE_DELAY_MS = 8;

/** Removes the peer of store 3 and stops where its tombstone is being written. */
function removing(stores: Stores): void {
  const { region } = stores.peer();
  const third = region.peers.find(({ storeId }) => storeId === 3);
  if (third === undefined) throw new Error("no peer on store 3");
  const command = { kind: "changePeer", changes: [{ kind: "remove", peer: third }] } as const;
  stores.peer().admin(region.epoch, command, () => {});
  for (let i = 0; i < 400 && stores.store(3).peers.get(2)?.isRemoved !== true; i++) stores.pass(1);
  expect(stores.store(3).peers.get(2)?.isRemoved).toBe(true);
}

const chunks = (engine: Engine): number => {
  let count = 0;
  engine.scan("snap", { start: Uint8Array.of(0), end: undefined, limit: 100 }, (_error, { rows }) => {
    count = rows.length;
  });
  return count;
};

describe("a peer that is destroyed", () => {
  beforeEach(() => {
    Stores.writeDelayMs = WRITE_DELAY_MS;
  });
  afterEach(() => {
    Stores.writeDelayMs = 0;
  });

  test("keeps its place until its tombstone can be read, so that no successor finds its states", () => {
    const stores = Stores.led(3);
    removing(stores);
    // Removal is in the log and the region state; the tombstone of the destruction is still on its way.
    const seen: boolean[] = [];
    for (let i = 0; i < 3 * WRITE_DELAY_MS; i++) {
      stores.pass(1);
      const isGone = stores.store(3).peers.get(2) === undefined;
      seen.push(isGone);
      if (isGone) expect(stores.member(3).engine.get("raft", raftState())).toBeUndefined();
    }
    expect([seen[0], seen.at(-1)]).toEqual([false, true]);
    expect(readRegionState(stores.member(3).engine, 2)?.state).toBe("tombstone");
  });

  test("and whose store was killed before that was written leaves no states to its successor (seeds 533, 1129)", () => {
    const stores = Stores.led(3);
    removing(stores);
    const { engine } = stores.member(3);
    expect(readRegionState(engine, 2)?.state).toBe("tombstone");
    expect(engine.get("raft", raftState())).toBeDefined();
    stores.restart(3);
    stores.pass(100);
    const { region } = stores.peer();
    const changes = [{ kind: "addLearner", peer: peerOf(33, 3, "learner") }] as const;
    stores.peer().admin(region.epoch, { kind: "changePeer", changes }, () => {});
    stores.pass(2_000);
    stores.put("k", "after");
    stores.pass(500);
    expect(stores.peer(3).peerId).toBe(33);
    expect(stores.member(3).engine.get("default", dataKey(utf8("k")))).toBeDefined();
  });
});

/** Key of the hard state of region 2. */
const raftState = (): Uint8Array => Uint8Array.of(1, 2, 0, 0, 0, 0, 0, 0, 0, 2, 2);

describe("a read whose data was taken", () => {
  test("is refused when its peer says afterwards that the keys are not its own any more", () => {
    const engine = new MemoryEngine();
    const answers: string[] = [];
    let refusal: RegionError | undefined = { message: "region 2 is missing" };
    const peer = {
      mayReadLocally: () => false,
      queueRead: (request: { run(): void }) => request.run(),
      refusalAfterRead: (version: number) => (version === 1 ? refusal : undefined),
      region: { epoch: { version: 1 } },
    };
    const reads = new ReadBatcher(
      engine,
      () => 0,
      () => {},
    );
    const ask = (): void => {
      reads.add({
        kind: "points",
        peer: peer as never,
        isReplicaRead: true,
        version: 1,
        keys: [dataKey(utf8("a"))],
        onError: (error) => answers.push(error.message ?? ""),
        onValues: (values) => answers.push(`${values.length} values`),
      });
      reads.flush();
    };
    ask();
    refusal = undefined;
    ask();
    expect(answers).toEqual(["region 2 is missing", "1 values"]);
  });
});

describe("chunks of a snapshot that was not accepted", () => {
  test("are gone after the next start", () => {
    const stores = Stores.led(1);
    const { engine } = stores.member(1);
    const batch = engine.batch();
    for (const region of [7, 9]) batch.put("snap", snapshotChunkKey(region, 6, 40, 0), utf8("chunk"));
    engine.write(batch, { sync: true }, () => {});
    expect(chunks(engine)).toBe(2);
    stores.restart(1);
    stores.pass(100);
    expect(chunks(engine)).toBe(0);
    expect(stores.put("a", "1")).toEqual({});
  });
});
