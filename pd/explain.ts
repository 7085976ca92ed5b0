/**
 * Why things are as they are: for a region, a store, an operator or a scheduler, the facts PD decides by, what was
 * last decided, and what stands in the way. Everything is looked up when asked or kept in bounded notes, so that an
 * answer takes no longer in a large cluster. Not part of PD's API.
 */
import { BALANCE_LEADER } from "./balance-leader.js";
import { BALANCE_REGION } from "./balance-region.js";
import type { CheckResult } from "./checkers/check-result.js";
import type { CheckerName } from "./checkers/region-checker.js";
import { codeText } from "./diagnosis.js";
import { formatInstant } from "./duration.js";
import { fitJson } from "./http-rules.js";
import type { Operator } from "./operator.js";
import type { RegionInfo } from "./region-info.js";
import type { Scheduling } from "./scheduling.js";
import { stepText } from "./step-command.js";
import type { StoreInfo } from "./store-info.js";
import { STORE_MONITOR } from "./store-monitor.js";
import { problemText } from "./store-problems.js";

type Json = Record<string, unknown>;

/** Regions looked at one by one for a store: the answer counts all by their notes. */
const SAMPLE_MAX = 100;
const SHOWN_MAX = 10;
const BALANCERS: readonly string[] = [BALANCE_REGION, BALANCE_LEADER];

export class Explainer {
  readonly #scheduling: Scheduling;

  constructor(scheduling: Scheduling) {
    this.#scheduling = scheduling;
  }

  region(region: RegionInfo): Json {
    const { view, controller, patrol, statistics, cluster } = this.#scheduling;
    const { id } = region.meta;
    const running = controller.operator(id);
    const record = controller.record(id);
    const checked = patrol.checker.check(region);
    return {
      region: id,
      verdict:
        this.#regionVerdict(region, running, checked.result, checked.author) +
        (running === undefined ? this.#failureText(record) : ""),
      replicated: view.isReplicated(region),
      hot: statistics.isRegionHot(id),
      labels: cluster.labels.labelsOf(region.meta).map(({ key, value }) => `${key}=${value}`),
      rules: view.usesRules ? fitJson(view.fit(region)) : null,
      operator: running === undefined ? null : this.operator(running),
      "last-operator": record === undefined ? null : this.operator(record),
      "next-check": resultJson(checked.author, checked.result),
      split: this.#splitReason(region),
      merge: this.#mergeReason(region),
      schedulers: this.#schedulersOf(region),
      notes: this.#notes("region", id),
    };
  }

  /** What each scheduler says that could move it: what holds it back, else what it said of the region's stores. */
  #schedulersOf(region: RegionInfo): Json {
    const { schedulers, notes } = this.#scheduling;
    const said: Json = {};
    for (const name of schedulers.names()) {
      const held = this.#heldBack(name);
      if (held !== undefined) {
        said[name] = `held back: ${held}`;
        continue;
      }
      const texts = region.meta.peers.flatMap(({ storeId }) =>
        notes
          .of("store", storeId)
          .filter((note) => note.author === name)
          .map((note) => `store ${storeId}: ${note.reason}`),
      );
      if (texts.length > 0) said[name] = texts.join("; ");
    }
    return said;
  }

  /** Undefined for one that runs, whatever it finds. */
  #heldBack(name: string): string | undefined {
    const { schedulers } = this.#scheduling;
    const status = schedulers.status(name);
    const isFree = status === "scheduling" || status === "normal";
    const limit = schedulers.get(name)?.limitReached();
    if (limit !== undefined) return limit;
    // A round that found hindrances is pending as well: then it ran.
    return isFree || status === "pending" ? undefined : schedulers.heldBy(name);
  }

  #regionVerdict(
    region: RegionInfo,
    running: Operator | undefined,
    result: CheckResult,
    author: CheckerName,
  ): string {
    const { view } = this.#scheduling;
    if (running !== undefined) return `an operator runs: ${running.desc} {${running.brief}}`;
    if (!view.cluster.isPrepared) return "PD waits until enough regions have reported since its start";
    if (view.config.flag("schedule.halt-scheduling")) return "all scheduling is halted (halt-scheduling)";
    if (result.kind === "waiting") return `the ${author} checker waits: ${waitingText(result)}`;
    const silent = this.#silentPeers(region);
    if (result.kind === "healthy" && silent !== "") return `nothing to do yet: ${silent}`;
    if (result.kind === "operator") return `the ${author} checker will start ${result.operator.desc}`;
    if (view.cluster.labels.deniesSchedule(region.meta))
      return "complete; a label denies all other scheduling";
    if (this.#scheduling.statistics.isRegionHot(region.meta.id))
      return "complete, and hot: only the hot-region scheduler moves it; balance, scatter and merge leave it alone";
    return `complete: it stands as its rules want it${this.#balanceText()}`;
  }

  /** Whether what evens out stores may move it, for a region that needs nothing. */
  #balanceText(): string {
    const { schedulers } = this.#scheduling;
    const texts = BALANCERS.flatMap((name) => {
      if (!schedulers.names().includes(name)) return [`${name} is not there`];
      const held = this.#heldBack(name);
      return held === undefined ? [] : [`${name} is held back: ${held}`];
    });
    if (texts.length > 0) return `; ${texts.join("; ")}`;
    return ", and balance moves it only to even out stores";
  }

  /** Peers on stores that are silent, though not for long enough. */
  #silentPeers(region: RegionInfo): string {
    const { view } = this.#scheduling;
    const texts: string[] = [];
    for (const { storeId } of region.meta.peers) {
      const store = view.store(storeId);
      if (store === undefined || !store.isDisconnected(view.nowMs())) continue;
      texts.push(`store ${storeId} ${problemText(view, store, "StoreDisconnected")}`);
    }
    return texts.join("; ");
  }

  /** How the last operator ended where that was not well: often why somebody asks. */
  #failureText(record: Operator | undefined): string {
    if (record === undefined || record.state === "success") return "";
    return `; the last operator, ${record.desc}, ended by ${endText(record)}`;
  }

  #splitReason(region: RegionInfo): string {
    const { view, cluster } = this.#scheduling;
    if (!view.config.flag("schedule.enable-tikv-split-region")) return "enable-tikv-split-region is off";
    const { startKey, endKey } = region.meta;
    const borders =
      cluster.labels.splitKeys(startKey, endKey).length + cluster.rules.splitKeys(startKey, endKey).length;
    if (borders > 0) return `${borders} borders of labels or rules lie inside: it will be cut there`;
    return `stores split by size and load themselves; PD has no reason to (${region.sizeMib} MiB, ${region.keys} keys)`;
  }

  #mergeReason(region: RegionInfo): string {
    const { merge } = this.#scheduling.patrol.checker;
    if (!merge.isPossible) return "not every store says that it can merge (store label merge=true)";
    if (this.#scheduling.view.config.number("schedule.merge-schedule-limit") === 0)
      return "merging is off (merge-schedule-limit 0)";
    const result = merge.check(region);
    if (result.kind === "waiting") return result.reason;
    return result.kind === "operator"
      ? `will merge: ${result.operator.brief}`
      : "it is larger than max-merge-region-size";
  }

  store(store: StoreInfo): Json {
    const { view, drain, progress, statistics, controller } = this.#scheduling;
    const on = view.cluster.regions.onStore(store.id);
    const influence = view.influence().get(store.id);
    const nowMs = view.nowMs();
    const readiness = drain.readiness(store.id);
    return {
      store: store.id,
      verdict: this.#storeVerdict(store),
      state: store.nodeState,
      leaders: on.leaders.size,
      regions: on.regionCount,
      "size-mib": on.regionSizeMib,
      "leader-score": view.leaderScore(store, view.influence()),
      "region-score": view.regionScore(store, view.influence()),
      "under-way": influence ?? null,
      "takes-leaders": view.leaderTargetProblem(store) ?? "yes",
      "gives-leaders": view.leaderSourceProblem(store) ?? "yes",
      "takes-peers": view.regionTargetProblem(store) ?? view.temporaryTargetProblem(store) ?? "yes",
      "gives-peers": store.isRemoved ? "StoreRemoved" : (view.regionSourceProblem(store) ?? "yes"),
      "silent-seconds": Math.round(store.silentMs(nowMs) / 1000),
      "hot-peers": {
        write: statistics.write.hotPeers(store.id, 1, nowMs).length,
        read: statistics.read.hotPeers(store.id, 1, nowMs).length,
      },
      operators: controller.operators().filter((operator) => touches(operator, store.id)).length,
      "ready-to-stop": readiness.isReady,
      "ready-reason": readiness.reason,
      removing: store.isRemoving ? this.#removing(store) : null,
      draining: progress.of("draining", store.id) ?? null,
      preparing: progress.of("preparing", store.id) ?? null,
      notes: this.#notes("store", store.id),
    };
  }

  #storeVerdict(store: StoreInfo): string {
    const { view, progress, notes } = this.#scheduling;
    const on = view.cluster.regions.onStore(store.id);
    if (store.isRemoved) return "buried: nothing is on it any more";
    if (store.isRemoving && on.regionCount === 0) {
      const said = notes.of("store", store.id).find(({ author }) => author === STORE_MONITOR);
      return `it leaves: PD knows of no peer on it any more; ${said?.reason ?? "it is buried in a moment"}`;
    }
    if (store.isRemoving) {
      const state = progress.of("removing", store.id);
      const when =
        state === undefined || state.leftSeconds === Number.MAX_VALUE
          ? "nothing has moved in the last minutes, see what holds its regions"
          : `about ${Math.ceil(state.leftSeconds)} s at ${state.speed.toFixed(1)} MiB/s`;
      return `it leaves: ${on.regionCount} peers are still on it; ${when}`;
    }
    const problem = view.regionTargetProblem(store) ?? view.leaderTargetProblem(store);
    const halted = view.config.flag("schedule.halt-scheduling")
      ? "; all scheduling is halted (halt-scheduling)"
      : "";
    if (problem === undefined) return `it serves, and takes leaders and peers${halted}`;
    return `it ${problemText(view, store, problem)} (${problem})${halted}`;
  }

  /** What holds the peers of a leaving store: reasons with how many of a sample they hold. */
  #removing(store: StoreInfo): Json {
    const { view, patrol, controller, notes } = this.#scheduling;
    const on = view.cluster.regions.onStore(store.id);
    const ids = [...on.leaders.values(), ...on.followers.values(), ...on.learners.values()].slice(
      0,
      SAMPLE_MAX,
    );
    const reasons = new Map<string, { count: number; regions: number[] }>();
    const add = (reason: string, id: number): void => {
      const entry = reasons.get(reason) ?? { count: 0, regions: [] };
      entry.count += 1;
      if (entry.regions.length < SHOWN_MAX) entry.regions.push(id);
      reasons.set(reason, entry);
    };
    for (const id of ids) {
      const region = view.cluster.regions.byId(id);
      if (region === undefined) continue;
      const running = controller.operator(id);
      if (running !== undefined) {
        add(`an operator runs: ${running.desc}`, id);
        continue;
      }
      const { author, result } = patrol.checker.check(region);
      if (result.kind === "waiting") add(waitingText(result), id);
      else if (result.kind === "healthy") add("complete", id);
      else {
        // What the patrol said last: a limit that is reached, or that the operator was refused.
        const said = notes.of("region", id).find((note) => note.author === `${author}-checker`);
        add(said?.reason ?? "its turn comes", id);
      }
    }
    return {
      left: on.regionCount,
      sampled: ids.length,
      reasons: [...reasons].map(([reason, { count, regions }]) => ({ reason, count, regions })),
    };
  }

  operator(operator: Operator): Json {
    return {
      region: operator.regionId,
      desc: operator.desc,
      brief: operator.brief,
      kinds: operator.kinds,
      priority: operator.priority,
      state: operator.state,
      reason: operator.state === "timeout" ? endText(operator) : operator.reason,
      steps: operator.steps.map((step, i) => ({
        step: stepText(step),
        state:
          i < operator.currentStep
            ? "done"
            : i === operator.currentStep && !operator.isEnded
              ? "now"
              : "open",
      })),
      why: operator.details,
      created: instant(operator.createdWallMs),
      started: instant(operator.startedWallMs),
      finished: instant(operator.finishedWallMs),
      "timeout-seconds": operator.timeoutMs / 1000,
    };
  }

  /** Undefined when there is none of this name. */
  scheduler(name: string): Json | undefined {
    const { schedulers, notes, view } = this.#scheduling;
    const known = schedulers.names().includes(name) || schedulers.disabledNames().includes(name);
    if (!known) return undefined;
    const scheduler = schedulers.get(name);
    const stores = view.stores().flatMap((store) => {
      const own = notes.of("store", store.id).filter((note) => note.author === name);
      const code = scheduler?.diagnosis?.lastReasons.get(store.id);
      if (own.length === 0 && code === undefined) return [];
      const reason = own[0]?.reason ?? codeText(code ?? "") ?? problemText(view, store, code ?? "");
      return [{ store: store.id, reason, code: code ?? null }];
    });
    return {
      scheduler: name,
      status: schedulers.status(name),
      "held-by": schedulers.heldBy(name),
      limit: scheduler?.limitReached() ?? null,
      settings: scheduler?.settings() ?? null,
      stores,
    };
  }

  #notes(subject: "region" | "store", id: number): Json[] {
    return this.#scheduling.notes.of(subject, id).map(({ author, reason, wallMs }) => ({
      author,
      reason,
      time: instant(wallMs),
    }));
  }
}

const instant = (wallMs: number): string | null => (wallMs === 0 ? null : formatInstant(Math.floor(wallMs)));

function resultJson(author: CheckerName, result: CheckResult): Json {
  if (result.kind === "waiting") return { checker: author, result: "waiting", reason: waitingText(result) };
  if (result.kind === "healthy") return { checker: author, result: "healthy" };
  return { checker: author, result: "operator", desc: result.operator.desc, brief: result.operator.brief };
}

const waitingText = ({ reason, detail }: CheckResult & { readonly kind: "waiting" }): string =>
  detail === undefined ? reason : `${reason}: ${detail()}`;

/** Why an operator ended, with the step at which that was. */
function endText(operator: Operator): string {
  const { step } = operator;
  if (operator.state !== "timeout" || step === undefined) return operator.reason || operator.state;
  return (
    `timeout after ${operator.timeoutMs / 1000} s, waiting for: ${stepText(step)}. ` +
    "The leader's store did not do it: does it hear from PD, and do the stores of the step answer?"
  );
}

const touches = (operator: Operator, storeId: number): boolean =>
  operator.steps.some((step) => ("storeId" in step ? step.storeId === storeId : false));
