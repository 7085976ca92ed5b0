/**
 * What a store takes on, and what it counts when it does not: every bound that all of its clients share. A refusal is a
 * region error that says what is the matter, and each is counted by its reason.
 */
import { ByteBudget, type Logger } from "../base/index.js";
import { type RegionError, serverIsBusy } from "../region/errors.js";
import type { Peer, PeerBudgets } from "../region/peer.js";
import type { StoreConfig } from "./config.js";
import { BusyLine } from "./busy-line.js";
import { DiskGuard, type WriteKind } from "./disk-guard.js";

export interface AdmissionOptions {
  readonly config: StoreConfig;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly storeId: () => number;
  readonly diskFigures: () => { readonly capacity: number; readonly available: number } | undefined;
}

const BACKOFF_MS = 500;

export class Admission {
  readonly budgets: PeerBudgets;
  /** Rows gathered by scans under way. */
  readonly scans: ByteBudget;
  /** Answers handed to the transport which clients have not taken; the transport counts them. */
  readonly answers: ByteBudget;
  readonly disk: DiskGuard;
  readonly line: BusyLine;
  /** Refusals by reason. */
  readonly refusals = new Map<string, number>();

  constructor({ config, log, nowMs, storeId, diskFigures }: AdmissionOptions) {
    this.budgets = {
      proposals: new ByteBudget(config.writesUnderWayBytesMax),
      entryCache: new ByteBudget(config.entryCacheTotalBytesMax),
    };
    this.line = new BusyLine(this.budgets.proposals, nowMs);
    this.scans = new ByteBudget(config.scansUnderWayBytesMax);
    this.answers = new ByteBudget(config.answersPendingBytesMax);
    const { reserveSpaceBytes } = config;
    this.disk = new DiskGuard({ storeId, log, reserveSpaceBytes, figures: diskFigures });
  }

  refused(reason: string): void {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
  }

  /** Why no read is taken on now. */
  read(): RegionError | undefined {
    if (!this.answers.isSpent) return undefined;
    this.refused("answers not taken");
    return serverIsBusy(`${this.answers.bytes} bytes of answers wait for clients to read them`, BACKOFF_MS);
  }

  /** Why no scan is begun, or goes on beside others. */
  scan(): RegionError | undefined {
    if (!this.scans.isSpent) return this.read();
    this.refused("scans too large");
    return serverIsBusy(`${this.scans.bytes} bytes of scans are under way`, BACKOFF_MS);
  }

  /** Why this peer must not propose now. */
  write(peer: Peer, kind: WriteKind): RegionError | undefined {
    const full = this.disk.refusal(peer, kind);
    if (full !== undefined) this.refused("disk full");
    return full;
  }
}
