/**
 * An engine on a disk that forgets. The disk outlives its processes; an engine is one process's hold on it. A
 * write is durable when its sync, or that of a later write, is done. When the process is killed, writes under
 * way survive or not; when the power fails, so do all that were never synced. What is lost is always a tail:
 * the log of a real engine is read up to its first hole. Ranges are deleted row by row and may be half done
 * after a crash.
 */
import {
  assert,
  type Engine,
  type EngineBatch,
  type EngineCallback,
  type EngineSnapshot,
  type KeySpace,
  RaftwerkError,
  type ScanOptions,
  type ScanResult,
} from "../base/index.js";
import { MemoryBatch, MemoryEngine, type MemoryOperation } from "../engine/memory.js";
import type { SimNode } from "./node.js";

export interface DiskKnobs {
  /** A synced write takes this long at least, and up to `jitterUs` longer. */
  syncUs: number;
  jitterUs: number;
  /** Of a million writes, how many take up to `stallUs` longer. */
  stallPerMillion: number;
  stallUs: number;
  /** Readers see a batch before it is durable. */
  isVisibleEarly: boolean;
  /** A write is done when the call returns, as with RocksDB: the thread waits for it. Otherwise it calls back later. */
  writesAtOnce: boolean;
  /** Scans call back in a later event. */
  scansLater: boolean;
  /** Room that the machine reports. */
  availableBytes: number;
}

/** Of each simulated machine. */
export const DISK_BYTES = 2 ** 40;

export const QUIET_DISK: DiskKnobs = {
  syncUs: 300,
  jitterUs: 300,
  stallPerMillion: 0,
  stallUs: 0,
  isVisibleEarly: true,
  writesAtOnce: false,
  scansLater: false,
  availableBytes: DISK_BYTES,
};

/** A write that takes so long, and longer, is one for which the process stands still. */
const STANDS_STILL_US = 1_000;

export type DiskOperation = MemoryOperation;

interface KeyRange {
  readonly space: KeySpace;
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

interface DiskWrite {
  /** Of a range delete they are known when its turn has come. */
  operations: readonly DiskOperation[];
  readonly isSync: boolean;
  /** A range delete: what a crash leaves of it is any part. */
  readonly range: KeyRange | undefined;
  /** What brings back what was there before, once the operations are in the memory. */
  undo: DiskOperation[] | undefined;
  isDone: boolean;
}

/** Told of what is durable, as it becomes durable. */
export type DiskObserver = (operations: readonly DiskOperation[]) => void;

export class SimDisk {
  readonly node: SimNode;
  knobs: DiskKnobs;
  observer: DiskObserver | undefined;
  /** The next write fails with this. */
  failure: RaftwerkError | undefined;
  hasFailed = false;
  /** Of the process that was started last. */
  engine: SimEngine | undefined;
  memory = new MemoryEngine();
  /** Not durable yet, in order. */
  readonly writes: DiskWrite[] = [];
  lastDoneUs = 0;
  /** What a crash keeps of writes that are not sure: chance decides, or a script. */
  crashKeeps: "any" | "none" | "all" = "any";
  /** For scripts: a write for which this is true is not done before `release`, nor is any that follows it. */
  holdsFrom: ((operations: readonly DiskOperation[]) => boolean) | undefined;
  /** For faults: what is about to be asked of the engine; of writes, the operations. */
  readonly watchers = new Set<(operations: readonly DiskOperation[] | undefined) => void>();
  #held: (() => void)[] = [];

  constructor(node: SimNode, knobs: DiskKnobs = QUIET_DISK) {
    this.node = node;
    this.knobs = knobs;
  }

  /** What a new process finds. */
  open(): SimEngine {
    this.engine = new SimEngine(this);
    return this.engine;
  }

  get heldWrites(): number {
    return this.#held.length;
  }

  /** A write is done, unless a script holds it. */
  done(write: DiskWrite, run: () => void): void {
    if (this.#held.length === 0 && this.holdsFrom?.(write.operations) !== true) return run();
    this.#held.push(run);
  }

  /** What was held is done now, in order. */
  release(): void {
    this.holdsFrom = undefined;
    for (const run of this.#held.splice(0)) this.node.after(0, "disk", run);
  }

  apply(write: DiskWrite): void {
    if (write.range !== undefined) write.operations = this.#rowsOf(write.range);
    write.undo = this.memory.exchange(write.operations);
  }

  durable(upTo: DiskWrite): void {
    const at = this.writes.indexOf(upTo);
    for (const write of this.writes.splice(0, at + 1)) this.observer?.(write.operations);
  }

  /** The process is gone. */
  crash(isPowerLoss: boolean): void {
    const { random, world } = this.node;
    const sure = isPowerLoss ? 0 : this.writes.findLastIndex((write) => write.isDone) + 1;
    const unsure = this.writes.length - sure;
    const drawn = random.u32() % (unsure + 1);
    const kept = sure + (this.crashKeeps === "any" ? drawn : this.crashKeeps === "all" ? unsure : 0);
    if (kept < this.writes.length) world.probe("a crash lost writes that were not synced");
    if (this.writes.slice(0, kept).some(({ isDone }) => !isDone))
      world.probe("a crash kept a write nobody was told of");
    for (let i = this.writes.length - 1; i >= kept; i--) {
      const { undo, range } = this.writes[i] as DiskWrite;
      // Its memory goes back to what was there, newest first. Of a deleted range any rows may be gone, but only when
      // everything before it is durable.
      const isPartial = range !== undefined && i === kept;
      if (undo !== undefined) this.memory.exchange(undo.filter(() => !isPartial || random.u32() % 2 === 0));
    }
    for (const write of this.writes.slice(0, kept)) {
      if (write.undo === undefined) this.apply(write);
      this.observer?.(write.operations);
    }
    this.writes.length = 0;
    this.lastDoneUs = 0;
    this.#held = [];
    this.failure = undefined;
    this.hasFailed = false;
  }

  /** A disk that lost all. */
  wipe(): void {
    this.memory = new MemoryEngine();
    this.writes.length = 0;
    this.lastDoneUs = 0;
  }

  #rowsOf({ space, start, end }: KeyRange): DiskOperation[] {
    const operations: DiskOperation[] = [];
    this.memory.scan(space, { start, end, keysOnly: true, limit: 1 << 30 }, (_error, { rows }) => {
      for (const { key } of rows) operations.push({ space, key, value: undefined });
    });
    return operations;
  }
}

export class SimEngine implements Engine {
  readonly kind = "simulated";
  openSnapshots = 0;
  readonly #disk: SimDisk;
  #underWay = 0;
  #isClosed = false;
  #closing: ((error: Error | undefined) => void) | undefined;

  constructor(disk: SimDisk) {
    this.#disk = disk;
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    return this.#memory().get(space, key);
  }
  multiGet(space: KeySpace, keys: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    const values = this.#memory().multiGet(space, keys);
    for (const watcher of this.#disk.watchers) watcher(undefined);
    return values;
  }
  approximateBytes(space: KeySpace, start: Uint8Array, end: Uint8Array): number | undefined {
    return this.#memory().approximateBytes(space, start, end);
  }
  property(): string | undefined {
    return this.#memory().property();
  }
  batch(): EngineBatch {
    this.#memory();
    return new MemoryBatch();
  }

  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void {
    this.#memory().scan(space, options, (error, result) => this.#answer(() => callback(error, result)));
  }

  snapshot(): EngineSnapshot {
    const inner = this.#memory().snapshot();
    let isOpen = true;
    this.openSnapshots++;
    return {
      get: (space, key) => inner.get(space, key),
      scan: (space, options, callback) =>
        inner.scan(space, options, (error, result) => this.#answer(() => callback(error, result))),
      close: () => {
        if (isOpen) this.openSnapshots--;
        isOpen = false;
        inner.close();
      },
    };
  }

  write(
    batch: EngineBatch,
    options: { readonly sync: boolean },
    callback: (error: Error | undefined) => void,
  ): void {
    this.#memory();
    assert(batch instanceof MemoryBatch, "a batch of another engine");
    const { operations } = batch;
    for (const watcher of this.#disk.watchers) watcher(operations);
    const write = { operations, isSync: options.sync, range: undefined, undo: undefined, isDone: false };
    this.#submit(write, callback);
  }

  deleteRange(
    space: KeySpace,
    start: Uint8Array,
    end: Uint8Array,
    callback: (error: Error | undefined) => void,
  ): void {
    this.#memory();
    const range = { space, start: start.slice(), end: end.slice() };
    this.#submit({ operations: [], isSync: false, range, undo: undefined, isDone: false }, callback);
  }

  close(callback: (error: Error | undefined) => void): void {
    this.#closing = callback;
    this.#isClosed = true;
    if (this.#underWay === 0) callback(undefined);
  }

  #submit(write: DiskWrite, callback: (error: Error | undefined) => void): void {
    const disk = this.#disk;
    const { knobs, node, failure } = disk;
    const { isSync } = write;
    this.#underWay++;
    const fromUs = node.world.nowUs + node.aheadUs;
    // The first write that fails may be on the disk all the same; no later one is.
    if (failure === undefined || (!disk.hasFailed && node.random.u32() % 2 === 0)) disk.writes.push(write);
    if (failure !== undefined) disk.hasFailed = true;
    if (knobs.writesAtOnce) {
      const takesUs = this.#takesUs(isSync);
      // A turn's usual length has the usual writes in it.
      if (takesUs >= STANDS_STILL_US) node.stall(takesUs);
      return this.#done(write, failure, callback);
    }
    if (knobs.isVisibleEarly && failure === undefined) disk.apply(write);
    disk.lastDoneUs = Math.max(disk.lastDoneUs, fromUs + this.#takesUs(isSync));
    node.world.schedule(disk.lastDoneUs, "disk", node.index, node.incarnation, () => {
      disk.done(write, () => this.#done(write, failure, callback));
    });
  }

  #done(
    write: DiskWrite,
    failure: RaftwerkError | undefined,
    callback: (error: Error | undefined) => void,
  ): void {
    const disk = this.#disk;
    this.#underWay--;
    if (failure !== undefined) return callback(failure);
    if (write.undo === undefined) disk.apply(write);
    write.isDone = true;
    if (write.isSync) disk.durable(write);
    callback(undefined);
    if (this.#underWay === 0) this.#closing?.(undefined);
  }

  #takesUs(isSync: boolean): number {
    const { knobs, node } = this.#disk;
    if (!isSync) return 20;
    const stalls = knobs.stallPerMillion > 0 && node.random.u32() % 1_000_000 < knobs.stallPerMillion;
    const stallUs = stalls ? node.random.u32() % (knobs.stallUs + 1) : 0;
    return knobs.syncUs + (node.random.u32() % (knobs.jitterUs + 1)) + stallUs;
  }

  #answer(run: () => void): void {
    if (this.#disk.knobs.scansLater) this.#disk.node.after(100, "scan", run);
    else run();
  }

  #memory(): MemoryEngine {
    if (this.#isClosed) throw new RaftwerkError("engineClosed", "the engine is closed", { retry: "never" });
    return this.#disk.memory;
  }
}
