/**
 * Ranges of one client's own: written by batches, deleted by range, kept by time to live. Since nobody else
 * touches them a
 * model tells what must be there; after an operation of unknown outcome the client moves to a new range.
 * (invariants 16, 22)
 */
import { concatBytes, fromUtf8, randomBelow, utf8 } from "../../base/index.js";
import { callUnary, TikvService } from "../../proto/index.js";
import { leaders } from "../administration.js";
import type { SimClient } from "../cluster.js";
import { MS, Violation } from "../world.js";
import { attempt, isLull, loop, pick, sleep, type Workload, type WorkloadStage } from "./workload.js";

const KEYS = 20;

interface Plot {
  prefix: string;
  /** An operation is under way. */
  isBusy: boolean;
  readonly model: Map<string, string>;
}

export class Ranges implements Workload {
  readonly name = "ranges";
  readonly #stage: WorkloadStage;
  readonly #plots = new Map<SimClient, Plot>();
  #plot = 0;
  #values = 0;

  constructor(stage: WorkloadStage) {
    this.#stage = stage;
  }

  start(): void {
    for (const client of this.#stage.cluster.clients) {
      this.#plots.set(client, { prefix: this.#newPrefix(), isBusy: false, model: new Map() });
      loop(this.#stage, client, 250, () => this.#step(client));
      loop(this.#stage, client, 1_500, () => this.#overreach(client));
    }
  }

  /**
   * As a client would that is wrong about a region: asks its leader, in its epoch, to delete what lies behind it.
   * It must be refused.
   */
  #overreach({ node, env }: SimClient): Promise<void> {
    const { cluster, random, world } = this.#stage;
    const led = pick(random, [...leaders(cluster), undefined]);
    const end = led?.peer.region.endKey;
    if (led === undefined || end === undefined || end.length === 0) return Promise.resolve();
    const { peer, store } = led;
    const channel = cluster.network.door(node, env).channel(store.address);
    const context = {
      regionId: peer.regionId,
      regionEpoch: peer.region.epoch,
      peer: { id: peer.peerId, storeId: store.store?.id ?? 0 },
    };
    const request = { context, startKey: end, endKey: concatBytes(end, Uint8Array.of(0xff)) };
    return new Promise((resolve) => {
      callUnary(channel, TikvService.RawDeleteRange, request, { timeoutMs: 2_000 }, (error, answer) => {
        if (error === undefined && answer !== undefined) {
          const isRefused = answer.regionError != null || answer.error !== "";
          if (isRefused) world.probe("a range delete beyond its region was refused");
          else world.fail(this.#violation(`region ${peer.regionId} took a range delete behind its end`));
        }
        resolve();
      });
    });
  }

  #newPrefix(): string {
    return `${String.fromCharCode(99 + (this.#plot % 20))}/range/${++this.#plot}/`;
  }

  async #step(client: SimClient): Promise<void> {
    const plot = this.#plots.get(client) as Plot;
    const drawn = randomBelow(this.#stage.random, 8);
    const what = isLull(this.#stage) ? 7 : drawn;
    plot.isBusy = true;
    const isSure =
      what < 4
        ? await this.#write(client, plot)
        : what < 6
          ? await this.#erase(client, plot)
          : what === 6
            ? await this.#expire(client, plot)
            : await this.#compare(client, plot);
    plot.isBusy = false;
    if (isSure) return;
    plot.prefix = this.#newPrefix();
    plot.model.clear();
  }

  #key(plot: Plot, number: number): string {
    return plot.prefix + String(number).padStart(4, "0");
  }

  async #write({ client }: SimClient, plot: Plot): Promise<boolean> {
    const from = randomBelow(this.#stage.random, KEYS);
    const pairs = Array.from({ length: 1 + randomBelow(this.#stage.random, 8) }, (_, i) => ({
      name: this.#key(plot, from + i),
      text: `r${++this.#values}`,
    }));
    const raw = pairs.map(({ name, text }) => ({ key: utf8(name), value: utf8(text) }));
    const outcome = await attempt(this.#stage, () => client.batchPut(raw));
    if (outcome.kind !== "ok") return false;
    for (const { name, text } of pairs) plot.model.set(name, text);
    return true;
  }

  async #eraseSome({ client }: SimClient, plot: Plot): Promise<boolean> {
    const { random } = this.#stage;
    const names = Array.from({ length: 1 + randomBelow(random, 6) }, () =>
      this.#key(plot, randomBelow(random, KEYS)),
    );
    const outcome = await attempt(this.#stage, () => client.batchDelete(names.map(utf8)));
    if (outcome.kind !== "ok") return false;
    for (const name of names) plot.model.delete(name);
    return true;
  }

  async #erase(who: SimClient, plot: Plot): Promise<boolean> {
    if (randomBelow(this.#stage.random, 3) === 0) return this.#eraseSome(who, plot);
    const { client } = who;
    const from = this.#key(plot, randomBelow(this.#stage.random, KEYS));
    const to = this.#key(plot, randomBelow(this.#stage.random, KEYS + 8));
    if (from >= to) return true;
    const outcome = await attempt(this.#stage, () => client.deleteRange(utf8(from), utf8(to)));
    if (outcome.kind !== "ok") return false;
    for (const name of [...plot.model.keys()]) if (name >= from && name < to) plot.model.delete(name);
    return true;
  }

  /** A key with a time to live is there at first and gone well after its time. */
  async #expire(client: SimClient, plot: Plot): Promise<boolean> {
    const key = utf8(`${plot.prefix}t${++this.#values}`);
    const beganUs = this.#stage.world.nowUs;
    const put = await attempt(this.#stage, () => client.client.put(key, utf8("brief"), { ttlSeconds: 2 }));
    const read = put.kind === "ok" ? await attempt(this.#stage, () => client.client.get(key)) : put;
    // Wall clocks of stores differ by up to the skew that is injected: leave a wide margin on both sides.
    const isEarly = this.#stage.world.nowUs - beganUs < 300 * MS;
    if (read.kind === "ok" && isEarly && read.value === undefined && this.#clocksAgree()) {
      throw this.#violation(`${fromUtf8(key)} is gone before its time`);
    }
    await sleep(client, 4_000);
    const late = await attempt(this.#stage, () => client.client.get(key));
    if (late.kind === "ok" && late.value !== undefined && this.#clocksAgree()) {
      throw this.#violation(`${fromUtf8(key)} is still there after its time`);
    }
    return true;
  }

  #clocksAgree(): boolean {
    const offsets = this.#stage.cluster.stores.map(({ node }) => node.clock.wallOffsetMs);
    return Math.max(...offsets) - Math.min(...offsets) < 500;
  }

  async #compare({ client }: SimClient, plot: Plot): Promise<boolean> {
    const end = `${plot.prefix}9`;
    const outcome = await attempt(this.#stage, async () => {
      const found: string[] = [];
      for await (const { key, value } of client.scan({ start: utf8(plot.prefix), end: utf8(end) })) {
        found.push(`${fromUtf8(key)}=${fromUtf8(value)}`);
      }
      return found;
    });
    if (outcome.kind !== "ok") return true;
    const expected = [...plot.model].sort(([left], [right]) => (left < right ? -1 : 1));
    const wanted = expected.map(([name, text]) => `${name}=${text}`).join(" ");
    if (outcome.value.join(" ") !== wanted) {
      throw this.#violation(`${plot.prefix} holds ${outcome.value.join(" ")} instead of ${wanted}`);
    }
    return true;
  }

  #violation(text: string): Violation {
    const violation = new Violation("22 own range", text);
    this.#stage.world.fail(violation);
    return violation;
  }

  async check(): Promise<void> {
    for (const [client, plot] of this.#plots) if (!plot.isBusy) await this.#compare(client, plot);
  }
}
