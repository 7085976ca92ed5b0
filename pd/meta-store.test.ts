import { describe, expect, test } from "vitest";
import { SimulatedEtcd } from "../sim/simulated-etcd.js";
import { EmbeddedMetaStore } from "./embedded-meta-store.js";
import type { MetaStore } from "./meta-store.js";
import { FakeEnv } from "./test/fake-env.js";
import { MemoryEngine } from "./test/memory-engine.js";
import { META_STORE_CASES, type MetaStoreTarget } from "./test/meta-store-conformance.js";

const virtual = (env: FakeEnv, store: MetaStore): MetaStoreTarget => ({
  store,
  sleep: async (ms) => {
    env.advance(ms);
    await Promise.resolve();
  },
});

function embedded(): MetaStoreTarget {
  const env = new FakeEnv();
  let opened: MetaStore | undefined;
  EmbeddedMetaStore.open(env, new MemoryEngine(env), (_error, store) => {
    opened = store;
  });
  env.settle();
  return virtual(env, opened as MetaStore);
}

function simulated(): MetaStoreTarget {
  const env = new FakeEnv();
  return virtual(env, new SimulatedEtcd(env).connect(env, { delayMs: 3 }));
}

describe.each([
  ["the embedded meta store", embedded],
  ["the simulated etcd", simulated],
] as const)("%s", (_name, open) => {
  test.each(META_STORE_CASES)("$title", async (one) => {
    await expect(one.run(open(), "case:")).resolves.toBeUndefined();
  });
});
