/**
 * Committed entries become effects: puts and deletes in the turn's batch, changed regions, the applied index, all in
 * the same batch. Everything here is deterministic, since every replica runs it on the same entries; what may differ
 * (whether a split child may be created on this store) is asked of the host.
 *
 * The applier runs ahead of what is written: its region and state are as of the last staged entry, the peer's are as of
 * the last written batch. Invariant: entry.index = appliedIndex + 1 for each entry applied.
 */
import { assert, compareBytes, type Engine, type EngineBatch, type KeySpace } from "../base/index.js";
import type { ConfChangeV2, Entry } from "../raft/types.js";
import type { DecodedAdmin } from "./admin.js";
import { decodeAdmin, decodeConfChangeContext, epochCheckOf, epochMatches } from "./admin.js";
import { applyChangePeer } from "./change-peer.js";
import { decodeCommand, isDependent, visitWrites, type WriteVisitor } from "./command.js";
import { epochNotMatch, plainError, type RegionError } from "./errors.js";
import { applyStateKey, regionStateKey } from "./keys.js";
import { type ApplyState, encodeApplyState, encodeRegionState, INIT_APPLY_STATE } from "./local-state.js";
import { liveValue } from "./raw-value.js";
import { isInitialized, type Region } from "./region.js";
import { applySplit } from "./split.js";

export interface CompareAndSwapOutcome {
  readonly succeeded: boolean;
  /** The user's bytes before the command; undefined when there were none. */
  readonly previous: Uint8Array | undefined;
}

/** What became of one entry; `error` means that it had no effect. */
export interface EntryOutcome {
  readonly index: number;
  readonly term: number;
  readonly error: RegionError | undefined;
  readonly swaps: readonly CompareAndSwapOutcome[];
}

/** Effects that the peer and the store must follow once the batch is written, in entry order. */
export type ApplyEffect =
  | {
      readonly kind: "confChange";
      readonly change: ConfChangeV2 | undefined;
      readonly region: Region;
      readonly removedSelf: boolean;
    }
  | {
      readonly kind: "split";
      readonly derived: Region;
      readonly regions: readonly Region[];
      /** Ids of new regions that have no place on this store; their range here is to be deleted. */
      readonly skipped: ReadonlySet<number>;
    }
  | { readonly kind: "compactLog"; readonly fromIndex: number; readonly toIndex: number };

export interface ApplyRun {
  readonly state: ApplyState;
  /** Set when the region changed. */
  readonly region: Region | undefined;
  readonly outcomes: readonly EntryOutcome[];
  readonly effects: readonly ApplyEffect[];
  readonly bytesWritten: number;
  readonly keysWritten: number;
  /** Entries left for a later run. */
  readonly rest: readonly Entry[];
}

export interface ApplyHost {
  /** Whether this store may hold the new region of a split (raftstore rules 6.4.3). Reserves its place if so. */
  mayCreateSplitPeer(region: Region): boolean;
  readonly ownStoreId: number;
  decodeConfChange(entry: Entry): ConfChangeV2;
}

/** Between runs: nothing is ever put into these. */
const NO_BATCH = undefined as unknown as EngineBatch;
const NOTHING = Object.freeze([]) as never[];
const NO_SWAPS: readonly CompareAndSwapOutcome[] = [];
const latin1 = (bytes: Uint8Array): string => {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i] as number);
  return text;
};

export class Applier implements WriteVisitor {
  readonly #engine: Engine;
  readonly #host: ApplyHost;
  #region: Region;
  #state: ApplyState;
  #removed = false;

  // Per run.
  #batch: EngineBatch = NO_BATCH;
  #bytes = 0;
  #keys = 0;
  #regionChanged = false;
  #outcomes: EntryOutcome[] = NOTHING;
  #effects: ApplyEffect[] = NOTHING;
  #swaps: CompareAndSwapOutcome[] = NOTHING;
  /** What this run has written so far, kept only when some entry depends on it. */
  #overlay: Map<string, { key: Uint8Array; value: Uint8Array | undefined }> | undefined;
  /** Ranges that this run has deleted: the engine may do so only later. */
  #deletedRanges: { readonly start: Uint8Array; readonly end: Uint8Array }[] = NOTHING;

  constructor(engine: Engine, host: ApplyHost, region: Region, state: ApplyState) {
    this.#engine = engine;
    this.#host = host;
    this.#region = region;
    this.#state = state;
  }

  get region(): Region {
    return this.#region;
  }
  get state(): ApplyState {
    return this.#state;
  }
  /** An entry removed this peer. Nothing behind it is applied here, before or after that entry is written. */
  get isRemoved(): boolean {
    return this.#removed;
  }

  /** After a snapshot replaced everything. */
  reset(region: Region, state: ApplyState): void {
    this.#region = region;
    this.#state = state;
  }

  /**
   * Stages entries into `batch`. `othersUnderWay`: earlier batches of this region are not written yet; then entries
   * that depend on earlier writes must wait, and with them everything behind.
   */
  run(entries: readonly Entry[], batch: EngineBatch, othersUnderWay: boolean): ApplyRun {
    assert(!this.#removed, () => `region ${this.#region.id}: entries for a peer that its log removed`);
    this.#batch = batch;
    this.#bytes = 0;
    this.#keys = 0;
    this.#regionChanged = false;
    this.#outcomes = [];
    this.#effects = [];
    let end = entries.length;
    const firstDependent = entries.findIndex(
      (entry) => entry.type === "EntryNormal" && isDependent(entry.data),
    );
    if (firstDependent >= 0 && othersUnderWay) end = firstDependent;
    this.#overlay = firstDependent >= 0 && end > firstDependent ? new Map() : undefined;
    this.#deletedRanges = [];
    for (let i = 0; i < end; i++) {
      this.#applyEntry(entries[i] as Entry);
      if (this.#removed) {
        end = i + 1;
        break;
      }
    }
    this.#overlay = undefined;
    if (end > 0) batch.put("raft", applyStateKey(this.#region.id), encodeApplyState(this.#state));
    const run = {
      state: this.#state,
      region: this.#regionChanged ? this.#region : undefined,
      outcomes: this.#outcomes,
      effects: this.#effects,
      bytesWritten: this.#bytes,
      keysWritten: this.#keys,
      rest: this.#removed ? [] : entries.slice(end),
    };
    this.#release();
    return run;
  }

  /** A batch holds the writes of many regions: one that slept with it in hand would keep them all in memory. */
  #release(): void {
    this.#batch = NO_BATCH;
    this.#outcomes = NOTHING;
    this.#effects = NOTHING;
    this.#swaps = NOTHING;
    this.#deletedRanges = NOTHING;
  }

  #applyEntry(entry: Entry): void {
    assert(
      entry.index === this.#state.appliedIndex + 1,
      () => `region ${this.#region.id}: entry ${entry.index} after applied ${this.#state.appliedIndex}`,
    );
    let error: RegionError | undefined;
    this.#swaps = [];
    if (entry.type !== "EntryNormal") {
      error = this.#applyConfChange(entry);
    } else if (entry.data.length > 0) {
      const command = decodeCommand(entry.data);
      if (command.kind === "writes") {
        if (command.epochVersion === this.#region.epoch.version) visitWrites(command.body, this);
        else error = epochNotMatch(this.#region, [this.#region]);
      } else {
        error = this.#applyAdmin(decodeAdmin(command.request));
      }
    }
    this.#state = { ...this.#state, appliedIndex: entry.index, appliedTerm: entry.term };
    this.#outcomes.push({
      index: entry.index,
      term: entry.term,
      error,
      swaps: this.#swaps.length === 0 ? NO_SWAPS : this.#swaps,
    });
  }

  put(space: KeySpace, key: Uint8Array, value: Uint8Array): void {
    this.#batch.put(space, key, value);
    this.#bytes += key.length + value.length;
    this.#keys++;
    if (this.#overlay !== undefined && space === "default") this.#overlay.set(latin1(key), { key, value });
  }

  delete(space: KeySpace, key: Uint8Array): void {
    this.#batch.delete(space, key);
    this.#keys++;
    if (this.#overlay !== undefined && space === "default")
      this.#overlay.set(latin1(key), { key, value: undefined });
  }

  /**
   * The engine deletes ranges outside of batches, in order: so the range goes first, and what this run wrote into it
   * earlier is deleted again behind those writes. Redone after a crash, since the applied index comes later.
   */
  deleteRange(space: KeySpace, start: Uint8Array, end: Uint8Array): void {
    assert(this.#overlay !== undefined, "a range delete runs only in a run that knows its own writes");
    this.#engine.deleteRange(space, start, end, (error) => {
      assert(error === undefined, () => `range delete failed: ${error?.message}`);
    });
    if (space !== "default") return;
    this.#deletedRanges.push({ start, end });
    for (const written of this.#overlay.values()) {
      if (written.value === undefined) continue;
      if (compareBytes(written.key, start) < 0 || compareBytes(written.key, end) >= 0) continue;
      this.#batch.delete(space, written.key);
      written.value = undefined;
    }
  }

  compareAndSwap(
    key: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array | undefined,
    nowSeconds: number,
  ): void {
    assert(this.#overlay !== undefined, "a compare-and-swap runs only in a run that knows its own writes");
    const written = this.#overlay.get(latin1(key));
    const stored = written === undefined ? this.#storedBefore(key) : written.value;
    const live = liveValue(stored, nowSeconds);
    const previous = live === undefined ? undefined : live.slice();
    const succeeded =
      expected === undefined
        ? previous === undefined
        : previous !== undefined && compareBytes(previous, expected) === 0;
    if (succeeded && value !== undefined) this.put("default", key, value);
    if (succeeded && value === undefined) this.delete("default", key);
    this.#swaps.push({ succeeded, previous });
  }

  /** What the engine holds of a key that this run has not written. */
  #storedBefore(key: Uint8Array): Uint8Array | undefined {
    for (const { start, end } of this.#deletedRanges) {
      if (compareBytes(key, start) >= 0 && compareBytes(key, end) < 0) return undefined;
    }
    return this.#engine.get("default", key);
  }

  #applyConfChange(entry: Entry): RegionError | undefined {
    const change = this.#host.decodeConfChange(entry);
    const { epoch, command } = decodeConfChangeContext(change.context);
    assert(command.kind === "changePeer", "a conf change entry carries a change of peers");
    const region = this.#region;
    const refuse = (error: RegionError): RegionError => {
      this.#effects.push({ kind: "confChange", change: undefined, region, removedSelf: false });
      return error;
    };
    if (!epochMatches(epochCheckOf(command), epoch, region.epoch))
      return refuse(epochNotMatch(region, [region]));
    const result = applyChangePeer(region, command.changes);
    if (result.kind === "refused") return refuse(plainError(result.reason));
    this.#setRegion(result.region);
    this.#removed = !result.region.peers.some((peer) => peer.storeId === this.#host.ownStoreId);
    this.#batch.put(
      "raft",
      regionStateKey(region.id),
      encodeRegionState({ state: this.#removed ? "tombstone" : "normal", region: result.region }),
    );
    this.#effects.push({ kind: "confChange", change, region: result.region, removedSelf: this.#removed });
    return undefined;
  }

  #applyAdmin({ epoch, command }: DecodedAdmin): RegionError | undefined {
    const region = this.#region;
    if (!epochMatches(epochCheckOf(command), epoch, region.epoch)) return epochNotMatch(region, [region]);
    if (command.kind === "compactLog") {
      const { appliedIndex, truncatedIndex } = this.#state;
      if (command.index <= truncatedIndex || command.index > appliedIndex) return undefined;
      this.#effects.push({ kind: "compactLog", fromIndex: truncatedIndex + 1, toIndex: command.index });
      this.#state = { ...this.#state, truncatedIndex: command.index, truncatedTerm: command.term };
      return undefined;
    }
    assert(command.kind === "split", "conf changes travel in entries of their own type");
    const result = applySplit(region, command.splits, command.rightDerive);
    if (result.kind === "refused") return plainError(result.reason);
    const skipped = new Set<number>();
    for (const created of result.regions) {
      if (created.id === region.id) continue;
      if (!this.#host.mayCreateSplitPeer(created)) {
        skipped.add(created.id);
        continue;
      }
      this.#batch.put(
        "raft",
        regionStateKey(created.id),
        encodeRegionState({ state: "normal", region: created }),
      );
      this.#batch.put("raft", applyStateKey(created.id), encodeApplyState(INIT_APPLY_STATE));
    }
    this.#setRegion(result.derived);
    this.#batch.put(
      "raft",
      regionStateKey(region.id),
      encodeRegionState({ state: "normal", region: result.derived }),
    );
    this.#effects.push({ kind: "split", derived: result.derived, regions: result.regions, skipped });
    return undefined;
  }

  #setRegion(region: Region): void {
    assert(isInitialized(region), "a region without peers cannot come of an applied command");
    this.#region = region;
    this.#regionChanged = true;
  }
}
