/**
 * Why a scheduler moves nothing, store by store, in PD's words and form: each round leaves a record, the newest of
 * the same status are summed up. (pd-rules 12.28 to 12.32)
 */
export type SchedulerStatus = "pending" | "halted" | "paused" | "scheduling" | "normal" | "disabled";

/** The step at which a plan failed: which store, which region, to which store. */
export type PlanStep = 0 | 1 | 2;

/** Reasons with their rank: the hundreds are the priority, of two equal ones the more frequent counts. */
const CODES: Readonly<Record<string, number>> = {
  StoreScoreDisallowed: 100,
  StoreAlreadyHasPeer: 101,
  StoreNotMatchRule: 102,
  StoreSpecialUse: 102,
  StoreSnapshotThrottled: 200,
  StorePendingPeerThrottled: 201,
  StoreAddPeerThrottled: 202,
  StoreRemovePeerThrottled: 203,
  StoreRejectLeader: 300,
  StoreNotMatchIsolation: 301,
  StoreBusy: 400,
  StoreRemoved: 401,
  StoreRemoving: 402,
  StoreDown: 403,
  StoreDisconnected: 404,
  StoreLowSpace: 500,
  StoreNotExisted: 501,
  RegionHot: 1000,
  RegionUnhealthy: 1001,
  RegionEmpty: 1002,
  RegionNotReplicated: 1003,
  RegionNotMatchRule: 1004,
  RegionNoLeader: 1005,
  NoTargetRegion: 1006,
  RegionLabelReject: 1007,
  RegionAffinity: 1009,
  CreateOperatorFailed: 2000,
};
const TEXTS: Readonly<Record<string, string>> = {
  StoreScoreDisallowed: "balanced: no other store differs by enough",
  StoreAlreadyHasPeer: "the other stores have a peer of the regions tried already",
  StoreNotMatchRule: "the regions tried would not meet their placement rules elsewhere",
  StoreNotMatchIsolation: "the replicas of the regions tried would stand closer together",
  RegionHot: "the regions tried are hot, and left to the hot-region scheduler",
  RegionUnhealthy: "the regions tried have peers that are down or wait for a snapshot",
  RegionEmpty: "the regions tried are empty",
  RegionNotReplicated: "the regions tried do not have all their replicas",
  RegionNotMatchRule: "the regions tried do not meet their placement rules",
  RegionNoLeader: "the regions tried have no leader",
  NoTargetRegion: "no region on it may move now",
  RegionLabelReject: "a label denies scheduling of the regions tried",
  CreateOperatorFailed: "no safe order of steps was found for the regions tried",
};

/** A code about regions in words; those about stores depend on the store. */
export const codeText = (code: string): string | undefined => TEXTS[code];

/** Reasons that PD has no word of its own for. */
const SHOWN_AS: Readonly<Record<string, string>> = { StoreSpecialUse: "StoreNotMatchRule" };

const NORMAL_MAX = 109;
const RECORDS_MAX = 10;

interface Plan {
  readonly step: PlanStep;
  readonly reason: string;
}

interface Record_ {
  readonly status: SchedulerStatus;
  /** The reason of each store. */
  readonly reasons: ReadonlyMap<number, string>;
}

export class Diagnosis {
  readonly #records: Record_[] = [];
  #plans = new Map<number, Plan[]>();

  /** A round begins. */
  begin(): void {
    this.#plans = new Map();
  }

  /** Why a plan of this round came to nothing; it belongs to the store of the step. */
  reject(storeId: number, step: PlanStep, reason: string): void {
    const plans = this.#plans.get(storeId);
    if (plans === undefined) this.#plans.set(storeId, [{ step, reason }]);
    else plans.push({ step, reason });
  }

  /** Of the round: with operators it schedules; with ordinary reasons only it is at rest. */
  end(started: number): SchedulerStatus {
    const reasons = new Map<number, string>();
    for (const [storeId, plans] of this.#plans) reasons.set(storeId, reasonOf(plans));
    const isNormal = [...reasons.values()].every((reason) => (CODES[reason] ?? 0) <= NORMAL_MAX);
    const status = started > 0 ? "scheduling" : isNormal ? "normal" : "pending";
    this.#push({ status, reasons });
    return status;
  }

  /** The round was not allowed. */
  skipped(status: SchedulerStatus): void {
    this.#push({ status, reasons: new Map() });
  }

  get lastReasons(): ReadonlyMap<number, string> {
    return this.#records.at(-1)?.reasons ?? new Map();
  }

  /** Undefined before the first round. */
  result(type: string): { readonly status: SchedulerStatus; readonly summary: string } | undefined {
    const newest = this.#records.at(-1);
    if (newest === undefined) return undefined;
    const { status } = newest;
    if (status !== "pending" && status !== "normal") return { status, summary: "" };
    const run: Record_[] = [];
    for (let i = this.#records.length - 1; i >= 0; i--) {
      const record = this.#records[i] as Record_;
      if (record.status !== status) break;
      run.push(record);
    }
    const counts = new Map<string, number>();
    for (const found of heaviest(run).values()) {
      const reason = SHOWN_AS[found] ?? found;
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
    }
    const summary = [...counts].map(([reason, count]) => `${count} store(s) ${reason}; `).join("");
    return { status, summary: summary === "" && status === "pending" ? `${type} reach limit` : summary };
  }

  #push(record: Record_): void {
    this.#records.push(record);
    if (this.#records.length > RECORDS_MAX) this.#records.shift();
  }
}

/** Of the deepest step: higher priority, then more frequent, then the smaller code. */
function reasonOf(plans: readonly Plan[]): string {
  const deepest = Math.max(...plans.map((plan) => plan.step));
  const counts = new Map<string, number>();
  for (const { step, reason } of plans) {
    if (step === deepest) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const priority = (reason: string): number => {
    const code = CODES[reason] ?? 0;
    return code < 200 ? code : Math.floor(code / 100) * 100;
  };
  const sorted = [...counts].sort(
    ([left, leftCount], [right, rightCount]) =>
      priority(right) - priority(left) || rightCount - leftCount || (CODES[left] ?? 0) - (CODES[right] ?? 0),
  );
  return (sorted[0] as [string, number])[0];
}

/** New records weigh more: thirds of the run count 3, 2 and 1. */
function heaviest(run: readonly Record_[]): Map<number, string> {
  const weights = new Map<number, Map<string, number>>();
  for (const [i, record] of run.entries()) {
    const weight = 3 - Math.min(2, Math.floor((i * 3) / run.length));
    for (const [storeId, reason] of record.reasons) {
      const own = weights.get(storeId) ?? new Map<string, number>();
      own.set(reason, (own.get(reason) ?? 0) + weight);
      weights.set(storeId, own);
    }
  }
  const chosen = new Map<number, string>();
  for (const [storeId, own] of weights) {
    chosen.set(storeId, ([...own].sort(([, left], [, right]) => right - left)[0] as [string, number])[0]);
  }
  return chosen;
}
