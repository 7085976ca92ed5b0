/**
 * What is durable on one store's disk, kept by watching what becomes durable: logs, votes, applied indexes,
 * region states. It believes the disk, not the process. Of log entries it keeps a fingerprint of their bytes.
 */
import { storeId } from "../../base/index.js";
import type { DiskOperation } from "../engine.js";
import {
  decodeApplyState,
  decodeRaftState,
  decodeRegionState,
  INIT_LOG_INDEX,
} from "../../region/local-state.js";
import { raft_serverpb } from "../../proto/index.js";
import { decodeEntry } from "../../region/entry-codec.js";
import { readU64 } from "../../region/keys.js";
import { isInitialized, type Region } from "../../region/region.js";
import { fingerprint } from "../fingerprint.js";
import { Violation } from "../world.js";
import { type AppliedStep, checkEffects } from "./effects.js";
import { DestroyedPeers } from "./destroyed-peers.js";
import { checkLogGc } from "./log-gc.js";

export interface RegionLedger {
  /** Fingerprints by index. */
  readonly entries: Map<number, number>;
  /** Bytes of the entries that are not applied yet. */
  unapplied: Map<number, Uint8Array>;
  term: number;
  vote: number;
  applied: number;
  region: Region | undefined;
  isTombstone: boolean;
  /** The state of a peer that has data is there, vote included. */
  hasRaftState: boolean;
}

/** Region `region` of this store has applied everything up to `to`, and had up to `from`. */
export type AppliedListener = (ledger: StoreLedger, region: number, from: number, to: number) => void;
export type RegionListener = (ledger: StoreLedger, region: Region, isTombstone: boolean) => void;
/** An entry is on the disk: fingerprints of it, and of the one before if that is there. */
export type EntryListener = (
  ledger: StoreLedger,
  region: number,
  index: number,
  term: number,
  print: number,
  previous: number | undefined,
) => void;

const termOf = (entry: Uint8Array): number => decodeEntry(entry).term;
const NO_ENTRIES: ReadonlyMap<number, Uint8Array> = new Map();
const SUFFIX_LOG = 1;
const SUFFIX_RAFT_STATE = 2;
const SUFFIX_APPLY_STATE = 3;
const SUFFIX_EARLY_VOTE = 5;

export class StoreLedger {
  readonly name: string;
  /** 0 until its identity is on the disk. */
  storeId = 0;
  readonly regions = new Map<number, RegionLedger>();
  readonly destroyed = new DestroyedPeers();
  onApplied: AppliedListener = () => {};
  onRegion: RegionListener = () => {};
  onEntry: EntryListener = () => {};

  constructor(name: string) {
    this.name = name;
  }

  /** Of an entry that is being applied. */
  termOf(region: number, index: number): number | undefined {
    const bytes = this.regions.get(region)?.unapplied.get(index);
    return bytes === undefined ? undefined : termOf(bytes);
  }

  region(id: number): RegionLedger {
    let region = this.regions.get(id);
    if (region === undefined) {
      region = {
        entries: new Map(),
        unapplied: new Map(),
        term: 0,
        vote: 0,
        applied: 0,
        region: undefined,
        isTombstone: false,
        hasRaftState: false,
      };
      this.regions.set(id, region);
    }
    return region;
  }

  /** A batch is durable. The log first, since the other records of the batch speak of it. */
  observe(operations: readonly DiskOperation[]): void {
    const records: DiskOperation[] = [];
    let hasData = false;
    for (const operation of operations) {
      const { space, key, value } = operation;
      if (space !== "raft") {
        hasData ||= space === "default";
        continue;
      }
      if (key.length === 2 && key[1] === 1 && value !== undefined) {
        this.storeId = raft_serverpb.StoreIdent.decode(value).storeId;
      }
      if (key.length < 11) continue;
      if (key[1] === 2 && key[10] === SUFFIX_LOG) {
        const { entries, unapplied, applied } = this.region(readU64(key, 2));
        const index = readU64(key, 11);
        if (value === undefined) {
          entries.delete(index);
          unapplied.delete(index);
        } else {
          const print = fingerprint(value);
          this.onEntry(this, readU64(key, 2), index, termOf(value), print, entries.get(index - 1));
          entries.set(index, print);
          if (index > applied) unapplied.set(index, value);
        }
      } else records.push(operation);
    }
    const steps = hasData ? records.flatMap((each) => this.#step(each)) : [];
    for (const each of records) if (each.key[1] === 3) this.#regionState(each);
    if (steps.length > 0) {
      const after = steps.map((step) => ({ ...step, versionAfter: this.#version(step.region) }));
      checkEffects(this.name, after, operations);
    }
    for (const each of records) if (each.key[1] === 2) this.#raftRecord(each);
  }

  #version(region: number): number {
    return this.regions.get(region)?.region?.epoch.version ?? 0;
  }

  /** What a batch applies to a region, before the batch counts. A peer that is destroyed by it applies up to there. */
  #step({ key, value }: DiskOperation): Omit<AppliedStep, "versionAfter">[] {
    if (value === undefined || key[1] !== 2 || key[10] !== SUFFIX_APPLY_STATE) return [];
    const region = readU64(key, 2);
    const ledger = this.regions.get(region);
    const { unapplied, applied: from } = ledger ?? { unapplied: NO_ENTRIES, applied: INIT_LOG_INDEX };
    const to = decodeApplyState(value).appliedIndex;
    const entryAt = (index: number): Uint8Array | undefined => unapplied.get(index);
    return [{ region, from, to, versionBefore: this.#version(region), entryAt }];
  }

  #regionState({ key, value }: DiskOperation): void {
    const id = readU64(key, 2);
    if (value === undefined) {
      this.regions.delete(id);
      return;
    }
    const ledger = this.region(id);
    const { state, region } = decodeRegionState(value);
    const isTombstone = state === "tombstone";
    if (isTombstone) {
      this.destroyed.ended(region, ledger.region, storeId(this.storeId));
      ledger.term = 0;
      ledger.vote = 0;
      ledger.applied = 0;
      ledger.entries.clear();
      ledger.unapplied = new Map();
    }
    ledger.isTombstone = isTombstone;
    ledger.region = region;
    if (!isTombstone && isInitialized(region)) ledger.applied = Math.max(ledger.applied, INIT_LOG_INDEX);
    this.onRegion(this, region, isTombstone);
  }

  #raftRecord({ key, value }: DiskOperation): void {
    const id = readU64(key, 2);
    const ledger = this.region(id);
    const suffix = key[10];
    if (value === undefined) {
      if (suffix !== SUFFIX_RAFT_STATE || !ledger.hasRaftState) return;
      ledger.hasRaftState = false;
      // Its last peer was removed, and ends now: another one of the region may vote as it likes.
      if (ledger.isTombstone) [ledger.term, ledger.vote] = [0, 0];
      return;
    }
    ledger.hasRaftState ||= suffix === SUFFIX_RAFT_STATE;
    if (suffix === SUFFIX_RAFT_STATE || suffix === SUFFIX_EARLY_VOTE) this.#vote(id, ledger, value);
    else if (suffix === SUFFIX_APPLY_STATE) {
      const state = decodeApplyState(value);
      const { appliedIndex } = state;
      const from = ledger.applied;
      if (appliedIndex < from && !ledger.isTombstone) {
        throw new Violation(
          "3 applied index",
          `${this.name}: region ${id} went from ${from} back to ${appliedIndex}`,
        );
      }
      if (!ledger.isTombstone) checkLogGc(this.name, id, state, from, (index) => ledger.entries.has(index));
      ledger.applied = appliedIndex;
      if (appliedIndex > from) this.onApplied(this, id, from, appliedIndex);
      for (let index = from + 1; index <= appliedIndex; index++) ledger.unapplied.delete(index);
    }
  }

  #vote(id: number, ledger: RegionLedger, value: Uint8Array): void {
    const { hardState } = decodeRaftState(value);
    const { term, vote } = hardState;
    if (term < ledger.term) {
      throw new Violation(
        "3 term",
        `${this.name}: region ${id} went from term ${ledger.term} back to ${term}`,
      );
    }
    if (term === ledger.term && ledger.vote !== 0 && vote !== ledger.vote) {
      throw new Violation(
        "2 vote durability",
        `${this.name}: region ${id} voted for ${ledger.vote} and for ${vote} in term ${term}`,
      );
    }
    ledger.term = term;
    ledger.vote = vote;
  }
}
