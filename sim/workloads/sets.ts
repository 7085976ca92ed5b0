/**
 * Sets: every key is written once and never removed, by single puts and by batches; scans in both directions run
 * over the borders of regions while these split and move. A scan must show, in order and once, every key that was
 * acknowledged before it began, and none that was never written. (invariants 11, 16, 22)
 */
import { fromUtf8, randomBelow, utf8 } from "../../base/index.js";
import type { SimClient } from "../cluster.js";
import { Violation } from "../world.js";
import { attempt, isLull, loop, pick, surely, type Workload, type WorkloadStage } from "./workload.js";

const LETTERS: readonly string[] = Array.from("abcdefghijklmnopqrstuvwxyz");
const SCAN_START = utf8("A/");
const SCAN_END = utf8("B");

export class Sets implements Workload {
  readonly name = "sets";
  readonly #stage: WorkloadStage;
  readonly #tried = new Set<string>();
  readonly #acknowledged = new Set<string>();
  #count = 0;

  constructor(stage: WorkloadStage) {
    this.#stage = stage;
  }

  start(): void {
    const { clients } = this.#stage.cluster;
    for (const client of clients) {
      // All clients together some 300 keys in 20 s: regions of 400 bytes become dozens, not hundreds.
      loop(this.#stage, client, 150 * clients.length, () => this.#add(client));
      loop(this.#stage, client, 500, () => this.#scan(client));
      loop(this.#stage, client, 700, () => this.#sample(client));
    }
  }

  #newKey(): string {
    const key = `A/${pick(this.#stage.random, LETTERS)}/${++this.#count}`;
    this.#tried.add(key);
    return key;
  }

  async #add({ client }: SimClient): Promise<void> {
    if (isLull(this.#stage)) return;
    const count = randomBelow(this.#stage.random, 4) === 0 ? 1 + randomBelow(this.#stage.random, 12) : 1;
    const keys = Array.from({ length: count }, () => this.#newKey());
    const pairs = keys.map((key) => ({ key: utf8(key), value: valueOf(key) }));
    const outcome = await attempt(this.#stage, () =>
      pairs.length === 1
        ? client.put((pairs[0] as (typeof pairs)[0]).key, (pairs[0] as (typeof pairs)[0]).value)
        : client.batchPut(pairs),
    );
    if (outcome.kind === "ok") for (const key of keys) this.#acknowledged.add(key);
  }

  async #scan(client: SimClient): Promise<void> {
    const reverse = randomBelow(this.#stage.random, 2) === 0;
    const expected = [...this.#acknowledged];
    const outcome = await attempt(this.#stage, () => this.#read(client, reverse));
    if (outcome.kind === "ok") this.#judge(outcome.value, expected, reverse);
  }

  /** Some keys that were acknowledged and one that nobody wrote, in one question. */
  async #sample({ client }: SimClient): Promise<void> {
    const known = [...this.#acknowledged];
    if (known.length === 0) return;
    const { random } = this.#stage;
    const names = Array.from({ length: 1 + randomBelow(random, 4) }, () => pick(random, known));
    const keys = [...names, "A/m/nobody"].map(utf8);
    const outcome = await attempt(this.#stage, () => client.batchGet(keys));
    if (outcome.kind !== "ok") return;
    for (const [i, name] of names.entries()) {
      const value = outcome.value[i];
      if (value === undefined || fromUtf8(value) !== fromUtf8(valueOf(name)))
        throw this.#violation(`acknowledged key ${name} is missing in a batch of reads`);
    }
    if (outcome.value.at(-1) !== undefined) throw this.#violation("a batch of reads found what nobody wrote");
  }

  async #read({ client }: SimClient, reverse: boolean): Promise<string[]> {
    const found: string[] = [];
    for await (const { key, value } of client.scan({ start: SCAN_START, end: SCAN_END, reverse })) {
      const name = fromUtf8(key);
      if (fromUtf8(value) !== fromUtf8(valueOf(name))) throw this.#violation(`${name} has another value`);
      found.push(name);
    }
    return found;
  }

  #judge(found: readonly string[], expected: readonly string[], reverse: boolean): void {
    for (let i = 1; i < found.length; i++) {
      const [left, right] = reverse ? [found[i], found[i - 1]] : [found[i - 1], found[i]];
      if ((left as string) >= (right as string))
        throw this.#violation(`a scan gave ${left} and ${right} out of order`);
    }
    const seen = new Set(found);
    for (const key of expected)
      if (!seen.has(key)) throw this.#violation(`acknowledged key ${key} is missing`);
    for (const key of found) if (!this.#tried.has(key)) throw this.#violation(`nobody wrote key ${key}`);
  }

  #violation(text: string): Violation {
    const violation = new Violation("22 acknowledged writes", text);
    this.#stage.world.fail(violation);
    return violation;
  }

  async check(): Promise<void> {
    const client = this.#stage.cluster.clients[0] as SimClient;
    const found = await surely(client, () => this.#read(client, false));
    this.#judge(found, [...this.#acknowledged], false);
  }
}

/** Long enough that regions grow; a function of the key, so that a mix-up shows. */
const valueOf = (key: string): Uint8Array => utf8(`${key}:`.repeat(4));
