/**
 * Watches BatchCommands from outside: how many requests a message brings, and how long each kind of request takes. One
 * look at the clock per message, not per request: the answers of one message count as long as its first of their kind.
 */
import type { Registry } from "prom-client";
import type { tikvpb } from "../proto/index.js";
import { type BoundMethod, bindMethod, type MethodDefinition, type RpcHandler } from "../proto/rpc.js";
import { exponential, LightHistogram } from "./histogram.js";
import { callLabel } from "./port-metrics.js";

/** Requests of one message that are not all answered. */
interface Outstanding {
  readonly firstId: number;
  readonly lastId: number;
  readonly atMs: number;
  left: number;
}

/** Beyond so many the oldest are forgotten: a client that never takes its answers. */
const OUTSTANDING_MAX = 4_096;
const SIZES: readonly number[] = exponential(1, 2, 12);

type Request = tikvpb.BatchCommandsRequest;
type Response = tikvpb.IBatchCommandsResponse;

/** The same methods, with BatchCommands watched. */
export function watchBatches(
  methods: readonly BoundMethod[],
  duration: LightHistogram,
  registry: Registry,
): BoundMethod[] {
  const requestSizes = new LightHistogram({
    name: "tikv_server_grpc_req_batch_size",
    help: "Requests in a message of BatchCommands",
    buckets: SIZES,
    registry,
  });
  const responseSizes = new LightHistogram({
    name: "tikv_server_grpc_resp_batch_size",
    help: "Answers in a message of BatchCommands",
    buckets: SIZES,
    registry,
  });
  return methods.map((method) => {
    if (!method.definition.path.endsWith("/BatchCommands")) return method;
    const handler = method.handler as RpcHandler<Request, Response>;
    const watched: RpcHandler<Request, Response> = (call) => {
      const watch = new StreamWatch(duration);
      const listener = handler({
        get metadata() {
          return call.metadata;
        },
        get peer() {
          return call.peer;
        },
        get pendingBytes() {
          return call.pendingBytes;
        },
        send(message) {
          responseSizes.observe(message.requestIds?.length ?? 0);
          watch.answered(message);
          call.send(message);
        },
        end: (status) => call.end(status),
      });
      return {
        onMessage(message) {
          requestSizes.observe(message.requestIds.length);
          watch.asked(message.requestIds);
          listener.onMessage(message);
        },
        onHalfClose: () => listener.onHalfClose(),
        onCancel: () => listener.onCancel(),
      };
    };
    return bindMethod(method.definition as MethodDefinition<Request, unknown, unknown, Response>, watched);
  });
}

class StreamWatch {
  readonly #duration: LightHistogram;
  #outstanding: Outstanding[] = [];

  constructor(duration: LightHistogram) {
    this.#duration = duration;
  }

  asked(ids: readonly number[]): void {
    if (ids.length === 0) return;
    if (this.#outstanding.length >= OUTSTANDING_MAX) this.#outstanding = [];
    const firstId = ids[0] as number;
    const lastId = ids[ids.length - 1] as number;
    this.#outstanding.push({ firstId, lastId, atMs: performance.now(), left: ids.length });
  }

  answered({ responses, requestIds }: Response): void {
    if (responses == null || requestIds == null) return;
    const nowMs = performance.now();
    let kind = "";
    let kindCount = 0;
    let sinceMs = nowMs;
    for (let i = 0; i < requestIds.length; i++) {
      const asked = this.#find(requestIds[i] as number);
      const next = kindOf(responses[i] as object);
      if (next !== kind) {
        this.#observe(kind, nowMs - sinceMs, kindCount);
        kind = next;
        kindCount = 0;
        sinceMs = asked?.atMs ?? nowMs;
      }
      kindCount++;
      if (asked !== undefined) asked.left--;
    }
    this.#observe(kind, nowMs - sinceMs, kindCount);
    if (this.#outstanding[0]?.left === 0)
      this.#outstanding = this.#outstanding.filter(({ left }) => left > 0);
  }

  #find(id: number): Outstanding | undefined {
    for (const asked of this.#outstanding) if (id >= asked.firstId && id <= asked.lastId) return asked;
    return undefined;
  }

  #observe(kind: string, ms: number, times: number): void {
    if (times > 0 && kind !== "") this.#duration.observe(ms / 1000, labelOf(kind), times);
  }
}

/** The one field that an answer has. */
function kindOf(response: object): string {
  for (const kind in response) return kind;
  return "";
}

const LABELS = new Map<string, string>();

function labelOf(kind: string): string {
  let label = LABELS.get(kind);
  if (label === undefined) {
    label = callLabel(kind);
    LABELS.set(kind, label);
  }
  return label;
}
