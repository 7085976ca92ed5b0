/**
 * The election of PD's leader: whoever creates the leader key with a lease leads until the lease ends. Every PD
 * watches the key; when it is gone all campaign, those with a higher priority a little earlier. (pd-rules 1.2)
 * They do not wait for that when the leader has not renewed for a whole lease (`leader-sight.ts`).
 *
 * A leader that hands over leaves a note beside the key (`leader_transfer`, with a lease of its own): the member it
 * names, or with `!` the one that shall not lead for the moment. Campaigns respect it until it is gone.
 */
import {
  type Env,
  equalBytes,
  fromUtf8,
  randomBelow,
  RaftwerkError,
  type TimerHandle,
  utf8,
} from "../base/index.js";
import type { MetaKeys } from "./keys.js";
import { LeaderSight } from "./leader-sight.js";
import type { MetaCompare, MetaEntry, MetaOperation, MetaStore, MetaWatch } from "./meta-store.js";
import { TermOfOffice } from "./term-of-office.js";

export const LEASE_SECONDS = 2;
/** Longest time a hand-over's note is respected. */
const TRANSFER_SECONDS = 3;
const RETRY_MS = 200;
/** Members with less than the highest priority let the others go first. */
const PRIORITY_WAIT_MS = 300;
const JITTER_MS = 20;
/** A watch may be silent because its node is: the key is read now and then as well. */
const READ_INTERVAL_MS = 1_000;

export interface ElectorOptions {
  readonly memberId: bigint;
  /** What the leader key holds while this PD leads. */
  readonly leaderValue: Uint8Array;
  readonly leaseSeconds: number;
  /** Whether another member has a higher priority than this one. */
  readonly hasBetter: () => boolean;
  readonly onElected: (term: TermOfOffice) => void;
  readonly onTermEnded: (term: TermOfOffice, reason: string) => void;
  /** The leader key's value when another PD leads; undefined when nobody is known to lead. */
  readonly onLeader: (value: Uint8Array | undefined) => void;
}

export class Elector {
  readonly #env: Env;
  readonly #metaStore: MetaStore;
  readonly #keys: MetaKeys;
  readonly #options: ElectorOptions;
  #term: TermOfOffice | undefined;
  #watch: MetaWatch | undefined;
  #timer: TimerHandle | undefined;
  #isCampaigning = false;
  /** Of the last campaign, which has been told. */
  #problem = "";
  #stopped = false;
  /** Highest revision of the key that was looked at. */
  #seenRevision = 0;
  /** How often the meta store told of the key. */
  #looks = 0;
  readonly #ownLeases = new Set<number>();
  readonly #sight: LeaderSight;
  #silenceTimer: TimerHandle | undefined;
  #lastLeader: Uint8Array | undefined;

  constructor(env: Env, metaStore: MetaStore, keys: MetaKeys, options: ElectorOptions) {
    this.#env = env;
    this.#metaStore = metaStore;
    this.#keys = keys;
    this.#options = options;
    this.#sight = new LeaderSight(keys);
  }

  start(): void {
    this.#startWatch();
    this.#readLater(0);
  }

  /** Calls back once others may lead. */
  stop(callback: () => void): void {
    this.#stopped = true;
    this.#watch?.cancel();
    for (const timer of [this.#timer, this.#silenceTimer]) {
      if (timer !== undefined) this.#env.timers.clear(timer);
    }
    if (this.#term === undefined) callback();
    else this.#term.resignThen("PD stops", callback);
  }

  /** By the monotonic clock, when the last term began. */
  electedMs = Number.NEGATIVE_INFINITY;

  get term(): TermOfOffice | undefined {
    return this.#term;
  }

  /** To the member named, or to any other. */
  handOver(to: bigint | undefined, callback: (error: Error | undefined) => void): void {
    const term = this.#term;
    if (term === undefined) {
      return callback(new RaftwerkError("pdUnavailable", "this PD is not the leader", { retry: "safe" }));
    }
    const value = utf8(to === undefined ? `!${this.#options.memberId}` : String(to));
    this.#metaStore.grantLease(TRANSFER_SECONDS, (error, leaseId) => {
      if (error !== undefined) return callback(error);
      const note: MetaOperation = { kind: "put", key: this.#keys.leaderTransfer, value, leaseId };
      term.handOver([note], callback);
    });
  }

  #startWatch(): void {
    const { start, end } = this.#range();
    this.#watch = this.#metaStore.watch(start, end, 0, {
      onEvents: (events) => {
        for (const event of events) {
          if (event.kind === "put") this.#see(event.entry.key, event.entry, event.entry.modRevision);
          else this.#see(event.key, undefined, event.revision);
        }
      },
      onCompacted: () => {
        if (this.#stopped) return;
        this.#startWatch();
        // What was forgotten may have been a change of the leader.
        this.#read(() => {});
      },
    });
  }

  #readLater(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = this.#env.timers.set(delayMs, () => {
      const looks = this.#looks;
      this.#read((error) => {
        // Nobody can be asked: who led may no longer do so, and nobody else can. Unless a later question was answered.
        const isLost = error !== undefined && looks === this.#looks;
        if (isLost && this.#term === undefined) this.#tellLeader(undefined);
        this.#readLater(READ_INTERVAL_MS);
      });
    });
  }

  /** The leader key and the one of its renewals: there is none of PD's between them. */
  #range(): { readonly start: Uint8Array; readonly end: Uint8Array } {
    return { start: this.#keys.leader, end: new Uint8Array([...this.#keys.leaderRenewed, 0]) };
  }

  #read(then: (error: Error | undefined) => void): void {
    this.#metaStore.range({ ...this.#range(), limit: 0 }, (error, { entries, revision }) => {
      if (this.#stopped) return;
      if (error === undefined) {
        for (const key of [this.#keys.leaderRenewed, this.#keys.leader]) {
          this.#see(
            key,
            entries.find((entry) => equalBytes(entry.key, key)),
            revision,
          );
        }
      }
      then(error);
    });
  }

  #see(key: Uint8Array, entry: MetaEntry | undefined, revision: number): void {
    const nowMs = this.#env.clock.monotonicMs();
    if (equalBytes(key, this.#keys.leaderRenewed)) {
      this.#sight.see("renewed", entry, revision, nowMs);
      this.#awaitSilence();
    } else if (equalBytes(key, this.#keys.leader)) {
      this.#sight.see("leader", entry, revision, nowMs);
      this.#look(entry, revision);
      this.#awaitSilence();
    }
  }

  #isSilent(): boolean {
    const fromMs = this.#sight.silentFromMs();
    return fromMs !== undefined && this.#env.clock.monotonicMs() >= fromMs;
  }

  /** One timer, which looks again when it was too early. */
  #awaitSilence(): void {
    const fromMs = this.#sight.silentFromMs();
    if (fromMs === undefined || this.#silenceTimer !== undefined || this.#stopped) return;
    if (this.#term !== undefined) return;
    const leftMs = Math.max(0, fromMs - this.#env.clock.monotonicMs());
    this.#silenceTimer = this.#env.timers.set(leftMs, () => {
      this.#silenceTimer = undefined;
      if (this.#stopped || this.#term !== undefined) return;
      if (!this.#isSilent()) return this.#awaitSilence();
      if (!this.#isCampaigning)
        this.#env.log.warn("the PD leader renews no more: its office is taken over", {});
      this.#campaignSoon();
    });
  }

  #look(entry: MetaEntry | undefined, revision: number): void {
    if (this.#stopped || revision < this.#seenRevision) return;
    this.#seenRevision = revision;
    this.#looks += 1;
    if (this.#term !== undefined) {
      if (entry?.leaseId !== this.#term.leaseId) this.#term.resign("the leader key is no longer mine");
      return;
    }
    if (entry === undefined) {
      this.#tellLeader(undefined);
      return this.#campaignSoon();
    }
    if (this.#ownLeases.has(entry.leaseId)) return this.#campaignSoon();
    this.#tellLeader(entry.value);
    if (this.#isSilent()) this.#campaignSoon();
  }

  #tellLeader(value: Uint8Array | undefined): void {
    const last = this.#lastLeader;
    if (value === undefined ? last === undefined : last !== undefined && equalBytes(value, last)) return;
    this.#lastLeader = value;
    this.#options.onLeader(value);
  }

  #campaignSoon(): void {
    if (this.#isCampaigning || this.#stopped || this.#term !== undefined) return;
    this.#isCampaigning = true;
    const waitMs =
      randomBelow(this.#env.random, JITTER_MS) + (this.#options.hasBetter() ? PRIORITY_WAIT_MS : 0);
    this.#env.timers.set(waitMs, () => this.#campaign());
  }

  #campaign(): void {
    if (this.#stopped) return;
    const again = (problem: string): void => {
      // Once for each problem: without etcd this goes on for as long as that is away.
      if (problem !== this.#problem) this.#env.log.info("a campaign did not succeed", { problem });
      this.#problem = problem;
      this.#env.timers.set(RETRY_MS, () => {
        this.#isCampaigning = false;
        this.#read((error) => {
          if (error !== undefined) this.#campaignSoon();
        });
      });
    };
    this.#readNote((mayLead, noteRevision) => {
      if (!mayLead) return again("a hand-over names another, or etcd does not answer");
      const grantedMs = this.#env.clock.monotonicMs();
      this.#metaStore.grantLease(this.#options.leaseSeconds, (error, leaseId) => {
        if (error !== undefined) return again(`no lease: ${error.message}`);
        this.#ownLeases.add(leaseId);
        this.#takeKey(leaseId, noteRevision, (revision) => {
          if (revision === undefined || this.#stopped) {
            this.#metaStore.revokeLease(leaseId, () => {});
            return again("another was first, or etcd took too long");
          }
          this.#problem = "";
          this.#begin(leaseId, grantedMs, revision);
        });
      });
    });
  }

  /**
   * Whether a note of a hand-over lets this PD lead; with the note's revision, which must still hold when it
   * does.
   */
  #readNote(callback: (mayLead: boolean, revision: number) => void): void {
    this.#metaStore.get(this.#keys.leaderTransfer, (error, note) => {
      if (error !== undefined) return callback(false, 0);
      const text = note === undefined ? "" : fromUtf8(note.value);
      const me = String(this.#options.memberId);
      const mayLead = text === "" || text === me || (text.startsWith("!") && text !== `!${me}`);
      callback(mayLead, note?.modRevision ?? 0);
    });
  }

  /**
   * Creates the key, or takes it from a leader that is silent or from an earlier term of this process. Answers its
   * revision.
   */
  #takeKey(leaseId: number, noteRevision: number, callback: (revision: number | undefined) => void): void {
    const { leader, leaderRenewed, leaderTransfer } = this.#keys;
    const { leaderValue, leaseSeconds } = this.#options;
    const onSuccess: MetaOperation[] = [
      { kind: "put", key: leader, value: leaderValue, leaseId },
      { kind: "put", key: leaderRenewed, value: utf8(String(leaseSeconds)), leaseId },
    ];
    const noteHolds = { kind: "modRevision", key: leaderTransfer, equals: noteRevision } as const;
    const absent = { kind: "createRevision", key: leader, equals: 0 } as const;
    const free: MetaCompare[] = this.#isSilent() ? this.#sight.unchanged() : [absent];
    const transaction = { compares: [...free, noteHolds], onSuccess, reads: [leader] };
    this.#metaStore.transactOutOfLine(transaction, (error, result) => {
      if (error !== undefined) return callback(undefined);
      if (result.succeeded) return callback(result.revision);
      const [held] = result.entries;
      if (held === undefined || !this.#ownLeases.has(held.leaseId)) return callback(undefined);
      const unchanged = { kind: "modRevision", key: leader, equals: held.modRevision } as const;
      this.#metaStore.transact({ compares: [unchanged, noteHolds], onSuccess }, (failed, taken) =>
        callback(failed === undefined && taken.succeeded ? taken.revision : undefined),
      );
    });
  }

  #begin(leaseId: number, grantedMs: number, revision: number): void {
    this.#isCampaigning = false;
    this.#seenRevision = Math.max(this.#seenRevision, revision);
    this.#lastLeader = undefined;
    const term: TermOfOffice = new TermOfOffice(this.#env, this.#metaStore, {
      leaderKey: this.#keys.leader,
      renewedKey: this.#keys.leaderRenewed,
      leaderValue: this.#options.leaderValue,
      leaseId,
      leaseSeconds: this.#options.leaseSeconds,
      grantedMs,
      revision,
      onEnded: (reason) => {
        this.#term = undefined;
        this.#options.onTermEnded(term, reason);
        if (!this.#stopped) this.#campaignSoon();
      },
    });
    this.#term = term;
    this.electedMs = this.#env.clock.monotonicMs();
    this.#env.log.info("PD leads", { revision });
    this.#options.onElected(term);
  }
}
