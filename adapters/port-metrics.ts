/**
 * Calls and refusals of one port as metrics: of a store under TiKV's names, of PD under those of Go's gRPC middleware,
 * which PD exports.
 */
import { Counter, Histogram, type Registry } from "prom-client";
import type { MethodDefinition } from "../proto/rpc.js";
import type { PortObserver, RefusalReason } from "./port-observer.js";

type Definition = MethodDefinition<unknown, unknown>;

/** `/tikvpb.Tikv/RawBatchGet` -> `raw_batch_get`, as TiKV labels its calls. */
export function callLabel(path: string): string {
  return path
    .slice(path.lastIndexOf("/") + 1)
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1_$2")
    .toLowerCase();
}

export interface PortCounters {
  failed(type: string): void;
  refused(reason: RefusalReason): void;
}

/** `failedName`: the counter of calls that ended with another status than OK. */
export function portCounters(registry: Registry, failedName: string): PortCounters {
  const failed = new Counter({
    name: failedName,
    help: "Calls that ended with another status than OK",
    labelNames: ["type"],
    registers: [registry],
  });
  const refused = refusals(registry);
  return { failed: (type) => failed.inc({ type }), refused };
}

function refusals(registry: Registry): (reason: RefusalReason) => void {
  const refused = new Counter({
    name: "raftwerk_port_refused_total",
    help: "Connections and requests that got no further, by reason",
    labelNames: ["reason"],
    registers: [registry],
  });
  return (reason) => refused.inc({ reason });
}

const KINDS: Readonly<Record<Definition["kind"], string>> = {
  unary: "unary",
  serverStream: "server_stream",
  clientStream: "client_stream",
  bidi: "bidi_stream",
};

/** By status code, as the middleware spells them. */
const CODE_NAMES: readonly string[] = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

export function pdPortMetrics(registry: Registry): PortObserver {
  const labelNames = ["grpc_type", "grpc_service", "grpc_method"];
  const registers = [registry];
  const started = new Counter({
    name: "grpc_server_started_total",
    help: "Calls begun",
    labelNames,
    registers,
  });
  const handled = new Counter({
    name: "grpc_server_handled_total",
    help: "Calls ended, by status",
    labelNames: [...labelNames, "grpc_code"],
    registers,
  });
  const handling = new Histogram({
    name: "grpc_server_handling_seconds",
    help: "Time from the beginning of a call to its end",
    labelNames,
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  return {
    started: (method) => started.inc(namesOf(method)),
    ended(method, code, durationMs) {
      const names = namesOf(method);
      handled.inc({ ...names, grpc_code: CODE_NAMES[code] ?? "Unknown" });
      handling.observe(names, durationMs / 1000);
    },
    refused: refusals(registry),
  };
}

function namesOf({ path, kind }: Definition): Record<string, string> {
  const [, service = "", method = ""] = path.split("/");
  return { grpc_type: KINDS[kind], grpc_service: service, grpc_method: method };
}
