/** Schedulers over HTTP, and jobs on many regions: split, scatter, look again soon. (pd-rules 11.17, 11.35) */
import { fromHex } from "../base/index.js";
import { formatInstant } from "./duration.js";
import { type HttpCall, keyFromHex } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import { scatterMany } from "./scatter-many.js";

const RETRY_LIMIT = 5;
const ACCELERATED_MAX = 256;
const EVICTION = /^evict-leader-scheduler-[0-9]+$/;

export const SCHEDULER_ROUTES: readonly Route[] = [
  route("GET", "/schedulers", listSchedulers, "leader"),
  route("POST", "/schedulers", createScheduler),
  route("DELETE", "/schedulers/{name}", removeScheduler),
  route("POST", "/schedulers/{name}", pauseScheduler),
  route("GET", "/schedulers/diagnostic/{name}", diagnostic),
  route("GET", "/scheduler-config/evict-leader-scheduler/list", (call) => {
    const config = call.parts.scheduling.schedulers.evictLeaderConfig();
    if (config === undefined) return call.text(404, "404 page not found\n");
    call.json(config);
  }),
  route("GET", "/scheduler-config/evict-leader-scheduler/stores", (call) => {
    const config = call.parts.scheduling.schedulers.evictLeaderConfig();
    call.json(config === undefined ? [] : Object.keys(config["store-id-ranges"] as object).map(Number));
  }),
  route("GET", "/diagnose/region/{id}", (call) => notes(call, "region")),
  route("GET", "/diagnose/store/{id}", (call) => notes(call, "store")),
  route("POST", "/regions/split", splitRegions),
  route("POST", "/regions/scatter", scatterRegions),
  route("POST", "/regions/accelerate-schedule", accelerate),
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
  const change = call.parts.scheduling.schedulers.add(name, storeId);
  if (change.kind === "refused") return call.fail(change.status, change.reason);
  call.json(change.applied ? "The scheduler has been applied to the store." : "The scheduler is created.");
}

function removeScheduler(call: HttpCall): void {
  const name = call.param(0);
  const change = call.parts.scheduling.schedulers.remove(name);
  if (change.kind === "refused") return call.fail(change.status, change.reason);
  call.json(EVICTION.test(name) ? null : "The scheduler is removed.");
}

function pauseScheduler(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { delay } = body;
  if (typeof delay !== "number" || delay < 0) return call.fail(400, "missing pause time");
  const change = call.parts.scheduling.schedulers.pause(call.param(0), delay);
  if (change.kind === "refused") return call.fail(change.status, change.reason);
  call.json("Pause or resume the scheduler successfully.");
}

function diagnostic(call: HttpCall): void {
  const name = call.param(0);
  const { scheduling, context } = call.parts;
  call.json({
    name,
    status: scheduling.schedulers.status(name),
    summary: "",
    timestamp: Math.floor(context.env.clock.wallMs() / 1000),
  });
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
