/** Small makers that the tests of this folder and of store/ share. */
import { type Engine, logIndex, peerId, regionId, storeId, term, utf8 } from "../../base/index.js";
import type { Append, Entry, EntryType } from "../../raft/types.js";
import type { PeerMeta, PeerRole, Region } from "../region.js";

export const peerOf = (id: number, store: number, role: PeerRole = "voter"): PeerMeta => ({
  id: peerId(id),
  storeId: storeId(store),
  role,
});

/** A region with peers 1, 2, ... on stores 1, 2, ...; the last may be given roles. */
export function regionOf(id: number, stores: number, start = "", end = ""): Region {
  return {
    id: regionId(id),
    startKey: utf8(start),
    endKey: utf8(end),
    epoch: { confVer: 1, version: 1 },
    peers: Array.from({ length: stores }, (_, i) => peerOf(id * 10 + i + 1, i + 1)),
  };
}

export const entryOf = (
  index: number,
  of: number,
  data: Uint8Array = new Uint8Array(0),
  type: EntryType = "EntryNormal",
): Entry => ({ index: logIndex(index), term: term(of), data, type });

let sequence = 0;
/** An append as the Raft library hands one out. */
export function appendOf(
  entries: readonly Entry[],
  hardState?: { term: number; vote: number; commit: number },
): Append {
  return {
    sequence: ++sequence,
    entries,
    hardState:
      hardState === undefined
        ? undefined
        : { term: term(hardState.term), vote: hardState.vote, commit: logIndex(hardState.commit) },
    snapshot: undefined,
    mustSync: true,
    responses: [],
  };
}

/** Everything in one key space, as [hex key, value] in order. */
export function dump(engine: Engine, space: "default" | "lock" | "write" | "raft"): [string, string][] {
  const rows: [string, string][] = [];
  const text = (bytes: Uint8Array): string =>
    Array.from(bytes, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\${byte}`)).join(
      "",
    );
  engine.scan(space, { start: new Uint8Array(0), end: undefined, limit: 1_000_000 }, (_error, result) => {
    for (const { key, value } of result.rows) rows.push([text(key), text(value)]);
  });
  return rows;
}
