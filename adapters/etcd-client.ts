/**
 * Connections to the nodes of an etcd cluster, and the choice of one. etcd3 is used for its protocol alone: each
 * node has a client of its own without retries, because what may be repeated, and how long a node may be silent, is
 * for PD to say.
 *
 * Writes go to one node, the current one. A probe asks it every half second for a linearizable read: a node that
 * is stopped, cut off or without leader fails it, the next node becomes the current one, and what still waits for
 * the old one fails at once instead of after its time limit. Calls that may be made twice (reads, renewals) do not
 * wait for that: while nobody answers, one more node is asked every quarter of a second.
 */
import { Etcd3, type IOptions } from "etcd3";
import type { Env, TimerHandle } from "../base/index.js";
import { RaftwerkError } from "../base/index.js";
import { failureKind, refusedByEtcd } from "./etcd-errors.js";

export interface EtcdOptions {
  /** URLs of the nodes: `http://host:port`, or all `https://`. */
  readonly endpoints: readonly string[];
  /** PEM. With these the connections use TLS. */
  readonly tls?: {
    readonly rootCertificate: Uint8Array;
    readonly privateKey?: Uint8Array;
    readonly certificateChain?: Uint8Array;
  };
  readonly auth?: { readonly username: string; readonly password: string };
  /** Longest time for a read or write. Default 5 s. */
  readonly callTimeoutMs?: number;
}

const CALL_TIMEOUT_MS = 5_000;
const PROBE_INTERVAL_MS = 500;
const PROBE_TIMEOUT_MS = 800;
/** A node that has just failed is not asked again sooner, unless there is no other. */
const RETRY_PAUSE_MS = 100;
/** How long a call that may be made twice waits before it is. Doubled with each round over the nodes. */
const HEDGE_MS = 250;
const HEDGE_MS_MAX = 2_000;
/** Longest time for one of several attempts. */
const ATTEMPT_TIMEOUT_MS = 2_000;
const PROBE_KEY = Buffer.from("/pd/cluster_id");

const GRPC_OPTIONS = {
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // etcd ends connections that ping more often than every 5 s.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 3_000,
  "grpc.max_receive_message_length": 64 << 20,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
};

/** Runs what it is given, once. */
const ONCE = { execute: async (run: (context: object) => unknown): Promise<unknown> => run({}) };

export interface EtcdNode {
  readonly url: string;
  readonly client: Etcd3;
}

type Run<T> = (client: Etcd3, options: { readonly deadline: number }) => Promise<T>;

export class EtcdClient {
  readonly nodes: readonly EtcdNode[];
  readonly #env: Env;
  readonly #callTimeoutMs: number;
  #current = 0;
  #closed = false;
  #timer: TimerHandle | undefined;
  /** Told when another node becomes the current one. */
  readonly #onMoved = new Set<() => void>();

  constructor(env: Env, options: EtcdOptions) {
    this.#env = env;
    this.#callTimeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_MS;
    if (options.endpoints.length === 0) {
      throw new RaftwerkError("invalidConfig", "no address of etcd was given", { retry: "never" });
    }
    this.nodes = options.endpoints.map((url) => ({ url, client: new Etcd3(etcd3Options(url, options)) }));
    this.#probe();
  }

  get current(): EtcdNode {
    return this.nodes[this.#current] as EtcdNode;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get urls(): string {
    return this.nodes.map(({ url }) => url).join(", ");
  }

  onMoved(listener: () => void): () => void {
    this.#onMoved.add(listener);
    return () => void this.#onMoved.delete(listener);
  }

  /**
   * For calls that may be made more than once: asks the current node and, while nobody has answered, one more every
   * quarter of a second; the first answer counts. Fails when etcd refuses or time is over.
   */
  repeat<T>(run: Run<T>, timeoutMs: number = this.#callTimeoutMs): Promise<T> {
    const endMs = performance.now() + timeoutMs;
    const first = this.#current;
    return new Promise<T>((resolve, reject) => {
      let finished = false;
      let asked = 0;
      let timer: TimerHandle | undefined;
      const finish = (end: () => void): void => {
        if (finished) return;
        finished = true;
        if (timer !== undefined) this.#env.timers.clear(timer);
        end();
      };
      const later = (delayMs: number): void => {
        if (finished) return;
        if (timer !== undefined) this.#env.timers.clear(timer);
        timer = this.#env.timers.set(Math.max(0, Math.min(delayMs, endMs - performance.now())), ask);
      };
      let last: unknown = new Error("nobody answered in time");
      const ask = (): void => {
        if (finished) return;
        const nowMs = performance.now();
        if (this.#closed || nowMs >= endMs) return finish(() => reject(this.#silent(last, "safe")));
        const { length } = this.nodes;
        const number = asked++;
        const node = this.nodes[(first + number) % length] as EtcdNode;
        const deadline = Date.now() + Math.min(ATTEMPT_TIMEOUT_MS, endMs - nowMs);
        run(node.client, { deadline }).then(
          (result) => finish(() => resolve(result)),
          (error: unknown) => {
            if (failureKind(error) === "refused") return finish(() => reject(refusedByEtcd(error)));
            last = error;
            this.moveFrom(node);
            // The next one at once, unless all have been asked just now.
            if (number === asked - 1) later(asked % length === 0 ? RETRY_PAUSE_MS : 0);
          },
        );
        const round = Math.floor(number / length);
        later(Math.min(HEDGE_MS * 2 ** round, HEDGE_MS_MAX));
      };
      ask();
    });
  }

  /** Repeated only when the call certainly never left: otherwise its outcome is unknown. */
  async write<T>(run: Run<T>): Promise<T> {
    const endMs = performance.now() + this.#callTimeoutMs;
    for (let tries = 1; ; tries++) {
      try {
        return await this.#once(run);
      } catch (error) {
        const kind = failureKind(error);
        if (kind === "refused") throw refusedByEtcd(error);
        const late = this.#closed || performance.now() >= endMs;
        if (kind === "unknown" || late) throw this.#silent(error, kind === "unknown" ? "unknown" : "safe");
        if (tries % this.nodes.length === 0) await this.#pause();
      }
    }
  }

  /** The next node, if `node` is still the current one. */
  moveFrom(node: EtcdNode): void {
    if (this.current !== node || this.nodes.length === 1 || this.#closed) return;
    this.#current = (this.#current + 1) % this.nodes.length;
    this.#env.log.debug("another etcd node is asked from now on", { from: node.url, to: this.current.url });
    for (const listener of [...this.#onMoved]) listener();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== undefined) this.#env.timers.clear(this.#timer);
    for (const { client } of this.nodes) client.close();
  }

  /** On the current node; fails as soon as that is found to be silent. */
  #once<T>(run: Run<T>): Promise<T> {
    const node = this.current;
    return new Promise<T>((resolve, reject) => {
      const leave = this.onMoved(() => finish(() => reject(new Error(`${node.url} is silent`))));
      let finished = false;
      const finish = (end: () => void): void => {
        if (finished) return;
        finished = true;
        leave();
        end();
      };
      run(node.client, { deadline: Date.now() + this.#callTimeoutMs }).then(
        (result) => finish(() => resolve(result)),
        (error: unknown) => {
          finish(() => reject(error instanceof Error ? error : new Error(String(error))));
          if (failureKind(error) !== "refused") this.moveFrom(node);
        },
      );
    });
  }

  #probe(): void {
    if (this.#closed) return;
    this.#timer = this.#env.timers.set(PROBE_INTERVAL_MS, () => {
      const node = this.current;
      const options = { deadline: Date.now() + PROBE_TIMEOUT_MS };
      node.client.kv.range({ key: PROBE_KEY, count_only: true }, options).then(
        () => this.#probe(),
        (error: unknown) => {
          if (failureKind(error) !== "refused") this.moveFrom(node);
          this.#probe();
        },
      );
    });
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#env.timers.set(RETRY_PAUSE_MS, resolve));
  }

  #silent(cause: unknown, retry: "safe" | "unknown"): RaftwerkError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const text = `etcd does not answer (${this.urls}): ${reason}; try again once a majority of its nodes is up`;
    return new RaftwerkError("pdUnavailable", text, { retry, cause });
  }
}

function etcd3Options(url: string, { tls, auth }: EtcdOptions): IOptions {
  const options: IOptions = {
    hosts: [url],
    grpcOptions: GRPC_OPTIONS,
    faultHandling: { global: ONCE, host: () => ONCE } as never,
  };
  if (tls !== undefined) {
    const credentials: IOptions["credentials"] = { rootCertificate: Buffer.from(tls.rootCertificate) };
    if (tls.privateKey !== undefined) credentials.privateKey = Buffer.from(tls.privateKey);
    if (tls.certificateChain !== undefined) credentials.certChain = Buffer.from(tls.certificateChain);
    options.credentials = credentials;
  }
  if (auth !== undefined) options.auth = { username: auth.username, password: auth.password };
  return options;
}
