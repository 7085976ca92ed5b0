/** A disk that fails: the store stops at the first write that fails, whatever it was for, and writes nothing more. */
import { expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { peerOf, Stores } from "./test/harness.js";

class FailingDisk extends MemoryEngine {
  /** Writes and deletions still to succeed. */
  left = Number.POSITIVE_INFINITY;
  asked = 0;
  askedAfterFailure = 0;

  #fails(): boolean {
    this.asked++;
    if (this.left < 0) this.askedAfterFailure++;
    return --this.left < 0;
  }

  override write(...[batch, options, callback]: Parameters<MemoryEngine["write"]>): void {
    if (this.#fails()) callback(new Error("EIO"));
    else super.write(batch, options, callback);
  }
  override deleteRange(...[space, start, end, callback]: Parameters<MemoryEngine["deleteRange"]>): void {
    if (this.#fails()) callback(new Error("EIO"));
    else super.deleteRange(space, start, end, callback);
  }
}

/** Store 3 gets a replica by snapshot; its disk fails at the write with this number. */
function join(failAt: number): { readonly stores: Stores; readonly disk: FailingDisk } {
  const stores = Stores.led(2, { snapshotChunkBytesMax: 100 });
  for (let i = 0; i < 6; i++) stores.put(`k${i}`, "v".repeat(50));
  const disk = new FailingDisk();
  stores.add(3, [], disk);
  disk.asked = 0;
  disk.left = failAt;
  const change = { kind: "addVoter", peer: peerOf(23, 3) } as const;
  stores.peer().admin(stores.peer().region.epoch, { kind: "changePeer", changes: [change] }, () => {});
  stores.pass(900);
  return { stores, disk };
}

test("each write and deletion of a snapshot on its way in that fails stops the store, with the reason", () => {
  const whole = join(Number.POSITIVE_INFINITY);
  expect(whole.stores.member(3).fatal).toBeUndefined();
  expect(whole.stores.get("k5")).toBe("v".repeat(50));
  // Chunks, the end of the stream, the region's state, loading, clearing up.
  expect(whole.disk.asked).toBeGreaterThan(12);
  for (let failAt = 0; failAt < whole.disk.asked; failAt++) {
    const { stores, disk } = join(failAt);
    const { fatal, store } = stores.member(3);
    expect([failAt, fatal?.message]).toEqual([failAt, "EIO"]);
    expect(store.isServing).toBe(false);
    expect(disk.askedAfterFailure).toBe(0);
    // The others go on.
    expect(stores.put("after", "1").regionError ?? null).toBeNull();
  }
});

test("after the first failure there is no second try", () => {
  const stores = new Stores();
  const disk = new FailingDisk();
  const { store } = stores.add(1, [], disk);
  disk.left = 0;
  const told: (string | undefined)[] = [];
  store.engine.deleteRange("default", utf8("a"), utf8("b"), (error) => told.push(error?.message));
  expect(stores.member(1).fatal?.message).toBe("EIO");
  store.engine.write(disk.batch(), { sync: true }, (error) => told.push(error?.message));
  expect([told, disk.askedAfterFailure]).toEqual([["EIO", "EIO"], 0]);
});
