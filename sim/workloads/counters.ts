/**
 * Counters: compare-and-swap loops. At the end a counter is at least the increments that were acknowledged and
 * at most those that were tried: an increment never happens twice, however often an answer was lost. (invariant
 * 22)
 */
import { fromUtf8, utf8 } from "../../base/index.js";
import type { SimClient } from "../cluster.js";
import { Violation } from "../world.js";
import { attempt, isLull, loop, pick, surely, type Workload, type WorkloadStage } from "./workload.js";

interface Counter {
  readonly key: Uint8Array;
  acknowledged: number;
  unknown: number;
}

export class Counters implements Workload {
  readonly name = "counters";
  readonly #stage: WorkloadStage;
  readonly #counters: Counter[] = ["b/counter", "m/counter", "y/counter"].map((key) => ({
    key: utf8(key),
    acknowledged: 0,
    unknown: 0,
  }));

  constructor(stage: WorkloadStage) {
    this.#stage = stage;
  }

  start(): void {
    for (const client of this.#stage.cluster.clients) {
      loop(this.#stage, client, 150, () => this.#increment(client, pick(this.#stage.random, this.#counters)));
    }
  }

  async #increment(who: SimClient, counter: Counter): Promise<void> {
    const { client } = who;
    const read = await attempt(this.#stage, () => client.get(counter.key), who);
    if (read.kind !== "ok" || isLull(this.#stage)) return;
    const next = utf8(String(Number(read.value === undefined ? 0 : fromUtf8(read.value)) + 1));
    // One that is still under way at the end may have happened as well.
    counter.unknown++;
    const swap = await attempt(this.#stage, () => client.compareAndSwap(counter.key, read.value, next), who);
    if (swap.kind !== "unknown") counter.unknown--;
    if (swap.kind === "ok" && swap.value.swapped) counter.acknowledged++;
  }

  async check(): Promise<void> {
    const first = this.#stage.cluster.clients[0] as SimClient;
    for (const { key, acknowledged, unknown } of this.#counters) {
      const value = await surely(first, () => first.client.get(key));
      const count = value === undefined ? 0 : Number(fromUtf8(value));
      if (count >= acknowledged && count <= acknowledged + unknown) continue;
      throw new Violation(
        "22 exactly once",
        `${fromUtf8(key)} is ${count} after ${acknowledged} acknowledged increments and ${unknown} of unknown outcome`,
      );
    }
  }
}
