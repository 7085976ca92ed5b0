/**
 * Timestamps over one stream. All requests of a turn become one message with their count; PD answers with the last of
 * that many timestamps. When the stream breaks, or its PD is silent and another one leads, what is under way is asked
 * again there: a timestamp that nobody received costs nothing, and the new one is greater.
 */
import { type Env, RaftwerkError, type TimerHandle } from "../base/index.js";
import { type ClientCall, PdService, type pdpb, type RpcNetwork } from "../proto/index.js";
import type { PdLeaderSource } from "./region-heartbeats.js";

export type TimestampCallback = (error: Error | undefined, timestamp: bigint | undefined) => void;

const LOGICAL_BITS = 18n;
/** A request without answer for this long makes the others be asked who leads. */
const DOUBT_MS = 500;
/** How often what is under way is looked at. */
const WATCH_MS = 250;
/** A request without answer for so long is asked again on a new stream, though the same PD leads. */
const SILENT_MS = 3_000;
const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 200;
const GIVE_UP_MS = 20_000;
/** PD takes fewer than 2^18 at once. */
const BATCH_MAX = 1 << 17;

interface Waiting {
  readonly callback: TimestampCallback;
  readonly sinceMs: number;
}

export class TsoStream {
  readonly #env: Env;
  readonly #pd: PdLeaderSource;
  readonly #network: RpcNetwork;
  #call: ClientCall<pdpb.ITsoRequest> | undefined;
  #address = "";
  #waiting: Waiting[] = [];
  #underWay: { readonly batch: readonly Waiting[]; readonly sentMs: number }[] = [];
  #isScheduled = false;
  #isRetrying = false;
  #retryMs = RETRY_MS_MIN;
  #watchdog: TimerHandle | undefined;
  #closed = false;

  constructor(env: Env, pd: PdLeaderSource, network: RpcNetwork) {
    this.#env = env;
    this.#pd = pd;
    this.#network = network;
    pd.onLeaderChanged(() => {
      if (this.#call !== undefined && this.#address !== pd.leaderAddress) this.#broken("another PD leads", 0);
    });
  }

  /** (physical ms << 18) + logical; greater than every timestamp given out before the call. */
  get(callback: TimestampCallback): void {
    if (this.#closed)
      return callback(new RaftwerkError("closed", "the stream is closed", { retry: "never" }), undefined);
    this.#waiting.push({ callback, sinceMs: this.#env.clock.monotonicMs() });
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#call?.cancel();
    this.#call = undefined;
    if (this.#watchdog !== undefined) this.#env.timers.clear(this.#watchdog);
    const all = [...this.#underWay.flatMap(({ batch }) => batch), ...this.#waiting];
    this.#underWay = [];
    this.#waiting = [];
    fail(all, "the stream is closed");
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isRetrying) return;
    this.#isScheduled = true;
    this.#env.timers.nextTurn(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#closed || this.#isRetrying) return;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.length <= BATCH_MAX ? this.#waiting : this.#waiting.slice(0, BATCH_MAX);
      this.#waiting = batch === this.#waiting ? [] : this.#waiting.slice(BATCH_MAX);
      const call = this.#call ?? this.#open();
      this.#underWay.push({ batch, sentMs: this.#env.clock.monotonicMs() });
      call.send({ header: { clusterId: this.#pd.clusterId }, count: batch.length });
    }
    this.#watch();
  }

  #open(): ClientCall<pdpb.ITsoRequest> {
    this.#address = this.#pd.leaderAddress;
    const call = this.#network.channel(this.#address).open(PdService.Tso, {
      onMessage: (response) => {
        if (this.#call === call) this.#onMessage(response);
      },
      onEnd: (status) => {
        if (this.#call === call) this.#broken(status.message, this.#retryMs);
      },
    });
    this.#call = call;
    return call;
  }

  /** Everything under way waits again, before what came later. */
  #broken(reason: string, delayMs: number): void {
    const call = this.#call;
    this.#call = undefined;
    call?.cancel();
    if (this.#closed) return;
    this.#waiting = [...this.#underWay.flatMap(({ batch }) => batch), ...this.#waiting];
    this.#underWay = [];
    this.#giveUp(reason);
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
    const again = (): void => {
      this.#isRetrying = false;
      this.#flush();
    };
    this.#env.timers.set(delayMs, () => (delayMs === 0 ? again() : this.#pd.refreshMembers(again)));
  }

  #giveUp(reason: string): void {
    const oldest = this.#env.clock.monotonicMs() - GIVE_UP_MS;
    const late = this.#waiting.filter(({ sinceMs }) => sinceMs < oldest);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter(({ sinceMs }) => sinceMs >= oldest);
    fail(late, reason);
  }

  /** As long as something is under way. */
  #watch(): void {
    if (this.#watchdog !== undefined || this.#underWay.length === 0) return;
    this.#watchdog = this.#env.timers.set(WATCH_MS, () => {
      this.#watchdog = undefined;
      const sentMs = this.#underWay[0]?.sentMs ?? Number.POSITIVE_INFINITY;
      const nowMs = this.#env.clock.monotonicMs();
      if (nowMs - sentMs >= SILENT_MS) return this.#broken("PD is silent", RETRY_MS_MIN);
      // A change of leader that this brings out ends the stream (`onLeaderChanged`).
      if (nowMs - sentMs >= DOUBT_MS) this.#pd.doubtLeader(() => {});
      this.#watch();
    });
  }

  #onMessage(response: pdpb.TsoResponse): void {
    const batch = this.#underWay.shift()?.batch;
    if (batch === undefined) return;
    this.#retryMs = RETRY_MS_MIN;
    const physical = BigInt(response.timestamp?.physical ?? 0n);
    const last = BigInt(response.timestamp?.logical ?? 0n);
    const first = (physical << LOGICAL_BITS) + last - BigInt(batch.length) + 1n;
    for (let i = 0; i < batch.length; i++) (batch[i] as Waiting).callback(undefined, first + BigInt(i));
  }
}

function fail(waiting: readonly Waiting[], reason: string): void {
  const error = new RaftwerkError("pdUnavailable", `no timestamp: ${reason}`, { retry: "safe" });
  for (const { callback } of waiting) callback(error, undefined);
}
