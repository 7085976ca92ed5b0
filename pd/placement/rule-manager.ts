/**
 * The rules and groups of this cluster: loaded at start, changed as a whole (a change is built and checked before
 * it is stored, stored before it acts), and asked for every region. Without stored rules there is one,
 * `pd/default`, made from `max-replicas`, `location-labels` and `isolation-level`, which afterwards act only
 * through it. (pd-rules 7.3 to 7.9, 7.28)
 */
import { compareBytes, fromUtf8, toHex, utf8 } from "../../base/index.js";
import type { PdConfig } from "../config.js";
import { type PdContext, readPrefix, writeGuarded } from "../context.js";
import { configOperation } from "../settings.js";
import type { MetaOperation } from "../meta-store.js";
import type { RegionInfo, RegionMeta } from "../region-info.js";
import type { StoreInfo } from "../store-info.js";
import { type Step, together } from "../together.js";
import { fitRegion, type RegionFit } from "./fit.js";
import { constraintsText, matchesConstraints } from "./label-constraint.js";
import {
  contentError,
  DEFAULT_GROUP,
  DEFAULT_RULE,
  groupFromJson,
  groupOf,
  groupToJson,
  type Rule,
  type RuleGroup,
  ruleFromJson,
  ruleKey,
  ruleToJson,
  sameRule,
} from "./rule.js";
import { type BuiltList, RuleList } from "./rule-list.js";

export interface RulePatch {
  readonly setRules?: readonly Rule[];
  readonly deleteRules?: readonly { readonly groupId: string; readonly id: string }[];
  readonly setGroups?: readonly RuleGroup[];
  readonly deleteGroups?: readonly string[];
}

export type RuleChange =
  /** `warnings` say which rule cannot be met now and what is missing. */
  | { readonly kind: "ok"; readonly warnings: readonly string[] }
  | { readonly kind: "refused"; readonly reason: string; readonly byContent: boolean };

export interface RuleStores {
  liveStores(): StoreInfo[];
  store(id: number): StoreInfo | undefined;
}

export interface ChangedRange {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
}

const NOT_ONLY_DEFAULT =
  "cannot update MaxReplicas, LocationLabels or IsolationLevel when placement rules feature is enabled and not " +
  "only default rule exists, please update rule instead";
const NOT_CONSISTENT =
  "cannot to update replication config, the default rules do not consistent with replication config, please " +
  "update rule instead";
const WITNESSES = "witness peers are not available in this version";

export class RuleManager {
  readonly #context: PdContext;
  readonly #stores: RuleStores;
  #isLoaded = false;
  #rules: Map<string, Rule> = new Map();
  #groups: Map<string, RuleGroup> = new Map();
  #list: RuleList;
  /** Grows with each change: what was derived from the rules before is void. */
  generation = 0;
  /** Ranges whose rules changed must be looked at soon. (8.6) */
  onChanged: (ranges: readonly ChangedRange[]) => void = () => {};

  constructor(context: PdContext, stores: RuleStores) {
    this.#context = context;
    this.#stores = stores;
    const initial = this.defaultRule();
    this.#rules.set(ruleKey(initial), initial);
    this.#list = built(RuleList.build([initial], this.#groups));
    context.config.onReplicationChanged = (item) => this.#followConfig(item);
    context.config.replicationRefusal = () => (this.#isLoaded ? this.#replicationChangeRefusal() : undefined);
  }

  get isEnabled(): boolean {
    return this.#context.config.flag("replication.enable-placement-rules");
  }

  defaultRule(version = 0): Rule {
    return ruleOfConfig(this.#context.config, version);
  }

  /** Entries that are no rules are deleted, as in PD: nothing may stand in the way of a start. */
  load(callback: (error: Error | undefined) => void): void {
    const { metaStore, keys, env } = this.#context;
    const rules = new Map<string, Rule>();
    const groups = new Map<string, RuleGroup>();
    const bad: MetaOperation[] = [];
    const parse = <T>(
      key: Uint8Array,
      value: Uint8Array,
      make: (json: unknown) => T | string,
    ): T | undefined => {
      let made: T | string;
      try {
        made = make(JSON.parse(fromUtf8(value)));
      } catch (error) {
        made = String(error);
      }
      if (typeof made !== "string") return made;
      env.log.warn("a stored placement rule is dropped", { key: fromUtf8(key), reason: made });
      bad.push({ kind: "delete", key });
      return undefined;
    };
    const visitRule = (key: Uint8Array, value: Uint8Array): void => {
      const rule = parse(key, value, ruleFromJson);
      if (rule !== undefined) rules.set(ruleKey(rule), rule);
    };
    const visitGroup = (key: Uint8Array, value: Uint8Array): void => {
      const group = parse(key, value, groupFromJson);
      if (group !== undefined) groups.set(group.id, group);
    };
    const reads: readonly Step[] = [
      (done) => readPrefix(metaStore, keys.rules, visitRule, done),
      (done) => readPrefix(metaStore, keys.ruleGroups, visitGroup, done),
    ];
    together(reads, (error) => {
      if (error !== undefined) return callback(error);
      if (rules.size === 0) {
        const initial = this.defaultRule();
        rules.set(ruleKey(initial), initial);
        bad.push({
          kind: "put",
          key: keys.rule(initial),
          value: utf8(JSON.stringify(ruleToJson(initial))),
        });
      }
      this.#install(rules, groups);
      this.#isLoaded = true;
      if (bad.length === 0) return callback(undefined);
      writeGuarded(this.#context, bad, callback);
    });
  }

  #install(rules: Map<string, Rule>, groups: Map<string, RuleGroup>): void {
    let list = RuleList.build([...rules.values()], groups);
    if (list.kind === "refused") {
      // Nothing stored, or what is stored leaves keys without a rule: the default one fills in.
      const initial = this.defaultRule();
      rules.set(ruleKey(initial), initial);
      list = RuleList.build([...rules.values()], groups);
    }
    if (list.kind === "refused") {
      this.#context.env.log.error("the stored placement rules contradict each other", {
        reason: list.reason,
      });
      return;
    }
    this.#rules = rules;
    this.#groups = groups;
    this.#list = list.list;
    this.generation += 1;
  }

  rules(): Rule[] {
    const seen = new Set<Rule>();
    for (const segment of this.#list.segments) for (const rule of segment.rules) seen.add(rule);
    const index = (rule: Rule): number => this.group(rule.groupId).index;
    return [...seen].sort(
      (left, right) =>
        index(left) - index(right) ||
        compareBytes(utf8(left.groupId), utf8(right.groupId)) ||
        left.index - right.index ||
        compareBytes(utf8(left.id), utf8(right.id)),
    );
  }

  rule(groupId: string, id: string): Rule | undefined {
    return this.#rules.get(`${groupId}/${id}`);
  }

  rulesOfGroup(groupId: string): Rule[] {
    return this.rules().filter((rule) => rule.groupId === groupId);
  }

  group(id: string): RuleGroup {
    return this.#groups.get(id) ?? groupOf(id);
  }

  /** Stored ones and those that exist through their rules. */
  groups(): RuleGroup[] {
    const ids = new Set([...this.#groups.keys(), ...[...this.#rules.values()].map((rule) => rule.groupId)]);
    return [...ids]
      .map((id) => this.group(id))
      .sort((left, right) => left.index - right.index || compareBytes(utf8(left.id), utf8(right.id)));
  }

  appliedTo(meta: RegionMeta): readonly Rule[] {
    return this.#list.appliedTo(meta);
  }

  rulesAt(key: Uint8Array): readonly Rule[] {
    return this.#list.segmentAt(key).rules;
  }

  /** Whether any key lies between different rules. */
  get hasBorders(): boolean {
    return this.#list.segments.length > 1;
  }

  splitKeys(start: Uint8Array, end: Uint8Array): Uint8Array[] {
    return this.#list.splitKeys(start, end);
  }

  fit(region: RegionInfo): RegionFit {
    return fitRegion(region, this.appliedTo(region.meta), (id) => this.#stores.store(id));
  }

  /** Checks and stores all of the patch, or nothing. `max-replicas` says afterwards what the default rule says. */
  change(patch: RulePatch, callback: (change: RuleChange) => void): void {
    this.#context.config.changes.run((done) => {
      this.#change(patch, (change) => {
        done();
        callback(change);
      });
    });
  }

  #change(patch: RulePatch, callback: (change: RuleChange) => void): void {
    const refuse = (reason: string): void => callback({ kind: "refused", reason, byContent: true });
    if (patch.setRules?.some((rule) => rule.isWitness) === true) return refuse(contentError(WITNESSES));
    const rules = new Map(this.#rules);
    const groups = new Map(this.#groups);
    this.#applyPatch(patch, rules, groups);
    const list = RuleList.build([...rules.values()], groups);
    if (list.kind === "refused") return refuse(contentError(list.reason));
    const operations = this.#difference(rules, groups);
    const replicas = this.#replicasAfter(rules);
    if (replicas !== undefined) {
      const copy = this.#context.config.copy();
      copy.followRule(replicas);
      operations.push(configOperation(this.#context, copy));
    }
    const ranges = this.#changedRanges(rules, patch);
    const warnings = this.#warnings(list.list, [...rules.values()]);
    const finish = (): void => {
      this.#rules = rules;
      this.#groups = groups;
      this.#list = list.list;
      this.generation += 1;
      if (replicas !== undefined) this.#context.config.followRule(replicas);
      this.onChanged(ranges);
      callback({ kind: "ok", warnings });
    };
    if (operations.length === 0) return finish();
    writeGuarded(this.#context, operations, (error) => {
      if (error !== undefined) return callback({ kind: "refused", reason: error.message, byContent: false });
      this.#context.env.log.info("placement rules changed", { rules: rules.size, warnings });
      finish();
    });
  }

  #applyPatch(patch: RulePatch, rules: Map<string, Rule>, groups: Map<string, RuleGroup>): void {
    for (const gone of patch.deleteRules ?? []) rules.delete(ruleKey(gone));
    const nowSeconds = Math.floor(this.#context.env.clock.wallMs() / 1000);
    for (const rule of patch.setRules ?? []) {
      const key = ruleKey(rule);
      const old = this.#rules.get(key);
      if (old === undefined) rules.set(key, { ...rule, version: 0, createTimestamp: nowSeconds });
      else if (sameRule(old, rule)) rules.set(key, old);
      else rules.set(key, { ...rule, version: old.version + 1, createTimestamp: old.createTimestamp });
    }
    for (const id of patch.deleteGroups ?? []) groups.delete(id);
    for (const group of patch.setGroups ?? []) {
      // An ordinary group exists through its rules and is not stored.
      if (group.index === 0 && !group.override) groups.delete(group.id);
      else groups.set(group.id, group);
    }
  }

  #difference(rules: ReadonlyMap<string, Rule>, groups: ReadonlyMap<string, RuleGroup>): MetaOperation[] {
    const { keys } = this.#context;
    const operations: MetaOperation[] = [];
    for (const [key, rule] of rules) {
      if (this.#rules.get(key) === rule) continue;
      operations.push({ kind: "put", key: keys.rule(rule), value: utf8(JSON.stringify(ruleToJson(rule))) });
    }
    for (const [key, rule] of this.#rules) {
      if (!rules.has(key)) operations.push({ kind: "delete", key: keys.rule(rule) });
    }
    for (const [id, group] of groups) {
      if (this.#groups.get(id) === group) continue;
      operations.push({
        kind: "put",
        key: keys.ruleGroup(id),
        value: utf8(JSON.stringify(groupToJson(group))),
      });
    }
    for (const id of this.#groups.keys()) {
      if (!groups.has(id)) operations.push({ kind: "delete", key: keys.ruleGroup(id) });
    }
    return operations;
  }

  #changedRanges(rules: ReadonlyMap<string, Rule>, patch: RulePatch): ChangedRange[] {
    const groups = new Set([
      ...(patch.setGroups ?? []).map((group) => group.id),
      ...(patch.deleteGroups ?? []),
    ]);
    const changed: ChangedRange[] = [];
    const look = (rule: Rule, other: Rule | undefined): void => {
      if (rule !== other || groups.has(rule.groupId)) changed.push(rule);
    };
    for (const [key, rule] of rules) look(rule, this.#rules.get(key));
    for (const [key, rule] of this.#rules) if (rules.get(key) !== rule) changed.push(rule);
    return changed;
  }

  /** Which rules the stores at hand cannot satisfy. They stand: stores may come. */
  #warnings(list: RuleList, rules: readonly Rule[]): string[] {
    const stores = this.#stores.liveStores().filter((store) => store.isUp);
    if (stores.length === 0) return [];
    const warnings: string[] = [];
    for (const rule of rules) {
      const missing = missingFor(rule, stores);
      if (missing !== undefined) warnings.push(missing);
    }
    for (const { applied, startKey, endKey } of list.segments) {
      const wanted = applied.reduce((sum, rule) => sum + rule.count, 0);
      if (wanted <= stores.length || applied.length < 2) continue;
      warnings.push(
        `rules ${applied.map(ruleKey).join(" and ")} want ${wanted} peers together in range ` +
          `{${toHex(startKey).toUpperCase()}, ${toHex(endKey).toUpperCase()}}, and there are ${stores.length} stores`,
      );
    }
    return warnings;
  }

  /** Why `max-replicas` and its like may not be changed through the settings just now. (7.28) */
  #replicationChangeRefusal(): string | undefined {
    if (!this.isEnabled) return undefined;
    const rule = this.rule(DEFAULT_GROUP, DEFAULT_RULE);
    if (rule === undefined || !coversAll(rule)) return NOT_ONLY_DEFAULT;
    const wanted = this.defaultRule();
    const consistent =
      rule.count === wanted.count &&
      rule.isolationLevel === wanted.isolationLevel &&
      rule.locationLabels.join() === wanted.locationLabels.join();
    return consistent ? undefined : NOT_CONSISTENT;
  }

  /** What the default rule says when it was set by hand and `max-replicas` says something else. */
  #replicasAfter(rules: ReadonlyMap<string, Rule>): number | undefined {
    const rule = rules.get(`${DEFAULT_GROUP}/${DEFAULT_RULE}`);
    if (rule === undefined || !coversAll(rule)) return undefined;
    return rule.count === this.#context.config.maxReplicas ? undefined : rule.count;
  }

  /** What is stored with settings that change: the default rule says the same from then on. */
  followOperations(config: PdConfig, items: readonly string[]): MetaOperation[] {
    let rule = this.rule(DEFAULT_GROUP, DEFAULT_RULE);
    const before = rule;
    for (const item of items) rule = rule === undefined ? undefined : this.#following(rule, config, item);
    if (rule === undefined || rule === before) return [];
    const value = utf8(JSON.stringify(ruleToJson(rule)));
    return [{ kind: "put", key: this.#context.keys.rule(rule), value }];
  }

  /** The same rule when it does not follow, or need not. */
  #following(rule: Rule, config: PdConfig, item: string): Rule {
    if (!coversAll(rule)) return rule;
    const wanted = { ...rule, ...itemOf(ruleOfConfig(config, rule.version), item) };
    return sameRule(rule, wanted) ? rule : { ...wanted, version: rule.version + 1 };
  }

  /** The settings changed, and what follows from that is stored: in memory too. */
  #followConfig(item: string): void {
    const rule = this.rule(DEFAULT_GROUP, DEFAULT_RULE);
    const changed = rule === undefined ? undefined : this.#following(rule, this.#context.config, item);
    if (changed === undefined || changed === rule) return;
    this.#rules.set(ruleKey(changed), changed);
    const list = RuleList.build([...this.#rules.values()], this.#groups);
    if (list.kind === "built") this.#list = list.list;
    this.generation += 1;
    this.onChanged([changed]);
  }
}

const coversAll = (rule: Rule): boolean => rule.startKey.length === 0 && rule.endKey.length === 0;

/** What `max-replicas`, `location-labels` and `isolation-level` say. */
function ruleOfConfig(config: PdConfig, version: number): Rule {
  return {
    groupId: DEFAULT_GROUP,
    id: DEFAULT_RULE,
    index: 0,
    override: false,
    startKey: new Uint8Array(0),
    endKey: new Uint8Array(0),
    role: "voter",
    isWitness: false,
    count: config.maxReplicas,
    labelConstraints: [],
    locationLabels: config.locationLabels,
    isolationLevel: config.text("replication.isolation-level"),
    version,
    createTimestamp: 0,
  };
}

function itemOf(rule: Rule, item: string): Partial<Rule> {
  if (item === "max-replicas") return { count: rule.count };
  return item === "location-labels"
    ? { locationLabels: rule.locationLabels }
    : { isolationLevel: rule.isolationLevel };
}

function built(list: BuiltList): RuleList {
  if (list.kind === "refused") throw new Error(list.reason);
  return list.list;
}

function missingFor(rule: Rule, stores: readonly StoreInfo[]): string | undefined {
  const matching = stores.filter((store) => matchesConstraints(store, rule.labelConstraints));
  const name = `rule ${ruleKey(rule)}`;
  if (matching.length < rule.count) {
    const wanted =
      rule.labelConstraints.length === 0 ? "stores" : `stores with ${constraintsText(rule.labelConstraints)}`;
    return `${name} wants ${rule.count} ${wanted}, and there are ${matching.length}`;
  }
  if (rule.isolationLevel === "") return undefined;
  const labels = rule.locationLabels.slice(0, rule.locationLabels.indexOf(rule.isolationLevel) + 1);
  const places = new Set(matching.map((store) => labels.map((key) => store.label(key)).join("/")));
  if (places.size >= rule.count) return undefined;
  return `${name} wants ${rule.count} different places at level ${rule.isolationLevel}, and there are ${places.size}`;
}
