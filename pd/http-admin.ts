/**
 * What administrators and restore tools ask of PD over HTTP: stale records dropped, the marks under which data is
 * restored, ids raised above what was restored. What needs a part that does not exist here says so. (pd-rules 11.46,
 * 11.47)
 */
import { utf8 } from "../base/index.js";
import { readMark, type RestoreMark, writeGuarded } from "./context.js";
import { type HttpCall, LOG_LEVELS } from "./http-call.js";
import { type Route, route } from "./http-route.js";

const MARKS: readonly RestoreMark[] = ["snapshot-recovering", "pitr-restore-mode"];
/** Numbers are exact up to 2^53; the rest of that is for what the cluster will allocate. */
const ID_MAX = 2 ** 52;
const PROFILES = "profile trace symbol heap mutex allocs block goroutine threadcreate zip".split(" ");

/** Plain text with the status for what this PD will never do. */
const never = (method: Route["method"], path: string, why: string, status: number): Route =>
  route(method, path, (call) => call.text(status, `${why}\n`), "any");

/** Regions whose quorum is lost for good: of PD's words only those that change nothing. */
const UNSAFE = "/admin/unsafe/remove-failed-stores";

export const ADMIN_ROUTES: readonly Route[] = [
  route("POST", "/admin/log", setLogLevel, "any"),
  route("DELETE", "/admin/cache/region/{id}", dropFromCache),
  route("DELETE", "/admin/storage/region/{id}", dropFromStorage),
  route("DELETE", "/admin/cache/regions", (call) => {
    const { cluster } = call.parts;
    for (const region of [...cluster.regions.all()]) cluster.removeRegion(region.meta.id);
    call.json("All regions are removed from server cache.");
  }),
  ...MARKS.flatMap((mark) => [
    route("GET", `/admin/cluster/markers/${mark}`, (call) => showMark(call, mark), "leader"),
    route("POST", `/admin/cluster/markers/${mark}`, (call) => setMark(call, mark, true), "leader"),
    route("DELETE", `/admin/cluster/markers/${mark}`, (call) => setMark(call, mark, false), "leader"),
  ]),
  route("POST", "/admin/base-alloc-id", raiseIds, "leader"),
  never(
    "POST",
    "/admin/persist-file/{name}",
    "no file is stored: only dr-auto-sync has one, and this PD replicates to a majority",
    400,
  ),
  never(
    "POST",
    UNSAFE,
    "unsafe recovery is not available in this version: no store can be told to lead a region without its quorum",
    501,
  ),
  route("GET", `${UNSAFE}/show`, (call) => call.json([{ info: "No on-going recovery." }]), "leader"),
  route("DELETE", UNSAFE, (call) => call.fail(400, "no unsafe recovery is running"), "leader"),
  never("POST", "/plugin", "load plugin is disabled: this PD takes no plugins", 501),
  never("DELETE", "/plugin", "unload plugin is disabled: this PD takes no plugins", 501),
  never(
    "POST",
    "/tso/allocator/transfer/{name}",
    "there is no local TSO allocator: all timestamps come from the leader",
    400,
  ),
  ...PROFILES.map((name) =>
    never(
      "ANY",
      `/debug/pprof/${name}`,
      "no profile of Go's: this PD runs on Node; start it with --cpu-prof, or attach Node's inspector (SIGUSR1)",
      501,
    ),
  ),
];

/** PD's own names, two of which are others here. Of this process alone; the next start has the one it is given. */
function setLogLevel(call: HttpCall): void {
  const body = call.body();
  if (body === undefined) return;
  const { parsed } = body;
  const named = parsed === "warning" ? "warn" : parsed === "fatal" ? "error" : parsed;
  const level = LOG_LEVELS.find((known) => known === named);
  if (level === undefined)
    return call.fail(
      400,
      `log level ${JSON.stringify(parsed).slice(0, 50)} is illegal: use ${LOG_LEVELS.join(", ")}`,
    );
  const { setLogLevel: set, context } = call.parts;
  if (set === undefined)
    return call.fail(400, "the log level cannot be changed at run time: start PD with another one");
  set(level);
  context.env.log.warn("the log level is changed", { to: level });
  call.json("The log level is updated.");
}

/** For records that nobody will report again; a living region is back with its next heartbeat. */
function dropFromCache(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  call.parts.cluster.removeRegion(id);
  call.json("The region is removed from server cache.");
}

function dropFromStorage(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const { cluster } = call.parts;
  if (cluster.regions.byId(id) === undefined) return call.fail(400, "failed to get target region from cache");
  cluster.removeRegion(id);
  call.json("The region is removed from server cache and region meta storage.");
}

function showMark(call: HttpCall, mark: RestoreMark): void {
  readMark(call.parts.context, mark, (error, marked) => {
    if (error !== undefined) return call.text(500, error.message);
    call.json({ marked });
  });
}

function setMark(call: HttpCall, mark: RestoreMark, isSet: boolean): void {
  const { context } = call.parts;
  const key = context.keys.marker(mark);
  writeGuarded(
    context,
    [isSet ? { kind: "put", key, value: utf8("on") } : { kind: "delete", key }],
    (error) => (error === undefined ? call.text(200, "") : call.text(500, error.message)),
  );
}

/** `{"id": "123"}`; only while a snapshot is being restored: ids that are lost are lost for good. */
function raiseIds(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { id } = body;
  if (typeof id !== "string" || id === "") return call.text(400, "invalid id value");
  if (!/^[0-9]+$/.test(id) || Number(id) > ID_MAX)
    return call.text(400, `strconv.ParseUint: parsing ${JSON.stringify(id)}: invalid syntax`);
  const { context } = call.parts;
  readMark(context, "snapshot-recovering", (error, marked) => {
    if (error !== undefined) return call.text(500, error.message);
    if (!marked) return call.text(403, "can only recover alloc id when recovering mark marked");
    context.ids.raiseTo(Number(id), (failed) => {
      if (failed === undefined) call.text(200, "");
      else call.text(500, failed.message);
    });
  });
}
