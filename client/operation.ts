/**
 * One operation on one region, tried until it succeeds, is refused, or its time is over. Every attempt finds the region
 * anew, so that splits and moves under way cost a retry and nothing else.
 *
 * Retry classes: reads, puts and deletes are sent again also when the first may have taken effect, after a
 * broken stream or
 * a stale command: the second has the same effect. A compare-and-swap is not: it ends with `undeterminedResult`.
 * Once one attempt's fate is unknown, so is the operation's until an attempt succeeds.
 */
import { type Env, misbehaves, RaftwerkError, type TimerHandle } from "../base/index.js";
import type { errorpb, kvrpcpb, metapb, RpcStatus } from "../proto/index.js";
import type { CachedRegion } from "./region-cache.js";
import type { Advice, RegionRouter } from "./region-router.js";
import type { StoreConnection } from "./store-connection.js";

/** What a store answered, in the fields that every answer has. */
export interface AnswerBody {
  readonly regionError: errorpb.IError | null;
}

export interface Attempt<A extends AnswerBody> {
  /** The region is the one that holds this key, or with `before` the largest smaller one. */
  readonly key: Uint8Array;
  readonly before?: boolean;
  /** What a second attempt would do after a first of unknown fate: nothing, the same again, or something else. */
  readonly effect: "none" | "repeatable" | "once";
  /** Sends one attempt; the returned function drops it. */
  send(
    target: { readonly address: string; readonly connection: StoreConnection; readonly timeoutMs: number },
    context: kvrpcpb.IContext,
    region: CachedRegion,
    callback: (answer: A | undefined, broken: RpcStatus | undefined) => void,
  ): () => void;
}

/** Longer than an election; a store that answers at all answers sooner, if only that it is busy. */
const ATTEMPT_TIMEOUT_MS = 3_000;

export interface OperationOptions {
  readonly timeoutMs: number;
  readonly onLost: "retry" | "fail";
  readonly signal: AbortSignal | undefined;
}

export class Operation<A extends AnswerBody> {
  readonly #env: Env;
  readonly #router: RegionRouter;
  readonly #attempt: Attempt<A>;
  /** After an attempt whose fate is unknown. */
  readonly #mayRepeat: boolean;
  readonly #deadlineMs: number;
  readonly #timeoutMs: number;
  readonly #resolve: (result: { readonly answer: A; readonly region: CachedRegion }) => void;
  readonly #reject: (error: Error) => void;
  #attempts = 0;
  #timer: TimerHandle | undefined;
  #drop: (() => void) | undefined;
  /** The attempt under way: where it went and when. */
  #sent:
    | {
        readonly region: CachedRegion;
        readonly asked: metapb.Peer;
        readonly address: string;
        readonly atMs: number;
      }
    | undefined;
  #lastTrouble = "";
  /** An attempt ended without telling whether it took effect. */
  #wasLost = false;
  isDone = false;

  constructor(
    env: Env,
    router: RegionRouter,
    attempt: Attempt<A>,
    options: OperationOptions,
    resolve: (result: { readonly answer: A; readonly region: CachedRegion }) => void,
    reject: (error: Error) => void,
  ) {
    this.#env = env;
    this.#router = router;
    this.#attempt = attempt;
    this.#timeoutMs = options.timeoutMs;
    const { effect } = attempt;
    this.#mayRepeat = effect === "none" || (effect === "repeatable" && options.onLost === "retry");
    this.#deadlineMs = env.clock.monotonicMs() + options.timeoutMs;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    this.#try();
  }

  /** Ends the operation if its time is over, and an attempt that stays without answer. */
  expire(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return this.#expireAttempt(nowMs);
    const text = `no success within ${this.#timeoutMs} ms after ${this.#attempts} attempts: ${this.#lastTrouble}`;
    if (this.#isUncertain && !this.#mayRepeat) this.#fail("undeterminedResult", text);
    else this.#fail("deadlineExceeded", text);
  }

  /** A store that hangs keeps its connections: only silence shows it. Another peer may lead by now. */
  #expireAttempt(nowMs: number): void {
    const sent = this.#sent;
    if (sent === undefined || !this.#mayRepeat || nowMs - sent.atMs < ATTEMPT_TIMEOUT_MS) return;
    this.#drop?.();
    this.#drop = undefined;
    this.#broken(sent.region, sent.asked, sent.address, {
      code: 4,
      message: `no answer for ${ATTEMPT_TIMEOUT_MS} ms`,
    });
  }

  abort(): void {
    this.#fail("cancelled", "the operation was aborted by its caller");
  }

  get #isUncertain(): boolean {
    return this.#attempt.effect !== "none" && (this.#wasLost || this.#sent !== undefined);
  }

  #fail(code: "deadlineExceeded" | "undeterminedResult" | "cancelled" | "rpcFailed", text: string): void {
    if (this.isDone) return;
    const retry = this.#isUncertain ? "unknown" : code === "rpcFailed" ? "never" : "safe";
    this.finish();
    this.#reject(new RaftwerkError(code, text, { retry }));
  }

  finish(): void {
    this.isDone = true;
    this.#drop?.();
    if (this.#timer !== undefined) this.#env.timers.clear(this.#timer);
  }

  #try(): void {
    if (this.isDone) return;
    this.#attempts++;
    if (misbehaves(this.#env, "a client forgets a region", 4)) this.#router.forget(this.#attempt.key);
    this.#router.locate(this.#attempt.key, this.#attempt.before === true, (error, region) => {
      if (this.isDone) return;
      if (region === undefined) return this.#troubled(error?.message ?? "PD knows no region for the key");
      if (misbehaves(this.#env, "a client asks another peer first", 4)) {
        region.leader = (region.leader + 1) % Math.max(1, region.peers.length);
      }
      const asked = region.peers[region.leader];
      this.#router.address(asked, (failed, address) => {
        if (this.isDone) return;
        if (address === undefined || asked === undefined) {
          this.#router.learnBroken(region, asked, this.#attempts);
          return this.#troubled(failed?.message ?? "PD does not know the store");
        }
        this.#send(region, asked, address);
      });
    });
  }

  #send(region: CachedRegion, asked: metapb.Peer, address: string): void {
    const target = {
      address,
      connection: this.#router.connection(address),
      timeoutMs: Math.max(1, this.#deadlineMs - this.#env.clock.monotonicMs()),
    };
    this.#sent = { region, asked, address, atMs: this.#env.clock.monotonicMs() };
    this.#drop = this.#attempt.send(target, this.#router.context(region, asked), region, (answer, broken) => {
      if (this.isDone) return;
      this.#drop = undefined;
      if (answer === undefined) return this.#broken(region, asked, address, broken);
      this.#sent = undefined;
      const error = answer.regionError;
      if (error == null) {
        region.isStale = false;
        this.finish();
        return this.#resolve({ answer, region });
      }
      const text = error.message ?? "region error";
      if (error.staleCommand != null) {
        this.#wasLost = true;
        if (!this.#mayRepeat) return this.#fail("undeterminedResult", `${address}: ${text}`);
      }
      this.#follow(this.#router.learn(region, asked, error, this.#attempts - 1), text);
    });
  }

  #broken(region: CachedRegion, asked: metapb.Peer, address: string, broken: RpcStatus | undefined): void {
    this.#sent = undefined;
    this.#wasLost = true;
    const text = `${address}: ${broken?.message ?? "no answer"}`;
    if (!this.#mayRepeat) return this.#fail("undeterminedResult", text);
    this.#follow(this.#router.learnBroken(region, asked, this.#attempts), text);
  }

  #troubled(text: string): void {
    this.#follow({ kind: "retry", delayMs: Math.min(50 * this.#attempts, 500) }, text);
  }

  #follow(advice: Advice, text: string): void {
    this.#lastTrouble = text;
    if (advice.kind === "refuse") return this.#fail("rpcFailed", advice.message);
    if (advice.delayMs === 0) return this.#try();
    this.#timer = this.#env.timers.set(advice.delayMs, () => this.#try());
  }
}
