/**
 * Placement rules and region labels over HTTP. With placement rules off every rule route answers 412, which is how
 * clients tell that from a route that does not exist. (pd-rules 11.40 to 11.42, 12.25)
 */
import { fromHex } from "../base/index.js";
import { peerJson } from "./http-json.js";
import type { HttpCall } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import type { RegionFit } from "./placement/fit.js";
import {
  contentError,
  groupFromJson,
  groupToJson,
  hexError,
  type Rule,
  type RuleGroup,
  newRuleFromJson,
  ruleToJson,
} from "./placement/rule.js";
import type { RuleChange, RuleManager, RulePatch } from "./placement/rule-manager.js";
import type { RegionInfo } from "./region-info.js";
import { labelRuleFromJson, labelRuleToJson, type RegionLabelRule } from "./region-labeler.js";

const RULES_OFF = "[PD:placement:ErrPlacementDisabled]placement rules feature is disabled";
const RULE_NOT_FOUND = "[PD:placement:ErrRuleNotFound]rule not found";

const ruleRoute = (
  method: Route["method"],
  path: string,
  handle: (call: HttpCall, rules: RuleManager) => void,
): Route =>
  route(method, `/config${path}`, (call) => {
    const { rules } = call.parts.cluster;
    if (rules.isEnabled) handle(call, rules);
    else call.fail(412, RULES_OFF);
  });

const text = (call: HttpCall, index: number): string => {
  try {
    return decodeURIComponent(call.param(index));
  } catch {
    return call.param(index);
  }
};

/** The answer to a change; a rule that cannot be met yet is said with it. */
const answer =
  (call: HttpCall, done: string) =>
  (change: RuleChange): void => {
    if (change.kind === "refused") return call.fail(change.byContent ? 400 : 500, change.reason);
    call.json(change.warnings.length === 0 ? done : `${done} Warning: ${change.warnings.join("; ")}.`);
  };

function change(call: HttpCall, patch: RulePatch, done: string): void {
  call.parts.cluster.rules.change(patch, answer(call, done));
}

/** Undefined when the body is no list of rules: then the answer has been sent. */
function rulesOfBody(call: HttpCall): unknown[] | undefined {
  const body = call.body();
  if (body === undefined) return undefined;
  if (Array.isArray(body.parsed)) return body.parsed as unknown[];
  call.badInput("json: cannot unmarshal object into Go value of type []*placement.Rule");
  return undefined;
}

function parseRules(call: HttpCall, list: readonly unknown[]): Rule[] | undefined {
  const found: Rule[] = [];
  for (const item of list) {
    const rule = newRuleFromJson(item, call.parts.config.keyType);
    if (typeof rule === "string") return void call.fail(400, rule);
    found.push(rule);
  }
  return found;
}

function setRule(call: HttpCall): void {
  const body = call.bodyObject();
  const rules = body === undefined ? undefined : parseRules(call, [body]);
  if (rules !== undefined) change(call, { setRules: rules }, "Update rule successfully.");
}

function setRules(call: HttpCall): void {
  const list = rulesOfBody(call);
  const rules = list === undefined ? undefined : parseRules(call, list);
  if (rules !== undefined) change(call, { setRules: rules }, "Update rules successfully.");
}

/** Additions and deletions as one change. */
function batch(call: HttpCall, manager: RuleManager): void {
  const list = rulesOfBody(call);
  if (list === undefined) return;
  const setRules: Rule[] = [];
  const deleteRules: { groupId: string; id: string }[] = [];
  for (const item of list) {
    const json = (item ?? {}) as Record<string, unknown>;
    const { action, group_id: groupId, id, delete_by_id_prefix: byPrefix } = json;
    if (action === "add") {
      const rule = newRuleFromJson(json, call.parts.config.keyType);
      if (typeof rule === "string") return call.fail(400, rule);
      setRules.push(rule);
    } else if (action === "del") {
      if (typeof groupId !== "string" || typeof id !== "string") {
        return call.fail(400, contentError("a deletion needs group_id and id"));
      }
      if (byPrefix !== true) deleteRules.push({ groupId, id });
      else deleteRules.push(...manager.rulesOfGroup(groupId).filter((rule) => rule.id.startsWith(id)));
    } else return call.fail(400, contentError(`unknown action ${String(action)}`));
  }
  change(call, { setRules, deleteRules }, "Batch operations successfully.");
}

function regionOf(call: HttpCall): RegionInfo | undefined {
  const id = call.idParam(0);
  if (id === undefined) return undefined;
  const region = call.parts.cluster.regions.byId(id);
  if (region === undefined) call.fail(404, `[PD:region:ErrRegionNotFound]region ${id} not found`);
  return region;
}

function rulesByKey(call: HttpCall, rules: RuleManager): void {
  const key = fromHex(text(call, 0));
  if (key === undefined) return call.fail(400, hexError(text(call, 0)));
  call.json(rules.rulesAt(key).map(ruleToJson));
}

export function fitJson(fit: RegionFit): Record<string, unknown> {
  const peers = (list: RegionFit["orphans"]): unknown =>
    list.length === 0 ? null : list.map((peer) => ({ ...peerJson(peer), role_name: undefined }));
  return {
    "rule-fits": fit.ruleFits.map((ruleFit) => ({
      rule: ruleToJson(ruleFit.rule),
      peers: peers(ruleFit.peers),
      "peers-different-role": peers(ruleFit.differentRole),
      "isolation-score": ruleFit.isolationScore,
      "witness-score": 0,
    })),
    "orphan-peers": peers(fit.orphans),
  };
}

// Groups and bundles.

function setGroup(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const group = groupFromJson(body);
  if (typeof group === "string") return call.fail(400, group);
  change(call, { setGroups: [group] }, "Update rule group successfully.");
}

interface Bundle {
  readonly group: RuleGroup;
  readonly rules: readonly Rule[];
}

const bundleJson = (rules: RuleManager, id: string): Record<string, unknown> => {
  const group = rules.group(id);
  return {
    group_id: id,
    group_index: group.index,
    group_override: group.override,
    rules: rules.rulesOfGroup(id).map(ruleToJson),
  };
};

/** Text is the reason why it is none. A rule without a group belongs to that of the bundle. */
function bundleFromJson(value: unknown, groupId: string | undefined, keyType: string): Bundle | string {
  const json = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const id = json["group_id"] ?? groupId;
  if (typeof id !== "string" || id === "") return contentError("group ID should not be empty");
  const group = groupFromJson({ id, index: json["group_index"], override: json["group_override"] });
  if (typeof group === "string") return group;
  const list = json["rules"] ?? [];
  if (!Array.isArray(list)) return contentError("rules must be a list");
  const rules: Rule[] = [];
  for (const item of list as Record<string, unknown>[]) {
    const own = item?.["group_id"];
    const whole = own === undefined || own === "" ? { ...item, group_id: id } : item;
    const rule = newRuleFromJson(whole, keyType);
    if (typeof rule === "string") return rule;
    if (rule.groupId !== id) {
      return contentError(`rule group ${rule.groupId} does not match group ID ${id}`);
    }
    rules.push(rule);
  }
  return { group, rules };
}

/** Everything, or with `?partial` the groups given, becomes what the bundles say. */
function setBundles(call: HttpCall, manager: RuleManager): void {
  const body = call.body();
  if (body === undefined) return;
  if (!Array.isArray(body.parsed)) {
    return call.badInput("json: cannot unmarshal object into Go value of type []placement.GroupBundle");
  }
  const bundles: Bundle[] = [];
  for (const item of body.parsed as unknown[]) {
    const bundle = bundleFromJson(item, undefined, call.parts.config.keyType);
    if (typeof bundle === "string") return call.fail(400, bundle);
    bundles.push(bundle);
  }
  const partial = call.query("partial") !== undefined;
  const replaced = partial ? bundles.map(({ group }) => group.id) : manager.groups().map(({ id }) => id);
  replaceGroups(call, replaced, bundles, "Update rules and groups successfully.");
}

function replaceGroups(
  call: HttpCall,
  ids: readonly string[],
  bundles: readonly Bundle[],
  done: string,
): void {
  const manager = call.parts.cluster.rules;
  const setRules = bundles.flatMap(({ rules }) => rules);
  const deleteRules = ids
    .flatMap((id) => manager.rulesOfGroup(id))
    .filter((old) => !setRules.some((rule) => rule.groupId === old.groupId && rule.id === old.id));
  const patch = { setRules, deleteRules, setGroups: bundles.map(({ group }) => group), deleteGroups: ids };
  change(call, patch, done);
}

function setBundle(call: HttpCall): void {
  const id = text(call, 0);
  const body = call.bodyObject();
  if (body === undefined) return;
  const bundle = bundleFromJson(body, id, call.parts.config.keyType);
  if (typeof bundle === "string") return call.fail(400, bundle);
  if (bundle.group.id !== id) {
    return call.fail(400, `group id ${bundle.group.id} does not match request URI ${id}`);
  }
  replaceGroups(call, [id], [bundle], "Update group and rules successfully.");
}

function deleteBundle(call: HttpCall, manager: RuleManager): void {
  const name = text(call, 0);
  let ids = [name];
  if (call.query("regexp") !== undefined) {
    let pattern: RegExp;
    try {
      pattern = new RegExp(name);
    } catch (error) {
      return call.fail(400, `error parsing regexp: ${(error as Error).message}`);
    }
    ids = manager.groups().flatMap(({ id }) => (pattern.test(id) ? [id] : []));
  }
  replaceGroups(call, ids, [], "Delete group and rules successfully.");
}

// Region labels.

const answerLabels = (call: HttpCall, done: () => void) => (changed: { kind: string; reason?: string }) =>
  changed.kind === "ok" ? done() : call.fail(500, changed.reason ?? "");

function setLabelRule(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const rule = labelRuleFromJson(body, call.parts.context.env.clock.wallMs());
  if (typeof rule === "string") return call.fail(400, rule);
  const done = (): void => call.json("Update region label rule successfully.");
  call.parts.cluster.labels.change([rule], [], answerLabels(call, done));
}

function patchLabelRules(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { sets = [], deletes = [] } = body;
  if (!Array.isArray(sets ?? []) || !Array.isArray(deletes ?? [])) {
    return call.badInput("sets and deletes must be lists");
  }
  const rules: RegionLabelRule[] = [];
  for (const item of (sets ?? []) as unknown[]) {
    const rule = labelRuleFromJson(item, call.parts.context.env.clock.wallMs());
    if (typeof rule === "string") return call.fail(400, rule);
    rules.push(rule);
  }
  const ids = ((deletes ?? []) as unknown[]).filter((id) => typeof id === "string");
  const done = (): void => call.json("Update region label rules successfully.");
  call.parts.cluster.labels.change(rules, ids, answerLabels(call, done));
}

function labelRulesByIds(call: HttpCall): void {
  const body = call.body();
  if (body === undefined) return;
  if (!Array.isArray(body.parsed))
    return call.badInput("json: cannot unmarshal object into Go value of type []string");
  const { labels } = call.parts.cluster;
  call.json((body.parsed as unknown[]).flatMap((id) => labels.rule(String(id)) ?? []).map(labelRuleToJson));
}

function deleteLabelRule(call: HttpCall): void {
  const { labels } = call.parts.cluster;
  const id = text(call, 0);
  const known = labels.rule(id) !== undefined;
  const done = (): void =>
    known
      ? call.text(200, "Delete rule successfully.")
      : call.fail(404, `[PD:region:ErrRegionRuleNotFound]region label rule not found for id ${id}`);
  labels.change([], [id], answerLabels(call, done));
}

const labelRoute = (method: Route["method"], path: string, handle: (call: HttpCall) => void): Route =>
  route(method, `/config/region-label${path}`, handle);

export const RULE_ROUTES: readonly Route[] = [
  ruleRoute("GET", "/rules", (call, rules) => call.json(rules.rules().map(ruleToJson))),
  ruleRoute("POST", "/rules", setRules),
  ruleRoute("POST", "/rules/batch", batch),
  ruleRoute("GET", "/rules/group/{group}", (call, rules) =>
    call.json(rules.rulesOfGroup(text(call, 0)).map(ruleToJson)),
  ),
  ruleRoute("GET", "/rules/region/{region}", (call, rules) => {
    const region = regionOf(call);
    if (region !== undefined) call.json(rules.appliedTo(region.meta).map(ruleToJson));
  }),
  ruleRoute("GET", "/rules/region/{region}/detail", (call, rules) => {
    const region = regionOf(call);
    if (region !== undefined) call.json(fitJson(rules.fit(region)));
  }),
  ruleRoute("GET", "/rules/key/{key}", rulesByKey),
  ruleRoute("GET", "/rule/{group}/{id}", (call, rules) => {
    const rule = rules.rule(text(call, 0), text(call, 1));
    if (rule === undefined) call.fail(404, RULE_NOT_FOUND);
    else call.json(ruleToJson(rule));
  }),
  ruleRoute("POST", "/rule", setRule),
  ruleRoute("DELETE", "/rule/{group}/{id}", (call) => {
    const deleteRules = [{ groupId: text(call, 0), id: text(call, 1) }];
    change(call, { deleteRules }, "Delete rule successfully.");
  }),
  ruleRoute("GET", "/rule_group/{id}", (call, rules) => {
    const id = text(call, 0);
    const known = rules.groups().find((group) => group.id === id);
    call.json(known === undefined ? null : groupToJson(known), known === undefined ? 404 : 200);
  }),
  ruleRoute("POST", "/rule_group", setGroup),
  ruleRoute("DELETE", "/rule_group/{id}", (call) =>
    change(call, { deleteGroups: [text(call, 0)] }, "Delete rule group successfully."),
  ),
  ruleRoute("GET", "/rule_groups", (call, rules) => call.json(rules.groups().map(groupToJson))),
  ruleRoute("GET", "/placement-rule", (call, rules) =>
    call.json(rules.groups().map(({ id }) => bundleJson(rules, id))),
  ),
  ruleRoute("POST", "/placement-rule", setBundles),
  ruleRoute("GET", "/placement-rule/{group}", (call, rules) => call.json(bundleJson(rules, text(call, 0)))),
  ruleRoute("POST", "/placement-rule/{group}", setBundle),
  ruleRoute("DELETE", "/placement-rule/{group}", deleteBundle),
  labelRoute("GET", "/rules", (call) => call.json(call.parts.cluster.labels.rules().map(labelRuleToJson))),
  labelRoute("PATCH", "/rules", patchLabelRules),
  labelRoute("GET", "/rules/ids", labelRulesByIds),
  labelRoute("POST", "/rule", setLabelRule),
  labelRoute("GET", "/rule/{id}", (call) => {
    const rule = call.parts.cluster.labels.rule(text(call, 0));
    call.json(rule === undefined ? null : labelRuleToJson(rule), rule === undefined ? 404 : 200);
  }),
  labelRoute("DELETE", "/rule/{id}", deleteLabelRule),
  route("GET", "/region/id/{id}/label/{key}", (call) => {
    const region = regionOf(call);
    if (region !== undefined) call.json(call.parts.cluster.labels.label(region.meta, text(call, 1)));
  }),
  route("GET", "/region/id/{id}/labels", (call) => {
    const region = regionOf(call);
    if (region === undefined) return;
    call.json(call.parts.cluster.labels.labelsOf(region.meta).map(({ key, value }) => ({ key, value })));
  }),
];
