/** Faults for `Stores`: links that are cut, and stores that stand still while time goes on. */
import type { Env, TimerHandle } from "../../base/index.js";
import type { BoundMethod, RpcNetwork } from "../../proto/index.js";
import { RPC_CODE } from "../../proto/rpc.js";

/** Which store may reach which address, and the calls that end when a link is cut. */
export class Links {
  readonly #env: Env;
  /** What a message takes on its way; messages of one call keep their order. */
  delayMs: () => number = () => 0;
  readonly #cut = new Set<string>();
  readonly #calls = new Map<() => void, string>();

  constructor(env: Env) {
    this.#env = env;
  }

  /** The network as one store sees it. */
  network(inner: RpcNetwork, from: string): RpcNetwork {
    return {
      channel: (address, lane) => {
        const link = `${from}>${address}`;
        const channel = inner.channel(address, lane);
        return {
          open: (method, listener, options) => {
            let ended = false;
            const end = (): void => {
              if (ended) return;
              ended = true;
              this.#calls.delete(end);
              call?.cancel();
              listener.onEnd({ code: RPC_CODE.unavailable, message: "the link is cut" });
            };
            const call = this.#cut.has(link)
              ? undefined
              : channel.open(
                  method,
                  {
                    onMessage: (message) => {
                      if (!ended) listener.onMessage(message);
                    },
                    onEnd: (status) => {
                      if (ended) return;
                      ended = true;
                      this.#calls.delete(end);
                      listener.onEnd(status);
                    },
                  },
                  options,
                );
            if (call === undefined) {
              this.#env.timers.nextTurn(end);
              return { pendingBytes: 0, send() {}, halfClose() {}, cancel() {} };
            }
            this.#calls.set(end, link);
            const delayMs = this.delayMs();
            if (delayMs === 0) return call;
            const later = (run: () => void): void =>
              void this.#env.timers.set(delayMs, () => {
                if (!ended) run();
              });
            return {
              get pendingBytes() {
                return call.pendingBytes;
              },
              send: (message) => later(() => call.send(message)),
              halfClose: () => later(() => call.halfClose()),
              cancel: () => call.cancel(),
            };
          },
        };
      },
    };
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
    for (const [end, link] of [...this.#calls]) if (link === `${from}>${to}`) end();
  }
  /** Cuts one store off from all others, both ways. */
  isolate(address: string, others: readonly string[]): void {
    for (const other of others) {
      this.cut(address, other);
      this.cut(other, address);
    }
  }
  mend(): void {
    this.#cut.clear();
  }
}

/** A process that can stand still: its timers and input wait, its clock does not. */
export class Pause {
  #paused = false;
  #waiting: (() => void)[] = [];

  env(inner: Env): Env {
    return {
      clock: inner.clock,
      random: inner.random,
      log: inner.log,
      timers: {
        set: (delayMs, callback): TimerHandle => inner.timers.set(delayMs, () => this.run(callback)),
        clear: (handle) => inner.timers.clear(handle),
        nextTurn: (callback) => inner.timers.nextTurn(() => this.run(callback)),
      },
    };
  }

  methods(inner: readonly BoundMethod[]): BoundMethod[] {
    return inner.map(({ definition, handler }) => ({
      definition,
      handler: (call) => {
        const listener = handler(call);
        return {
          onMessage: (message) => this.run(() => listener.onMessage(message)),
          onHalfClose: () => this.run(() => listener.onHalfClose()),
          onCancel: () => this.run(() => listener.onCancel()),
        };
      },
    }));
  }

  get isPaused(): boolean {
    return this.#paused;
  }
  pause(): void {
    this.#paused = true;
  }
  /** What waited happens in its order. */
  resume(): void {
    this.#paused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) run();
  }

  /** Now, or when the process goes on. */
  run(callback: () => void): void {
    if (this.#paused) this.#waiting.push(callback);
    else callback();
  }
}
