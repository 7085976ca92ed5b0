/** Storage of the nodes of interaction scripts: a log in memory, and what the application became by it. */
import type { LogIndex } from "../../base/ids.js";
import { makeSnapshot } from "../message.js";
import { MemStorage } from "../storage.js";
import type { EntriesContext, Entry, NodeId, Snapshot, StorageError } from "../types.js";

/**
 * Serves the newest state that the application reached by its own entries as snapshot, not the one that the log began
 * with. As in etcd's environment one that came by a snapshot is not among them: what it serves then does not know it.
 */
export class HistoryStorage extends MemStorage {
  /** What the application was at first and after each entry that it applied. */
  readonly history: Snapshot[] = [makeSnapshot(0, 0)];
  /** What it is, by entries or by a snapshot; it survives restarts. */
  state: Snapshot = makeSnapshot(0, 0);
  hasSnapshot = true;
  /** False: entries to send are not at hand, and must be fetched first. */
  hasLog = true;
  /** What was asked for in vain. */
  readonly wanted = new Map<NodeId, EntriesContext>();

  newest(): Snapshot {
    return this.history.at(-1) as Snapshot;
  }

  override initialState(): ReturnType<MemStorage["initialState"]> {
    return { ...super.initialState(), confState: this.state.metadata.confState };
  }

  override entries(
    low: LogIndex,
    high: LogIndex,
    bytesMax: number,
    context?: EntriesContext,
  ): readonly Entry[] | StorageError {
    if (this.hasLog || context?.reason !== "send") return super.entries(low, high, bytesMax);
    this.wanted.set(context.to, context);
    return "logTemporarilyUnavailable";
  }

  override snapshot(requestIndex: LogIndex): Snapshot | StorageError {
    const newest = this.newest();
    return this.hasSnapshot && newest.metadata.index >= requestIndex
      ? newest
      : "snapshotTemporarilyUnavailable";
  }

  override applySnapshot(snapshot: Snapshot): StorageError | undefined {
    const error = super.applySnapshot(snapshot);
    if (error === undefined) this.state = snapshot;
    return error;
  }
}
