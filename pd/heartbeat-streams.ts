/**
 * The streams over which stores report regions and receive commands. One stream serves all regions of a store; a
 * newer stream of the same store takes over. A command goes to the store of the region's leader; without a stream it
 * is dropped, the controller sends it again. (pd-rules 4.1 to 4.4)
 */
import { misbehaves, type TimerHandle } from "../base/index.js";
import type { pdpb, ServerCall } from "../proto/index.js";
import type { PdContext } from "./context.js";
import { okHeader } from "./rpc-answers.js";

const KEEP_ALIVE_MS = 60_000;
/** A store that does not read its commands loses its stream: it will open a new one when it lives. */
const PENDING_BYTES_MAX = 4 << 20;

export type HeartbeatCall = ServerCall<pdpb.IRegionHeartbeatResponse>;

export class HeartbeatStreams {
  readonly #context: PdContext;
  readonly #addressOf: (storeId: number) => string;
  readonly #streams = new Map<number, HeartbeatCall>();
  #timer: TimerHandle | undefined;

  /** `addressOf`: of a store, for the figures. */
  constructor(context: PdContext, addressOf: (storeId: number) => string = () => "") {
    this.#context = context;
    this.#addressOf = addressOf;
  }

  start(): void {
    this.#timer = this.#context.env.timers.set(KEEP_ALIVE_MS, () => {
      for (const storeId of [...this.#streams.keys()]) this.#sendTo(storeId, {});
      this.start();
    });
  }

  stop(): void {
    if (this.#timer !== undefined) this.#context.env.timers.clear(this.#timer);
    for (const call of this.#streams.values()) call.end({ code: 14, message: "not leader" });
    this.#streams.clear();
  }

  has(storeId: number): boolean {
    return this.#streams.has(storeId);
  }

  bind(storeId: number, call: HeartbeatCall): void {
    this.#streams.set(storeId, call);
  }

  unbind(call: HeartbeatCall): void {
    for (const [storeId, bound] of this.#streams) if (bound === call) this.#streams.delete(storeId);
  }

  /** To the store of `message.targetPeer`. */
  send(message: pdpb.IRegionHeartbeatResponse): void {
    const storeId = message.targetPeer?.storeId ?? 0;
    const status = this.#sendTo(storeId, message) ? "ok" : "err";
    this.#context.metrics.increment("pd_hbstream_region_message", {
      address: this.#addressOf(storeId),
      store: String(storeId),
      type: "push",
      status,
    });
  }

  #sendTo(storeId: number, message: pdpb.IRegionHeartbeatResponse): boolean {
    const call = this.#streams.get(storeId);
    if (call === undefined || misbehaves(this.#context.env, "PD loses an order to a store", 2)) return false;
    if (call.pendingBytes > PENDING_BYTES_MAX) {
      this.#streams.delete(storeId);
      call.end({ code: 4, message: "send heartbeat timeout" });
      return false;
    }
    call.send({ ...message, header: okHeader(this.#context) });
    return true;
  }
}
