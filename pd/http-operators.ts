/** Operators over HTTP: those that run, those that ended, new ones by hand, and taking them back. (pd-rules 11.2) */
import type { HttpCall } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import type { Operator } from "./operator.js";
import { addOperator, SCATTER_REGIONS, scatterRegions } from "./operator-commands.js";

const NOT_FOUND = "operator not found";
const KINDS = ["admin", "leader", "region"] as const;
const CANCELED = "admin stop";

export const OPERATOR_ROUTES: readonly Route[] = [
  route("GET", "/operators", listOperators, "leader"),
  route("POST", "/operators", createOperator, "leader"),
  route("DELETE", "/operators", cancelAll, "leader"),
  route("GET", "/operators/records", listRecords, "leader"),
  route("GET", "/operators/{region}", operatorOfRegion, "leader"),
  route("DELETE", "/operators/{region}", cancelOne, "leader"),
];

/** `?kind=` may be given several times; `waiting` are those that have not begun. */
function listOperators(call: HttpCall): void {
  const kinds = call.queries("kind");
  const wanted = KINDS.filter((kind) => kinds.includes(kind));
  const { controller } = call.parts.scheduling;
  const operators = controller
    .operators()
    .filter((operator) => kinds.length === 0 || wanted.some((kind) => operator.kinds.includes(kind)));
  if (kinds.includes("waiting")) operators.push(...controller.waiting.all());
  call.json(operators.map((operator) => operatorJson(call, operator)));
}

/** `?object` asks for fields in place of the text. */
function operatorJson(call: HttpCall, operator: Operator): unknown {
  if (call.query("object") === undefined) return operator.toText();
  return {
    desc: operator.desc,
    brief: operator.brief,
    region_id: operator.regionId,
    region_epoch: { conf_ver: operator.epoch.confVer, version: operator.epoch.version },
    kind: operator.kinds.join(","),
    timeout: operator.timeoutMs * 1e6,
    status: operator.statusText,
  };
}

function createOperator(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  if (body["name"] === SCATTER_REGIONS) {
    return scatterRegions(call.parts.scheduling, body, (result) => {
      if (result.kind === "refused") return call.fail(result.status, result.reason);
      call.json({ "processed-percentage": result.percentage, error: result.error });
    });
  }
  const result = addOperator(call.parts.scheduling, body);
  if (result.kind === "refused") return call.fail(result.status, result.reason);
  call.json("The operator is created.");
}

function cancelAll(call: HttpCall): void {
  const { controller } = call.parts.scheduling;
  for (const operator of controller.operators()) controller.cancel(operator.regionId, CANCELED);
  call.json("All pending operators are canceled.");
}

function listRecords(call: HttpCall): void {
  const from = call.query("from") ?? "0";
  if (!/^-?[0-9]+$/.test(from)) {
    return call.fail(400, `strconv.ParseInt: parsing ${JSON.stringify(from)}: invalid syntax`);
  }
  const records = call.parts.scheduling.controller.records(Number(from) * 1000);
  if (records.length === 0) return call.fail(500, NOT_FOUND);
  call.json(records.map((record) => record.toRecordText()));
}

function operatorOfRegion(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const { controller } = call.parts.scheduling;
  const operator = controller.operator(id) ?? controller.record(id);
  if (operator === undefined) return call.fail(500, NOT_FOUND);
  const object = call.query("object") !== undefined;
  call.json(
    object ? operatorJson(call, operator) : `status: ${operator.statusText}, operator: ${operator.toText()}`,
  );
}

function cancelOne(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  if (!call.parts.scheduling.controller.cancel(id, CANCELED)) return call.fail(500, NOT_FOUND);
  call.json("The pending operator is canceled.");
}
