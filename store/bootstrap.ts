/**
 * A store's identity and the first region. In two phases, so that a crash or a second first store at any point leaves
 * either everything or nothing: prepare locally (synced), then ask PD, then forget the preparation or the region.
 * (raftstore rules 1.1)
 */
import {
  assert,
  type ClusterId,
  clusterId,
  EMPTY_BYTES,
  type Engine,
  type Env,
  RaftwerkError,
  regionId,
  type StoreId,
  storeId,
  peerId,
} from "../base/index.js";
import { kvrpcpb, metapb, raft_serverpb } from "../proto/index.js";
import {
  applyStateKey,
  PREPARE_BOOTSTRAP_KEY,
  raftStateKey,
  regionStateKey,
  STORE_IDENT_KEY,
} from "../region/keys.js";
import {
  encodeApplyState,
  encodeRaftState,
  encodeRegionState,
  INIT_APPLY_STATE,
  INIT_RAFT_STATE,
} from "../region/local-state.js";
import { type Region, regionFromProto, regionToProto } from "../region/region.js";
import type { PdPort } from "./pd-port.js";

export interface StoreIdent {
  readonly clusterId: ClusterId;
  readonly storeId: StoreId;
  readonly apiVersion: kvrpcpb.APIVersion;
}

type Callback<T> = (error: Error | undefined, result: T | undefined) => void;

const ATTEMPTS_MAX = 60;
const RETRY_MS = 1_000;

export function readIdent(engine: Engine): StoreIdent | undefined {
  const bytes = engine.get("raft", STORE_IDENT_KEY);
  if (bytes === undefined) return undefined;
  const ident = raft_serverpb.StoreIdent.decode(bytes);
  const { apiVersion } = ident;
  return { clusterId: clusterId(ident.clusterId), storeId: storeId(ident.storeId), apiVersion };
}

/** Reads the identity, or gets a store id from PD and writes it. Refuses a directory of another cluster. */
export function ensureIdent(
  engine: Engine,
  pd: PdPort,
  apiVersion: kvrpcpb.APIVersion,
  callback: Callback<StoreIdent>,
): void {
  const known = readIdent(engine);
  if (known !== undefined) {
    if (known.clusterId !== pd.clusterId) {
      const text =
        `this data directory belongs to cluster ${known.clusterId} (as store ${known.storeId}), but PD serves ` +
        `cluster ${pd.clusterId}: give --pd of the right cluster, or an empty --data-dir`;
      return callback(new RaftwerkError("clusterIdMismatch", text, { retry: "never" }), undefined);
    }
    return ensureApiVersion(engine, known, apiVersion, callback);
  }
  engine.scan("default", { start: EMPTY_BYTES, end: undefined, limit: 1 }, (error, result) => {
    if (error !== undefined) return callback(error, undefined);
    if (result.rows.length > 0) {
      const text = "the data directory holds data but no store identity: give an empty --data-dir";
      return callback(new RaftwerkError("dataDirectoryNotEmpty", text, { retry: "never" }), undefined);
    }
    pd.allocId((failed, id) => {
      if (failed !== undefined || id === undefined) return callback(failed, undefined);
      const ident = { clusterId: clusterId(pd.clusterId), storeId: storeId(id), apiVersion };
      writeIdent(engine, ident, callback);
    });
  });
}

function writeIdent(engine: Engine, ident: StoreIdent, callback: Callback<StoreIdent>): void {
  const batch = engine.batch();
  batch.put("raft", STORE_IDENT_KEY, raft_serverpb.StoreIdent.encode(ident).finish());
  engine.write(batch, { sync: true }, (error) => callback(error, error ? undefined : ident));
}

/** Keys mean different things to versions 1 and 2: only a store without data may change from one to the other. */
function ensureApiVersion(
  engine: Engine,
  known: StoreIdent,
  apiVersion: kvrpcpb.APIVersion,
  callback: Callback<StoreIdent>,
): void {
  const { V2 } = kvrpcpb.APIVersion;
  if (known.apiVersion === apiVersion) return callback(undefined, known);
  const ident = { ...known, apiVersion };
  if (known.apiVersion !== V2 && apiVersion !== V2) return writeIdent(engine, ident, callback);
  engine.scan("default", { start: EMPTY_BYTES, end: undefined, limit: 1 }, (error, result) => {
    if (error !== undefined) return callback(error, undefined);
    if (result.rows.length === 0) return writeIdent(engine, ident, callback);
    const [was, is] = [known.apiVersion, apiVersion].map((version) => (version === V2 ? 2 : 1));
    const text =
      `this data directory holds keys of storage.api-version ${was}, and the configuration says ${is}: ` +
      "set it back, or give an empty --data-dir";
    callback(new RaftwerkError("invalidConfig", text, { retry: "never" }), undefined);
  });
}

/** Makes sure that the cluster has its first region, here or elsewhere. */
export class ClusterBootstrap {
  readonly #env: Env;
  readonly #engine: Engine;
  readonly #pd: PdPort;
  readonly #store: metapb.IStore;

  constructor(env: Env, engine: Engine, pd: PdPort, store: metapb.IStore) {
    this.#env = env;
    this.#engine = engine;
    this.#pd = pd;
    this.#store = store;
  }

  run(callback: Callback<void>): void {
    const prepared = this.#engine.get("raft", PREPARE_BOOTSTRAP_KEY);
    if (prepared !== undefined) {
      // PD may have taken it before the crash: only PD's answer tells.
      return this.#offer(regionFromProto(metapb.Region.decode(prepared)), 1, callback);
    }
    this.#pd.isBootstrapped((error, isBootstrapped) => {
      if (error !== undefined) return callback(error, undefined);
      if (isBootstrapped) return callback(undefined, undefined);
      this.#prepare((failed, region) => {
        if (failed !== undefined || region === undefined) return callback(failed, undefined);
        this.#offer(region, 1, callback);
      });
    });
  }

  #prepare(callback: Callback<Region>): void {
    this.#pd.allocId((error, newRegionId) => {
      if (error !== undefined || newRegionId === undefined) return callback(error, undefined);
      this.#pd.allocId((failed, newPeerId) => {
        if (failed !== undefined || newPeerId === undefined) return callback(failed, undefined);
        const region: Region = {
          id: regionId(newRegionId),
          startKey: EMPTY_BYTES,
          endKey: EMPTY_BYTES,
          epoch: { confVer: 1, version: 1 },
          peers: [{ id: peerId(newPeerId), storeId: storeId(this.#store.id ?? 0), role: "voter" }],
        };
        const batch = this.#engine.batch();
        batch.put("raft", PREPARE_BOOTSTRAP_KEY, metapb.Region.encode(regionToProto(region)).finish());
        batch.put("raft", regionStateKey(region.id), encodeRegionState({ state: "normal", region }));
        batch.put("raft", applyStateKey(region.id), encodeApplyState(INIT_APPLY_STATE));
        batch.put("raft", raftStateKey(region.id), encodeRaftState(INIT_RAFT_STATE));
        this.#engine.write(batch, { sync: true }, (writeError) =>
          callback(writeError, writeError === undefined ? region : undefined),
        );
      });
    });
  }

  #offer(region: Region, attempt: number, callback: Callback<void>): void {
    const retry = (error: Error): void => {
      if (attempt >= ATTEMPTS_MAX) return callback(error, undefined);
      this.#env.log.warn("bootstrap has to be tried again", { reason: error.message, attempt });
      this.#env.timers.set(RETRY_MS, () => this.#offer(region, attempt + 1, callback));
    };
    this.#pd.bootstrap(this.#store, regionToProto(region), (error, outcome) => {
      if (error !== undefined) return retry(error);
      if (outcome === "bootstrapped") return this.#settle(region, false, callback);
      this.#pd.getRegion(EMPTY_BYTES, (failed, first) => {
        if (failed !== undefined || first == null)
          return retry(failed ?? new Error("PD has no first region"));
        this.#settle(region, first.id !== region.id, callback);
      });
    });
  }

  /** Confirmed: forget that it was prepared. Lost to another store: forget the region as well. */
  #settle(region: Region, lost: boolean, callback: Callback<void>): void {
    const batch = this.#engine.batch();
    batch.delete("raft", PREPARE_BOOTSTRAP_KEY);
    if (lost) {
      batch.delete("raft", regionStateKey(region.id));
      batch.delete("raft", applyStateKey(region.id));
      batch.delete("raft", raftStateKey(region.id));
    }
    assert(batch.count > 0, "settling a bootstrap writes");
    this.#engine.write(batch, { sync: true }, (error) => callback(error, undefined));
  }
}
