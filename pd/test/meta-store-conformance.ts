/**
 * The contract of `MetaStore` as cases that run against every implementation: register each as a test. Each case
 * works below a prefix of its own, so that they may share one store and run beside each other.
 */
import { compareBytes, utf8 } from "../../base/index.js";
import type { MetaCallback, MetaEntry, MetaEvent, MetaStore, MetaTransactionResult } from "../meta-store.js";

export interface MetaStoreTarget {
  readonly store: MetaStore;
  /** Lets time pass, real or virtual. */
  sleep(ms: number): Promise<void>;
  /** Forgets history, where the store has any. */
  compact?(): Promise<void>;
}

export interface MetaStoreCase {
  readonly title: string;
  /** Waits for leases to run out. */
  readonly isSlow?: boolean;
  run(target: MetaStoreTarget, prefix: string): Promise<void>;
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`the contract is broken: ${what}`);
}

/** A call as a promise; virtual time is pushed on until it ends. */
export async function ask<T>(target: MetaStoreTarget, run: (callback: MetaCallback<T>) => void): Promise<T> {
  let outcome: { error: Error | undefined; result: T } | undefined;
  run((error, result) => {
    outcome = { error, result };
  });
  for (let waited = 0; outcome === undefined; waited++) {
    if (waited > 3_000) throw new Error("no answer");
    await target.sleep(5);
  }
  if (outcome.error !== undefined) throw outcome.error;
  return outcome.result;
}

async function until(
  target: MetaStoreTarget,
  condition: () => boolean,
  what: string,
  waitMs = 5_000,
): Promise<void> {
  for (let waited = 0; !condition(); waited += 10) {
    check(waited < waitMs, what);
    await target.sleep(10);
  }
}

const text = (entry: MetaEntry | undefined): string | undefined =>
  entry === undefined ? undefined : new TextDecoder().decode(entry.value);
const put = (target: MetaStoreTarget, key: string, value: string) =>
  ask<number>(target, (done) => target.store.put(utf8(key), utf8(value), done));
const get = (target: MetaStoreTarget, key: string) =>
  ask<MetaEntry | undefined>(target, (done) => target.store.get(utf8(key), done));
const after = (prefix: string): Uint8Array => utf8(`${prefix}~`);

export const META_STORE_CASES: readonly MetaStoreCase[] = [
  {
    title: "gives back what was put, with its revisions and version",
    async run(target, prefix) {
      const key = `${prefix}a`;
      check((await get(target, key)) === undefined, "a key that was never put is absent");
      const first = await put(target, key, "one");
      const second = await put(target, key, "two");
      check(second > first, "revisions grow");
      const entry = await get(target, key);
      check(text(entry) === "two", "the last value counts");
      check(
        entry?.createRevision === first && entry.modRevision === second,
        "revisions are those of the puts",
      );
      check(entry.version === 2, "the version counts changes");
      check(entry.leaseId === 0, "no lease is attached");
    },
  },
  {
    title: "begins anew with a key that was deleted",
    async run(target, prefix) {
      const key = `${prefix}a`;
      await put(target, key, "one");
      await ask<number>(target, (done) => target.store.delete(utf8(key), done));
      check((await get(target, key)) === undefined, "deleted is absent");
      const again = await put(target, key, "three");
      const entry = await get(target, key);
      check(entry?.createRevision === again && entry.version === 1, "a new life has a new create revision");
    },
  },
  {
    title: "does not change the revision when nothing was deleted",
    async run(target, prefix) {
      const before = await put(target, `${prefix}a`, "x");
      await ask<number>(target, (done) => target.store.delete(utf8(`${prefix}none`), done));
      const watched = await get(target, `${prefix}a`);
      check(watched?.modRevision === before, "an empty deletion changes nothing");
    },
  },
  {
    title: "keeps any bytes in keys and values",
    async run(target, prefix) {
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
      const key = new Uint8Array([...utf8(prefix), 0, 255, 0]);
      await ask<number>(target, (done) => target.store.put(key, bytes, done));
      const entry = await ask<MetaEntry | undefined>(target, (done) => target.store.get(key, done));
      check(entry !== undefined && compareBytes(entry.value, bytes) === 0, "bytes come back as they were");
      check(compareBytes(entry.key, key) === 0, "so does the key");
      const empty = new Uint8Array(0);
      await ask<number>(target, (done) => target.store.put(key, empty, done));
      const emptied = await ask<MetaEntry | undefined>(target, (done) => target.store.get(key, done));
      check(emptied?.value.length === 0, "an empty value is a value");
    },
  },
  {
    title: "ranges in key order, both ways, with limits",
    async run(target, prefix) {
      for (const name of ["c", "a", "d", "b"]) await put(target, `${prefix}${name}`, name);
      const all = (more: object) =>
        ask(
          target,
          (done: MetaCallback<{ entries: readonly MetaEntry[]; more: boolean; revision: number }>) =>
            target.store.range({ start: utf8(prefix), end: after(prefix), limit: 0, ...more }, done),
        );
      const names = (found: { entries: readonly MetaEntry[] }): string =>
        found.entries.map((entry) => text(entry)).join("");
      check(names(await all({})) === "abcd", "in order");
      check(names(await all({ reverse: true })) === "dcba", "backwards");
      const two = await all({ limit: 2 });
      check(names(two) === "ab" && two.more, "cut by the limit, and says so");
      const exact = await all({ limit: 4 });
      check(names(exact) === "abcd" && !exact.more, "a limit that is not reached cuts nothing");
      check(
        names(await all({ limit: 1, reverse: true })) === "d",
        "the limit counts from the side one starts",
      );
      check(
        names(await all({ start: utf8(`${prefix}b`), end: utf8(`${prefix}d`) })) === "bc",
        "the end is exclusive",
      );
      const keys = await all({ keysOnly: true });
      check(
        keys.entries.length === 4 && keys.entries.every((entry) => entry.value.length === 0),
        "keys only",
      );
    },
  },
  {
    title: "takes the success branch only if every compare holds",
    async run(target, prefix) {
      const key = utf8(`${prefix}a`);
      const marker = utf8(`${prefix}marker`);
      const created = await put(target, `${prefix}a`, "one");
      const attempt = (compares: Parameters<MetaStore["transact"]>[0]["compares"]) =>
        ask(
          target,
          (done: MetaCallback<{ succeeded: boolean; entries: readonly (MetaEntry | undefined)[] }>) =>
            target.store.transact(
              {
                compares,
                onSuccess: [{ kind: "put", key: marker, value: utf8("yes") }],
                onFailure: [{ kind: "put", key: marker, value: utf8("no") }],
                reads: [marker, utf8(`${prefix}none`)],
              },
              done,
            ),
        );
      const outcome = async (compares: Parameters<typeof attempt>[0]): Promise<string> => {
        const { succeeded, entries } = await attempt(compares);
        check(entries.length === 2 && entries[1] === undefined, "reads are answered in order");
        check(text(entries[0]) === (succeeded ? "yes" : "no"), "reads see what the branch wrote");
        return succeeded ? "yes" : "no";
      };
      const one = { kind: "value", key, equals: utf8("one") } as const;
      check((await outcome([one])) === "yes", "equal value");
      check((await outcome([{ ...one, equals: utf8("two") }])) === "no", "other value");
      check((await outcome([{ kind: "createRevision", key, equals: created }])) === "yes", "create revision");
      check((await outcome([{ kind: "createRevision", key, equals: 0 }])) === "no", "the key exists");
      check(
        (await outcome([one, { kind: "modRevision", key, equals: created + 1_000_000 }])) === "no",
        "one of two",
      );
      const missing = utf8(`${prefix}missing`);
      check(
        (await outcome([{ kind: "createRevision", key: missing, equals: 0 }])) === "yes",
        "a missing key has revision 0",
      );
      check((await outcome([{ kind: "modRevision", key: missing, equals: 0 }])) === "yes", "of both kinds");
      check(
        (await outcome([{ kind: "value", key: missing, equals: new Uint8Array(0) }])) === "no",
        "and equals no value",
      );
      check((await outcome([])) === "yes", "no compare always holds");
    },
  },
  {
    title: "gives all changes of one transaction the same revision",
    async run(target, prefix) {
      await put(target, `${prefix}old`, "x");
      await ask(target, (done: MetaCallback<unknown>) =>
        target.store.transact(
          {
            compares: [],
            onSuccess: [
              { kind: "put", key: utf8(`${prefix}a`), value: utf8("1") },
              { kind: "put", key: utf8(`${prefix}b`), value: utf8("2") },
              { kind: "delete", key: utf8(`${prefix}old`) },
            ],
          },
          done,
        ),
      );
      const [a, b] = [await get(target, `${prefix}a`), await get(target, `${prefix}b`)];
      check(a !== undefined && a.modRevision === b?.modRevision, "one revision");
      check((await get(target, `${prefix}old`)) === undefined, "the deletion is part of it");
    },
  },
  {
    title: "lets exactly one of many racing creators win",
    async run(target, prefix) {
      const key = utf8(`${prefix}a`);
      const attempts = Array.from({ length: 10 }, (_, i) =>
        ask(target, (done: MetaCallback<{ succeeded: boolean }>) =>
          target.store.transact(
            {
              compares: [{ kind: "createRevision", key, equals: 0 }],
              onSuccess: [{ kind: "put", key, value: utf8(String(i)) }],
            },
            done,
          ),
        ),
      );
      const winners = (await Promise.all(attempts)).filter(({ succeeded }) => succeeded);
      check(winners.length === 1, `one winner, not ${winners.length}`);
    },
  },
  {
    title: "makes calls take effect in the order they were made",
    async run(target, prefix) {
      const seen: (string | undefined)[] = [];
      const all: Promise<unknown>[] = [];
      for (let i = 0; i < 20; i++) {
        all.push(put(target, `${prefix}a`, String(i)));
        all.push(get(target, `${prefix}a`).then((entry) => seen.push(text(entry))));
      }
      await Promise.all(all);
      check(
        seen.join() === Array.from({ length: 20 }, (_, i) => i).join(),
        `a get sees the put before it: ${seen.join()}`,
      );
    },
  },
  {
    title: "tells a watcher every change of its range once and in order",
    async run(target, prefix) {
      const seen: string[] = [];
      const revisions: number[] = [];
      const watch = target.store.watch(utf8(`${prefix}w/`), after(`${prefix}w/`), 0, {
        onEvents(events, revision) {
          revisions.push(revision);
          seen.push(events.map(describe).join("+"));
        },
        onCompacted: () => seen.push("compacted"),
      });
      const key = (name: string): Uint8Array => utf8(`${prefix}w/${name}`);
      await put(target, `${prefix}w/a`, "1");
      await put(target, `${prefix}outside`, "x");
      await ask(target, (done: MetaCallback<unknown>) =>
        target.store.transact(
          {
            compares: [],
            onSuccess: [
              { kind: "put", key: key("a"), value: utf8("2") },
              { kind: "put", key: key("b"), value: utf8("3") },
            ],
          },
          done,
        ),
      );
      await ask<number>(target, (done) => target.store.delete(key("a"), done));
      await until(target, () => seen.length >= 3, "three revisions are told");
      check(seen.join(" ") === "a=1(new) a=2(was 1)+b=3(new) a deleted(was 2)", `events: ${seen.join(" ")}`);
      check(
        revisions.every((revision, i) => i === 0 || revision > (revisions[i - 1] as number)),
        "revisions grow",
      );
      watch.cancel();
      await put(target, `${prefix}w/a`, "late");
      await target.sleep(100);
      check(seen.length === 3, "a cancelled watch is silent");
    },
  },
  {
    title: "tells a watcher from a revision what came after it, or that it is forgotten",
    async run(target, prefix) {
      const first = await put(target, `${prefix}a`, "1");
      await put(target, `${prefix}a`, "2");
      const seen: string[] = [];
      const watch = target.store.watch(utf8(prefix), after(prefix), first + 1, {
        onEvents: (events) => seen.push(...events.map(describe)),
        onCompacted: () => seen.push("compacted"),
      });
      await until(target, () => seen.length > 0, "the past is told or refused");
      check(seen[0] === "a=2(was 1)" || seen[0] === "compacted", `first: ${seen[0]}`);
      watch.cancel();
    },
  },
  {
    title: "takes a transaction out of line, which fails and does nothing when its compare does",
    async run(target, prefix) {
      const key = utf8(`${prefix}a`);
      const absent = { kind: "createRevision", key, equals: 0 } as const;
      const transaction = {
        compares: [absent],
        onSuccess: [{ kind: "put", key, value: utf8("1") } as const],
        reads: [key],
      };
      const out = (): Promise<MetaTransactionResult> =>
        ask<MetaTransactionResult>(target, (done) => target.store.transactOutOfLine(transaction, done));
      const first = await out();
      check(first.succeeded && first.entries[0]?.modRevision === first.revision, "it takes place");
      const second = await out();
      check(!second.succeeded && second.entries[0]?.modRevision === first.revision, "and once only");
    },
  },
  {
    title: "deletes the keys of a lease when it runs out, and tells the watchers",
    isSlow: true,
    async run(target, prefix) {
      const lease = await ask<number>(target, (done) => target.store.grantLease(2, done));
      const deleted: string[] = [];
      const watch = target.store.watch(utf8(prefix), after(prefix), 0, {
        onEvents: (events) => deleted.push(...events.filter(({ kind }) => kind === "delete").map(describe)),
        onCompacted() {},
      });
      const leased = { kind: "put", key: utf8(`${prefix}a`), value: utf8("x"), leaseId: lease } as const;
      await ask(target, (done: MetaCallback<unknown>) =>
        target.store.transact({ compares: [], onSuccess: [leased] }, done),
      );
      check((await get(target, `${prefix}a`))?.leaseId === lease, "the lease is told");
      // Renewed for longer than its time to live: the key stays.
      for (let i = 0; i < 6; i++) {
        await target.sleep(500);
        const seconds = await ask<number>(target, (done) => target.store.keepAliveLease(lease, done));
        check(seconds >= 2, "a renewal answers the time to live");
      }
      check((await get(target, `${prefix}a`)) !== undefined, "renewed keys stay");
      await until(target, () => deleted.length > 0, "the key goes with the lease", 8_000);
      check((await get(target, `${prefix}a`)) === undefined, "and is absent");
      const after2 = await ask<number>(target, (done) => target.store.keepAliveLease(lease, done));
      check(after2 === 0, "a lease that ran out answers 0");
      watch.cancel();
    },
  },
  {
    title: "deletes the keys of a revoked lease at once, but not those put again without it",
    async run(target, prefix) {
      const lease = await ask<number>(target, (done) => target.store.grantLease(60, done));
      for (const name of ["a", "b"]) {
        const leased = {
          kind: "put",
          key: utf8(`${prefix}${name}`),
          value: utf8("x"),
          leaseId: lease,
        } as const;
        await ask(target, (done: MetaCallback<unknown>) =>
          target.store.transact({ compares: [], onSuccess: [leased] }, done),
        );
      }
      await put(target, `${prefix}b`, "mine");
      await ask<void>(target, (done) => target.store.revokeLease(lease, done));
      check((await get(target, `${prefix}a`)) === undefined, "leased keys go");
      check(text(await get(target, `${prefix}b`)) === "mine", "others stay");
      await ask<void>(target, (done) => target.store.revokeLease(lease, done));
    },
  },
  {
    title: "refuses a put with a lease that is gone and changes nothing",
    async run(target, prefix) {
      const lease = await ask<number>(target, (done) => target.store.grantLease(60, done));
      await ask<void>(target, (done) => target.store.revokeLease(lease, done));
      const leased = { kind: "put", key: utf8(`${prefix}a`), value: utf8("x"), leaseId: lease } as const;
      const refused = await ask(target, (done: MetaCallback<unknown>) =>
        target.store.transact(
          { compares: [], onSuccess: [leased, { kind: "put", key: utf8(`${prefix}b`), value: utf8("y") }] },
          done,
        ),
      ).then(
        () => undefined,
        (error: Error) => error,
      );
      check(refused !== undefined && /lease/.test(refused.message), "the refusal names the lease");
      check((await get(target, `${prefix}a`)) === undefined, "nothing was put");
      check((await get(target, `${prefix}b`)) === undefined, "of the whole transaction");
    },
  },
];

function describe(event: MetaEvent): string {
  const decoder = new TextDecoder();
  const key = decoder
    .decode(event.kind === "put" ? event.entry.key : event.key)
    .split("/")
    .at(-1);
  const name = (key ?? "").replace(/^.*:/, "");
  const before = event.previous === undefined ? "new" : `was ${decoder.decode(event.previous.value)}`;
  return event.kind === "put"
    ? `${name}=${decoder.decode(event.entry.value)}(${before})`
    : `${name} deleted(${before})`;
}
