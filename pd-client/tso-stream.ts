/**
 * Timestamps over one stream. All requests of a turn become one message with their count; PD answers with the last of
 * that many timestamps. A broken stream fails the requests under way: they may be asked again, timestamps being free.
 */
import { type Env, RaftwerkError } from "../base/index.js";
import { type ClientCall, PdService, type pdpb, type RpcNetwork } from "../proto/index.js";
import type { PdLeaderSource } from "./region-heartbeats.js";

export type TimestampCallback = (error: Error | undefined, timestamp: bigint | undefined) => void;

const LOGICAL_BITS = 18n;

export class TsoStream {
  readonly #env: Env;
  readonly #pd: PdLeaderSource;
  readonly #network: RpcNetwork;
  #call: ClientCall<pdpb.ITsoRequest> | undefined;
  #waiting: TimestampCallback[] = [];
  #underWay: TimestampCallback[][] = [];
  #scheduled = false;
  #closed = false;

  constructor(env: Env, pd: PdLeaderSource, network: RpcNetwork) {
    this.#env = env;
    this.#pd = pd;
    this.#network = network;
  }

  /** (physical ms << 18) + logical; greater than every timestamp given out before the call. */
  get(callback: TimestampCallback): void {
    if (this.#closed)
      return callback(new RaftwerkError("closed", "the stream is closed", { retry: "never" }), undefined);
    this.#waiting.push(callback);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#env.timers.nextTurn(() => this.#flush());
  }

  close(): void {
    this.#closed = true;
    this.#call?.cancel();
    this.#fail("the stream is closed");
  }

  #flush(): void {
    this.#scheduled = false;
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) return;
    const call = this.#call ?? this.#open();
    this.#underWay.push(batch);
    call.send({ header: { clusterId: this.#pd.clusterId }, count: batch.length });
  }

  #open(): ClientCall<pdpb.ITsoRequest> {
    const call = this.#network.channel(this.#pd.leaderAddress).open(PdService.Tso, {
      onMessage: (response) => this.#onMessage(response),
      onEnd: (status) => {
        if (this.#call !== call) return;
        this.#call = undefined;
        this.#fail(status.message);
        this.#pd.refreshMembers(() => {});
      },
    });
    this.#call = call;
    return call;
  }

  #onMessage(response: pdpb.TsoResponse): void {
    const batch = this.#underWay.shift();
    if (batch === undefined) return;
    const physical = BigInt(response.timestamp?.physical ?? 0n);
    const last = BigInt(response.timestamp?.logical ?? 0n);
    const first = last - BigInt(batch.length) + 1n;
    for (let i = 0; i < batch.length; i++) {
      (batch[i] as TimestampCallback)(undefined, (physical << LOGICAL_BITS) + first + BigInt(i));
    }
  }

  #fail(reason: string): void {
    const batches = [...this.#underWay, this.#waiting];
    this.#underWay = [];
    this.#waiting = [];
    const error = new RaftwerkError("pdUnavailable", `no timestamp: ${reason}`, { retry: "safe" });
    for (const batch of batches) for (const callback of batch) callback(error, undefined);
  }
}
