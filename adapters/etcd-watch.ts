/**
 * One watch on etcd that survives its node: when the stream breaks, or another node becomes the current one, it is
 * opened again from the revision after the last one seen, so that no event is lost and none comes twice.
 */
import type { IDuplexStream, IEvent, IWatchRequest, IWatchResponse } from "etcd3";
import type { Env } from "../base/index.js";
import type { MetaEvent, MetaWatchListener } from "../pd/index.js";
import type { EtcdClient } from "./etcd-client.js";
import { entryOf } from "./etcd-rows.js";

const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 1_000;

type Stream = IDuplexStream<IWatchRequest, IWatchResponse>;

export class EtcdWatch {
  readonly #env: Env;
  readonly #etcd: EtcdClient;
  /** The first key of the range. */
  readonly start: Buffer;
  readonly #end: Buffer;
  readonly #listener: MetaWatchListener;
  /** 0 until `begin`: nothing is asked before. */
  #nextRevision = 0;
  #stream: Stream | undefined;
  /** Counts openings: what an older stream still says is ignored. */
  #opening = 0;
  #retryMs = RETRY_MS_MIN;
  #cancelled = false;
  readonly #leave: () => void;

  constructor(env: Env, etcd: EtcdClient, start: Uint8Array, end: Uint8Array, listener: MetaWatchListener) {
    this.#env = env;
    this.#etcd = etcd;
    this.start = Buffer.from(start);
    this.#end = Buffer.from(end);
    this.#listener = listener;
    this.#leave = etcd.onMoved(() => this.#open());
  }

  /** Events of `revision` and later ones are told; of no effect the second time. */
  begin(revision: number): void {
    if (this.#nextRevision > 0) return;
    this.#nextRevision = revision;
    this.#open();
  }

  cancel(): void {
    this.#cancelled = true;
    this.#leave();
    this.#drop();
  }

  #drop(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.cancel();
  }

  #open(): void {
    if (this.#nextRevision === 0 || this.#cancelled || this.#etcd.isClosed) return;
    this.#drop();
    this.#opening += 1;
    const opening = this.#opening;
    this.#connect(opening).catch((error: unknown) => this.#again(opening, error));
  }

  async #connect(opening: number): Promise<void> {
    const stream = await this.#etcd.current.client.watchClient.watch();
    if (opening !== this.#opening || this.#cancelled) {
      stream.on("error", () => {});
      stream.cancel();
      return;
    }
    this.#stream = stream;
    stream.on("data", (response) => {
      if (opening === this.#opening && !this.#cancelled) this.#onResponse(opening, response);
    });
    stream.on("error", (error) => this.#again(opening, error));
    stream.on("end", () => this.#again(opening, new Error("the stream ended")));
    stream.write({
      create_request: {
        key: this.start,
        range_end: this.#end,
        start_revision: this.#nextRevision,
        prev_kv: true,
      },
    });
  }

  #again(opening: number, error: unknown): void {
    if (opening !== this.#opening || this.#cancelled) return;
    this.#drop();
    this.#opening += 1;
    const reason = error instanceof Error ? error.message : String(error);
    this.#env.log.debug("a watch on etcd is opened again", { reason });
    const next = this.#opening;
    this.#env.timers.set(this.#retryMs, () => {
      if (next === this.#opening) this.#open();
    });
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
  }

  #onResponse(opening: number, response: IWatchResponse): void {
    if (response.canceled) {
      if (Number(response.compact_revision) === 0) {
        return this.#again(opening, new Error(response.cancel_reason || "etcd cancelled the watch"));
      }
      this.cancel();
      return this.#listener.onCompacted();
    }
    this.#retryMs = RETRY_MS_MIN;
    let events: MetaEvent[] = [];
    let revision = 0;
    const deliver = (): void => {
      if (events.length === 0 || this.#cancelled) return;
      this.#nextRevision = revision + 1;
      const ready = events;
      events = [];
      this.#listener.onEvents(ready, revision);
    };
    for (const event of response.events) {
      const at = Number(event.kv.mod_revision);
      if (at < this.#nextRevision) continue;
      if (at !== revision) deliver();
      revision = at;
      events.push(eventOf(event));
    }
    deliver();
  }
}

function eventOf(event: IEvent): MetaEvent {
  const previous = event.prev_kv === null || event.prev_kv === undefined ? undefined : entryOf(event.prev_kv);
  if (event.type === "Put" || (event.type as string) === "PUT") {
    return { kind: "put", entry: entryOf(event.kv), previous };
  }
  return {
    kind: "delete",
    key: new Uint8Array(event.kv.key),
    revision: Number(event.kv.mod_revision),
    previous,
  };
}
