/**
 * Placement rules: how many peers of which role a range of keys has, on which stores, how far apart. A group orders
 * its rules and may drop those of earlier groups. The JSON is PD's. (pd-rules 7.1 to 7.4)
 */
import { compareBytes, fromHex, startsMemcomparable, toHex } from "../../base/index.js";
import { isVoter, type Peer } from "../region-info.js";

export type RuleRole = "voter" | "leader" | "follower" | "learner";
const ROLES: readonly string[] = ["voter", "leader", "follower", "learner"];

export type LabelOperator = "in" | "notIn" | "exists" | "notExists";
const OPERATORS: readonly string[] = ["in", "notIn", "exists", "notExists"];

export interface LabelConstraint {
  readonly key: string;
  readonly op: LabelOperator;
  readonly values: readonly string[];
}

export interface Rule {
  readonly groupId: string;
  readonly id: string;
  /** Order within the group. */
  readonly index: number;
  /** Drops the rules before it in its group. */
  readonly override: boolean;
  readonly startKey: Uint8Array;
  /** Exclusive; empty means to the last key. */
  readonly endKey: Uint8Array;
  readonly role: RuleRole;
  readonly isWitness: boolean;
  /** Peers, at least 1; a rule of role leader has exactly 1. */
  readonly count: number;
  readonly labelConstraints: readonly LabelConstraint[];
  readonly locationLabels: readonly string[];
  /** One of the location labels: peers that share it up to this level are not allowed. Empty: no demand. */
  readonly isolationLevel: string;
  /** Grows with each change; set by PD. */
  readonly version: number;
  /** Unix seconds; set by PD. */
  readonly createTimestamp: number;
}

export interface RuleGroup {
  readonly id: string;
  readonly index: number;
  /** Drops all groups before it. */
  readonly override: boolean;
}

export const DEFAULT_GROUP = "pd";
export const DEFAULT_RULE = "default";

export const ruleKey = (rule: { readonly groupId: string; readonly id: string }): string =>
  `${rule.groupId}/${rule.id}`;

export const isDefaultRule = (rule: Rule): boolean =>
  rule.groupId === DEFAULT_GROUP && rule.id === DEFAULT_RULE;

export const groupOf = (id: string): RuleGroup => ({ id, index: 0, override: false });

export const contentError = (reason: string): string =>
  `[PD:placement:ErrRuleContent]invalid rule content, ${reason}`;
export const hexError = (text: string): string => `[PD:hex:ErrHexDecodingString]decode string ${text} error`;

/** Where keys are those of tables or transactions, a border in another form would never be met. (7.4) */
function keyFormProblem({ startKey, endKey }: Rule, keyType: string): string | undefined {
  const wrong = [startKey, endKey].findIndex((key) => key.length > 0 && !startsMemcomparable(key));
  if (keyType === "raw" || wrong < 0) return undefined;
  const name = wrong === 0 ? "start key" : "end key";
  return `${name} should be encoded in ${keyType} mode (for raw keys set key-type to raw)`;
}

/** As `ruleFromJson`, of somebody who wants it to hold from now on. */
export function newRuleFromJson(value: unknown, keyType: string): Rule | string {
  const rule = ruleFromJson(value);
  if (typeof rule === "string") return rule;
  const problem = keyFormProblem(rule, keyType);
  return problem === undefined ? rule : contentError(problem);
}

/** Text is the reason why it is no rule. */
export function ruleFromJson(value: unknown): Rule | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return contentError("a rule is an object");
  }
  const json = value as Record<string, unknown>;
  const text = (name: string): string => (typeof json[name] === "string" ? (json[name] as string) : "");
  for (const name of ["group_id", "id", "start_key", "end_key", "role", "isolation_level"]) {
    if (json[name] !== undefined && typeof json[name] !== "string") {
      return contentError(`${name} must be text`);
    }
  }
  const startKey = fromHex(text("start_key"));
  if (startKey === undefined) return hexError(text("start_key"));
  const endKey = fromHex(text("end_key"));
  if (endKey === undefined) return hexError(text("end_key"));
  const constraints = constraintsFromJson(json["label_constraints"]);
  if (typeof constraints === "string") return contentError(constraints);
  const labels = json["location_labels"] ?? [];
  if (!Array.isArray(labels) || !labels.every((label) => typeof label === "string")) {
    return contentError("location_labels must be a list of texts");
  }
  const rule: Rule = {
    groupId: text("group_id"),
    id: text("id"),
    index: integer(json["index"]),
    override: json["override"] === true,
    startKey,
    endKey,
    role: text("role") as RuleRole,
    isWitness: json["is_witness"] === true,
    count: typeof json["count"] === "number" ? json["count"] : 0,
    labelConstraints: constraints,
    locationLabels: labels as string[],
    isolationLevel: text("isolation_level"),
    version: integer(json["version"]),
    createTimestamp: integer(json["create_timestamp"]),
  };
  const reason = ruleProblem(rule);
  return reason === undefined ? rule : contentError(reason);
}

const integer = (value: unknown): number =>
  typeof value === "number" && Number.isSafeInteger(value) ? value : 0;

function constraintsFromJson(value: unknown): LabelConstraint[] | string {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) return "label_constraints must be a list";
  const found: LabelConstraint[] = [];
  for (const item of value as unknown[]) {
    if (typeof item !== "object" || item === null) return "a label constraint is an object";
    const { key, op, values } = item as Record<string, unknown>;
    if (typeof key !== "string" || key === "") return "a label constraint needs a key";
    if (typeof op !== "string" || !OPERATORS.includes(op)) return `invalid op ${String(op)}`;
    const list = values ?? [];
    if (!Array.isArray(list) || !list.every((entry) => typeof entry === "string")) {
      return "values of a label constraint must be a list of texts";
    }
    found.push({ key, op: op as LabelOperator, values: list as string[] });
  }
  return found;
}

/** Why the rule alone cannot be right. */
function ruleProblem(rule: Rule): string | undefined {
  if (rule.groupId === "") return "group ID should not be empty";
  if (rule.id === "") return "ID should not be empty";
  if (rule.endKey.length > 0 && compareBytes(rule.endKey, rule.startKey) <= 0) {
    return "endKey should be greater than startKey";
  }
  if (!ROLES.includes(rule.role)) return `invalid role ${rule.role}`;
  if (!Number.isSafeInteger(rule.count) || rule.count <= 0) return `invalid count ${rule.count}`;
  if (rule.role === "leader" && rule.count > 1) {
    return `define multiple leaders by count ${rule.count}`;
  }
  if (rule.isolationLevel !== "" && !rule.locationLabels.includes(rule.isolationLevel)) {
    return `isolation_level ${rule.isolationLevel} is not one of location_labels`;
  }
  return undefined;
}

const unlessEmpty = <T>(list: readonly T[]): readonly T[] | undefined =>
  list.length === 0 ? undefined : list;

export function ruleToJson(rule: Rule): Record<string, unknown> {
  return {
    group_id: rule.groupId,
    id: rule.id,
    index: rule.index === 0 ? undefined : rule.index,
    override: rule.override ? true : undefined,
    start_key: toHex(rule.startKey),
    end_key: toHex(rule.endKey),
    role: rule.role,
    is_witness: rule.isWitness,
    count: rule.count,
    label_constraints: unlessEmpty(
      rule.labelConstraints.map(({ key, op, values }) => ({ key, op, values: unlessEmpty(values) })),
    ),
    location_labels: unlessEmpty(rule.locationLabels),
    isolation_level: rule.isolationLevel === "" ? undefined : rule.isolationLevel,
    version: rule.version === 0 ? undefined : rule.version,
    create_timestamp: rule.createTimestamp === 0 ? undefined : rule.createTimestamp,
  };
}

/** Text is the reason why it is no group. */
export function groupFromJson(value: unknown): RuleGroup | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return contentError("a rule group is an object");
  }
  const { id, index, override } = value as Record<string, unknown>;
  if (typeof id !== "string" || id === "") return contentError("group ID should not be empty");
  if (index !== undefined && !Number.isSafeInteger(index)) return contentError("index must be a number");
  return { id, index: integer(index), override: override === true };
}

export const groupToJson = (group: RuleGroup): Record<string, unknown> => ({
  id: group.id,
  index: group.index === 0 ? undefined : group.index,
  override: group.override ? true : undefined,
});

/** What PD would write, apart from what PD itself sets. */
export const sameRule = (left: Rule, right: Rule): boolean =>
  JSON.stringify({ ...ruleToJson(left), version: 0, create_timestamp: 0 }) ===
  JSON.stringify({ ...ruleToJson(right), version: 0, create_timestamp: 0 });

/**
 * Whether a peer is not what the rule asks for. A peer of another role may serve the rule for a while, because
 * changing its role is cheaper than moving data. (7.13, 7.15)
 */
export function hasDifferentRole(rule: Rule, peer: Peer, isLeader: boolean): boolean {
  if (rule.isWitness !== peer.isWitness) return true;
  switch (rule.role) {
    case "voter":
      return !isVoter(peer);
    case "leader":
      return !isLeader;
    case "follower":
      return !isVoter(peer) || isLeader;
    case "learner":
      return isVoter(peer);
  }
}
