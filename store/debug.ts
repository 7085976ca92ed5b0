/**
 * TiKV's debug service, as far as an answer costs little: keys and records of the engine as they lie on disk, and
 * figures of the process. For people and their tools, never for clients. What it does not serve is refused with a
 * sentence. Keys are those of the engine: a user's key `k` is `zk`.
 */
import type { KeySpace } from "../base/index.js";
import {
  type BoundMethod,
  bindMethod,
  debugpb,
  DebugService,
  eraftpb,
  type MethodDefinition,
  RPC_CODE,
  type RpcCode,
  RpcStatusError,
  raft_serverpb,
  unaryHandler,
} from "../proto/index.js";
import {
  applyStateKey,
  dataEndKey,
  dataKey,
  raftLogKey,
  raftStateKey,
  REGION_STATE_END,
  REGION_STATE_START,
  regionIdOfStateKey,
  regionStateKey,
} from "../region/keys.js";
import { readRegionState } from "../region/local-state.js";
import type { Store } from "./store.js";
import { unimplementedMethod } from "./unimplemented.js";

type Reply<T> = (answer: T | RpcStatusError) => void;

/** Rows and bytes of a scan's page; other work of the store goes first between pages. */
const PAGE_ROWS = 256;
const PAGE_BYTES = 1 << 20;

const SPACES: readonly string[] = ["default", "lock", "write", "raft"] satisfies KeySpace[];

const refusal = (code: RpcCode, message: string): RpcStatusError => new RpcStatusError({ code, message });
const invalid = (message: string): RpcStatusError => refusal(RPC_CODE.invalidArgument, message);
const notFound = (message: string): RpcStatusError => refusal(RPC_CODE.notFound, message);

class Debug {
  readonly #store: Store;
  /** One at a time: each reads a whole region. */
  #isMeasuring = false;

  constructor(store: Store) {
    this.#store = store;
  }

  get({ db, cf, key }: debugpb.GetRequest, reply: Reply<debugpb.IGetResponse>): void {
    if (key.length === 0) return reply(invalid("the key is empty"));
    const space = db === debugpb.DB.RAFT ? "raft" : cf;
    if (db !== debugpb.DB.RAFT && db !== debugpb.DB.KV) return reply(invalid("db must be KV or RAFT"));
    if (!isSpace(space)) return reply(unknownSpace(space));
    const value = this.#store.engine.get(space, key);
    if (value === undefined) return reply(notFound("the engine has no such key"));
    reply({ value });
  }

  raftLog({ regionId, logIndex }: debugpb.RaftLogRequest, reply: Reply<debugpb.IRaftLogResponse>): void {
    if (regionId === 0 || logIndex === 0) return reply(invalid("region and index begin with 1"));
    const bytes = this.#store.engine.get("raft", raftLogKey(regionId, logIndex));
    if (bytes === undefined)
      return reply(notFound(`region ${regionId} has no entry ${logIndex} on this store`));
    reply({ entry: eraftpb.Entry.decode(bytes) });
  }

  regionInfo({ regionId }: debugpb.RegionInfoRequest, reply: Reply<debugpb.IRegionInfoResponse>): void {
    const { engine } = this.#store;
    const raft = engine.get("raft", raftStateKey(regionId));
    const apply = engine.get("raft", applyStateKey(regionId));
    const region = engine.get("raft", regionStateKey(regionId));
    if (raft === undefined && apply === undefined && region === undefined) return reply(noRegion(regionId));
    reply({
      raftLocalState: raft === undefined ? null : raft_serverpb.RaftLocalState.decode(raft),
      raftApplyState: apply === undefined ? null : raft_serverpb.RaftApplyState.decode(apply),
      regionLocalState: region === undefined ? null : raft_serverpb.RegionLocalState.decode(region),
    });
  }

  /** Bytes of keys and values, counted: the engine's own estimate leaves out what is not in a table yet. */
  regionSize({ regionId, cfs }: debugpb.RegionSizeRequest, reply: Reply<debugpb.IRegionSizeResponse>): void {
    const wrong = cfs.find((cf) => !isSpace(cf) || cf === "raft");
    if (wrong !== undefined) return reply(unknownSpace(wrong));
    const state = readRegionState(this.#store.engine, regionId);
    if (state === undefined || state.state === "tombstone") return reply(noRegion(regionId));
    if (this.#isMeasuring)
      return reply(refusal(RPC_CODE.resourceExhausted, "another region is being measured"));
    this.#isMeasuring = true;
    const start = dataKey(state.region.startKey);
    const end = dataEndKey(state.region.endKey);
    const entries: debugpb.RegionSizeResponse.IEntry[] = [];
    const spaces = [...new Set(cfs)];
    const next = (at: number): void => {
      const cf = spaces[at];
      if (cf === undefined) {
        this.#isMeasuring = false;
        return reply({ entries });
      }
      let size = 0;
      this.#pages(cf as KeySpace, start, end, {
        isKeysOnly: false,
        row: (key, value) => {
          size += key.length + value.length;
        },
        done: (error) => {
          if (error !== undefined) {
            this.#isMeasuring = false;
            return reply(error);
          }
          entries.push({ cf, size });
          next(at + 1);
        },
      });
    };
    next(0);
  }

  storeInfo(reply: Reply<debugpb.IGetStoreInfoResponse>): void {
    const { id, raw } = this.#store;
    reply({ storeId: id, apiVersion: raw.mode.wire });
  }

  /** Of tombstones too: what became of a region is asked of `RegionInfo`. */
  allRegions(reply: Reply<debugpb.IGetAllRegionsInStoreResponse>): void {
    const regions: number[] = [];
    this.#pages("raft", REGION_STATE_START, REGION_STATE_END, {
      isKeysOnly: true,
      row: (key) => void regions.push(regionIdOfStateKey(key)),
      done: (error) => reply(error ?? { regions }),
    });
  }

  metrics({ all }: debugpb.GetMetricsRequest, reply: Reply<debugpb.IGetMetricsResponse>): void {
    const { id, engine } = this.#store;
    const rocksdbKv = all ? (engine.property("rocksdb.stats") ?? "") : "";
    this.#store.metricsText((prometheus) => reply({ prometheus, rocksdbKv, storeId: id }));
  }

  #pages(
    space: KeySpace,
    start: Uint8Array,
    end: Uint8Array,
    to: {
      readonly isKeysOnly: boolean;
      row(key: Uint8Array, value: Uint8Array): void;
      done(error: RpcStatusError | undefined): void;
    },
  ): void {
    const { engine, env } = this.#store;
    const page = { end, limit: PAGE_ROWS, bytesMax: PAGE_BYTES, keysOnly: to.isKeysOnly };
    const next = (from: Uint8Array): void =>
      engine.scan(space, { ...page, start: from }, (error, result) => {
        if (error !== undefined) return to.done(refusal(RPC_CODE.internal, `scan failed: ${error.message}`));
        for (const { key, value } of result.rows) to.row(key, value);
        const last = result.rows.at(-1)?.key;
        if (result.finished || last === undefined) return to.done(undefined);
        const behind = new Uint8Array(last.length + 1);
        behind.set(last);
        env.timers.nextTurn(() => next(behind));
      });
    next(start);
  }
}

const isSpace = (name: string): name is KeySpace => SPACES.includes(name);
const unknownSpace = (name: string): RpcStatusError =>
  invalid(`"${name}" is none of the column families ${SPACES.join(", ")}`);
const noRegion = (id: number): RpcStatusError => notFound(`region ${id} was never on this store`);

export function debugMethods(store: Store): BoundMethod[] {
  const debug = new Debug(store);
  const d = DebugService;
  function serve<Q, R, QI, RI>(
    definition: MethodDefinition<Q, R, QI, RI>,
    run: (request: Q, reply: Reply<RI>) => void,
  ): BoundMethod {
    const handler = unaryHandler<Q, RI>((request, reply) => {
      store.countRequest(definition.path);
      if (store.isServing) return run(request, reply);
      reply(refusal(RPC_CODE.unavailable, "the store is starting"));
    });
    return bindMethod(definition, handler);
  }
  const served = [
    serve(d.Get, (request, reply) => debug.get(request, reply)),
    serve(d.RaftLog, (request, reply) => debug.raftLog(request, reply)),
    serve(d.RegionInfo, (request, reply) => debug.regionInfo(request, reply)),
    serve(d.RegionSize, (request, reply) => debug.regionSize(request, reply)),
    serve(d.GetMetrics, (request, reply) => debug.metrics(request, reply)),
    serve(d.GetStoreInfo, (_request, reply) => debug.storeInfo(reply)),
    serve(d.GetClusterInfo, (_request, reply) => reply({ clusterId: store.clusterId })),
    serve(d.GetAllRegionsInStore, (_request, reply) => debug.allRegions(reply)),
  ];
  const paths = new Set(served.map(({ definition }) => definition.path));
  const others = Object.entries(DebugService).filter(([, { path }]) => !paths.has(path));
  return [
    ...served,
    ...others.map(([name, definition]) =>
      unimplementedMethod(
        definition as MethodDefinition<unknown, unknown>,
        `raftwerk does not serve ${name}: of the debug calls it has those that read`,
      ),
    ),
  ];
}
