/** The table of ranges, against the plain way of looking for them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Peer } from "../region/peer.js";
import { rangesOverlap, type Region } from "../region/region.js";
import { regionOf } from "../region/test/fixtures.js";
import { PeerRegistry } from "./peers.js";

const key = (at: number): Uint8Array => (at < 0 ? new Uint8Array(0) : Uint8Array.of(at));
const ranged = (id: number, start: number, end: number): Region => ({
  ...regionOf(id, 1),
  startKey: key(start),
  endKey: key(end),
});
const peerOf = (region: Region): Peer =>
  ({ regionId: region.id, isInitialized: true, region }) as unknown as Peer;

describe("ranges of regions", () => {
  test("are found wherever they overlap, after any adding, changing and removing", () => {
    const cut = fc.integer({ min: 0, max: 60 });
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), cut, cut, fc.boolean()), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(steps, cut, cut, (list, from, to) => {
        const registry = new PeerRegistry();
        const known = new Map<number, Region>();
        for (const [id, left, right, removes] of list) {
          const region = ranged(id, Math.min(left, right), left === right ? -1 : Math.max(left, right));
          const isTaken = [...known.values()].some(
            (other) =>
              other.id !== id && rangesOverlap(other.startKey, other.endKey, region.startKey, region.endKey),
          );
          if (removes && known.has(id)) {
            registry.remove(registry.get(id) as Peer);
            known.delete(id);
          } else if (!isTaken) {
            if (known.has(id)) registry.update(region);
            else registry.add(peerOf(region));
            known.set(id, region);
          }
        }
        const [start, end] = [key(Math.min(from, to)), from === to ? key(-1) : key(Math.max(from, to))];
        const plain = [...known.values()].filter(({ startKey, endKey }) =>
          rangesOverlap(startKey, endKey, start, end),
        );
        const found = registry.overlapping(start, end, 0).map(({ regionId }) => regionId);
        expect(new Set(found)).toEqual(new Set(plain.map(({ id }) => id)));
        expect(found).toHaveLength(plain.length);
        const gaps = registry.gaps();
        for (const gap of gaps) expect(registry.overlapping(gap.start, gap.end, 0)).toEqual([]);
      }),
    );
  });

  test("keep no former value of a region, whose peers or borders changed", () => {
    const registry = new PeerRegistry();
    registry.add(peerOf(ranged(1, 5, 9)));
    const peer = peerOf(ranged(2, 9, 20));
    registry.add(peer);
    const changed = { ...peer.region, peers: [...peer.region.peers] };
    registry.update(changed);
    expect(registry.regions()).toEqual([ranged(1, 5, 9), changed]);
    expect(registry.regions()[1]).toBe(changed);
    const right = { ...changed, startKey: key(12) };
    registry.update(right);
    registry.add(peerOf(ranged(3, 9, 12)));
    expect(registry.regions().map(({ id }) => id)).toEqual([1, 3, 2]);
    expect(registry.regions()[2]).toBe(right);
    // A peer may be a step behind or ahead of what was told.
    registry.remove(peer);
    expect(registry.regions().map(({ id }) => id)).toEqual([1, 3]);
  });

  test("are the same when all are loaded at once", () => {
    const loaded = new PeerRegistry();
    const all = [ranged(7, 9, 12), ranged(3, 20, -1), ranged(5, 0, 9)].map(peerOf);
    loaded.addLoaded(all);
    expect([...loaded.all()]).toEqual(all);
    expect(loaded.regions().map(({ id }) => id)).toEqual([5, 7, 3]);
    expect(() => loaded.addLoaded(all)).toThrow("empty table");
    const overlapping = [ranged(1, 0, 9), ranged(2, 8, 10)].map(peerOf);
    expect(() => new PeerRegistry().addLoaded(overlapping)).toThrow("overlaps region 1");
    const twice = [ranged(1, 0, 9), ranged(1, 9, 10)].map(peerOf);
    expect(() => new PeerRegistry().addLoaded(twice)).toThrow("on this store already");
  });

  test("must not be taken twice", () => {
    const registry = new PeerRegistry();
    registry.add(peerOf(ranged(1, 5, 9)));
    expect(() => registry.add(peerOf(ranged(2, 8, -1)))).toThrow("overlaps region 1");
  });
});
