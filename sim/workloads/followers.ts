/**
 * Reads from any replica, followers and learners too, of keys that carry a growing number. A read must show a
 * number no smaller than any that was read or acknowledged before it began: what a linearizable follower read
 * promises. (invariant 23)
 */
import { fromUtf8, randomBelow, utf8 } from "../../base/index.js";
import { callUnary, type kvrpcpb, TikvService } from "../../proto/index.js";
import type { Peer } from "../../region/peer.js";
import { containsKey } from "../../region/region.js";
import type { SimClient, SimStore } from "../cluster.js";
import type { SimNode } from "../node.js";
import { MS, Violation } from "../world.js";
import { attempt, isLull, loop, pick, surely, type Workload, type WorkloadStage } from "./workload.js";

/** Reads of a client that wait for their answers, as from a store that is cut off: others go on. */
const UNDER_WAY_MAX = 3;
/** Readers of a crowd, and the time within which all of them come. */
const CROWD = 24;
const CROWD_US = 40 * MS;

interface Rising {
  readonly key: Uint8Array;
  next: number;
  /** The greatest number that was acknowledged or read. */
  seen: number;
}

export class Followers implements Workload {
  readonly name = "reads of followers";
  readonly #stage: WorkloadStage;
  readonly #rising: Rising[];

  constructor(stage: WorkloadStage) {
    this.#stage = stage;
    this.#rising = stage.cluster.clients.map((_, index) => ({
      key: utf8(`${String.fromCharCode(100 + 5 * index)}/rising`),
      next: 1,
      seen: 0,
    }));
  }

  start(): void {
    this.#stage.cluster.onCrowd = (node) => this.#crowd(node);
    this.#stage.cluster.clients.forEach((client, index) => {
      const own = this.#rising[index] as Rising;
      loop(this.#stage, client, 100, async () => {
        if (!isLull(this.#stage)) await this.#write(client, own);
        // Who wrote reads at once, from wherever.
        if (randomBelow(this.#stage.random, 3) === 0) await this.#read(client, own);
      });
      let underWay = 0;
      loop(this.#stage, client, 60, () => {
        if (underWay >= UNDER_WAY_MAX) return Promise.resolve();
        underWay++;
        void this.#read(client, pick(this.#stage.random, this.#rising)).then(() => underWay--);
        return Promise.resolve();
      });
    });
  }

  /** One writer a key, so that numbers rise whatever becomes of a write. */
  async #write({ client }: SimClient, rising: Rising): Promise<void> {
    const number = rising.next++;
    const outcome = await attempt(this.#stage, () => client.put(rising.key, utf8(String(number))));
    if (outcome.kind === "ok") rising.seen = Math.max(rising.seen, number);
  }

  /** Many reads at once, most of them at the store on `node`, of whatever it has. */
  #crowd(node: SimNode): undefined {
    const { cluster, random } = this.#stage;
    const target = cluster.stores.find((store) => store.node === node);
    for (let i = 0; i < CROWD; i++) {
      const client = pick(random, cluster.clients);
      const rising = pick(random, this.#rising);
      client.node.after(randomBelow(random, CROWD_US), "crowd", () => {
        const isThere = target !== undefined && cluster.stores.includes(target) && i % 4 !== 0;
        void this.#read(client, rising, isThere ? target : undefined);
      });
    }
  }

  #read(client: SimClient, rising: Rising, at?: SimStore): Promise<void> {
    const found = this.#choose(rising.key, at);
    if (found === undefined) return Promise.resolve();
    const { store, context } = found;
    const isReplicaRead = randomBelow(this.#stage.random, 4) !== 0;
    const floor = rising.seen;
    const channel = this.#stage.cluster.network.door(client.node, client.env).channel(store.address);
    const request = { key: rising.key, context: { ...context, replicaRead: isReplicaRead } };
    return new Promise((resolve) => {
      callUnary(channel, TikvService.RawGet, request, { timeoutMs: 3_000 }, (error, answer) => {
        if (error !== undefined || answer === undefined || answer.regionError != null) {
          this.#stage.failed++;
          return resolve();
        }
        this.#stage.succeeded++;
        if (isReplicaRead) this.#stage.world.probe("a replica answered a read");
        const number = answer.notFound ? 0 : Number(fromUtf8(answer.value));
        if (number < floor) {
          const text = `${fromUtf8(rising.key)} was ${number} on ${store.node.name} after ${floor} had been seen`;
          this.#stage.world.fail(new Violation("23 monotonic reads", text));
        }
        rising.seen = Math.max(rising.seen, number);
        resolve();
      });
    });
  }

  /**
   * The store that is named; else any, or one of those that believe to lead the key's region: a deposed leader is
   * asked as the new one is.
   */
  #choose(
    key: Uint8Array,
    at?: SimStore,
  ): { readonly store: SimStore; readonly context: kvrpcpb.IContext } | undefined {
    const { random, cluster } = this.#stage;
    const leading = cluster.stores.filter((store) => peerAt(store, key)?.isLeader === true);
    const isAimed = leading.length > 0 && randomBelow(random, 2) === 0;
    const store = at ?? pick(random, isAimed ? leading : cluster.stores);
    const context = contextOf(store, key);
    return context === undefined ? undefined : { store, context };
  }

  async check(): Promise<void> {
    const client = this.#stage.cluster.clients[0] as SimClient;
    for (const { key, seen } of this.#rising) {
      const value = await surely(client, () => client.client.get(key));
      const number = value === undefined ? 0 : Number(fromUtf8(value));
      if (number < seen)
        throw new Violation("23 monotonic reads", `${fromUtf8(key)} is ${number}, was ${seen}`);
    }
  }
}

function peerAt({ store }: SimStore, key: Uint8Array): Peer | undefined {
  for (const peer of store?.peers.all() ?? [])
    if (peer.isInitialized && containsKey(peer.region, key)) return peer;
  return undefined;
}

/** A context that this store's peer accepts, as a client that knows the region would send it. */
function contextOf(at: SimStore, key: Uint8Array): kvrpcpb.IContext | undefined {
  const peer = peerAt(at, key);
  return peer === undefined
    ? undefined
    : {
        regionId: peer.regionId,
        regionEpoch: peer.region.epoch,
        peer: { id: peer.peerId, storeId: at.store?.id ?? 0 },
      };
}
