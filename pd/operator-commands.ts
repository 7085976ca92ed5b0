/**
 * Operators by hand: what an administrator may ask for, with PD's field names, refusals and statuses (400 for the
 * form of the request, 500 for what the cluster cannot do). (pd-rules 11.6 to 11.11)
 */
import { fromHex } from "../base/index.js";
import type { Operator, OperatorKind } from "./operator.js";
import { type BuildResult, OperatorBuilder } from "./operator-builder.js";
import { mergeProblem } from "./checkers/merge-checker.js";
import { mergeOperators } from "./merge-operator.js";
import type { SplitPolicy } from "./operator-step.js";
import type { RuleRole } from "./placement/rule.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import { scatterMany } from "./scatter-many.js";
import type { Scheduling } from "./scheduling.js";
import { splitOperator } from "./split-operator.js";

interface Refused {
  readonly kind: "refused";
  /** Of the HTTP answer. */
  readonly status: 400 | 500;
  readonly reason: string;
}

export type CommandResult = { readonly kind: "ok" } | Refused;

const OK: CommandResult = { kind: "ok" };
const refuse = (status: 400 | 500, reason: string): Refused => ({ kind: "refused", status, reason });

type Body = Readonly<Record<string, unknown>>;
type Command = (scheduling: Scheduling, body: Body) => CommandResult;

const ADD_REFUSED = "[PD:operator:ErrAddOperator]failed to add operator, maybe already have one";
const ROLES_NEEDED = "transfer region without peer role is not supported when placement rules enabled";
const ADMIN: readonly OperatorKind[] = ["admin"];

const COMMANDS: Readonly<Record<string, Command>> = {
  "add-peer": (scheduling, body) => addPeer(scheduling, body, "voter"),
  "add-learner": (scheduling, body) => addPeer(scheduling, body, "learner"),
  "promote-learner": promoteLearner,
  "remove-peer": removePeer,
  "transfer-peer": transferPeer,
  "transfer-leader": transferLeader,
  "transfer-region": transferRegion,
  "split-region": splitRegion,
  "scatter-region": scatterRegion,
  "merge-region": mergeRegion,
};

/** The body of `POST /pd/api/v1/operators`, parsed from JSON. */
export function addOperator(scheduling: Scheduling, body: unknown): CommandResult {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    return refuse(400, "the body must be a JSON object");
  }
  const { name } = body as Body;
  if (typeof name !== "string") return refuse(400, "missing operator name");
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return command === undefined ? refuse(400, "unknown operator") : command(scheduling, body as Body);
}

/** The region of the body; asked for last, because faults of form come first. */
function withRegion(
  scheduling: Scheduling,
  body: Body,
  run: (region: RegionInfo) => CommandResult,
): CommandResult {
  const id = idIn(body, "region_id");
  if (id === undefined) return refuse(400, "missing region id");
  if (!scheduling.cluster.isBootstrapped) {
    return refuse(
      500,
      "[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first",
    );
  }
  const region = scheduling.cluster.regions.byId(id);
  return region === undefined
    ? refuse(500, `[PD:region:ErrRegionNotFound]region ${id} not found`)
    : run(region);
}

const idIn = (body: Body, field: string): number | undefined => {
  const value = body[field];
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
};

function addBuilt(scheduling: Scheduling, built: BuildResult): CommandResult {
  return built.kind === "refused" ? refuse(500, built.reason) : start(scheduling, built.operator);
}

function start(scheduling: Scheduling, operator: Operator): CommandResult {
  const refused = scheduling.controller.add(operator);
  if (refused === undefined) return OK;
  scheduling.notes.note("region", operator.regionId, operator.desc, refused);
  return refuse(500, ADD_REFUSED);
}

/** Why a store cannot take a peer by hand. */
function storeRefusal(scheduling: Scheduling, storeId: number): Refused | undefined {
  const store = scheduling.view.store(storeId);
  if (store === undefined) return refuse(500, `[PD:core:ErrStoreNotFound]store ${storeId} not found`);
  if (store.isRemoved) return refuse(500, `[PD:core:ErrStoreRemoved]store ${storeId} has been removed`);
  if (!store.isUnhealthy(scheduling.view.nowMs())) return undefined;
  return refuse(500, `[PD:core:ErrStoreUnhealthy]store ${storeId} is unhealthy`);
}

function addPeer(scheduling: Scheduling, body: Body, role: "voter" | "learner"): CommandResult {
  const storeId = idIn(body, "store_id");
  if (idIn(body, "region_id") !== undefined && storeId === undefined) {
    return refuse(400, "invalid store id to transfer peer to");
  }
  return withRegion(scheduling, body, (region) => {
    const to = storeId as number;
    if (peerOnStore(region, to) !== undefined) return refuse(500, `region already has peer in store ${to}`);
    const refused = storeRefusal(scheduling, to);
    if (refused !== undefined) return refused;
    const desc = role === "voter" ? "admin-add-peer" : "admin-add-learner";
    const builder = new OperatorBuilder(scheduling.view, desc, region);
    return addBuilt(scheduling, builder.addPeer(to, role).build(ADMIN, "urgent"));
  });
}

function promoteLearner(scheduling: Scheduling, body: Body): CommandResult {
  const storeId = idIn(body, "store_id");
  if (idIn(body, "region_id") !== undefined && storeId === undefined) {
    return refuse(400, "invalid store id to promote the learner of");
  }
  return withRegion(scheduling, body, (region) => {
    const builder = new OperatorBuilder(scheduling.view, "admin-promote-learner", region);
    return addBuilt(scheduling, builder.promoteLearner(storeId as number).build(ADMIN, "urgent"));
  });
}

function removePeer(scheduling: Scheduling, body: Body): CommandResult {
  const storeId = idIn(body, "store_id");
  if (idIn(body, "region_id") !== undefined && storeId === undefined) {
    return refuse(400, "invalid store id to transfer peer from");
  }
  return withRegion(scheduling, body, (region) => {
    const from = storeId as number;
    if (peerOnStore(region, from) === undefined) return refuse(500, `region has no peer in store ${from}`);
    const builder = new OperatorBuilder(scheduling.view, "admin-remove-peer", region);
    return addBuilt(scheduling, builder.removePeer(from).build(ADMIN, "urgent"));
  });
}

function transferPeer(scheduling: Scheduling, body: Body): CommandResult {
  const from = idIn(body, "from_store_id");
  const to = idIn(body, "to_store_id");
  if (idIn(body, "region_id") !== undefined) {
    if (from === undefined) return refuse(400, "invalid store id to transfer peer from");
    if (to === undefined) return refuse(400, "invalid store id to transfer peer to");
  }
  return withRegion(scheduling, body, (region) => {
    const old = peerOnStore(region, from as number);
    if (old === undefined) return refuse(500, `region has no peer in store ${from}`);
    if (peerOnStore(region, to as number) !== undefined) {
      return refuse(500, `region already has peer in store ${to}`);
    }
    const refused = storeRefusal(scheduling, to as number);
    if (refused !== undefined) return refused;
    const builder = new OperatorBuilder(scheduling.view, "admin-move-peer", region);
    builder.addPeer(to as number, old.role === "learner" ? "learner" : "voter").removePeer(from as number);
    return addBuilt(scheduling, builder.build(ADMIN, "urgent"));
  });
}

function transferLeader(scheduling: Scheduling, body: Body): CommandResult {
  const to = idIn(body, "to_store_id");
  if (idIn(body, "region_id") !== undefined && to === undefined) {
    return refuse(400, "missing store id to transfer leader to");
  }
  return withRegion(scheduling, body, (region) => {
    const peer = peerOnStore(region, to as number);
    if (peer === undefined || peer.role === "learner")
      return refuse(500, `region has no voter in store ${to}`);
    const options = { allowJointState: true };
    const builder = new OperatorBuilder(scheduling.view, "admin-transfer-leader", region, options);
    return addBuilt(scheduling, builder.setLeader(to as number).build(ADMIN, "urgent"));
  });
}

function transferRegion(scheduling: Scheduling, body: Body): CommandResult {
  const ids = body["to_store_ids"];
  const roles = body["peer_roles"] ?? [];
  if (idIn(body, "region_id") !== undefined) {
    if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id) && id > 0)) {
      return refuse(400, "invalid store ids to transfer region to");
    }
    if (ids.length === 0) return refuse(400, "missing store ids to transfer region to");
  }
  if (!Array.isArray(roles)) return refuse(400, "peer_roles must be a list");
  return withRegion(scheduling, body, (region) => {
    if (scheduling.view.usesRules && roles.length < (ids as number[]).length) {
      return refuse(500, ROLES_NEEDED);
    }
    const targets = new Map<number, unknown>();
    for (const [i, id] of (ids as number[]).entries()) {
      const refused = storeRefusal(scheduling, id);
      if (refused !== undefined) return refused;
      targets.set(id, roles[i]);
    }
    const builder = new OperatorBuilder(scheduling.view, "admin-move-region", region);
    for (const peer of region.meta.peers) {
      if (!targets.has(peer.storeId)) builder.removePeer(peer.storeId);
    }
    for (const [id, role] of targets) {
      const peer = peerOnStore(region, id);
      if (peer === undefined) builder.addPeer(id, role === "learner" ? "learner" : "voter");
      else if (role === "learner" && peer.role !== "learner") builder.demoteVoter(id);
      else if (role !== undefined && role !== "learner" && peer.role === "learner")
        builder.promoteLearner(id);
      if (role === "leader") builder.setLeader(id);
    }
    if (roles.length > 0) {
      builder.setExpectedRoles(new Map([...targets].map(([id, role]) => [id, expectedRole(role)])));
    }
    return addBuilt(scheduling, builder.build(ADMIN, "urgent"));
  });
}

const expectedRole = (role: unknown): RuleRole =>
  role === "leader" || role === "follower" || role === "learner" ? role : "voter";

/** Both halves or none. A store that cannot merge would ignore the order, so that is said at once. */
function mergeRegion(scheduling: Scheduling, body: Body): CommandResult {
  const sourceId = idIn(body, "source_region_id");
  const targetId = idIn(body, "target_region_id");
  if (sourceId === undefined) return refuse(400, "missing region id");
  if (targetId === undefined) return refuse(400, "invalid target region id to merge to");
  return withRegion(scheduling, { region_id: sourceId }, (source) => {
    const { view, patrol, controller } = scheduling;
    const target = view.cluster.regions.byId(targetId);
    if (target === undefined) return refuse(500, `[PD:region:ErrRegionNotFound]region ${targetId} not found`);
    if (!patrol.checker.merge.isPossible) {
      return refuse(500, "not every store says that it can merge (store label merge=true)");
    }
    const abnormal = [source, target].find(
      (region) => region.downPeers.length > 0 || region.pendingPeers.length > 0 || !view.isReplicated(region),
    );
    if (abnormal !== undefined) {
      return refuse(500, `[PD:region:ErrRegionAbnormalPeer]region ${abnormal.meta.id} has abnormal peer`);
    }
    const problem = mergeProblem(view, source, target);
    if (problem !== undefined) return refuse(500, `[PD:region:ErrRegionNotAdjacent]${problem}`);
    const made = mergeOperators(view, source, target, "admin-merge-region", ADMIN, "urgent");
    if (typeof made === "string") return refuse(500, made);
    return controller.add(...made) === undefined ? OK : refuse(500, ADD_REFUSED);
  });
}

const POLICIES: readonly string[] = ["scan", "approximate", "usekey"];

function splitRegion(scheduling: Scheduling, body: Body): CommandResult {
  const { policy, keys = [] } = body;
  if (idIn(body, "region_id") !== undefined) {
    if (typeof policy !== "string") return refuse(400, "missing split policy");
    if (!Array.isArray(keys) || !keys.every((key) => typeof key === "string")) {
      return refuse(400, "bad format keys");
    }
  }
  return withRegion(scheduling, body, (region) => {
    const named = policy as string;
    const wanted = named.toLowerCase();
    if (!POLICIES.includes(wanted)) return refuse(500, `check policy ${named} is not supported`);
    const parsed: Uint8Array[] = [];
    for (const text of wanted === "usekey" ? (keys as string[]) : []) {
      const key = fromHex(text);
      if (key === undefined) return refuse(500, `split key ${text} is not in hex format`);
      parsed.push(key);
    }
    if (wanted === "usekey" && parsed.length === 0)
      return refuse(500, "policy usekey needs keys to split at");
    const made = splitOperator(scheduling.view, "admin-split-region", region, wanted as SplitPolicy, parsed);
    return typeof made === "string" ? refuse(500, made) : start(scheduling, made);
  });
}

export const SCATTER_REGIONS = "scatter-regions";
const SCATTER_RETRIES = 5;

/** Regions by id, or all of a range in hex; waits for those that are busy. (11.9) */
export function scatterRegions(
  scheduling: Scheduling,
  body: Body,
  callback: (
    result: Refused | { readonly kind: "ok"; readonly percentage: number; readonly error: string },
  ) => void,
): void {
  const { region_ids: given = [], start_key: start = "", end_key: end = "", retry_limit: retries } = body;
  if (!Array.isArray(given) || !given.every((id) => Number.isSafeInteger(id) && id > 0)) {
    return callback(refuse(400, "region_ids is invalid"));
  }
  const failed = (error: string): void => callback({ kind: "ok", percentage: 0, error });
  let regionIds = given as number[];
  if (start !== "" || end !== "") {
    const [startKey, endKey] = [start, end].map((key) =>
      typeof key === "string" ? fromHex(key) : undefined,
    );
    if (startKey === undefined || endKey === undefined) return failed("start_key and end_key must be hex");
    regionIds = scheduling.cluster.regions.scan(startKey, endKey, 0).map((region) => region.meta.id);
  }
  const group = typeof body["group"] === "string" ? body["group"] : "";
  const isLimit = typeof retries === "number" && Number.isSafeInteger(retries) && retries >= 0;
  const retryLimit = isLimit ? retries : SCATTER_RETRIES;
  scatterMany(scheduling.view, scheduling.scatterer, { regionIds, group, retryLimit }, (outcome) => {
    if (outcome.kind === "refused") return failed(outcome.reason);
    callback({ kind: "ok", percentage: outcome.percentage, error: "" });
  });
}

function scatterRegion(scheduling: Scheduling, body: Body): CommandResult {
  const group = typeof body["group"] === "string" ? body["group"] : "";
  return withRegion(scheduling, body, (region) => {
    const { id } = region.meta;
    if (scheduling.statistics.isRegionHot(id)) return refuse(500, `region ${id} is a hot region`);
    const result = scheduling.scatterer.scatter(region, group);
    return result.kind === "refused" ? refuse(500, result.reason) : OK;
  });
}
