/**
 * The checks of the fault scenes find what they are there for: each of these bugs, put between a PD and the world, is
 * found within a few seeds.
 */
import { describe, expect, test } from "vitest";
import { fromUtf8 } from "../base/index.js";
import type { MetaStore, MetaTransaction } from "./meta-store.js";
import type { PdCluster, Seams } from "./test/pd-cluster.js";
import { runScene, SCENES } from "./test/pd-scenes.js";

/** Of one scene. */
const ROUNDS_MAX = 12;
const LEADER = /\/leader$/;
const WINDOWS = /\/(timestamp|alloc_id)$/;

/** The store with other transactions; its methods are of a class with private parts. */
function through(store: MetaStore, transact: MetaStore["transact"]): MetaStore {
  return {
    get: (...args) => store.get(...args),
    range: (...args) => store.range(...args),
    put: (...args) => store.put(...args),
    delete: (...args) => store.delete(...args),
    transact,
    transactOutOfLine: (...args) => store.transactOutOfLine(...args),
    grantLease: (...args) => store.grantLease(...args),
    keepAliveLease: (...args) => store.keepAliveLease(...args),
    revokeLease: (...args) => store.revokeLease(...args),
    watch: (...args) => store.watch(...args),
    close: (...args) => store.close(...args),
  };
}

const puts = ({ onSuccess }: MetaTransaction, name: RegExp): boolean =>
  onSuccess.some(({ kind, key }) => kind === "put" && name.test(fromUtf8(key)));

function unfenced(store: MetaStore): MetaStore {
  return through(store, (transaction, callback) => {
    const isElection = puts(transaction, LEADER);
    const compares = transaction.compares.filter(({ key }) => isElection || !LEADER.test(fromUtf8(key)));
    store.transact({ ...transaction, compares }, callback);
  });
}

/** Says that a window is stored, and stores it half a second later. */
function usedBeforeStored(store: MetaStore, { env }: PdCluster): MetaStore {
  return through(store, (transaction, callback) => {
    if (!puts(transaction, WINDOWS)) return store.transact(transaction, callback);
    env.timers.nextTurn(() => callback(undefined, { succeeded: true, revision: 1, entries: [] }));
    env.timers.set(500, () => store.transact(transaction, () => {}));
  });
}

interface Bug {
  readonly title: string;
  /** Where it shows. */
  readonly scene: string;
  readonly seams: Seams;
  readonly says: RegExp;
}

const BUGS: readonly Bug[] = [
  {
    title: "a write that is not fenced by the leader key",
    scene: "a PD that is stopped and wakes after its lease",
    seams: { metaStore: unfenced },
    says: /was written by a PD that does not lead/,
  },
  {
    title: "a window that is used before it is stored",
    scene: "kill -9 of each PD in turn",
    seams: { metaStore: usedBeforeStored },
    says: /is above the stored window|was received|handed out twice/,
  },
  {
    title: "a leader that answers after its lease",
    scene: "each PD cut off from etcd in turn",
    // Its clock runs at half speed: it believes in its lease for twice as long.
    seams: { monotonicMs: (ms) => ms / 2 },
    says: /serve at once|was received|handed out twice/,
  },
];

describe("the scenes of several PDs find", () => {
  test.each(BUGS)("$title", { timeout: 120_000 }, ({ scene, seams, says }) => {
    const at = SCENES.findIndex(({ title }) => title === scene);
    expect(at).toBeGreaterThanOrEqual(0);
    let found = "";
    for (let round = 0; round < ROUNDS_MAX && found === ""; round++) {
      try {
        runScene(1 + at + round * SCENES.length, seams);
      } catch (error) {
        const { message } = error as Error;
        if (!says.test(message)) throw error;
        found = message;
      }
    }
    expect(found).toMatch(says);
  });
});
