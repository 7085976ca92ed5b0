/** What a recovery after a lost majority keeps, gives up and says, from storages of every kind of survivor. */
import { describe, expect, test } from "vitest";
import { nodeEnv } from "../adapters/node-env.js";
import { EMPTY_BYTES, SeededRandom, SILENT_LOGGER } from "../base/index.js";
import {
  type ConfChangeSingle,
  EMPTY_CONF_STATE,
  encodeConfChange,
  type Entry,
  makeConfChange,
  makeEntry,
  makeHardState,
} from "../raft/index.js";
import { encodeContext, GroupState, type Member } from "./members.js";
import { MemoryGroupStorage } from "./memory-storage.js";
import { recoverGroup, type Recovery, type RecoveryOptions } from "./recover.js";
import { makeInitialSnapshot } from "./snapshot-maker.js";
import type { Done, GroupStorage, InitialState } from "./storage.js";

const done = (run: (done: Done) => void): Promise<void> =>
  new Promise((resolve, reject) => run((error) => (error === undefined ? resolve() : reject(error))));

const open = (storage: GroupStorage): Promise<InitialState> =>
  new Promise((resolve, reject) =>
    storage.open((error, state) =>
      state === undefined ? reject(error ?? new Error("none")) : resolve(state),
    ),
  );

const member = (id: number, role: Member["role"] = "voter"): Member => ({
  id,
  address: `n${id}`,
  role,
  storageId: `s${id}`,
});

/** A change of the members as it stands in the log. */
function change(index: number, context: readonly Member[], ...singles: ConfChangeSingle[]): Entry {
  const known = singles.length === 0 ? EMPTY_BYTES : encodeContext(context);
  const data = encodeConfChange(makeConfChange(singles, "ConfChangeTransitionAuto", known));
  return { ...makeEntry(1, index, data), type: "EntryConfChangeV2" };
}

const remove = (index: number, id: number): Entry =>
  change(index, [member(id)], { type: "ConfChangeRemoveNode", nodeId: id });
const add = (index: number, id: number): Entry =>
  change(index, [member(id, "learner")], { type: "ConfChangeAddLearnerNode", nodeId: id });

/** Member 1 of a group of `voters`, with this log behind a snapshot at 1. */
async function survivor(
  log: readonly Entry[],
  commit: number,
  voters = [1, 2, 3],
  storage: GroupStorage = new MemoryGroupStorage(),
): Promise<GroupStorage> {
  await open(storage);
  const identity = { storageId: "s1", groupId: "old", nodeId: 1, address: "n1", isFounded: true, pins: [] };
  await done((callback) => storage.saveIdentity(identity, callback));
  const source = {
    index: 1,
    term: 1,
    confState: { ...EMPTY_CONF_STATE, voters },
    groupState: GroupState.founded(voters.map((id) => member(id))).encode(),
    storageId: "s1",
    pieceBytes: 100,
  };
  await done((callback) =>
    makeInitialSnapshot(nodeEnv(SILENT_LOGGER), storage, source, (error) => callback(error)),
  );
  const hardState = makeHardState(1, 1, commit);
  await done((callback) => storage.write({ entries: log, hardState, mustSync: true }, callback));
  return storage;
}

function recover(source: GroupStorage, options: Partial<RecoveryOptions> = {}): Promise<Recovery> {
  return recoverGroup(source, new MemoryGroupStorage(), {
    from: "log",
    acceptDataLoss: true,
    random: new SeededRandom(1),
    ...options,
  });
}

const ids = (recovery: Recovery): number[] =>
  recovery.membersGivenUp.map(({ id }) => id).sort((left, right) => left - right);

describe("members that are given up", () => {
  test("are those of the snapshot, and those whom the log added behind it", async () => {
    expect(ids(await recover(await survivor([makeEntry(1, 2)], 2)))).toEqual([2, 3]);
    expect(ids(await recover(await survivor([makeEntry(1, 2), add(3, 4)], 3)))).toEqual([2, 3, 4]);
  });

  test("are not those whom the group had removed, as far as the survivor knows it as committed", async () => {
    const log = [makeEntry(1, 2), add(3, 4), remove(4, 4), remove(5, 3)];
    expect(ids(await recover(await survivor(log, 5)))).toEqual([2]);
    // Whether the last removal was committed nobody can say any more: member 3 may know more.
    expect(ids(await recover(await survivor(log, 4)))).toEqual([2, 3]);
    expect(ids(await recover(await survivor(log, 3)))).toEqual([2, 3, 4]);
  });

  test("are those whom an addition may have brought in that was never known as committed", async () => {
    expect(ids(await recover(await survivor([makeEntry(1, 2), add(3, 4)], 2)))).toEqual([2, 3, 4]);
  });

  test("are no reason to ask when the group had removed every other voter", async () => {
    const log = [makeEntry(1, 2), add(3, 4), remove(4, 3), remove(5, 2)];
    const alone = await recover(await survivor(log, 5), { acceptDataLoss: false });
    expect(ids(alone)).toEqual([4]);
    const maybe = recover(await survivor(log, 4), { acceptDataLoss: false });
    await expect(maybe).rejects.toMatchObject({ code: "dataLossNotAccepted", retry: "never" });
  });

  test("still vote while a joint configuration is not left", async () => {
    const both: ConfChangeSingle[] = [2, 3].map((nodeId) => ({ type: "ConfChangeRemoveNode", nodeId }));
    const enter = change(2, [member(2), member(3)], ...both);
    const joint = recover(await survivor([enter], 2), { acceptDataLoss: false });
    await expect(joint).rejects.toThrow(/members 2 \(n2\), 3 \(n3\) may have newer data/);
    const leave = change(3, []);
    const left = await recover(await survivor([enter, leave], 3), { acceptDataLoss: false });
    expect(ids(left)).toEqual([]);
  });
});

describe("a damaged log", () => {
  class Damaged extends MemoryGroupStorage {
    damaged = false;
    override entries(...[start, stop, bytesMax]: Parameters<GroupStorage["entries"]>): readonly Entry[] {
      if (this.damaged && stop > 3) throw new Error("log entry 3 is missing on disk");
      return super.entries(start, stop, bytesMax);
    }
    override term(index: number): number {
      if (this.damaged && index > 2) throw new Error("log entry 3 is missing on disk");
      return super.term(index);
    }
  }

  test("refuses a recovery from it, and does not hinder one from the snapshot", async () => {
    const storage = new Damaged();
    await survivor([makeEntry(1, 2), makeEntry(1, 3), makeEntry(1, 4)], 4, [1, 2, 3], storage);
    storage.damaged = true;
    await expect(recover(storage)).rejects.toThrow(/missing on disk.*--from-snapshot/s);
    const kept = await recover(storage, { from: "snapshot" });
    expect(kept).toMatchObject({ lastIndex: 1, dropped: { from: 2, to: 4 } });
    expect(ids(kept)).toEqual([2, 3]);
  });
});
