/** States of many regions in two rounds: the same as one by one, whatever is stored of each. */
import { expect, test } from "vitest";
import { logIndex, peerId, regionId, term } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { encodeEntry } from "./entry-codec.js";
import { applyStateKey, raftLogKey, raftStateKey, uninitializedVoteKey } from "./keys.js";
import { encodeApplyState, encodeRaftState } from "./local-state.js";
import type { Region } from "./region.js";
import { readStoredStates } from "./stored-states.js";
import { entryOf, regionOf } from "./test/fixtures.js";

const engine = new MemoryEngine();

interface Stored {
  readonly apply?: readonly [applied: number, truncated: number];
  readonly raft?: readonly [term: number, vote: number, commit: number, last: number];
  readonly vote?: readonly [term: number, vote: number];
  readonly lastTerm?: number;
}

function store(id: number, { apply, raft, vote, lastTerm }: Stored): Region {
  const batch = engine.batch();
  const hardState = (of: number, whom: number, commit: number) => ({
    term: term(of),
    vote: peerId(whom),
    commit: logIndex(commit),
  });
  if (apply !== undefined) {
    const [appliedIndex, truncatedIndex] = apply.map(logIndex) as [never, never];
    const state = { appliedIndex, appliedTerm: term(6), truncatedIndex, truncatedTerm: term(5) };
    batch.put("raft", applyStateKey(id), encodeApplyState(state));
  }
  if (raft !== undefined) {
    const state = { hardState: hardState(raft[0], raft[1], raft[2]), lastIndex: logIndex(raft[3]) };
    batch.put("raft", raftStateKey(id), encodeRaftState(state));
    if (lastTerm !== undefined)
      batch.put("raft", raftLogKey(id, raft[3]), encodeEntry(entryOf(raft[3], lastTerm)));
  }
  if (vote !== undefined) {
    const state = { hardState: hardState(vote[0], vote[1], 0), lastIndex: logIndex(0) };
    batch.put("raft", uninitializedVoteKey(id), encodeRaftState(state));
  }
  engine.write(batch, { sync: true }, () => {});
  return regionOf(id, 3);
}

test("are what is stored, with what an absence means, and with early votes", () => {
  const regions = [
    store(2, { apply: [8, 5], raft: [7, 22, 9, 9], lastTerm: 7 }),
    store(3, {}),
    { ...store(4, { vote: [3, 41] }), id: regionId(4), peers: [] },
    store(5, { apply: [5, 5], vote: [9, 52] }),
    store(6, { apply: [8, 5], raft: [7, 62, 6, 9], lastTerm: 6 }),
    store(7, { apply: [5, 5], raft: [7, 0, 5, 5], vote: [7, 71] }),
  ];
  const atOnce = readStoredStates(engine, regions);
  expect(atOnce).toEqual(regions.map((region) => readStoredStates(engine, [region])[0]));
  const told = atOnce.map(({ applyState, raftState: { hardState, lastIndex }, lastTerm }) => {
    return [applyState.appliedIndex, hardState.term, hardState.vote, hardState.commit, lastIndex, lastTerm];
  });
  expect(told).toEqual([
    [8, 7, 22, 9, 9, 7],
    [5, 5, 0, 5, 5, 5],
    [0, 3, 41, 0, 0, 0],
    [5, 9, 52, 5, 5, 5],
    // Applied entries are committed, though a crash left the commit index behind.
    [8, 7, 62, 8, 9, 6],
    [5, 7, 71, 5, 5, 5],
  ]);
});

test("that no crash can leave are refused, by the name of the region", () => {
  const ahead = store(20, { apply: [12, 5], raft: [7, 0, 9, 9], lastTerm: 7 });
  const hollow = store(21, { apply: [8, 5], raft: [7, 0, 9, 9] });
  const sound = store(22, {});
  expect(() => readStoredStates(engine, [sound, ahead])).toThrow(/region 20: log \[6, 9\], applied 12/);
  expect(() => readStoredStates(engine, [sound, hollow])).toThrow(
    "region 21: log entry 9 is missing on disk",
  );
});
