/**
 * Brings a region to its placement rules: takes away what no rule wants, adds what is missing, replaces peers of
 * down and leaving stores, mends roles, moves replicas apart. The first plan wins. (pd-rules 7.20 to 7.27)
 *
 * Orphans come first but are removed with care: while a peer that a rule counts on is not well, the orphan may be the
 * only spare copy.
 */
import {
  isolationScore,
  isRuleSatisfied,
  type RegionFit,
  type RuleFit,
  rulesAllowLeader,
} from "../placement/fit.js";
import { constraintsText, matchesConstraints } from "../placement/label-constraint.js";
import { type Rule, ruleKey } from "../placement/rule.js";
import { OperatorBuilder } from "../operator-builder.js";
import {
  isDown,
  isInJointState,
  isPending,
  isUnhealthy,
  isVoter,
  type Peer,
  type RegionInfo,
} from "../region-info.js";
import type { SchedulingView } from "../scheduling-view.js";
import { locationScore, type StoreInfo } from "../store-info.js";
import { placementText } from "../store-problems.js";
import { type PlacementDemand, selectPeerToRemove, selectStoreToAdd } from "../store-selector.js";
import { type CheckResult, HEALTHY, noStore, planned, waiting } from "./check-result.js";
import { leaveJointState } from "./joint-state-checker.js";

type Trouble = "down" | "offline";

const BEST_KEPT_MS = 1000;

function lackOf({ ruleFits }: RegionFit): number {
  let lack = 0;
  for (const { rule, peers } of ruleFits) if (rule.role !== "learner") lack += rule.count - peers.length;
  return lack;
}

export class RuleChecker {
  readonly #view: SchedulingView;
  /** The highest isolation score that stores at hand allow for a rule; kept for a moment. */
  readonly #bestScores = new Map<Rule, number>();
  #bestScoresMs = Number.NEGATIVE_INFINITY;
  /** Peers that rules for others than learners miss in the region last checked, if it was not healthy. */
  lack = 0;

  constructor(view: SchedulingView) {
    this.#view = view;
  }

  check(region: RegionInfo): CheckResult {
    this.lack = 0;
    if (region.leader === undefined) return waiting("the region has no leader");
    if (isInJointState(region.meta)) return leaveJointState(this.#view, region);
    const fit = this.#view.fit(region);
    if (fit.ruleFits.length === 0)
      return waiting("the region lies across borders of rules and is split first");
    const result = this.#checkFit(region, fit);
    if (result.kind !== "healthy") this.lack = lackOf(fit);
    return result;
  }

  #checkFit(region: RegionInfo, fit: RegionFit): CheckResult {
    let blocked: CheckResult = HEALTHY;
    const tryOne = (result: CheckResult): CheckResult | undefined => {
      if (result.kind === "operator") return result;
      if (result.kind === "waiting" && blocked.kind === "healthy") blocked = result;
      return undefined;
    };
    if (fit.orphans.length > 0) {
      const found = tryOne(this.#fixOrphans(region, fit));
      if (found !== undefined) return found;
    }
    for (const ruleFit of fit.ruleFits) {
      const found = tryOne(this.#fixRule(region, fit, ruleFit));
      if (found !== undefined) return found;
    }
    return blocked;
  }

  #builder(desc: string, region: RegionInfo): OperatorBuilder {
    return new OperatorBuilder(this.#view, desc, region);
  }

  #isDisconnected(peer: Peer): boolean {
    return this.#view.store(peer.storeId)?.isDisconnected(this.#view.nowMs()) !== false;
  }

  #isWell(region: RegionInfo, peer: Peer): boolean {
    return !isUnhealthy(region, peer.id) && !this.#isDisconnected(peer);
  }

  // Orphans. (7.21)

  #fixOrphans(region: RegionInfo, fit: RegionFit): CheckResult {
    const serving = fit.ruleFits.flatMap((ruleFit) => ruleFit.peers);
    const allWell =
      fit.ruleFits.every(isRuleSatisfied) && serving.every((peer) => this.#isWell(region, peer));
    if (allWell) return this.#remove("remove-orphan-peer", region, fit.orphans[0] as Peer);
    const replaced = this.#replaceByOrphan(region, fit);
    if (replaced.kind !== "healthy") return replaced;
    return this.#tooManyOrphans(region, fit);
  }

  #remove(desc: string, region: RegionInfo, peer: Peer): CheckResult {
    return planned(this.#builder(desc, region).removePeer(peer.storeId).build(["replica"]));
  }

  /** A healthy orphan takes the place of the first peer whose store is gone. */
  #replaceByOrphan(region: RegionInfo, fit: RegionFit): CheckResult {
    const lost = this.#firstLost(region, fit);
    if (lost === undefined || !this.#isDisconnected(lost)) return HEALTHY;
    for (const orphan of fit.orphans) {
      const store = this.#view.store(orphan.storeId);
      if (store === undefined || !this.#isWell(region, orphan) || !fit.replace(lost.storeId, store)) continue;
      const wantsVoter = isVoter(lost);
      if (isVoter(orphan) === wantsVoter) return this.#remove("remove-replaced-orphan-peer", region, lost);
      const builder = this.#builder("replace-down-peer-with-orphan-peer", region);
      if (wantsVoter) builder.promoteLearner(orphan.storeId);
      else if (this.#view.jointConsensus(5)) builder.demoteVoter(orphan.storeId);
      else continue;
      return planned(builder.removePeer(lost.storeId).build(["replica"]));
    }
    return HEALTHY;
  }

  #firstLost(region: RegionInfo, fit: RegionFit): Peer | undefined {
    for (const ruleFit of fit.ruleFits) {
      if (!isRuleSatisfied(ruleFit)) return undefined;
      for (const peer of ruleFit.peers) {
        if (isPending(region, peer.id) && !isDown(region, peer.id)) return undefined;
        if (isDown(region, peer.id) || this.#isDisconnected(peer)) return peer;
      }
    }
    return undefined;
  }

  #tooManyOrphans(region: RegionInfo, fit: RegionFit): CheckResult {
    if (fit.orphans.length < 2) {
      return waiting("a peer that no rule wants is kept while others are not well");
    }
    const unwell = fit.orphans.find((peer) => isUnhealthy(region, peer.id));
    if (unwell !== undefined) return this.#remove("remove-unhealthy-orphan-peer", region, unwell);
    const wanted = fit.ruleFits.reduce((sum, ruleFit) => sum + ruleFit.rule.count, 0);
    if (region.meta.peers.length <= wanted) return HEALTHY;
    // One spare is kept: not one that cannot be reached while another can.
    const gone = fit.orphans.find((peer) => this.#isDisconnected(peer)) ?? (fit.orphans[1] as Peer);
    return this.#remove("remove-orphan-peer", region, gone);
  }

  // One rule. (7.22)

  #fixRule(region: RegionInfo, fit: RegionFit, ruleFit: RuleFit): CheckResult {
    if (ruleFit.peers.length < ruleFit.rule.count) return this.#add(region, fit, ruleFit);
    let blocked: CheckResult = HEALTHY;
    for (const peer of ruleFit.peers) {
      const trouble = this.#trouble(region, peer);
      if (trouble === undefined) continue;
      const result = this.#replace(region, ruleFit, peer, trouble);
      if (result.kind === "operator") return result;
      if (blocked.kind === "healthy") blocked = result;
    }
    for (const peer of ruleFit.differentRole) {
      const result = this.#fixRole(region, ruleFit.rule, peer);
      if (result.kind === "operator") return result;
      if (blocked.kind === "healthy") blocked = result;
    }
    return blocked.kind === "healthy" ? this.#betterLocation(region, fit, ruleFit) : blocked;
  }

  /** Down is said by both: the leader says so, and PD has not heard from the store for long. (7.26) */
  #trouble(region: RegionInfo, peer: Peer): Trouble | undefined {
    const store = this.#view.store(peer.storeId);
    if (store === undefined) return undefined;
    if (isDown(region, peer.id) && this.#view.isDown(store)) return "down";
    return store.isUp ? undefined : "offline";
  }

  #demand(rule: Rule, accept: (store: StoreInfo) => boolean = () => true): PlacementDemand {
    return {
      locationLabels: rule.locationLabels,
      isolationLevel: rule.isolationLevel,
      accept: (store) => matchesConstraints(store, rule.labelConstraints) && accept(store),
    };
  }

  #storesOf(peers: readonly Peer[], without = 0): StoreInfo[] {
    return peers.flatMap((peer) => (peer.storeId === without ? [] : (this.#view.store(peer.storeId) ?? [])));
  }

  #add(region: RegionInfo, fit: RegionFit, ruleFit: RuleFit): CheckResult {
    const { rule } = ruleFit;
    const beside = this.#storesOf(ruleFit.peers);
    const demand = this.#demand(rule);
    const selection = selectStoreToAdd(this.#view, region, beside, demand);
    if (selection.kind !== "store") {
      const swapped = selection.kind === "none" ? this.#swap(region, fit, ruleFit) : HEALTHY;
      return swapped.kind === "operator"
        ? swapped
        : noStore(selection, `for another peer of ${ruleText(rule)}`, () =>
            placementText(this.#view, region, beside, demand),
          );
    }
    const role = rule.role === "learner" ? "learner" : "voter";
    const builder = this.#builder("add-rule-peer", region).addPeer(selection.store.id, role);
    return planned(builder.build(["replica"], "high"));
  }

  /** A peer of another rule stands where only this rule's may: it moves away, so that the place becomes free. */
  #swap(region: RegionInfo, fit: RegionFit, missing: RuleFit): CheckResult {
    for (const other of fit.ruleFits) {
      if (other === missing || !isRuleSatisfied(other)) continue;
      for (const peer of other.peers) {
        const store = this.#view.store(peer.storeId);
        if (store === undefined || !matchesConstraints(store, missing.rule.labelConstraints)) continue;
        const result = this.#move("replace-rule-swap-fit-peer", region, other, peer, "high");
        if (result.kind === "operator") return result;
      }
    }
    return HEALTHY;
  }

  #replace(region: RegionInfo, ruleFit: RuleFit, peer: Peer, trouble: Trouble): CheckResult {
    const leads = region.leader?.id === peer.id;
    const desc = `replace-rule-${trouble}${leads ? "-leader" : ""}-peer`;
    const result = this.#move(desc, region, ruleFit, peer, "high");
    if (result.kind === "operator" || result.kind === "healthy") return result;
    const reason = `the peer on ${trouble} store ${peer.storeId} stays: ${result.reason}`;
    return { ...result, reason };
  }

  #move(
    desc: string,
    region: RegionInfo,
    ruleFit: RuleFit,
    peer: Peer,
    priority: "medium" | "high",
  ): CheckResult {
    const { rule } = ruleFit;
    const beside = this.#storesOf(ruleFit.peers, peer.storeId);
    const demand = this.#demand(rule);
    const selection = selectStoreToAdd(this.#view, region, beside, demand);
    if (selection.kind !== "store")
      return noStore(selection, `for a peer of ${ruleText(rule)}`, () =>
        placementText(this.#view, region, beside, demand),
      );
    const builder = this.#builder(desc, region);
    builder.addPeer(selection.store.id, rule.role === "learner" ? "learner" : "voter");
    return planned(builder.removePeer(peer.storeId).build(["replica"], priority));
  }

  #fixRole(region: RegionInfo, rule: Rule, peer: Peer): CheckResult {
    if (!isVoter(peer) && rule.role !== "learner") {
      return planned(this.#builder("fix-peer-role", region).promoteLearner(peer.storeId).build(["replica"]));
    }
    if (rule.role === "learner") {
      return planned(this.#builder("fix-demote-voter", region).demoteVoter(peer.storeId).build(["replica"]));
    }
    const rules = this.#view.cluster.rules.appliedTo(region.meta);
    const mayLead = (other: Peer): boolean => {
      const store = this.#view.store(other.storeId);
      if (store === undefined || isUnhealthy(region, other.id)) return false;
      return this.#view.leaderTargetProblem(store) === undefined && rulesAllowLeader(rules, store, other);
    };
    if (rule.role === "leader") {
      if (!mayLead(peer)) return waiting(`store ${peer.storeId} must lead by ${ruleText(rule)} and may not`);
      return planned(this.#builder("fix-leader-role", region).setLeader(peer.storeId).build(["replica"]));
    }
    const next = region.meta.peers.find((other) => other.id !== peer.id && mayLead(other));
    if (next === undefined) return waiting(`no other store may lead than ${peer.storeId}, which must follow`);
    return planned(this.#builder("fix-follower-role", region).setLeader(next.storeId).build(["replica"]));
  }

  /** Only strictly better, so that two equal places do not take turns. */
  #betterLocation(region: RegionInfo, fit: RegionFit, ruleFit: RuleFit): CheckResult {
    const { rule } = ruleFit;
    const view = this.#view;
    if (rule.locationLabels.length === 0 || !isRuleSatisfied(ruleFit)) return HEALTHY;
    if (ruleFit.isolationScore >= this.#bestScore(rule)) return HEALTHY;
    if (!view.config.flag("schedule.enable-location-replacement")) return HEALTHY;
    if (region.downPeers.length > 0 || region.pendingPeers.length > 0) return HEALTHY;
    const storeIds = ruleFit.peers.map((peer) => peer.storeId);
    const source = selectPeerToRemove(view, region, storeIds, rule.locationLabels);
    const sourceStore = view.store(source);
    if (sourceStore === undefined) return HEALTHY;
    const sameRole = fit.ruleFits
      .filter((other) => other.rule.role === rule.role)
      .flatMap(({ peers }) => peers);
    const beside = this.#storesOf(sameRole, source);
    const present = locationScore(rule.locationLabels, beside, sourceStore);
    const better = (store: StoreInfo): boolean => locationScore(rule.locationLabels, beside, store) > present;
    const selection = selectStoreToAdd(view, region, beside, this.#demand(rule, better));
    if (selection.kind === "later")
      return waiting("the store with a better location takes no peer just now", true);
    if (selection.kind === "none") return HEALTHY;
    const role = rule.role === "learner" ? "learner" : "voter";
    const builder = this.#builder("move-to-better-location", region).addPeer(selection.store.id, role);
    return planned(builder.removePeer(source).build(["replica"]));
  }

  /** What a greedy choice of the stores at hand reaches: a fit at or above it need not be looked at further. */
  #bestScore(rule: Rule): number {
    const nowMs = this.#view.nowMs();
    if (nowMs - this.#bestScoresMs >= BEST_KEPT_MS) {
      this.#bestScores.clear();
      this.#bestScoresMs = nowMs;
    }
    const known = this.#bestScores.get(rule);
    if (known !== undefined) return known;
    let left = this.#view
      .stores()
      .filter((store) => store.isUp && matchesConstraints(store, rule.labelConstraints));
    const chosen: StoreInfo[] = [];
    while (chosen.length < rule.count && left.length > 0) {
      let best = left[0] as StoreInfo;
      let bestScore = -1;
      for (const store of left) {
        const score = locationScore(rule.locationLabels, chosen, store);
        if (score <= bestScore) continue;
        best = store;
        bestScore = score;
      }
      chosen.push(best);
      left = left.filter((store) => store !== best);
    }
    const score = isolationScore(chosen, rule.locationLabels);
    this.#bestScores.set(rule, score);
    return score;
  }
}

function ruleText(rule: Rule): string {
  const on = rule.labelConstraints.length === 0 ? "" : ` (${constraintsText(rule.labelConstraints)})`;
  const level = rule.isolationLevel === "" ? "" : ` apart at level ${rule.isolationLevel}`;
  return `rule ${ruleKey(rule)}${on}${level}`;
}
