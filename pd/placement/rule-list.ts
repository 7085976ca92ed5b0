/**
 * The rules of every key: the key space cut at all borders of rules, each segment with its rules in order and those
 * of them that apply after overriding. Built anew for each change, and refused when a key would be left without
 * rules or with rules that contradict each other. (pd-rules 7.5, 7.7 to 7.9)
 */
import { compareBytes, toHex } from "../../base/index.js";
import type { RegionMeta } from "../region-info.js";
import { groupOf, type Rule, type RuleGroup, ruleKey } from "./rule.js";

export interface RuleSegment {
  readonly startKey: Uint8Array;
  /** Exclusive; empty means to the last key. */
  readonly endKey: Uint8Array;
  readonly rules: readonly Rule[];
  readonly applied: readonly Rule[];
}

export type BuiltList =
  | { readonly kind: "built"; readonly list: RuleList }
  | { readonly kind: "refused"; readonly reason: string };

const NOTHING: readonly Rule[] = [];
const compareText = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0);
const endsBefore = (end: Uint8Array, key: Uint8Array): boolean =>
  end.length > 0 && compareBytes(end, key) <= 0;

export class RuleList {
  readonly segments: readonly RuleSegment[];

  private constructor(segments: readonly RuleSegment[]) {
    this.segments = segments;
  }

  static build(rules: readonly Rule[], groups: ReadonlyMap<string, RuleGroup>): BuiltList {
    if (rules.length === 0) return { kind: "refused", reason: "no rule left" };
    const group = (id: string): RuleGroup => groups.get(id) ?? groupOf(id);
    const sorted = [...rules].sort((left, right) => compareRules(left, right, group));
    const segments: RuleSegment[] = [];
    for (const [startKey, endKey] of cut(sorted)) {
      const here = sorted.filter((rule) => covers(rule, startKey, endKey));
      const range = `{${toHex(startKey).toUpperCase()}, ${toHex(endKey).toUpperCase()}}`;
      if (here.length === 0) return { kind: "refused", reason: `no rule for range ${range}` };
      const applied = prepareRulesForApply(here, group);
      const reason = checkApplyRules(applied);
      if (reason !== undefined) return { kind: "refused", reason: `${reason} for range ${range}` };
      segments.push({ startKey, endKey, rules: here, applied });
    }
    return { kind: "built", list: new RuleList(segments) };
  }

  segmentAt(key: Uint8Array): RuleSegment {
    let low = 0;
    let high = this.segments.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (compareBytes((this.segments[middle] as RuleSegment).startKey, key) <= 0) low = middle;
      else high = middle;
    }
    return this.segments[low] as RuleSegment;
  }

  /** None for a region over several segments: it must be split first. (7.8) */
  appliedTo(meta: RegionMeta): readonly Rule[] {
    const segment = this.segments.length === 1 ? this.segments[0] : this.segmentAt(meta.startKey);
    if (segment === undefined) return NOTHING;
    const inside =
      segment.endKey.length === 0 ||
      (meta.endKey.length > 0 && compareBytes(meta.endKey, segment.endKey) <= 0);
    return inside ? segment.applied : NOTHING;
  }

  /** Borders strictly inside (start, end). */
  splitKeys(start: Uint8Array, end: Uint8Array): Uint8Array[] {
    if (this.segments.length === 1) return [];
    return this.segments
      .map((segment) => segment.startKey)
      .filter((key) => compareBytes(key, start) > 0 && (end.length === 0 || compareBytes(key, end) < 0));
  }
}

function compareRules(left: Rule, right: Rule, group: (id: string) => RuleGroup): number {
  return (
    group(left.groupId).index - group(right.groupId).index ||
    compareText(left.groupId, right.groupId) ||
    left.index - right.index ||
    compareText(left.id, right.id)
  );
}

function cut(rules: readonly Rule[]): [Uint8Array, Uint8Array][] {
  const borders: Uint8Array[] = [new Uint8Array(0)];
  for (const rule of rules) {
    borders.push(rule.startKey);
    if (rule.endKey.length > 0) borders.push(rule.endKey);
  }
  borders.sort(compareBytes);
  const unique = borders.filter((key, i) => i === 0 || compareBytes(key, borders[i - 1] as Uint8Array) !== 0);
  return unique.map((key, i) => [key, unique[i + 1] ?? new Uint8Array(0)]);
}

function covers(rule: Rule, start: Uint8Array, end: Uint8Array): boolean {
  if (compareBytes(rule.startKey, start) > 0) return false;
  if (rule.endKey.length === 0) return true;
  return !endsBefore(rule.endKey, start) && end.length > 0 && compareBytes(rule.endKey, end) >= 0;
}

/** Rules in order; an overriding rule drops those before it in its group, an overriding group all before it. */
export function prepareRulesForApply(rules: readonly Rule[], group: (id: string) => RuleGroup): Rule[] {
  let applied: Rule[] = [];
  let ofGroup: Rule[] = [];
  rules.forEach((rule, i) => {
    if (rules[i - 1]?.groupId !== rule.groupId) {
      applied = group(rule.groupId).override ? [] : [...applied, ...ofGroup];
      ofGroup = [];
    }
    if (rule.override) ofGroup = [];
    ofGroup.push(rule);
  });
  return [...applied, ...ofGroup];
}

/** Why the rules of one range contradict each other, with their names. */
export function checkApplyRules(rules: readonly Rule[]): string | undefined {
  const leaders = rules.filter((rule) => rule.role === "leader");
  if (leaders.length > 1) return `multiple leader replicas: rules ${leaders.map(ruleKey).join(" and ")}`;
  if (leaders.length === 1 || rules.some((rule) => rule.role === "voter")) return undefined;
  const names = rules.map(ruleKey).join(" and ");
  return `needs at least one leader or voter: only rules ${names} are`;
}
