/**
 * PD's metadata as a file of lines, out of one meta store and into another: from a PD alone to etcd, from etcd to a
 * PD alone, or to a backup. No PD may run on either side: what it stores while the file is written would be missing
 * in it.
 *
 * The first line tells what the file is; each other line is one entry, key and value in base64; the last one counts
 * them, so that a file that was cut off is refused.
 */
import type { MetaEntry, MetaOperation, MetaStore } from "../pd/index.js";
import { fromUtf8, nextKey, RaftwerkError, utf8 } from "../base/index.js";
import { promised } from "./process.js";

const FORMAT = "raftwerk-pd-metadata";
const FORMAT_VERSION = 1;
const CLUSTER_ID_KEY = utf8("/pd/cluster_id");
const PAGE = 500;
/** etcd takes 128 operations and 1.5 MiB in one transaction. */
const BATCH_OPERATIONS = 64;
const BATCH_BYTES = 512 << 10;
/** Where PD and those who use PD's port keep what they must not lose. */
const PREFIXES = ["/pd/", "/tidb/", "/topology/", "resource_group/"];

export interface MetadataSummary {
  readonly clusterId: bigint;
  readonly entries: number;
  /** Left out on purpose. */
  readonly skippedRegions: number;
}

const refuse = (text: string): never => {
  throw new RaftwerkError("invalidArgument", text, { retry: "never" });
};

/** Leaders, members and regions are of the moment; regions come back with the first heartbeats. */
export const isOfTheMoment = (key: string): boolean =>
  /^\/pd\/\d+\/(leader|leader_renewed|leader_transfer)$/.test(key) || /^\/pd\/\d+\/member\//.test(key);
const isRegion = (key: string): boolean => /^\/pd\/\d+\/raft\/r\//.test(key);

export async function readClusterId(store: MetaStore): Promise<bigint | undefined> {
  const entry = await promised<MetaEntry | undefined>((done) => store.get(CLUSTER_ID_KEY, done));
  if (entry === undefined) return undefined;
  return new DataView(entry.value.buffer, entry.value.byteOffset, 8).getBigUint64(0);
}

/** Throws while a PD leads over this store. */
export async function requireNoLeader(store: MetaStore, clusterId: bigint): Promise<void> {
  const entry = await promised<MetaEntry | undefined>((done) =>
    store.get(utf8(`/pd/${clusterId}/leader`), done),
  );
  // A PD alone leaves its key behind; there the lock of its directory tells whether it runs.
  if (entry !== undefined && entry.leaseId !== 0) refuse("a PD leads this cluster: stop all PDs first");
}

export async function exportMetadata(
  store: MetaStore,
  write: (line: string) => void,
): Promise<MetadataSummary> {
  const clusterId = (await readClusterId(store)) ?? refuse("there is no metadata of a PD here");
  await requireNoLeader(store, clusterId);
  write(JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, clusterId: String(clusterId) }));
  let entries = 0;
  let skippedRegions = 0;
  for (const prefix of PREFIXES) {
    for await (const entry of entriesBelow(store, prefix)) {
      const key = fromUtf8(entry.key);
      if (isOfTheMoment(key)) continue;
      if (isRegion(key)) {
        skippedRegions += 1;
        continue;
      }
      entries += 1;
      const [keyText, value] = [entry.key, entry.value].map((bytes) => Buffer.from(bytes).toString("base64"));
      write(JSON.stringify({ key: keyText, value }));
    }
  }
  write(JSON.stringify({ entries }));
  return { clusterId, entries, skippedRegions };
}

async function* entriesBelow(store: MetaStore, prefix: string): AsyncGenerator<MetaEntry> {
  const end = utf8(prefix);
  end[end.length - 1] = (end.at(-1) as number) + 1;
  let start = utf8(prefix);
  for (;;) {
    const page = await promised<{ entries: readonly MetaEntry[]; more: boolean }>((done) =>
      store.range({ start, end, limit: PAGE }, done),
    );
    yield* page.entries;
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) return;
    start = nextKey(last.key) as Uint8Array<ArrayBuffer>;
  }
}

interface Line {
  readonly key?: string;
  readonly value?: string;
  readonly entries?: number;
  readonly format?: string;
  readonly version?: number;
  readonly clusterId?: string;
}

/**
 * Checked as a whole before anything is written; the cluster id, without which nothing counts, goes in last.
 */
export async function importMetadata(store: MetaStore, lines: readonly string[]): Promise<MetadataSummary> {
  const present = await readClusterId(store);
  if (present !== undefined) {
    refuse(`there is metadata of cluster ${present} already: import into an empty store`);
  }
  const { clusterId, operations } = parse(lines);
  const late = operations.filter(({ key }) => fromUtf8(key) === "/pd/cluster_id");
  const early = operations.filter((operation) => !late.includes(operation));
  let batch: MetaOperation[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    const onSuccess = batch;
    batch = [];
    bytes = 0;
    await promised((done) => store.transact({ compares: [], onSuccess }, done));
  };
  for (const operation of early) {
    batch.push(operation);
    bytes += operation.key.length + operation.value.length;
    if (batch.length >= BATCH_OPERATIONS || bytes >= BATCH_BYTES) await flush();
  }
  batch.push(...late);
  await flush();
  return { clusterId, entries: operations.length, skippedRegions: 0 };
}

function parse(lines: readonly string[]): {
  readonly clusterId: bigint;
  readonly operations: (MetaOperation & { readonly kind: "put" })[];
} {
  const read = (text: string, at: number): Line => {
    try {
      return JSON.parse(text) as Line;
    } catch {
      return refuse(`line ${at + 1} is no JSON: the file is damaged`);
    }
  };
  const parsed = lines.filter((line) => line.trim() !== "").map(read);
  const [head] = parsed;
  if (head?.format !== FORMAT) return refuse("this is no file of `ctl pd export`");
  if (head.version !== FORMAT_VERSION)
    return refuse(`the file has format version ${head.version}, not ${FORMAT_VERSION}`);
  const tail = parsed.at(-1);
  const body = parsed.slice(1, -1);
  if (tail?.entries !== body.length)
    return refuse("the file is cut off: its last line does not count its entries");
  const operations = body.map(({ key, value }, i) => {
    if (key === undefined || value === undefined) return refuse(`line ${i + 2} is no entry`);
    return { kind: "put", key: bytesOf(key), value: bytesOf(value) } as const;
  });
  return { clusterId: BigInt(head.clusterId ?? "0"), operations };
}

const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
