/**
 * Looks into the data directories of stopped stores: which regions are there, whether anything lies around that belongs
 * to none, and a digest of each region's data, so that replicas can be compared byte by byte.
 */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import {
  DATA_KEY_SPACES,
  type Engine,
  type KeySpace,
  type Row,
  SILENT_LOGGER,
  compareBytes,
  toHex,
} from "../../base/index.js";
import { openEngine } from "../../engine/open.js";
import { dataEndKey, dataKey, readU64 } from "../../region/keys.js";
import { decodeApplyState, decodeRegionState } from "../../region/local-state.js";
import type { Region } from "../../region/region.js";

/** Key layout of `region/keys.ts`: 01 02 region:8 suffix, 01 03 region:8 01. */
const RAFT_PREFIX = 0x02;
const META_PREFIX = 0x03;
const LOG_SUFFIX = 0x01;
const APPLY_SUFFIX = 0x03;

export interface RegionOnDisk {
  readonly region: Region;
  readonly appliedIndex: number;
  readonly rows: number;
  /** Of all keys and values in the region's range. */
  readonly digest: string;
}

interface Living {
  readonly region: Region;
  readonly appliedIndex: number;
  readonly truncatedIndex: number;
}

export interface StoreOnDisk {
  readonly regions: ReadonlyMap<number, RegionOnDisk>;
  /** What belongs to no region: data, log entries, snapshot chunks, files. */
  readonly orphans: readonly string[];
}

export async function inspectStore(directory: string): Promise<StoreOnDisk> {
  const { engine } = await openEngine({ directory, kind: "auto", role: "store", log: SILENT_LOGGER });
  try {
    const orphans = readdirSync(directory)
      .filter((name) => !["db", "RAFTWERK.json"].includes(name))
      .map((name) => `file ${name}`);
    const raft = await allRows(engine, "raft");
    const living = new Map<number, Living>();
    for (const { key, value } of raft) {
      if (key[1] !== META_PREFIX) continue;
      const { state, region } = decodeRegionState(value);
      if (state === "applying") orphans.push(`region ${region.id} is still loading a snapshot`);
      if (state === "normal") living.set(region.id, { region, ...applyStateOf(raft, region.id) });
    }
    orphans.push(...strayLogs(raft, living));
    for (const { key } of await allRows(engine, "snap")) orphans.push(`snapshot chunk ${toHex(key)}`);
    return { regions: await digests(engine, living, orphans), orphans };
  } finally {
    await new Promise<void>((resolve) => engine.close(() => resolve()));
  }
}

function applyStateOf(raft: readonly Row[], region: number): Omit<Living, "region"> {
  const row = raft.find(
    ({ key }) =>
      key[1] === RAFT_PREFIX && key.length === 11 && key[10] === APPLY_SUFFIX && readU64(key, 2) === region,
  );
  return row === undefined ? { appliedIndex: 0, truncatedIndex: 0 } : decodeApplyState(row.value);
}

/** Entries of regions that are not here, and holes in the logs of those that are. */
function strayLogs(raft: readonly Row[], living: ReadonlyMap<number, Living>): string[] {
  const problems: string[] = [];
  const lastSeen = new Map<number, number>();
  for (const { key } of raft) {
    if (key[1] !== RAFT_PREFIX || key.length !== 19 || key[10] !== LOG_SUFFIX) continue;
    const id = readU64(key, 2);
    const index = readU64(key, 11);
    const region = living.get(id);
    if (region === undefined) problems.push(`log entry ${index} of region ${id}, which is not here`);
    else if (index > region.truncatedIndex) {
      const before = lastSeen.get(id) ?? region.truncatedIndex;
      if (index !== before + 1) problems.push(`hole in the log of region ${id}: ${before} to ${index}`);
      lastSeen.set(id, index);
    }
  }
  return problems;
}

async function digests(
  engine: Engine,
  living: ReadonlyMap<number, Living>,
  orphans: string[],
): Promise<Map<number, RegionOnDisk>> {
  const ranges = [...living.values()].map(({ region, appliedIndex }) => ({
    region,
    appliedIndex,
    from: dataKey(region.startKey),
    to: dataEndKey(region.endKey),
    hash: createHash("sha256"),
    rows: 0,
  }));
  for (const space of DATA_KEY_SPACES) {
    for (const { key, value } of await allRows(engine, space)) {
      const range = ranges.find(({ from, to }) => compareBytes(from, key) <= 0 && compareBytes(key, to) < 0);
      if (range === undefined) orphans.push(`${space} key ${toHex(key)}`);
      else {
        range.hash.update(`${space} ${key.length} ${value.length} `).update(key).update(value);
        range.rows++;
      }
    }
  }
  return new Map(
    ranges.map(({ region, appliedIndex, hash, rows }) => [
      region.id,
      { region, appliedIndex, rows, digest: hash.digest("hex") },
    ]),
  );
}

function allRows(engine: Engine, space: KeySpace): Promise<Row[]> {
  const rows: Row[] = [];
  return new Promise((resolve, reject) => {
    const page = (start: Uint8Array): void => {
      engine.scan(space, { start, end: undefined, limit: 4_096 }, (error, result) => {
        if (error !== undefined) return reject(error);
        rows.push(...result.rows);
        const last = result.rows.at(-1);
        if (result.finished || last === undefined) return resolve(rows);
        const next = new Uint8Array(last.key.length + 1);
        next.set(last.key);
        page(next);
      });
    };
    page(Uint8Array.of(0));
  });
}

/** What is wrong with the stores of one quiet cluster when seen together; empty when all is well. */
export function compareStores(stores: ReadonlyMap<string, StoreOnDisk>): string[] {
  const problems: string[] = [];
  const newest = new Map<number, RegionOnDisk>();
  for (const [name, { regions, orphans }] of stores) {
    problems.push(...orphans.slice(0, 5).map((orphan) => `${name}: ${orphan}`));
    for (const [id, found] of regions) {
      const known = newest.get(id);
      if (known === undefined) {
        newest.set(id, found);
        continue;
      }
      const same =
        JSON.stringify(known.region) === JSON.stringify(found.region) &&
        known.appliedIndex === found.appliedIndex &&
        known.digest === found.digest;
      if (!same) {
        problems.push(`${name}: region ${id} differs: ${describe(found)}, elsewhere ${describe(known)}`);
      }
    }
  }
  for (const [id, { region }] of newest) {
    const holders = [...stores.values()].filter(({ regions }) => regions.has(id)).length;
    if (holders !== region.peers.length) {
      problems.push(`region ${id} has ${region.peers.length} peers and is on ${holders} stores`);
    }
  }
  problems.push(...gaps([...newest.values()].map(({ region }) => region)));
  return problems;
}

const describe = ({ region, appliedIndex, rows, digest }: RegionOnDisk): string =>
  `epoch ${region.epoch.confVer}/${region.epoch.version}, applied ${appliedIndex}, ${rows} rows, ${digest.slice(0, 8)}`;

function gaps(regions: readonly Region[]): string[] {
  const sorted = [...regions].sort((a, b) => compareBytes(a.startKey, b.startKey));
  const problems: string[] = [];
  let at: Uint8Array = new Uint8Array(0);
  for (const [i, { id, startKey, endKey }] of sorted.entries()) {
    if (compareBytes(startKey, at) !== 0)
      problems.push(`region ${id} begins at ${toHex(startKey)}, not ${toHex(at)}`);
    at = endKey;
    if ((at.length === 0) !== (i === sorted.length - 1)) problems.push(`region ${id} ends at ${toHex(at)}`);
  }
  return problems;
}
