/**
 * Settings that hold for some seconds: of loaders that want no merges while they import. They win over what is
 * stored, survive a change of leader, and end by a lease, also when nobody is left to end them. (pd-rules 11.31)
 */
import { fromUtf8, utf8 } from "../base/index.js";
import { PdConfig } from "./config.js";
import { type PdContext, readPrefix, writeGuarded } from "./context.js";
import type { MetaOperation, MetaWatch } from "./meta-store.js";

const PREFIX = "/config/ttl/";
const SECONDS_MIN = 5;
const RETRY_MS = 500;
/** Also what tools are told. */
export const TEMPORARY_SECONDS_MAX = 2 ** 31 - 1;

const ITEMS: readonly string[] = [
  "max-snapshot-count",
  "max-merge-region-size",
  "max-merge-region-keys",
  "max-pending-peer-count",
  "leader-schedule-limit",
  "region-schedule-limit",
  "replica-schedule-limit",
  "merge-schedule-limit",
  "hot-region-schedule-limit",
  "split-scatter-schedule-limit",
  "scheduler-max-waiting-operator",
  "enable-location-replacement",
  "enable-tikv-split-region",
].map((item) => `schedule.${item}`);

export type TemporaryProblem = { readonly status: 400 | 500; readonly reason: string };

export class TemporaryConfig {
  readonly #context: PdContext;
  #watch: MetaWatch | undefined;
  #stopped = false;

  constructor(context: PdContext) {
    this.#context = context;
  }

  /** At the beginning of a term, which does not wait for it: tried until it succeeds. */
  start(): void {
    const { metaStore, env } = this.#context;
    const start = utf8(PREFIX);
    const end = start.slice();
    end[end.length - 1] = (end.at(-1) as number) + 1;
    this.#watch?.cancel();
    this.#watch = metaStore.watch(start, end, 0, {
      onEvents: (events) => {
        for (const event of events) {
          if (event.kind === "put") this.#take(event.entry.key, event.entry.value);
          else this.#context.config.endTemporary(nameOf(event.key));
        }
      },
      onCompacted: () => {
        for (const name of ITEMS) this.#context.config.endTemporary(name);
        this.start();
      },
    });
    const read = (): void => {
      readPrefix(
        metaStore,
        start,
        (key, value) => this.#take(key, value),
        (error) => {
          if (error !== undefined && !this.#stopped) env.timers.set(RETRY_MS, read);
        },
      );
    };
    read();
  }

  stop(): void {
    this.#stopped = true;
    this.#watch?.cancel();
  }

  #take(key: Uint8Array, value: Uint8Array): void {
    const name = nameOf(key);
    const change = this.#context.config.setTemporary(name, valueOf(fromUtf8(value)));
    if (change.kind === "ok") return;
    this.#context.env.log.warn("a temporary setting is ignored", { name, reason: change.reason });
  }

  /** All of the items or none; 0 seconds ends them. */
  set(
    items: Readonly<Record<string, unknown>>,
    seconds: number,
    callback: (problem: TemporaryProblem | undefined) => void,
  ): void {
    const names = Object.keys(items);
    const unknown = names.find((name) => !ITEMS.includes(name));
    const bad = (reason: string): void => callback({ status: 400, reason });
    if (unknown !== undefined) return bad(`unsupported ttl config ${unknown}`);
    const trial = new PdConfig();
    for (const [name, value] of Object.entries(items)) {
      const change = seconds === 0 ? undefined : trial.setTemporary(name, value);
      if (change?.kind === "refused") return bad(change.reason);
    }
    const write = (operations: readonly MetaOperation[]): void => {
      writeGuarded(this.#context, operations, (error) => {
        if (error !== undefined) return callback({ status: 500, reason: error.message });
        // The watch tells it too; whoever asked finds it done.
        for (const [name, value] of Object.entries(items)) {
          if (seconds === 0) this.#context.config.endTemporary(name);
          else this.#context.config.setTemporary(name, value);
        }
        callback(undefined);
      });
    };
    if (seconds === 0) return write(names.map((name) => ({ kind: "delete", key: keyOf(name) })));
    this.#context.metaStore.grantLease(Math.max(SECONDS_MIN, seconds), (error, leaseId) => {
      if (error !== undefined) return callback({ status: 500, reason: error.message });
      write(
        Object.entries(items).map(([name, value]) => {
          return { kind: "put", key: keyOf(name), value: utf8(String(value)), leaseId } as const;
        }),
      );
    });
  }
}

const keyOf = (name: string): Uint8Array => utf8(PREFIX + name);
const nameOf = (key: Uint8Array): string => fromUtf8(key).slice(PREFIX.length);

/** Stored as text, as PD stores it. */
const valueOf = (text: string): unknown =>
  /^(true|false)$/.test(text) ? text === "true" : /^-?[0-9.]+$/.test(text) ? Number(text) : text;
