/**
 * What every `GroupStorage` must pass. Register the cases with a test runner of your own: the suite depends on none,
 * and each case opens an empty storage.
 *
 *   for (const { title, run } of groupStorageConformance(target)) test(title, run);
 */
import { assert, equalBytes } from "../base/index.js";
import { EMPTY_CONF_STATE, type Entry, makeEntry, makeHardState } from "../raft/index.js";
import { crc32 } from "./crc32.js";
import type { GroupIdentity, GroupStorage, InitialState, SnapshotInfo, SnapshotWriter } from "./storage.js";

export interface ConformanceTarget {
  /** An empty storage, not opened yet. */
  create(): Promise<GroupStorage> | GroupStorage;
  /** The same data as after the end of the process, not opened yet. Left out by storages that keep nothing. */
  reopen?: (closed: GroupStorage) => Promise<GroupStorage> | GroupStorage;
}

export interface ConformanceCase {
  readonly title: string;
  readonly run: () => Promise<void>;
}

type Callback<T> = (error: Error | undefined, value?: T) => void;

const wait = <T = void>(run: (callback: Callback<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    run((error, value) => {
      if (error !== undefined) reject(error);
      else resolve(value as T);
    });
  });

const open = (storage: GroupStorage): Promise<InitialState> => wait((callback) => storage.open(callback));

function equal(actual: unknown, expected: unknown, what: string): void {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  assert(left === right, () => `${what}: ${left}, not ${right}`);
}

const bytesOf = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17) & 0xff);

const log = (term: number, first: number, last: number, bytes = 10): Entry[] =>
  Array.from({ length: last - first + 1 }, (_, i) => makeEntry(term, first + i, bytesOf(bytes, first + i)));

const append = (storage: GroupStorage, entries: readonly Entry[], hardState?: [number, number, number]) =>
  wait((done) =>
    storage.write({ entries, hardState: hardState && makeHardState(...hardState), mustSync: true }, done),
  );

const indexes = (entries: readonly Entry[]): string[] => entries.map(({ term, index }) => `${term}:${index}`);

function checkLog(storage: GroupStorage, expected: readonly string[], first = 1): void {
  equal(storage.firstIndex(), first, "first index");
  equal(storage.lastIndex(), first + expected.length - 1, "last index");
  if (expected.length === 0) return;
  const all = storage.entries(first, first + expected.length, Number.POSITIVE_INFINITY);
  equal(indexes(all), expected, "entries");
  for (const { index, term, data } of all) {
    equal(storage.term(index), term, `term of ${index}`);
    if (data.length > 0) assert(equalBytes(data, bytesOf(data.length, index)), `data of ${index}`);
  }
}

const CONF = { ...EMPTY_CONF_STATE, voters: [1, 2, 3], learners: [4] };

interface Written {
  readonly writer: SnapshotWriter;
  readonly info: SnapshotInfo;
  readonly chunks: readonly Uint8Array[];
}

async function writeSnapshot(
  storage: GroupStorage,
  index: number,
  term: number,
  count = 3,
): Promise<Written> {
  const chunks = Array.from({ length: count }, (_, i) => bytesOf(100 + i, index + i));
  const writer = storage.beginSnapshot();
  let checksum = 0;
  for (const chunk of chunks) {
    checksum = crc32(chunk, checksum);
    await wait((done) => writer.write(writer.offset, chunk, done));
  }
  const bytes = writer.offset;
  return {
    writer,
    chunks,
    info: { index, term, confState: CONF, bytes, checksum, source: "s", number: index },
  };
}

function checkSnapshot(storage: GroupStorage, { info, chunks }: Written): void {
  equal(storage.snapshot(), info, "live snapshot");
  let offset = 0;
  for (const chunk of chunks) {
    const read = storage.readSnapshot(offset);
    assert(read !== undefined && equalBytes(read, chunk), `chunk at ${offset}`);
    offset += chunk.length;
  }
  equal(storage.readSnapshot(offset), undefined, "the end");
}

async function publish(storage: GroupStorage, index: number, term: number): Promise<Written> {
  const written = await writeSnapshot(storage, index, term);
  await wait((done) => storage.publishSnapshot(written.writer, written.info, done));
  return written;
}

type Case = (storage: GroupStorage, again: () => Promise<GroupStorage>) => Promise<void>;

const CASES: Readonly<Record<string, Case>> = {
  "is empty at first": async (storage) => {
    checkLog(storage, []);
    equal(storage.snapshot(), undefined, "snapshot");
    equal(storage.term(0), 0, "term before the log");
    equal(storage.logBytes(), 0, "bytes");
  },
  "gives entries from a start to a stop, at most so many bytes but at least one": async (storage) => {
    await append(storage, log(1, 1, 10));
    equal(indexes(storage.entries(3, 6, Number.POSITIVE_INFINITY)), ["1:3", "1:4", "1:5"], "range");
    equal(storage.entries(3, 6, 0).length, 1, "at least one");
    assert(storage.entries(1, 11, 40).length < 10, "bytes bound the answer");
    assert(storage.logBytes() > 0, "bytes are counted");
  },
  "overwrites by index and drops what follows": async (storage) => {
    await append(storage, log(1, 1, 10));
    await append(storage, log(2, 4, 6));
    checkLog(storage, ["1:1", "1:2", "1:3", "2:4", "2:5", "2:6"]);
    await append(storage, log(3, 7, 8));
    checkLog(storage, ["1:1", "1:2", "1:3", "2:4", "2:5", "2:6", "3:7", "3:8"]);
  },
  "keeps the order of writes that overlap": async (storage) => {
    const results: number[] = [];
    const writes = [log(1, 1, 5), log(2, 3, 4), log(3, 5, 5)].map((entries, i) =>
      append(storage, entries).then(() => results.push(i)),
    );
    await Promise.all(writes);
    equal(results, [0, 1, 2], "callbacks");
    checkLog(storage, ["1:1", "1:2", "2:3", "2:4", "3:5"]);
  },
  "deletes entries behind a snapshot and keeps the last one's term": async (storage) => {
    await append(storage, log(2, 1, 10));
    await publish(storage, 8, 2);
    await wait((done) => storage.deleteThrough(5, done));
    checkLog(storage, ["2:6", "2:7", "2:8", "2:9", "2:10"], 6);
    equal(storage.term(5), 2, "term of the last deleted");
    await wait((done) => storage.deleteThrough(3, done));
    equal(storage.firstIndex(), 6, "deleting again does nothing");
    await wait((done) => storage.deleteThrough(8, done));
    await append(storage, log(3, 11, 12));
    checkLog(storage, ["2:9", "2:10", "3:11", "3:12"], 9);
  },
  "begins the log behind the first snapshot": async (storage) => {
    const written = await publish(storage, 1, 1);
    checkLog(storage, [], 2);
    checkSnapshot(storage, written);
    await append(storage, log(1, 2, 3));
    checkLog(storage, ["1:2", "1:3"], 2);
  },
  "has one live snapshot, the newest": async (storage) => {
    await append(storage, log(1, 1, 10));
    await publish(storage, 4, 1);
    checkSnapshot(storage, await publish(storage, 7, 1));
    equal(storage.lastIndex(), 10, "the log stays");
  },
  "leaves the live snapshot alone while another is written and aborted": async (storage) => {
    await append(storage, log(1, 1, 10));
    const live = await publish(storage, 4, 1);
    const { writer } = await writeSnapshot(storage, 9, 1);
    checkSnapshot(storage, live);
    await wait((done) => writer.abort(done));
    checkSnapshot(storage, live);
    checkSnapshot(storage, await publish(storage, 6, 1));
  },
  "installs a snapshot: log and hard state begin anew with it": async (storage) => {
    await append(storage, log(1, 1, 10), [1, 1, 5]);
    await publish(storage, 4, 1);
    const written = await writeSnapshot(storage, 20, 3);
    const hardState = makeHardState(4, 2, 20);
    await wait((done) => storage.installSnapshot(written.writer, written.info, hardState, done));
    checkSnapshot(storage, written);
    checkLog(storage, [], 21);
    equal(storage.term(20), 3, "term of the snapshot");
    await append(storage, log(4, 21, 23));
    checkLog(storage, ["4:21", "4:22", "4:23"], 21);
  },
  "installs a snapshot over a log that reaches beyond it": async (storage) => {
    await append(storage, log(1, 1, 30));
    const written = await writeSnapshot(storage, 20, 3);
    await wait((done) =>
      storage.installSnapshot(written.writer, written.info, makeHardState(4, 0, 20), done),
    );
    checkLog(storage, [], 21);
  },
};

const IDENTITY: GroupIdentity = {
  storageId: "abc",
  groupId: "g",
  nodeId: 7,
  address: "host:1",
  isFounded: true,
  pins: [
    [1, "x"],
    [2, "y"],
  ],
};

const LASTING_CASES: Readonly<Record<string, Case>> = {
  "keeps identity, hard state and log over a restart": async (storage, again) => {
    await wait((done) => storage.saveIdentity(IDENTITY, done));
    await append(storage, log(1, 1, 10), [3, 2, 6]);
    await append(storage, log(2, 8, 8), [4, 1, 7]);
    const next = await again();
    const { identity, hardState, snapshot } = await open(next);
    equal(identity, IDENTITY, "identity");
    equal(hardState, makeHardState(4, 1, 7), "hard state");
    equal(snapshot, undefined, "snapshot");
    checkLog(next, ["1:1", "1:2", "1:3", "1:4", "1:5", "1:6", "1:7", "2:8"]);
  },
  "keeps a snapshot and a shortened log over a restart": async (storage, again) => {
    await append(storage, log(1, 1, 10));
    const written = await publish(storage, 8, 1);
    await wait((done) => storage.deleteThrough(6, done));
    const next = await again();
    equal((await open(next)).snapshot, written.info, "snapshot");
    checkSnapshot(next, written);
    checkLog(next, ["1:7", "1:8", "1:9", "1:10"], 7);
    equal(next.term(6), 1, "term");
  },
  "keeps an installed snapshot over a restart, and nothing of what was before": async (storage, again) => {
    await append(storage, log(1, 1, 30));
    await publish(storage, 4, 1);
    const written = await writeSnapshot(storage, 20, 3);
    await wait((done) =>
      storage.installSnapshot(written.writer, written.info, makeHardState(4, 2, 20), done),
    );
    await append(storage, log(4, 21, 22));
    const next = await again();
    equal((await open(next)).hardState, makeHardState(4, 2, 20), "hard state");
    checkSnapshot(next, written);
    checkLog(next, ["4:21", "4:22"], 21);
  },
  "forgets a snapshot that was not finished": async (storage, again) => {
    await append(storage, log(1, 1, 10));
    const live = await publish(storage, 4, 1);
    await writeSnapshot(storage, 9, 1);
    const next = await again();
    await open(next);
    checkSnapshot(next, live);
    checkSnapshot(next, await publish(next, 6, 1));
  },
};

function makeCase(target: ConformanceTarget, title: string, run: Case): ConformanceCase {
  return {
    title,
    run: async () => {
      let storage = await target.create();
      await open(storage);
      await run(storage, async () => {
        await wait((done) => storage.close(done));
        assert(target.reopen !== undefined, "the target does not reopen");
        storage = await target.reopen(storage);
        return storage;
      });
      await wait((done) => storage.close(done));
    },
  };
}

export function groupStorageConformance(target: ConformanceTarget): ConformanceCase[] {
  const cases = Object.entries(CASES);
  if (target.reopen !== undefined) cases.push(...Object.entries(LASTING_CASES));
  return cases.map(([title, run]) => makeCase(target, title, run));
}
