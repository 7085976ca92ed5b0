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
import type { Answer, AnswerTaker } from "./pending-answers.js";
import type { CachedRegion } from "./region-cache.js";
import type { Advice, RegionRouter } from "./region-router.js";
import type { Command, StoreConnection } from "./store-connection.js";

/** What a store answered, in the fields that every answer has. */
export interface AnswerBody {
  readonly regionError: errorpb.IError | null;
}

interface AttemptBase {
  /** The region is the one that holds this key, or with `before` the largest smaller one. */
  readonly key: Uint8Array;
  readonly before: boolean;
  /** What a second attempt would do after a first of unknown fate: nothing, the same again, or something else. */
  readonly effect: "none" | "repeatable" | "once";
}

/** A command of a batch. */
export interface CommandAttempt extends AttemptBase {
  readonly kind: "command";
  /** Of the answer. */
  readonly name: keyof Answer;
  /** Roughly what the command weighs. */
  readonly bytes: number;
  build(context: kvrpcpb.IContext, region: CachedRegion): Command;
}

/** A call of its own. */
export interface CallAttempt<A extends AnswerBody> extends AttemptBase {
  readonly kind: "call";
  /** Sends one attempt; the returned function drops it. */
  send(
    address: string,
    timeoutMs: number,
    context: kvrpcpb.IContext,
    callback: (answer: A | undefined, broken: RpcStatus | undefined) => void,
  ): () => void;
}

export type Attempt<A extends AnswerBody> = CommandAttempt | CallAttempt<A>;

/** Longer than an election; a store that answers at all answers sooner, if only that it is busy. */
const ATTEMPT_TIMEOUT_MS = 3_000;

export interface OperationOptions {
  readonly onLost?: "retry" | "fail";
}

export class Operation<A extends AnswerBody> implements AnswerTaker {
  readonly #env: Env;
  readonly #router: RegionRouter;
  readonly #attempt: Attempt<A>;
  /** After an attempt whose fate is unknown. */
  readonly #mayRepeat: boolean;
  readonly #deadlineMs: number;
  readonly #timeoutMs: number;
  readonly #resolve: (answer: A, region: CachedRegion) => void;
  readonly #reject: (error: Error) => void;
  #attempts = 0;
  #timer: TimerHandle | undefined;
  /** The attempt under way: where it went and when. `#asked` is undefined when there is none. */
  #region: CachedRegion | undefined;
  #asked: metapb.Peer | undefined;
  #address = "";
  #sentMs = 0;
  /** To drop it: the command's place, or the call's own way. */
  #connection: StoreConnection | undefined;
  #commandId = 0;
  #cancel: (() => void) | undefined;
  #lastTrouble = "";
  /** An attempt ended without telling whether it took effect. */
  #wasLost = false;
  isDone = false;
  /** Its place among the operations under way; theirs to use. */
  place = -1;
  /** Told once, when the operation is done. */
  ended: ((operation: this) => void) | undefined;

  constructor(
    env: Env,
    router: RegionRouter,
    attempt: Attempt<A>,
    timeoutMs: number,
    options: OperationOptions,
    resolve: (answer: A, region: CachedRegion) => void,
    reject: (error: Error) => void,
  ) {
    this.#env = env;
    this.#router = router;
    this.#attempt = attempt;
    this.#timeoutMs = timeoutMs;
    const { effect } = attempt;
    this.#mayRepeat = effect === "none" || (effect === "repeatable" && options.onLost !== "fail");
    this.#deadlineMs = env.clock.monotonicMs() + timeoutMs;
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
    if (this.#asked === undefined || !this.#mayRepeat || nowMs - this.#sentMs < ATTEMPT_TIMEOUT_MS) return;
    this.#drop();
    this.answered(undefined, { code: 4, message: `no answer for ${ATTEMPT_TIMEOUT_MS} ms` });
  }

  abort(): void {
    this.#fail("cancelled", "the operation was aborted by its caller");
  }

  get #isUncertain(): boolean {
    return this.#attempt.effect !== "none" && (this.#wasLost || this.#asked !== undefined);
  }

  #fail(code: "deadlineExceeded" | "undeterminedResult" | "cancelled" | "rpcFailed", text: string): void {
    if (this.isDone) return;
    const retry = this.#isUncertain ? "unknown" : code === "rpcFailed" ? "never" : "safe";
    this.finish();
    this.#reject(new RaftwerkError(code, text, { retry }));
  }

  finish(): void {
    this.isDone = true;
    this.#drop();
    if (this.#timer !== undefined) this.#env.timers.clear(this.#timer);
    this.ended?.(this);
  }

  #drop(): void {
    this.#connection?.abandon(this.#commandId);
    this.#connection = undefined;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #try(): void {
    if (this.isDone) return;
    this.#attempts++;
    if (misbehaves(this.#env, "a client forgets a region", 4)) this.#router.forget(this.#attempt.key);
    const { key, before } = this.#attempt;
    const known = this.#router.fresh(key, before);
    if (known !== undefined) return this.#located(undefined, known);
    this.#router.locate(key, before, (error, region) => this.#located(error, region));
  }

  #located(error: Error | undefined, region: CachedRegion | undefined): void {
    if (this.isDone) return;
    if (region === undefined) return this.#troubled(error?.message ?? "PD knows no region for the key");
    if (misbehaves(this.#env, "a client asks another peer first", 4)) {
      region.leader = (region.leader + 1) % Math.max(1, region.peers.length);
    }
    const asked = this.#router.peerToAsk(region);
    const known = this.#router.knownAddress(asked);
    if (known !== undefined && asked !== undefined) return this.#send(region, asked, known);
    this.#router.address(asked, (failed, address) => {
      if (this.isDone) return;
      if (address === undefined || asked === undefined) {
        this.#router.learnBroken(region, asked, this.#attempts);
        return this.#troubled(failed?.message ?? "PD does not know the store");
      }
      this.#send(region, asked, address);
    });
  }

  #send(region: CachedRegion, asked: metapb.Peer, address: string): void {
    const nowMs = this.#env.clock.monotonicMs();
    this.#region = region;
    this.#asked = asked;
    this.#address = address;
    this.#sentMs = nowMs;
    const attempt = this.#attempt;
    const context = this.#router.context(region, asked);
    if (attempt.kind === "command") {
      const connection = this.#router.connection(address);
      this.#connection = connection;
      this.#commandId = connection.send(attempt.build(context, region), attempt.bytes, this);
      return;
    }
    const number = this.#attempts;
    const timeoutMs = Math.max(1, this.#deadlineMs - nowMs);
    this.#cancel = attempt.send(address, timeoutMs, context, (answer, broken) => {
      // Of the attempt under way, not of one that was given up.
      if (number === this.#attempts && this.#asked !== undefined) this.#take(answer, broken);
    });
  }

  answered(answer: Answer | undefined, broken: RpcStatus | undefined): void {
    const { kind } = this.#attempt;
    const body = kind === "command" ? answer?.[this.#attempt.name] : undefined;
    this.#take((body ?? undefined) as A | undefined, broken);
  }

  /** What became of the attempt under way. */
  #take(answer: A | undefined, broken: RpcStatus | undefined): void {
    const region = this.#region;
    const asked = this.#asked;
    if (this.isDone || region === undefined || asked === undefined) return;
    this.#connection = undefined;
    this.#cancel = undefined;
    this.#asked = undefined;
    if (answer === undefined) return this.#broken(region, asked, broken);
    this.#router.reached(asked);
    const error = answer.regionError;
    if (error == null) {
      region.isStale = false;
      this.finish();
      return this.#resolve(answer, region);
    }
    const text = error.message ?? "region error";
    if (error.staleCommand != null) {
      this.#wasLost = true;
      if (!this.#mayRepeat) return this.#fail("undeterminedResult", `${this.#address}: ${text}`);
    }
    this.#follow(this.#router.learn(region, asked, error, this.#attempts - 1), text);
  }

  #broken(region: CachedRegion, asked: metapb.Peer, broken: RpcStatus | undefined): void {
    this.#wasLost = true;
    const text = `${this.#address}: ${broken?.message ?? "no answer"}`;
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
