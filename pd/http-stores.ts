/** Stores over HTTP: looking at them, taking them out of service, labels, weights, limits. (pd-rules 11.4) */
import type { metapb } from "../proto/index.js";
import type { PdConfig } from "./config.js";
import { type HttpCall, jsonKind } from "./http-call.js";
import { storesProgress } from "./http-explain.js";
import { stateName, storeJson, storesJson } from "./http-json.js";
import { type Route, route } from "./http-route.js";
import { setStoreLimit, type StoreChange, type StoreChangeCallback, withLimit } from "./store-admin.js";
import type { StoreInfo } from "./store-info.js";
import type { LimitKind } from "./store-limit.js";

const KEY_FORMAT = "^[$]?[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$";
const VALUE_FORMAT = "^[-A-Za-z0-9_./]*$";
const STATE_NAMES = ["Up", "Offline", "Tombstone", "Disconnected", "Down"];
const STATES_BY_DEFAULT = ["0", "1"];

export const STORE_ROUTES: readonly Route[] = [
  route("GET", "/stores", listStores),
  route("GET", "/stores/check", storesByStateName),
  route("GET", "/stores/limit", listLimits),
  route("POST", "/stores/limit", setAllLimits),
  route("GET", "/stores/progress", storesProgress),
  route("DELETE", "/stores/remove-tombstone", removeTombstones),
  route("GET", "/labels", listLabels),
  route("GET", "/labels/stores", storesByLabel),
  route("GET", "/store/{id}", (call) => {
    const store = storeParam(call);
    if (store !== undefined) call.json(storeJson(call.parts.scheduling.view, store));
  }),
  route("DELETE", "/store/{id}", removeStore),
  route("POST", "/store/{id}/state", setState),
  route("POST", "/store/{id}/label", setLabels),
  route("POST", "/store/{id}/labels", setLabels),
  route("DELETE", "/store/{id}/label", deleteLabel),
  route("POST", "/store/{id}/weight", setWeight),
  route("POST", "/store/{id}/limit", setLimit),
];

/** Undefined when there is no such store: then the answer has been sent. */
function storeParam(call: HttpCall): StoreInfo | undefined {
  const id = call.idParam(0, (message) => call.badInput(message));
  if (id === undefined) return undefined;
  const store = call.parts.cluster.store(id);
  if (store === undefined) call.fail(404, `[PD:core:ErrStoreNotFound]store ${id} not found`);
  return store;
}

function listStores(call: HttpCall): void {
  const { cluster, scheduling } = call.parts;
  const given = call.queries("state");
  const bad = given.find((state) => !/^[012]$/.test(state));
  if (bad !== undefined) return call.fail(500, `unknown store state ${bad}: use 0, 1 or 2`);
  const states = given.length === 0 ? STATES_BY_DEFAULT : given;
  const stores = [...cluster.stores.values()].filter((store) => states.includes(String(store.meta.state)));
  call.json(storesJson(scheduling.view, stores));
}

function storesByStateName(call: HttpCall): void {
  const { cluster, scheduling } = call.parts;
  const wanted: string[] = [];
  for (const given of call.queries("state")) {
    const name = STATE_NAMES.find((known) => known.toLowerCase() === given.toLowerCase());
    if (name === undefined) return call.fail(400, `unknown store state: ${given}`);
    wanted.push(name);
  }
  const stores = [...cluster.stores.values()].filter((store) =>
    wanted.length === 0 ? !store.isRemoved : wanted.includes(stateName(scheduling.view, store)),
  );
  call.json(storesJson(scheduling.view, stores));
}

function listLimits(call: HttpCall): void {
  const { cluster, config } = call.parts;
  const withTombstones = call.query("include_tombstone") === "true";
  const limits: Record<string, unknown> = {};
  for (const store of cluster.stores.values()) {
    if (withTombstones || !store.isRemoved) limits[store.id] = config.storeLimit(store.id);
  }
  call.json(limits);
}

function removeTombstones(call: HttpCall): void {
  call.parts.stores.forgetRemoved((change) => {
    if (change.kind === "refused") return call.fail(500, change.reason);
    call.json("Remove tombstone successfully.");
  });
}

function listLabels(call: HttpCall): void {
  const seen = new Map<string, { key: string; value: string }>();
  for (const store of call.parts.cluster.liveStores()) {
    for (const { key, value } of store.meta.labels) seen.set(`${key.toLowerCase()} ${value}`, { key, value });
  }
  call.json(seen.size === 0 ? null : [...seen.values()]);
}

function storesByLabel(call: HttpCall): void {
  const name = call.query("name");
  const value = call.query("value");
  const stores = call.parts.cluster.liveStores().filter((store) => {
    const own = name === undefined ? "" : store.label(name);
    return own !== "" && (value === undefined || own === value);
  });
  call.json(storesJson(call.parts.scheduling.view, stores));
}

/** Unknown 404, buried 410, every other refusal 400. */
function answerState(call: HttpCall, text: string): StoreChangeCallback {
  return (change) => {
    if (change.kind === "ok") return call.json(text);
    const status = { unknown: 404, removed: 410, refused: 400, failed: 500 }[change.problem];
    call.fail(status, change.reason);
  };
}

/** `?force` says that the store's data is gone for good. */
function removeStore(call: HttpCall): void {
  const id = call.idParam(0, (message) => call.badInput(message));
  if (id === undefined) return;
  const force = call.query("force") ?? call.query("physically_destroyed");
  const destroyed = force !== undefined && force !== "false";
  call.parts.stores.remove(id, destroyed, answerState(call, "The store is set as Offline."));
}

function setState(call: HttpCall): void {
  const id = call.idParam(0, (message) => call.badInput(message));
  if (id === undefined) return;
  const state = call.query("state") ?? "";
  const answer = answerState(call, "The store's state is updated.");
  if (state.toLowerCase() === "up") return call.parts.stores.putInService(id, answer);
  if (state.toLowerCase() === "offline") return call.parts.stores.remove(id, false, answer);
  call.fail(400, `invalid state ${state}`);
}

function setLabels(call: HttpCall): void {
  const store = storeParam(call);
  if (store === undefined) return;
  const body = call.bodyObject();
  if (body === undefined) return;
  const labels: metapb.StoreLabel[] = [];
  for (const [key, value] of Object.entries(body)) {
    if (typeof value !== "string") {
      return call.badInput(`json: cannot unmarshal ${jsonKind(value)} into Go value of type string`);
    }
    if (key.toLowerCase() === "engine") return call.badInput("key can not be engine");
    if (!new RegExp(KEY_FORMAT).test(key)) return call.badInput(formatText(key, KEY_FORMAT));
    if (!new RegExp(VALUE_FORMAT).test(value)) return call.badInput(formatText(value, VALUE_FORMAT));
    labels.push({ key, value } as metapb.StoreLabel);
  }
  const force = call.query("force") !== undefined && call.query("force") !== "false";
  call.parts.stores.setLabels(store.id, labels, force, answerChange(call, "The store's label is updated."));
}

const formatText = (text: string, format: string): string => `${text} does not match format "${format}"`;

const answerChange =
  (call: HttpCall, text: string) =>
  (change: StoreChange): void =>
    change.kind === "ok" ? call.json(text) : call.fail(500, change.reason);

function deleteLabel(call: HttpCall): void {
  const store = storeParam(call);
  if (store === undefined) return;
  const key = call.body()?.parsed;
  if (key === undefined) return;
  if (typeof key !== "string") {
    return call.badInput(`json: cannot unmarshal ${jsonKind(key)} into Go value of type string`);
  }
  const text = `The label ${key} is deleted for store ${store.id}.`;
  call.parts.stores.deleteLabel(store.id, key, answerChange(call, text));
}

function setWeight(call: HttpCall): void {
  const id = call.idParam(0, (message) => call.badInput(message));
  if (id === undefined) return;
  const body = call.bodyObject();
  if (body === undefined) return;
  const { leader, region } = body;
  if (leader === undefined) return call.fail(400, "leader weight unset");
  if (region === undefined) return call.fail(400, "region weight unset");
  if (typeof leader !== "number" || leader < 0) return call.fail(400, "bad format leader weight");
  if (typeof region !== "number" || region < 0) return call.fail(400, "bad format region weight");
  call.parts.stores.setWeights(id, leader, region, answerChange(call, "The store's weight is updated."));
}

interface LimitBody {
  readonly perMinute: number;
  readonly kind: LimitKind | undefined;
  readonly labels: Readonly<Record<string, unknown>> | undefined;
}

/** Undefined when malformed: then the answer has been sent. */
function limitBody(call: HttpCall): LimitBody | undefined {
  const version = call.parts.config.text("schedule.store-limit-version");
  if (version !== "v1")
    return void call.fail(400, `current store limit version:${version} not support set limit`);
  if (call.query("ttlSecond") !== undefined) return void call.fail(400, "ttlSecond is deprecated");
  const body = call.bodyObject();
  if (body === undefined) return undefined;
  const { rate, type, labels } = body;
  if (rate === undefined) return void call.fail(400, "rate unset");
  if (typeof rate !== "number" || rate <= 0) {
    return void call.fail(400, "invalid rate which should be larger than 0");
  }
  if (type !== undefined && type !== "add-peer" && type !== "remove-peer") {
    return void call.fail(400, "unknown type");
  }
  const given =
    typeof labels === "object" && labels !== null ? (labels as Record<string, unknown>) : undefined;
  return { perMinute: rate, kind: type, labels: given };
}

function setLimit(call: HttpCall): void {
  const store = storeParam(call);
  if (store === undefined) return;
  const body = limitBody(call);
  if (body === undefined) return;
  setLimits(call, "The store's limit is updated.", (config) =>
    setStoreLimit(config, store.id, body.perMinute, body.kind),
  );
}

function setLimits(call: HttpCall, done: string, set: (config: PdConfig) => void): void {
  call.parts.settings.change(
    () => ({
      edit: (config) => {
        set(config);
        return undefined;
      },
    }),
    call.changed(done, (reason) => call.fail(400, reason)),
  );
}

function setAllLimits(call: HttpCall): void {
  const body = limitBody(call);
  if (body === undefined) return;
  const { perMinute, kind, labels } = body;
  const wanted = Object.entries(labels ?? {});
  setLimits(call, "Set store limit successfully.", (config) => {
    // Also of those that come.
    if (labels === undefined) config.defaultStoreLimit = withLimit(config.defaultStoreLimit, perMinute, kind);
    for (const store of call.parts.cluster.liveStores()) {
      const matches = wanted.every(([key, value]) => store.label(key) === value);
      if (matches) setStoreLimit(config, store.id, perMinute, kind);
    }
  });
}
