/**
 * Which peer of a region serves which rule: the assignment that fills the most rules, with the right roles, farthest
 * apart. Peers that serve none are orphans. (pd-rules 7.12 to 7.18)
 *
 * All assignments are tried, rule by rule; a region has a handful of peers, so that is cheap, and in the usual case
 * (as many peers as the rule wants) there is only one.
 */
import { isDown, isPending, isVoter, type Peer, type RegionInfo } from "../region-info.js";
import type { StoreInfo } from "../store-info.js";
import { matchesConstraints } from "./label-constraint.js";
import { hasDifferentRole, type Rule } from "./rule.js";

export interface RuleFit {
  readonly rule: Rule;
  readonly peers: readonly Peer[];
  readonly differentRole: readonly Peer[];
  readonly isolationScore: number;
}

export type StoreLookup = (id: number) => StoreInfo | undefined;

export const isRuleSatisfied = (fit: RuleFit): boolean =>
  fit.peers.length === fit.rule.count && fit.differentRole.length === 0;

export class RegionFit {
  readonly ruleFits: readonly RuleFit[];
  readonly orphans: readonly Peer[];
  readonly #store: StoreLookup;

  constructor(ruleFits: readonly RuleFit[], orphans: readonly Peer[], store: StoreLookup) {
    this.ruleFits = ruleFits;
    this.orphans = orphans;
    this.#store = store;
  }

  get isSatisfied(): boolean {
    return this.ruleFits.length > 0 && this.orphans.length === 0 && this.ruleFits.every(isRuleSatisfied);
  }

  fitOf(storeId: number): RuleFit | undefined {
    return this.ruleFits.find((fit) => fit.peers.some((peer) => peer.storeId === storeId));
  }

  /** Whether the peer on `source` may stand on `target` instead without making the fit worse. (7.18) */
  replace(source: number, target: StoreInfo): boolean {
    const fit = this.fitOf(source);
    if (fit === undefined) return false;
    const other = this.fitOf(target.id);
    if (other !== undefined && (other === fit || other.rule.role === fit.rule.role)) return true;
    if (!matchesConstraints(target, fit.rule.labelConstraints)) return false;
    const stores = storesOf(fit.peers, this.#store).filter((store) => store.id !== source);
    return isolationScore([...stores, target], fit.rule.locationLabels) >= fit.isolationScore;
  }
}

const storesOf = (peers: readonly Peer[], store: StoreLookup): StoreInfo[] =>
  peers.map((peer) => store(peer.storeId)).filter((found) => found !== undefined);

/** Each pair of stores counts 100 to the power of the level at which they first differ, top down. (7.16) */
export function isolationScore(stores: readonly StoreInfo[], labels: readonly string[]): number {
  let score = 0;
  if (labels.length === 0) return score;
  for (let i = 0; i < stores.length; i++) {
    for (let j = i + 1; j < stores.length; j++) {
      score += pairScore(stores[i] as StoreInfo, stores[j] as StoreInfo, labels);
    }
  }
  return score;
}

/** A missing label is the same place as everybody's. */
export function pairScore(left: StoreInfo, right: StoreInfo, labels: readonly string[]): number {
  for (const [i, key] of labels.entries()) {
    const own = left.label(key);
    const other = right.label(key);
    if (own !== "" && other !== "" && own !== other) return 100 ** (labels.length - i - 1);
  }
  return 0;
}

export function fitRegion(region: RegionInfo, rules: readonly Rule[], store: StoreLookup): RegionFit {
  const [rule] = rules;
  if (rule === undefined) return new RegionFit([], [], store);
  // One rule and no more peers than it wants: there is only one assignment. So it is with nearly all regions.
  if (rules.length === 1 && region.meta.peers.length <= rule.count) return fitOneRule(region, rule, store);
  return new FitWorker(region, rules, store).fit();
}

const NO_PEERS: readonly Peer[] = [];

function fitOneRule(region: RegionInfo, rule: Rule, store: StoreLookup): RegionFit {
  const ordered = inOrder(region);
  const isFit = ordered.every((peer) => mayServe(region, rule, peer, store));
  const peers = isFit ? ordered : ordered.filter((peer) => mayServe(region, rule, peer, store));
  const orphans = isFit ? NO_PEERS : ordered.filter((peer) => !peers.includes(peer));
  return new RegionFit([ruleFitOf(region, rule, peers, store)], orphans, store);
}

/** Those that are well first, then by id. */
function inOrder(region: RegionInfo): readonly Peer[] {
  const { peers } = region.meta;
  const troubled = region.downPeers.length > 0 || region.pendingPeers.length > 0;
  if (!troubled && peers.every((peer, i) => i === 0 || (peers[i - 1] as Peer).id < peer.id)) return peers;
  const health = (peer: Peer): number => (isDown(region, peer.id) ? 0 : isPending(region, peer.id) ? 1 : 2);
  return [...peers].sort(
    (left, right) => (troubled ? health(right) - health(left) : 0) || left.id - right.id,
  );
}

function mayServe(region: RegionInfo, rule: Rule, peer: Peer, lookup: StoreLookup): boolean {
  if (rule.isWitness && region.leader?.id === peer.id) return false;
  const store = lookup(peer.storeId);
  return store !== undefined && matchesConstraints(store, rule.labelConstraints);
}

function ruleFitOf(region: RegionInfo, rule: Rule, peers: readonly Peer[], store: StoreLookup): RuleFit {
  const leader = region.leader?.id;
  const isDifferent = (peer: Peer): boolean => hasDifferentRole(rule, peer, peer.id === leader);
  return {
    rule,
    peers,
    differentRole: peers.some(isDifferent) ? peers.filter(isDifferent) : NO_PEERS,
    isolationScore:
      rule.locationLabels.length === 0 ? 0 : isolationScore(storesOf(peers, store), rule.locationLabels),
  };
}

class FitWorker {
  readonly #region: RegionInfo;
  readonly #rules: readonly Rule[];
  readonly #store: StoreLookup;
  readonly #peers: readonly Peer[];
  readonly #taken = new Set<Peer>();
  readonly #hasLocations: boolean;
  #best: RuleFit[] = [];
  #current: RuleFit[] = [];

  constructor(region: RegionInfo, rules: readonly Rule[], store: StoreLookup) {
    this.#region = region;
    this.#rules = rules;
    this.#store = store;
    this.#hasLocations = rules.some((rule) => rule.locationLabels.length > 0);
    this.#peers = inOrder(region);
  }

  fit(): RegionFit {
    this.#try(0);
    const served = new Set(this.#best.flatMap((fit) => fit.peers));
    const orphans = this.#peers.filter((peer) => !served.has(peer));
    return new RegionFit(this.#best, orphans, this.#store);
  }

  /** True ends the search: nothing can be better. */
  #try(index: number): boolean {
    const rule = this.#rules[index];
    if (rule === undefined) return this.#keepIfBetter();
    const candidates = this.#peers.filter((peer) => this.#mayServe(rule, peer));
    const wanted = Math.min(rule.count, candidates.length);
    return this.#choose(index, rule, candidates, wanted, 0, []);
  }

  #choose(
    index: number,
    rule: Rule,
    candidates: readonly Peer[],
    wanted: number,
    from: number,
    chosen: readonly Peer[],
  ): boolean {
    if (chosen.length === wanted) {
      for (const peer of chosen) this.#taken.add(peer);
      this.#current.push(ruleFitOf(this.#region, rule, chosen, this.#store));
      const ended = this.#try(index + 1);
      this.#current.pop();
      for (const peer of chosen) this.#taken.delete(peer);
      return ended;
    }
    for (let i = from; i <= candidates.length - (wanted - chosen.length); i++) {
      const next = [...chosen, candidates[i] as Peer];
      if (this.#choose(index, rule, candidates, wanted, i + 1, next)) return true;
    }
    return false;
  }

  #mayServe(rule: Rule, peer: Peer): boolean {
    return !this.#taken.has(peer) && mayServe(this.#region, rule, peer, this.#store);
  }

  #keepIfBetter(): boolean {
    if (this.#best.length === 0 || compareFits(this.#current, this.#best) > 0)
      this.#best = [...this.#current];
    return !this.#hasLocations && this.#best.every(isRuleSatisfied);
  }
}

/** Rule by rule: more peers, fewer wrong roles, farther apart. */
function compareFits(left: readonly RuleFit[], right: readonly RuleFit[]): number {
  for (const [i, one] of left.entries()) {
    const other = right[i] as RuleFit;
    const difference =
      one.peers.length - other.peers.length ||
      other.differentRole.length - one.differentRole.length ||
      one.isolationScore - other.isolationScore;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Whether a peer may lead under the rules: it is a voter, and some rule of leaders or voters matches its store. */
export function rulesAllowLeader(rules: readonly Rule[], store: StoreInfo, peer: Peer | undefined): boolean {
  if (peer !== undefined && (!isVoter(peer) || peer.role === "demotingVoter" || peer.isWitness)) return false;
  return rules.some(
    (rule) =>
      (rule.role === "leader" || rule.role === "voter") && matchesConstraints(store, rule.labelConstraints),
  );
}
