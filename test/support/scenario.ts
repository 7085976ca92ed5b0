/**
 * One fault scenario: a cluster of real processes under writes, what the test does to it, and then the same judgement
 * for all: every acknowledged write readable, none applied twice, regions tile the key space, each on all its stores,
 * replicas equal byte by byte, and nothing on the disks that belongs to no region.
 *
 * Waiting is by progress and not by the clock: the limits here only end tests that hang, on a machine however slow.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { RawClient } from "../../client/index.js";
import { Counters } from "./counters.js";
import { compareStores, inspectStore, type StoreOnDisk } from "./disk-inspection.js";
import { ProcessCluster, type ProcessClusterOptions, type RegionJson, voters } from "./process-cluster.js";
import { Writers } from "./writers.js";

export interface ScenarioOptions extends ProcessClusterOptions {
  /** How many stores every region must be on in the end. Default 3, or as many as the cluster begins with. */
  readonly replicas?: number;
  /** Keys of the load spread over the key space, so that splits at `w4` and the like leave some on both sides. */
  readonly writers?: number;
}

/** Limit of every wait. */
export const HANG_MS = 120_000;
/** Limit of a whole test. */
export const TEST_MS = 400_000;

/** Reports come often, so that little time is spent waiting for them. */
const QUICK_STORE =
  '[raftstore]\npd-heartbeat-tick-interval = "1s"\npd-store-heartbeat-tick-interval = "500ms"\n';

interface RegionStatus {
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly term: number;
  readonly isLeader: boolean;
}

export class Scenario {
  readonly cluster: ProcessCluster;
  readonly client: RawClient;
  readonly writers: Writers;
  readonly counters: Counters;
  readonly #replicas: number;

  private constructor(cluster: ProcessCluster, client: RawClient, options: ScenarioOptions) {
    this.cluster = cluster;
    this.client = client;
    this.#replicas = options.replicas ?? Math.min(3, options.stores ?? 3);
    this.writers = new Writers(client, options.writers ?? 8, { pauseMs: 10 });
    this.counters = new Counters(client, ["c1", "x5"], 2, 15);
  }

  /** Runs `act` against a fresh cluster and judges what is left. */
  static async run(options: ScenarioOptions, act: (scenario: Scenario) => Promise<void>): Promise<void> {
    await using cluster = await ProcessCluster.start({
      ...options,
      storeConfig: options.storeConfig ?? QUICK_STORE,
    });
    const scenario = new Scenario(cluster, await cluster.client(), options);
    try {
      await scenario.progress();
      await act(scenario);
      await scenario.#judge();
    } catch (error) {
      cluster.keepLogs(error);
      throw error;
    } finally {
      await Promise.all([scenario.writers.stop(), scenario.counters.stop()]);
    }
  }

  /** Until the load got this many more writes through. */
  async progress(writes = 40): Promise<void> {
    const before = this.writers.writes;
    const increments = this.counters.increments;
    await this.until(
      async () => this.writers.writes >= before + writes && this.counters.increments > increments,
      "the writes do not go on",
    );
  }

  until(condition: () => Promise<boolean>, otherwise: string): Promise<void> {
    return this.cluster.waitUntil(condition, HANG_MS, otherwise);
  }

  async kill(...names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.cluster.kill(name)));
  }

  restart(...names: readonly string[]): void {
    for (const name of names) this.cluster.restart(name);
  }

  /** Until the process answers on its status port that it serves. */
  async ready(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      const url =
        name === "pd" ? `http://${this.cluster.pdAddress}/pd/api/v1/health` : this.#url(name, "ready");
      await this.until(async () => (await fetch(url)).ok, `${name} does not serve`);
    }
  }

  async region(key = ""): Promise<RegionJson> {
    const hex = Buffer.from(key).toString("hex").toUpperCase();
    const regions = await this.cluster.regions();
    const found = regions.find(
      ({ start_key: start, end_key: end }) => start <= hex && (end === "" || hex < end),
    );
    if (found === undefined) throw new Error(`PD knows no region of ${key}`);
    return found;
  }

  /** The store process that leads the region of the key. */
  async leader(key = ""): Promise<string> {
    let name = "";
    await this.until(async () => {
      name = await this.cluster.leaderOf((await this.region(key)).id);
      return this.cluster.isRunning(name);
    }, "no leader");
    return name;
  }

  async follower(key = ""): Promise<string> {
    const leader = await this.leader(key);
    const on = voters(await this.region(key));
    for (const name of this.cluster.storeNames) {
      if (name !== leader && on.includes(await this.cluster.storeIdOf(name))) return name;
    }
    throw new Error("no follower");
  }

  async status(name: string, region: number): Promise<RegionStatus> {
    return (await (await fetch(this.#url(name, `region/${region}`))).json()) as RegionStatus;
  }

  /** Through `raftwerk ctl`, repeated while PD refuses, as it does when the region has an operator already. */
  async operator(...words: readonly string[]): Promise<void> {
    let said = "";
    await this.until(
      async () => {
        const { code, output } = await this.cluster.ctl("operator", "add", ...words);
        said = output;
        return code === 0;
      },
      `operator add ${words.join(" ")} is refused: ${said}`,
    );
  }

  /** Asks for a split and does not wait for it. */
  async split(...keys: readonly string[]): Promise<void> {
    const hex = keys.map((key) => Buffer.from(key).toString("hex").toUpperCase());
    await fetch(`http://${this.cluster.pdAddress}/pd/api/v1/regions/split`, {
      method: "POST",
      body: JSON.stringify({ split_keys: hex }),
    }).catch(() => undefined);
  }

  /** A region of some megabytes under keys that begin with `prefix`, for snapshots that take their time. */
  async fill(prefix: string, megabytes: number): Promise<void> {
    const encoder = new TextEncoder();
    for (let i = 0; i < megabytes * 4; i++) {
      const pairs = Array.from({ length: 64 }, (_, j) => ({
        key: encoder.encode(`${prefix}${String(i).padStart(5, "0")}-${j}`),
        value: Buffer.alloc(4_096, `${i}-${j}-`),
      }));
      await this.client.batchPut(pairs, { timeoutMs: HANG_MS });
    }
  }

  /** Every region has its voters, none is pending or down, and PD's map has no gap. */
  async settled(): Promise<void> {
    let last = "";
    await this.until(async () => {
      last = this.#unsettled(await this.cluster.regions());
      return last === "";
    }, `the cluster does not settle: ${last}`).catch((error: Error) => {
      throw new Error(`${last}; ${error.message}`);
    });
  }

  #unsettled(regions: readonly RegionJson[]): string {
    const sorted = [...regions].sort((a, b) => (a.start_key < b.start_key ? -1 : 1));
    let at = "";
    for (const [i, region] of sorted.entries()) {
      if (region.start_key !== at) return `gap before region ${region.id}`;
      at = region.end_key;
      if ((at === "") !== (i === sorted.length - 1)) return `region ${region.id} overlaps or ends early`;
      if (voters(region).length !== this.#replicas || region.peers.length !== this.#replicas) {
        return `region ${region.id} has ${region.peers.length} peers`;
      }
      if ((region.pending_peers?.length ?? 0) > 0) return `region ${region.id} has pending peers`;
      if ((region.leader?.store_id ?? 0) === 0) return `region ${region.id} has no leader`;
    }
    return sorted.length === 0 ? "no regions" : "";
  }

  async #judge(): Promise<void> {
    const { cluster, client, writers, counters } = this;
    await this.progress();
    await this.settled();
    await Promise.all([writers.stop(), counters.stop()]);
    // A client that knows nothing yet sees what a stranger would.
    const stranger = await cluster.client();
    mustBeNone("acknowledged writes are lost", await writers.lost(stranger));
    mustBeNone("increments are lost or were applied twice", await counters.wrong(stranger));
    mustBeNone("reads were stale or of nobody's writes", writers.wrongReads);
    client.close();
    await this.settled();
    await this.#converged();
    const running = cluster.storeNames.filter((name) => cluster.isRunning(name));
    await Promise.all(running.map((name) => cluster.kill(name, "SIGTERM")));
    const stores = new Map<string, StoreOnDisk>();
    for (const name of running) stores.set(name, await inspectStore(cluster.directoryOf(name)));
    mustBeNone("the disks are not as they should be", compareStores(stores));
  }

  /** All replicas have applied the same, no more comes, and nobody else has any. */
  async #converged(): Promise<void> {
    let quiet = "";
    await this.until(async () => {
      const seen = await this.#applied();
      const same = seen !== undefined && seen === quiet;
      quiet = seen ?? "";
      if (!same) await delay(200);
      return same;
    }, "the replicas do not converge");
  }

  /** Applied indexes by region when all replicas agree, as text. */
  async #applied(): Promise<string | undefined> {
    const lines: string[] = [];
    const names = new Map<number, string>();
    for (const name of this.cluster.storeNames) {
      if (this.cluster.isRunning(name)) names.set(await this.#idOf(name), name);
    }
    for (const region of await this.cluster.regions()) {
      const all = await Promise.all(voters(region).map((id) => this.status(names.get(id) ?? "", region.id)));
      const [first] = all;
      const agree = all.every(
        ({ appliedIndex, lastIndex }) => appliedIndex === first?.appliedIndex && lastIndex === appliedIndex,
      );
      if (!agree || (await this.#isStrayed(region))) return undefined;
      lines.push(`${region.id}:${first?.appliedIndex}`);
    }
    return lines.join(" ");
  }

  /** A store that is none of the region's has not let go of it yet: it was away when its replica was removed. */
  async #isStrayed(region: RegionJson): Promise<boolean> {
    for (const name of this.cluster.storeNames) {
      if (!this.cluster.isRunning(name) || voters(region).includes(await this.#idOf(name))) continue;
      if ((await fetch(this.#url(name, `region/${region.id}`))).status !== 404) return true;
    }
    return false;
  }

  /** 0: PD has buried it. */
  #idOf(name: string): Promise<number> {
    return this.cluster.storeIdOf(name).catch(() => 0);
  }

  #url(name: string, path: string): string {
    return `http://${this.cluster.statusAddressOf(name)}/${path}`;
  }
}

function mustBeNone(what: string, found: readonly string[]): void {
  if (found.length > 0) throw new Error(`${what}:\n${found.slice(0, 20).join("\n")}`);
}
