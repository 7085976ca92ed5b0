/** Schedulers over HTTP, and jobs on many regions: split, scatter, look again soon. (pd-rules 11.17, 11.35) */
import { fromHex } from "../base/index.js";
import { formatInstant } from "./duration.js";
import { type HttpCall, keyFromHex } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import { BALANCE_LEADER } from "./balance-leader.js";
import { BALANCE_REGION } from "./balance-region.js";
import { isCheckerName } from "./checkers/region-checker.js";
import type { RegionInfo } from "./region-info.js";
import { SHUFFLE_REGION, ShuffleRegion } from "./schedulers/shuffle.js";
import { scatterMany } from "./scatter-many.js";

const RETRY_LIMIT = 5;
const ACCELERATED_MAX = 256;
const EVICTION = /^(evict|grant)-leader-scheduler-[0-9]+$/;

export const SCHEDULER_ROUTES: readonly Route[] = [
  route("GET", "/schedulers", listSchedulers, "leader"),
  route("POST", "/schedulers", createScheduler),
  route("DELETE", "/schedulers/{name}", removeScheduler),
  route("POST", "/schedulers/{name}", pauseScheduler),
  route("GET", "/schedulers/diagnostic/{name}", diagnostic),
  route("GET", "/scheduler-config/{name}/list", schedulerSettings),
  route("POST", "/scheduler-config/{name}/config", changeSettings),
  route("DELETE", "/scheduler-config/{name}/delete/{store}", deleteSettingsStore),
  route("GET", "/scheduler-config/shuffle-region-scheduler/roles", (call) => {
    const scheduler = call.parts.scheduling.schedulers.get(SHUFFLE_REGION);
    if (scheduler instanceof ShuffleRegion) call.json(scheduler.roles);
    else call.text(404, NO_ROUTE);
  }),
  route("POST", "/scheduler-config/shuffle-region-scheduler/roles", (call) => {
    const body = call.body();
    if (body !== undefined) answerSettings(call, SHUFFLE_REGION, { roles: body.parsed });
  }),
  route("GET", "/scheduler-config/evict-leader-scheduler/stores", (call) => {
    const config = call.parts.scheduling.schedulers.evictLeaderConfig();
    call.json(config === undefined ? [] : Object.keys(config["store-id-ranges"] as object).map(Number));
  }),
  route("GET", "/checker/{name}", checkerStatus, "leader"),
  route("POST", "/checker/{name}", pauseChecker, "leader"),
  route("GET", "/diagnose/region/{id}", (call) => notes(call, "region")),
  route("GET", "/diagnose/store/{id}", (call) => notes(call, "store")),
  route("POST", "/regions/split", splitRegions),
  route("POST", "/regions/scatter", scatterRegions),
  route("POST", "/regions/accelerate-schedule", accelerate),
  route("POST", "/regions/accelerate-schedule/batch", accelerateMany),
];

function listSchedulers(call: HttpCall): void {
  const { schedulers } = call.parts.scheduling;
  switch (call.query("status")) {
    case "paused": {
      const withTimes = call.query("timestamp") !== undefined;
      const paused = schedulers
        .paused()
        .map(({ name, pausedAtWallMs, resumeAtWallMs }) =>
          withTimes
            ? { name, paused_at: formatInstant(pausedAtWallMs), resume_at: formatInstant(resumeAtWallMs) }
            : name,
        );
      return call.json(paused);
    }
    case "disabled":
      return call.json(schedulers.disabledNames());
    default:
      return call.json(schedulers.names());
  }
}

function createScheduler(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { name, store_id: storeId } = body;
  if (typeof name !== "string") return call.fail(400, "missing scheduler name");
  call.parts.scheduling.schedulers.add(name, storeId, body, (change) => {
    if (change.kind === "refused") return call.fail(change.status, change.reason);
    call.json(change.applied ? "The scheduler has been applied to the store." : "The scheduler is created.");
  });
}

function removeScheduler(call: HttpCall): void {
  const name = call.nameParam(0);
  if (name === undefined) return;
  call.parts.scheduling.schedulers.remove(name, (change) => {
    if (change.kind === "refused") return call.fail(change.status, change.reason);
    call.json(EVICTION.test(name) ? null : "The scheduler is removed.");
  });
}

function pauseScheduler(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { delay } = body;
  if (typeof delay !== "number" || delay < 0) return call.fail(400, "missing pause time");
  const name = call.nameParam(0);
  if (name === undefined) return;
  const change = call.parts.scheduling.schedulers.pause(name, delay);
  if (change.kind === "refused") return call.fail(change.status, change.reason);
  call.json("Pause or resume the scheduler successfully.");
}

const DIAGNOSABLE = [BALANCE_LEADER, BALANCE_REGION];

function diagnostic(call: HttpCall): void {
  const name = call.param(0);
  const { scheduling, context, config } = call.parts;
  if (!config.flag("schedule.enable-diagnostic")) {
    return call.fail(500, "[PD:diagnostic:ErrDiagnosticDisabled]diagnostic is disabled");
  }
  if (!DIAGNOSABLE.includes(name)) {
    return call.fail(500, `[PD:diagnostic:ErrSchedulerUndiagnosable]${name} hasn't supported diagnostic`);
  }
  const timestamp = Math.floor(context.env.clock.wallMs() / 1000);
  const scheduler = scheduling.schedulers.get(name);
  if (scheduler === undefined) return call.json({ name, status: "disabled", summary: "", timestamp });
  const result = scheduler.diagnosis?.result(name);
  if (result === undefined) {
    return call.fail(500, `[PD:diagnostic:ErrNoDiagnosticResult]${name} has no diagnostic result`);
  }
  call.json({ name, ...result, timestamp });
}

const NO_ROUTE = "404 page not found\n";

function schedulerSettings(call: HttpCall): void {
  const name = call.nameParam(0);
  if (name === undefined) return;
  const settings = call.parts.scheduling.schedulers.get(name)?.settings();
  if (settings === undefined) call.text(404, NO_ROUTE);
  else call.json(settings);
}

function changeSettings(call: HttpCall): void {
  const name = call.nameParam(0);
  const body = name === undefined ? undefined : call.bodyObject();
  if (name !== undefined && body !== undefined) answerSettings(call, name, body);
}

function answerSettings(call: HttpCall, name: string, body: Readonly<Record<string, unknown>>): void {
  call.parts.scheduling.schedulers.change(name, body, (reply) => {
    if (reply === undefined) call.text(404, NO_ROUTE);
    else call.json(reply.body, reply.status);
  });
}

function deleteSettingsStore(call: HttpCall): void {
  const id = call.idParam(1);
  if (id === undefined) return;
  call.parts.scheduling.schedulers.removeStore(call.param(0), id, (change) => {
    if (change.kind === "refused") return call.fail(change.status, change.reason);
    call.json(change.applied ? "The last store has been deleted" : null);
  });
}

const CHECKER_UNKNOWN = "[PD:checker:ErrCheckerNotFound]checker not found";

function checkerStatus(call: HttpCall): void {
  const name = call.param(0);
  if (!isCheckerName(name)) return call.fail(500, CHECKER_UNKNOWN);
  call.json({ paused: call.parts.scheduling.patrol.checker.isPaused(name) });
}

function pauseChecker(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { delay } = body;
  if (typeof delay !== "number") return call.fail(400, "missing pause time");
  if (delay < 0) return call.fail(400, "delay cannot be negative");
  const name = call.param(0);
  if (!isCheckerName(name)) return call.fail(500, CHECKER_UNKNOWN);
  call.parts.scheduling.patrol.checker.pause(name, delay);
  call.json(delay > 0 ? "Pause the checker successfully." : "Resume the checker successfully.");
}

/** Why nothing moves: what each checker and scheduler last said about a region or store. Not a route of PD. */
function notes(call: HttpCall, subject: "region" | "store"): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const found = call.parts.scheduling.notes.of(subject, id);
  call.json(
    found.map(({ author, reason, wallMs }) => ({ author, reason, time: formatInstant(Math.floor(wallMs)) })),
  );
}

const retryLimit = (body: Readonly<Record<string, unknown>>): number => {
  const value = body["retry_limit"];
  return typeof value === "number" && value >= 0 ? Math.floor(value) : RETRY_LIMIT;
};

/** Answers when the parts have been seen or no try is left. */
function splitRegions(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const given = body["split_keys"];
  if (given === undefined) return call.fail(400, "split_keys should be provided.");
  if (!Array.isArray(given)) return call.fail(400, "split_keys should be an array.");
  if (given.length === 0) return call.fail(400, "empty split keys.");
  const keys: Uint8Array[] = [];
  for (const text of given) {
    if (typeof text !== "string") return call.fail(400, "split_keys should contain only strings.");
    const key = fromHex(text);
    if (key === undefined) return call.fail(400, `split key ${text} is not in hex format`);
    keys.push(key);
  }
  call.parts.scheduling.splitter.split(keys, retryLimit(body), ({ percentage, regionIds }) =>
    call.json({ "processed-percentage": percentage, "regions-id": regionIds }),
  );
}

function scatterRegions(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const regionIds = wantedRegions(call, body);
  if (regionIds === undefined) return;
  const { view, scatterer } = call.parts.scheduling;
  const group = typeof body["group"] === "string" ? body["group"] : "";
  scatterMany(view, scatterer, { regionIds, group, retryLimit: retryLimit(body) }, (outcome) => {
    if (outcome.kind === "refused") return call.fail(500, outcome.reason);
    call.json({ "processed-percentage": outcome.percentage });
  });
}

/** `regions_id`, or all of a range in hex; undefined when malformed: then the answer has been sent. */
function wantedRegions(call: HttpCall, body: Readonly<Record<string, unknown>>): number[] | undefined {
  const ids = body["regions_id"];
  if (ids !== undefined) {
    if (Array.isArray(ids) && ids.every((id) => Number.isSafeInteger(id))) return ids as number[];
    return void call.fail(400, "regions_id is invalid");
  }
  return rangeOf(call, body, 0)?.map((region) => region.meta.id);
}

function rangeOf(call: HttpCall, body: Readonly<Record<string, unknown>>, limit: number) {
  const { start_key: start, end_key: end } = body;
  if (typeof start !== "string" || typeof end !== "string") {
    return void call.fail(400, "start_key or end_key is not string");
  }
  const startKey = keyFromHex(start);
  const endKey = keyFromHex(end);
  if (startKey === undefined || endKey === undefined) {
    return void call.fail(400, "start_key or end_key is not in hex format");
  }
  return call.parts.cluster.regions.scan(startKey, endKey, limit);
}

/** The patrol looks at these regions first. */
function accelerate(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const limit = call.limit(ACCELERATED_MAX, 10_240);
  if (limit === undefined) return;
  const regions = rangeOf(call, body, limit);
  if (regions === undefined) return;
  for (const region of regions) call.parts.scheduling.patrol.suspect(region.meta.id);
  const range = `[${body["start_key"] as string},${body["end_key"] as string})`;
  call.text(200, `Accelerate regions scheduling in a given range ${range}`);
}

/** A list of ranges; the limit is for each of them. */
function accelerateMany(call: HttpCall): void {
  const body = call.body();
  if (body === undefined) return;
  const limit = call.limit(ACCELERATED_MAX, 10_240);
  if (limit === undefined) return;
  const given = body.parsed;
  const isList = Array.isArray(given) && given.every((one) => typeof one === "object" && one !== null);
  if (!isList) return call.badInput("the body must be a list of {start_key, end_key}");
  const ranges = given as Record<string, unknown>[];
  const found: RegionInfo[] = [];
  for (const range of ranges) {
    const regions = rangeOf(call, range, limit);
    if (regions === undefined) return;
    found.push(...regions);
  }
  for (const region of found) call.parts.scheduling.patrol.suspect(region.meta.id);
  const texts = ranges.map((range) => `[${String(range["start_key"])},${String(range["end_key"])}), `);
  call.text(200, `Accelerate regions scheduling in given ranges: ${texts.join("")}`);
}
