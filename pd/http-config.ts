/**
 * Settings over HTTP. Names and forms are PD's; items that only PD's etcd or dashboard would read are shown with
 * fixed values, because deployment tools look for some of them. Each change is checked, stored and then made: all of
 * its items or none, unlike in PD, where those before a refused one stay changed. (pd-rules 11.26 to 11.31)
 */
import { type ConfigSection, PdConfig } from "./config.js";
import type { HttpCall, HttpParts } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import { TEMPORARY_SECONDS_MAX } from "./temporary-config.js";
import { formatVersion, parseVersion } from "./version.js";

/** Parts of PD's configuration that have nothing changeable here; setting one says so. */
const FIXED_PREFIXES = ["log", "replication-mode", "keyspace", "micro-service", "controller"];

const LIMIT_ITEMS = ["store-limit", "default-store-limit"];

const REPLICATION_MODE = {
  "replication-mode": "majority",
  "dr-auto-sync": {
    "label-key": "",
    primary: "",
    dr: "",
    "primary-replicas": 0,
    "dr-replicas": 0,
    "wait-store-timeout": "1m0s",
    "wait-recover-timeout": "0s",
    "pause-region-split": "false",
  },
};

export const CONFIG_ROUTES: readonly Route[] = [
  route("GET", "/config", (call) => call.json(wholeConfig(call.parts, call.parts.config)), "leader"),
  route("POST", "/config", setItems, "leader"),
  route("GET", "/config/default", (call) => call.json(wholeConfig(call.parts, new PdConfig())), "leader"),
  route(
    "GET",
    "/config/schedule",
    (call) => call.json(scheduleJson(call.parts, call.parts.config)),
    "leader",
  ),
  route("POST", "/config/schedule", (call) => setSection(call, "schedule"), "leader"),
  route("GET", "/config/pd-server", (call) => call.json(call.parts.config.section("pd-server")), "leader"),
  ...["replicate", "replication"].flatMap((name) => [
    route("GET", `/config/${name}`, (call) => call.json(call.parts.config.section("replication")), "leader"),
    route("POST", `/config/${name}`, (call) => setSection(call, "replication"), "leader"),
  ]),
  route("GET", "/config/label-property", (call) => call.json(labelProperties(call.parts.config)), "leader"),
  route("POST", "/config/label-property", setLabelProperty, "leader"),
  route("GET", "/config/cluster-version", (call) => call.json(call.parts.config.clusterVersion), "leader"),
  route("POST", "/config/cluster-version", setClusterVersion, "leader"),
  route("GET", "/config/replication-mode", (call) => call.json(REPLICATION_MODE), "leader"),
  route("POST", "/config/replication-mode", setReplicationMode, "leader"),
];

/** Limits of all stores are shown, also those that follow the default. */
function scheduleJson(parts: HttpParts, config: PdConfig): Record<string, unknown> {
  const json = config.section("schedule");
  const stores = config === parts.config ? parts.cluster.liveStores() : [];
  json["store-limit"] = Object.fromEntries(stores.map((store) => [store.id, config.storeLimit(store.id)]));
  return json;
}

function wholeConfig(parts: HttpParts, config: PdConfig): Record<string, unknown> {
  const { self } = parts.members;
  const clientUrls = self.clientUrls.join(",");
  const peerUrls = self.peerUrls.join(",");
  return {
    "client-urls": clientUrls,
    "peer-urls": peerUrls,
    "advertise-client-urls": clientUrls,
    "advertise-peer-urls": peerUrls,
    name: self.name,
    "data-dir": "",
    "force-new-cluster": false,
    "initial-cluster": `${self.name}=${peerUrls}`,
    "initial-cluster-state": "new",
    "initial-cluster-token": "pd-cluster",
    join: "",
    lease: 5,
    log: { level: "info", format: "text" },
    "tso-save-interval": "5s",
    "tso-update-physical-interval": "50ms",
    "enable-local-tso": false,
    metric: { job: self.name, address: "", interval: "15s" },
    schedule: scheduleJson(parts, config),
    replication: config.section("replication"),
    "pd-server": config.section("pd-server"),
    "cluster-version": config.clusterVersion,
    labels: {},
    security: { "cacert-path": "", "cert-path": "", "key-path": "", "redact-info-log": false },
    "label-property": labelProperties(config),
    "replication-mode": REPLICATION_MODE,
  };
}

const labelProperties = (config: PdConfig): Record<string, unknown> =>
  Object.fromEntries(config.labelProperties);

/** All items or none. */
function setItems(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const seconds = call.query("ttlSecond");
  if (seconds !== undefined) return setTemporary(call, body, seconds);
  const edit = (config: PdConfig): string | undefined =>
    config.atomically(() =>
      firstReason(Object.entries(body), ([path, value]) => setItem(config, path, value)),
    );
  call.parts.settings.change(
    () => ({ edit, apply: () => call.parts.scheduling.patrol.wake() }),
    call.changed("The config is updated.", (reason) => call.fail(400, reason)),
  );
}

/** Of the first that is refused. */
function firstReason<T>(items: readonly T[], set: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const reason = set(item);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** `?ttlSecond=n`: for so long; 0 ends it. (11.31) */
function setTemporary(call: HttpCall, items: Readonly<Record<string, unknown>>, text: string): void {
  const seconds = Number(text);
  if (!/^[0-9]{1,10}$/.test(text) || seconds > TEMPORARY_SECONDS_MAX)
    return call.fail(400, `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  call.parts.temporary.set(items, seconds, (problem) => {
    if (problem !== undefined) return call.fail(problem.status, problem.reason);
    call.parts.scheduling.patrol.wake();
    call.json(seconds === 0 ? "The ttl config is deleted." : "The ttl config is updated.");
  });
}

/** Why the item was refused; undefined when it is set. */
function setItem(config: PdConfig, path: string, value: unknown): string | undefined {
  const dot = path.indexOf(".");
  const prefix = dot < 0 ? path : path.slice(0, dot);
  if (prefix === "cluster-version") return setVersion(config, value);
  if (dot < 0) {
    const section = LIMIT_ITEMS.includes(path) ? "schedule" : PdConfig.sectionOf(path);
    if (section === undefined) {
      return isSection(path) ? setObject(config, path, value) : `config item ${path} not found`;
    }
    return set(config, section, path, value);
  }
  // Accepted without effect, as in PD.
  if (prefix === "label-property") return undefined;
  if (FIXED_PREFIXES.includes(prefix)) return `${prefix} cannot be changed in this version`;
  if (!isSection(prefix)) return `config prefix ${prefix} not found`;
  return set(config, prefix, path.slice(dot + 1), value);
}

const isSection = (name: string): name is ConfigSection =>
  name === "schedule" || name === "replication" || name === "pd-server";

function set(config: PdConfig, section: ConfigSection, item: string, value: unknown): string | undefined {
  const change = config.set(section, item, value);
  return change.kind === "ok" ? undefined : change.reason;
}

function setObject(config: PdConfig, section: ConfigSection, value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return `${section} must be an object`;
  return firstReason(Object.entries(value), ([item, itemValue]) => set(config, section, item, itemValue));
}

/** What is shown can be sent back whole: values that do not change are accepted. */
function setSection(call: HttpCall, section: ConfigSection): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  call.parts.settings.change(
    () => ({
      edit: (config) => config.atomically(() => setObject(config, section, body)),
      apply: () => call.parts.scheduling.patrol.wake(),
    }),
    call.changed("The config is updated.", (reason) =>
      reason.startsWith("json: ") ? call.badInput(reason) : call.fail(500, reason),
    ),
  );
}

/** `{action: set|delete, type, label-key, label-value}`: stores with such a label lead nothing. (11.32) */
function setLabelProperty(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { action, type, "label-key": key, "label-value": value } = body;
  for (const [name, text] of Object.entries({ action, type, "label-key": key, "label-value": value })) {
    if (typeof text !== "string" || text === "") return call.badInput(`${name} must be a text`);
  }
  if (action !== "set" && action !== "delete") return call.fail(500, `unknown action ${String(action)}`);
  const label = [type, key, value] as [string, string, string];
  const edit = (config: PdConfig): undefined => {
    if (action === "set") config.setLabelProperty(...label);
    else config.deleteLabelProperty(...label);
  };
  call.parts.settings.change(
    () => ({ edit }),
    call.changed("The config is updated.", (reason) => call.fail(500, reason)),
  );
}

/** One mode exists here; what is shown may be sent back. */
function setReplicationMode(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const mode = body["replication-mode"];
  if (mode !== undefined && mode !== "majority")
    return call.fail(500, `replication mode ${JSON.stringify(mode)} does not exist here: only majority does`);
  call.json("The replication mode config is updated.");
}

function setVersion(config: PdConfig, value: unknown): string | undefined {
  const version = typeof value === "string" ? parseVersion(value) : undefined;
  if (version === undefined) return `invalid cluster version ${JSON.stringify(value)}`;
  config.clusterVersion = formatVersion(version);
  return undefined;
}

function setClusterVersion(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const version = body["cluster-version"];
  if (version === undefined) return call.fail(400, "not set cluster-version");
  call.parts.settings.change(
    () => ({ edit: (config) => setVersion(config, version) }),
    call.changed("The cluster version is updated.", (reason) => call.fail(500, reason)),
  );
}
