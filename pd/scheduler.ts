/**
 * What every scheduler is: a name, the kind whose limit bounds it, and one round of decisions at a time.
 * (pd-rules 9.3 to 9.5)
 */
import type { DecisionNotes } from "./decision-notes.js";
import type { Diagnosis } from "./diagnosis.js";
import type { Operator, OperatorKind } from "./operator.js";
import type { OperatorController } from "./operator-controller.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";
import type { Statistics } from "./statistics/statistics.js";
import type { IdSet } from "./id-set.js";
import type { PeerKind } from "./store-regions.js";

export interface SchedulerHost {
  readonly controller: OperatorController;
  readonly notes: DecisionNotes;
  readonly statistics: Statistics;
}

/** The answer to a change of a scheduler's own settings, as HTTP shows it. */
export interface SettingsReply {
  readonly status: number;
  readonly body: unknown;
  /** Plain, not JSON. */
  readonly isText?: boolean;
}
export const settingsOk = (body: unknown = "Config is updated."): SettingsReply => ({ status: 200, body });
export const settingsRefused = (body: string, status = 400): SettingsReply => ({ status, body });

export interface Scheduler {
  readonly name: string;
  /** Why it may start nothing now: its limit. (9.3) */
  limitReached(): string | undefined;
  /** Starts what is worth starting; how many operators that were. */
  run(): number;
  /** Ends what adding the scheduler changed. */
  stop(): void;
  readonly intervalMinMs: number;
  readonly intervalMaxMs: number;
  /** Its settings, as stored and as `GET list` shows them; undefined when it has none. */
  settings(): Record<string, unknown> | undefined;
  loadSettings(stored: Readonly<Record<string, unknown>>): void;
  change(body: Readonly<Record<string, unknown>>): SettingsReply;
  /** What the last round found, for the diagnostic route; undefined where there is none. */
  readonly diagnosis: Diagnosis | undefined;
}

const INTERVAL_MIN_MS = 10;
const INTERVAL_MAX_MS = 5000;
const PICKS = 10;

const LIMITS = {
  leader: "schedule.leader-schedule-limit",
  region: "schedule.region-schedule-limit",
  "hot-region": "schedule.hot-region-schedule-limit",
  merge: "schedule.merge-schedule-limit",
} as const;
export type LimitedKind = keyof typeof LIMITS;

export const LABEL_DENIES = "a label of the region denies scheduling";

/** Limits, settings and the way an operator goes: what all schedulers share. */
export abstract class BaseScheduler implements Scheduler {
  abstract readonly name: string;
  readonly intervalMinMs: number = INTERVAL_MIN_MS;
  readonly intervalMaxMs: number = INTERVAL_MAX_MS;
  readonly diagnosis: Diagnosis | undefined = undefined;
  /** Labels `schedule=deny` do not stop it: a rolling restart must not be blocked. (9.10) */
  protected readonly ignoresDeny: boolean = false;
  protected readonly host: SchedulerHost;
  protected readonly limitedKind: LimitedKind;
  /** Operators of this kind are counted against the limit; usually the kind that is limited. */
  protected readonly countedKind: OperatorKind;

  constructor(host: SchedulerHost, limitedKind: LimitedKind, countedKind: OperatorKind = limitedKind) {
    this.host = host;
    this.limitedKind = limitedKind;
    this.countedKind = countedKind;
  }

  protected get view(): SchedulingView {
    return this.host.controller.view;
  }

  abstract run(): number;

  stop(): void {}

  settings(): Record<string, unknown> | undefined {
    return undefined;
  }

  loadSettings(_stored: Readonly<Record<string, unknown>>): void {}

  change(_body: Readonly<Record<string, unknown>>): SettingsReply {
    return settingsRefused("Config item is not found.");
  }

  limitReached(): string | undefined {
    const name = LIMITS[this.limitedKind];
    const most = this.view.config.number(name);
    if (this.host.controller.count(this.countedKind) < most) return undefined;
    return `${name.slice("schedule.".length)} ${most} is reached`;
  }

  /** Into the queue of operators; the answer is why not. */
  protected submit(...operators: readonly Operator[]): string | undefined {
    const { controller } = this.host;
    const { metrics } = this.view.cluster.context;
    for (const operator of operators) {
      const region = this.view.cluster.regions.byId(operator.regionId);
      if (region !== undefined && this.denied(region)) return LABEL_DENIES;
    }
    const refused = controller.addWaiting(...operators);
    const type = refused === undefined ? "new-operator" : "refused";
    metrics.increment("pd_scheduler_event_count", { type: this.name, name: type });
    return refused;
  }

  /** A move was planned. */
  protected moves(sourceId: number, targetId: number): void {
    const { metrics } = this.view.cluster.context;
    const name = "pd_scheduler_balance_direction";
    metrics.increment(name, { type: this.name, store: String(sourceId), direction: "out" });
    metrics.increment(name, { type: this.name, store: String(targetId), direction: "in" });
  }

  protected denied(region: RegionInfo): boolean {
    return !this.ignoresDeny && this.view.cluster.labels.deniesSchedule(region.meta);
  }

  protected note(storeId: number, reason: string): void {
    this.host.notes.note("store", storeId, this.name, reason);
  }

  /** Up to ten random regions of the set; the first that passes. (9.13) */
  protected pick(ids: IdSet, accept: (region: RegionInfo) => boolean, tries = PICKS): RegionInfo | undefined {
    for (let i = 0; i < Math.min(tries, ids.size); i++) {
      const region = this.view.cluster.regions.byId(ids.pick(this.view.env.random) ?? 0);
      if (region === undefined) continue;
      if (this.denied(region)) this.onDenied(region);
      else if (accept(region)) return region;
    }
    return undefined;
  }

  /** A region was drawn that its label keeps where it is. */
  protected onDenied(_region: RegionInfo): void {}

  protected pickOn(
    storeId: number,
    kind: PeerKind,
    accept: (region: RegionInfo) => boolean,
  ): RegionInfo | undefined {
    return this.pick(this.view.cluster.regions.onStore(storeId).set(kind), accept);
  }

  /** Nothing runs for it, all peers are well. */
  protected isFree(region: RegionInfo): boolean {
    return region.leader !== undefined && this.host.controller.operator(region.meta.id) === undefined;
  }

  protected isWell(region: RegionInfo): boolean {
    return this.isFree(region) && region.pendingPeers.length === 0 && region.downPeers.length === 0;
  }

  protected hasVoterOn(region: RegionInfo, storeId: number): boolean {
    return peerOnStore(region, storeId)?.role === "voter";
  }
}
