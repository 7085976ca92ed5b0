/**
 * A setting counts as stored only while the leader key is this PD's own: a write that is fenced off is told to whoever
 * made the change and leaves nothing behind.
 */
import { describe, expect, test } from "vitest";
import { must, RaftwerkError, utf8 } from "../base/index.js";
import { EmbeddedMetaStore } from "./embedded-meta-store.js";
import type { HttpRequest } from "./http.js";
import { MetaKeys } from "./keys.js";
import { encodeMember } from "./members.js";
import type { MetaStore } from "./meta-store.js";
import { PlacementDriver } from "./placement-driver.js";
import { FakeEnv } from "./test/fake-env.js";
import { MemoryEngine } from "./test/memory-engine.js";
import { PdCluster } from "./test/pd-cluster.js";

const LIMIT = "leader-schedule-limit";

const change = (value: number): HttpRequest => ({
  method: "POST",
  path: "/pd/api/v1/config",
  query: {},
  headers: {},
  body: utf8(JSON.stringify({ [LIMIT]: value })),
});

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A PD alone on an embedded store which the test may write into behind its back. */
class Alone {
  readonly env = new FakeEnv(1);
  readonly #engine = new MemoryEngine(this.env);
  readonly metaStore: MetaStore;
  readonly pd: PlacementDriver;
  readonly keys: MetaKeys;

  constructor() {
    let opened: MetaStore | undefined;
    EmbeddedMetaStore.open(this.env, this.#engine, (_error, metaStore) => {
      opened = metaStore;
    });
    this.env.settle();
    this.metaStore = must(opened, "no meta store");
    this.pd = this.start();
    this.keys = new MetaKeys(this.pd.clusterId);
  }

  /** One more life over the same store: it takes the leader key. */
  start(): PlacementDriver {
    const pd = new PlacementDriver(this.env, { name: "pd", clientUrls: ["http://pd:2379"] }, this.metaStore);
    let failed: Error | undefined;
    pd.start((error) => {
      failed = error;
    });
    this.env.settle();
    if (failed !== undefined) throw failed;
    return pd;
  }

  /** Undefined when it was stored. */
  save(pd: PlacementDriver = this.pd): Error | undefined {
    let outcome: { readonly error: Error | undefined } | undefined;
    pd.saveConfig((error) => {
      outcome = { error };
    });
    this.env.settle();
    return must(outcome, "no answer").error;
  }

  set(value: number, pd: PlacementDriver = this.pd): Answer {
    let answer: Answer | undefined;
    pd.handleHttp(change(value), (status, _type, body) => {
      answer = { status, body };
    });
    this.env.settle();
    return must(answer, "no answer");
  }

  /** What a PD would read at its next start. */
  get stored(): string | undefined {
    let text: string | undefined;
    this.metaStore.get(this.keys.config, (error, entry) => {
      if (error !== undefined) throw error;
      text = entry === undefined ? undefined : new TextDecoder().decode(entry.value);
    });
    this.env.settle();
    return text;
  }
}

const limitOf = (stored: string | undefined): unknown =>
  JSON.parse(stored ?? "{}").values?.[`schedule.${LIMIT}`];

/** Known not to have happened: to be asked again of whoever leads. */
function expectNotStored(error: Error | undefined): void {
  expect(error).toBeInstanceOf(RaftwerkError);
  expect(error).toMatchObject({ code: "pdUnavailable", retry: "safe" });
}

describe("saving the settings", () => {
  test("stores them while the leader key is ours", () => {
    const alone = new Alone();
    expect(alone.set(7).status).toBe(200);
    expect(limitOf(alone.stored)).toBe(7);
    expect(alone.save()).toBeUndefined();
  });

  test("fails and stores nothing when another has the leader key", () => {
    const alone = new Alone();
    expect(alone.set(7).status).toBe(200);
    const before = alone.stored;
    const other = alone.start();
    expectNotStored(alone.save());
    const answer = alone.set(9);
    expect(answer.status).toBe(500);
    expect(answer.body).toContain("ErrEtcdTxnConflict");
    expect(alone.stored).toBe(before);
    // Who leads now is not held back, and has never seen the refused value.
    expect(limitOf(alone.stored)).toBe(7);
    expect(alone.set(8, other).status).toBe(200);
    expect(limitOf(alone.stored)).toBe(8);
  });

  test("fails and stores nothing when the leader key is gone", () => {
    const alone = new Alone();
    alone.metaStore.transact(
      { compares: [], onSuccess: [{ kind: "delete", key: alone.keys.leader }] },
      () => {},
    );
    alone.env.settle();
    expectNotStored(alone.save());
    expect(alone.stored).toBeUndefined();
  });

  test("fails for an elected leader whose key was taken before it noticed", () => {
    const cluster = new PdCluster(1);
    cluster.waitForLeader();
    cluster.env.advance(1_000);
    const keys = new MetaKeys(cluster.clusterId);
    const leader = cluster.leader();
    const { pd } = leader;
    if (pd === undefined) throw new Error("no PD");
    const before = cluster.etcd.peek(keys.config)?.modRevision;
    // Its write is under way when the key changes hands.
    leader.store.knobs.delayMs = 50;
    const outcomes: (Error | undefined)[] = [];
    pd.saveConfig((error) => outcomes.push(error));
    const intruder = cluster.etcd.connect(cluster.env);
    const another = encodeMember({ name: "pd9", memberId: 9n, clientUrls: [], peerUrls: [] });
    intruder.put(keys.leader, another, () => {});
    cluster.env.advance(500);
    expect(outcomes).toHaveLength(1);
    expectNotStored(outcomes[0]);
    expect(cluster.etcd.peek(keys.config)?.modRevision).toBe(before);
  });
});
