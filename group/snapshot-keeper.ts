/**
 * When snapshots are made, and what leaves the log afterwards. Never two at a time, never while one is taken in or
 * installed, and while one is sent only when the log outgrows its bound.
 */
import { RaftwerkError } from "../base/index.js";
import { machineFailed } from "./applier.js";
import { SnapshotMaker } from "./snapshot-maker.js";
import type { SnapshotInfo } from "./storage.js";
import type { GroupCore } from "./core.js";

const READ_BYTES = 1 << 20;
/** After the application failed to give a snapshot. */
const RETRY_MS = 30_000;

export class SnapshotKeeper {
  readonly #core: GroupCore;
  readonly #onError: (error: Error) => void;
  #maker: SnapshotMaker | undefined;
  #isDeleting = false;
  #isWanted = false;
  #lastMs: number;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  readonly #waiting: ((error: Error | undefined, info?: SnapshotInfo) => void)[] = [];
  created = 0;

  constructor(core: GroupCore, onError: (error: Error) => void) {
    this.#core = core;
    this.#onError = onError;
    this.#lastMs = core.env.clock.monotonicMs();
  }

  get isBusy(): boolean {
    return this.#maker !== undefined;
  }

  /** Wanted by somebody, whatever the policy says. */
  request(callback: (error: Error | undefined, info?: SnapshotInfo) => void): void {
    this.#waiting.push(callback);
    this.#consider();
  }

  /** Somebody needs a newer one, at the next occasion. */
  want(): void {
    this.#isWanted = true;
  }

  applied(): void {
    this.#consider();
  }

  restored(): void {
    this.#lastMs = this.#core.env.clock.monotonicMs();
  }

  tick(): void {
    this.#consider();
  }

  #consider(): void {
    const { applier, receiver, sender, storage, phase } = this.#core;
    if (this.#maker !== undefined || receiver.isActive || applier.pausedBy !== undefined) return;
    const before = storage.snapshot();
    if (phase !== "running" || before === undefined) return;
    if (applier.appliedIndex <= before.index) {
      for (const callback of this.#waiting.splice(0)) callback(undefined, before);
      return;
    }
    const { snapshots } = this.#core.parts.config;
    if (sender.active > 0 && storage.logBytes() <= snapshots.logBytesMax) return;
    if (this.#core.env.clock.monotonicMs() < this.#notBeforeMs) return;
    if (this.#waiting.length > 0 || this.#isWanted || this.#isDue(before)) this.#make();
  }

  #isDue(before: SnapshotInfo): boolean {
    const { applier, storage, env, parts } = this.#core;
    const { entries, bytes, intervalMs } = parts.config.snapshots;
    const count = applier.appliedIndex - before.index;
    if (entries > 0 && count >= entries) return true;
    if (intervalMs > 0 && env.clock.monotonicMs() - this.#lastMs >= intervalMs) return true;
    if (bytes === 0) return false;
    const all = storage.lastIndex() - storage.firstIndex() + 1;
    return all > 0 && (storage.logBytes() / all) * Math.min(count, all) >= bytes;
  }

  #make(): void {
    const core = this.#core;
    const { applier, env, storage, parts } = core;
    const isPausing = parts.stateMachine.snapshotsConcurrently !== true;
    if (isPausing) applier.pausedBy = "making";
    this.#isWanted = false;
    let chunks: AsyncIterable<Uint8Array>;
    const captured = (): void => {
      if (!isPausing || applier.pausedBy !== "making") return;
      applier.pausedBy = undefined;
      core.wake();
    };
    try {
      chunks = parts.stateMachine.snapshot();
    } catch (error) {
      return this.#failed(machineFailed("snapshot", applier.appliedIndex, error), captured);
    }
    const source = {
      index: applier.appliedIndex,
      term: applier.appliedTerm,
      confState: applier.confState,
      groupState: applier.state.encode(),
      chunks,
      storageId: core.envelope(0).storageId,
      pieceBytes: parts.config.snapshots.chunkBytes,
    };
    this.#maker = new SnapshotMaker(env, storage, source, captured, (error, info) => {
      this.#maker = undefined;
      if (error !== undefined || info === undefined) this.#failed(error as Error, captured);
      else this.#made(info);
    });
  }

  /** What the application cannot give now it may give later; what the disk refuses is final. */
  #failed(error: Error, resume: () => void): void {
    const core = this.#core;
    for (const callback of this.#waiting.splice(0)) callback(error);
    if (!(error instanceof RaftwerkError) || error.code !== "stateMachineFailed") return this.#onError(error);
    core.env.log.error("no snapshot could be made: trying again later", { error: error.message });
    this.#notBeforeMs = core.env.clock.monotonicMs() + RETRY_MS;
    core.emit("snapshot", { kind: "failed", index: core.applier.appliedIndex, bytes: 0 });
    resume();
  }

  #made(info: SnapshotInfo): void {
    const core = this.#core;
    this.#lastMs = core.env.clock.monotonicMs();
    for (const callback of this.#waiting.splice(0)) callback(undefined, info);
    this.created++;
    core.sender.replaced();
    core.emit("snapshot", { kind: "created", index: info.index, bytes: info.bytes });
    this.#cut();
    core.wake();
  }

  /** Deletes entries that the snapshot holds and nobody near needs. */
  #cut(): void {
    if (this.#isDeleting) return;
    const { storage, parts, raw, isLeader } = this.#core;
    const { keepEntries, keepBytes, logBytesMax } = parts.config.snapshots;
    const info = storage.snapshot();
    if (info === undefined) return;
    const count = Math.max(1, storage.lastIndex() - storage.firstIndex() + 1);
    const average = Math.max(1, storage.logBytes() / count);
    const kept = Math.min(keepEntries, Math.floor(keepBytes / average));
    let through = info.index - kept;
    if (isLeader && storage.logBytes() < logBytesMax) {
      raw?.withProgress((_id, { match, recentActive, state }) => {
        if (recentActive && match > 0 && state !== "StateSnapshot") through = Math.min(through, match);
      });
    }
    through = Math.min(through, info.index);
    if (through < storage.firstIndex()) return;
    this.#isDeleting = true;
    this.#keep(storage.firstIndex(), through, (isKept) => {
      const done = (error: Error | undefined): void => {
        this.#isDeleting = false;
        if (error !== undefined) this.#onError(error);
      };
      // Meanwhile a snapshot may have been installed.
      if (!isKept || this.#core.phase !== "running" || through < storage.firstIndex()) return done(undefined);
      storage.deleteThrough(through, done);
    });
  }

  #keep(from: number, through: number, then: (isKept: boolean) => void): void {
    const { compactedLog } = this.#core.parts;
    if (compactedLog === undefined || from > through) return then(true);
    const { storage, env } = this.#core;
    if (this.#core.phase !== "running" || from < storage.firstIndex()) return then(false);
    const entries = storage.entries(from, through + 1, READ_BYTES);
    compactedLog.write(entries, (error) => {
      if (error === undefined) return this.#keep(from + entries.length, through, then);
      env.log.error("compacted entries cannot be kept: the log is not cut", { error: error.message });
      then(false);
    });
  }

  stop(): void {
    this.#maker?.stop();
    this.#maker = undefined;
    for (const callback of this.#waiting.splice(0)) callback(new Error("this member stopped"));
  }
}
