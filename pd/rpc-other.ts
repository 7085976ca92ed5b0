/**
 * Health, keyspace DEFAULT, the few keys of etcd's API that clients read, and the calls that are answered by form
 * only.
 */
import { nextKey } from "../base/index.js";
import {
  bindMethod,
  type BoundMethod,
  EtcdClusterService,
  EtcdKvService,
  type etcdserverpb,
  HealthService,
  KeyspaceService,
  type pdpb,
  PdService,
  RPC_CODE,
  unaryHandler,
} from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { type PdContext, writeGuarded } from "./context.js";
import type { Members } from "./members.js";
import type { MinResolvedTimestamp } from "./min-resolved-timestamp.js";
import type { MetaEntry } from "./meta-store.js";
import { decodeTimestampText, encodeTimestampText } from "./numbers.js";
import {
  clusterCall,
  ERROR_TYPE,
  failure,
  leaderCall,
  okHeader,
  type Reply,
  statusError,
} from "./rpc-answers.js";
import { Serial } from "./serial.js";
import { composeTimestamp, type TimestampOracle } from "./timestamp-oracle.js";

const SERVING = 1;
const NOT_SERVING = 2;
const KEYSPACE_ENABLED = 0;
/** etcd refuses requests above 1.5 MiB; PD allows more, but nothing here needs it. */
const ETCD_VALUE_BYTES_MAX = 1 << 20;
const ETCD_RANGE_LIMIT = 10_000;
/** What other programs keep at PD's port; PD's own keys are read-only for them. */
const FOREIGN_WRITES_REFUSED = new TextEncoder().encode("/pd/");

export function otherMethods(
  cluster: Cluster,
  members: Members,
  timestamps: TimestampOracle,
  minResolved: MinResolvedTimestamp,
): BoundMethod[] {
  return [
    ...healthMethods(cluster),
    ...keyspaceMethods(cluster),
    ...etcdMethods(cluster, members),
    ...timestampMethods(cluster, timestamps, minResolved),
  ];
}

function healthMethods(cluster: Cluster): BoundMethod[] {
  const status = (): number => (cluster.context.leadership.isServing() ? SERVING : NOT_SERVING);
  return [
    bindMethod(
      HealthService.Check,
      unaryHandler((request, reply) => {
        if (request.service !== "") return reply(statusError(RPC_CODE.notFound, "unknown service"));
        reply({ status: status() });
      }),
    ),
    bindMethod(HealthService.Watch, (call) => ({
      onMessage: () => call.send({ status: status() }),
      onHalfClose() {},
      onCancel() {},
    })),
  ];
}

/** One keyspace, number 0. Names of others are answered as PD does. */
function keyspaceMethods(cluster: Cluster): BoundMethod[] {
  const { context } = cluster;
  const keyspace = () => ({
    id: 0,
    name: "DEFAULT",
    state: KEYSPACE_ENABLED,
    createdAt: Math.floor(cluster.bootstrapWallMs / 1000),
    stateChangedAt: Math.floor(cluster.bootstrapWallMs / 1000),
    config: {},
  });
  const unknown = () =>
    failure(context, "[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist", ERROR_TYPE.ENTRY_NOT_FOUND);
  return [
    clusterCall(cluster, KeyspaceService.LoadKeyspace, (request, reply) => {
      reply(request.name === "DEFAULT" ? { header: okHeader(context), keyspace: keyspace() } : unknown());
    }),
    clusterCall(cluster, KeyspaceService.LoadKeyspaceByID, (request, reply) => {
      reply((request.id ?? 0) === 0 ? { header: okHeader(context), keyspace: keyspace() } : unknown());
    }),
    clusterCall(cluster, KeyspaceService.GetAllKeyspaces, (_request, reply) => {
      reply({ header: okHeader(context), keyspaces: [keyspace()] });
    }),
  ];
}

function etcdMethods(cluster: Cluster, members: Members): BoundMethod[] {
  const { context } = cluster;
  const { memberId } = members.self;
  const header = (revision: number): etcdserverpb.IResponseHeader => ({
    clusterId: context.clusterId,
    memberId,
    revision,
    raftTerm: 1,
  });
  return [
    bindMethod(
      EtcdClusterService.MemberList,
      unaryHandler((_request, reply) => {
        const { name, clientUrls, peerUrls } = members.self;
        const member = { ID: memberId, name, clientURLs: clientUrls, peerURLs: peerUrls, isLearner: false };
        reply({ header: header(0), members: [member] });
      }),
    ),
    bindMethod(
      EtcdKvService.Range,
      unaryHandler((request, reply) => {
        if (request.key.length === 0)
          return reply(statusError(RPC_CODE.invalidArgument, "key is not provided"));
        const descending = request.sortOrder === 2;
        const range = {
          start: request.key,
          end: rangeEnd(request.key, request.rangeEnd),
          limit: request.limit > 0 ? Math.min(request.limit, ETCD_RANGE_LIMIT) : ETCD_RANGE_LIMIT,
          reverse: descending,
          keysOnly: request.keysOnly || request.countOnly,
        };
        context.metaStore.range(range, (error, result) => {
          if (error !== undefined) return reply(statusError(RPC_CODE.unavailable, error.message));
          const kvs = request.countOnly ? [] : result.entries.map(entryToWire);
          reply({ header: header(result.revision), kvs, more: result.more, count: result.entries.length });
        });
      }),
    ),
    bindMethod(
      EtcdKvService.Put,
      unaryHandler((request, reply) => {
        if (request.key.length === 0)
          return reply(statusError(RPC_CODE.invalidArgument, "key is not provided"));
        if (request.value.length > ETCD_VALUE_BYTES_MAX) {
          return reply(statusError(RPC_CODE.invalidArgument, "etcdserver: request is too large"));
        }
        if (FOREIGN_WRITES_REFUSED.every((byte, i) => request.key[i] === byte)) {
          return reply(statusError(RPC_CODE.permissionDenied, "the keys under /pd/ are PD's own"));
        }
        context.metaStore.put(request.key, request.value, (error, revision) => {
          if (error !== undefined) return reply(statusError(RPC_CODE.unavailable, error.message));
          reply({ header: header(revision) });
        });
      }),
    ),
  ];
}

/** Etcd's three forms: one key, a range, and `\0` for "all that follow". */
function rangeEnd(key: Uint8Array, end: Uint8Array): Uint8Array | undefined {
  if (end.length === 0) return nextKey(key);
  return end.length === 1 && end[0] === 0 ? undefined : end;
}

const entryToWire = (entry: MetaEntry): etcdserverpb.IKeyValue => ({
  key: entry.key,
  value: entry.value,
  createRevision: entry.createRevision,
  modRevision: entry.modRevision,
  version: entry.version,
  lease: BigInt(entry.leaseId),
});

/** Kept, served back, and without effect of their own here. (12.19, 12.21) */
function timestampMethods(
  cluster: Cluster,
  timestamps: TimestampOracle,
  minResolved: MinResolvedTimestamp,
): BoundMethod[] {
  const { context } = cluster;
  /** One after the other: each is compared with the one before. */
  const changes = new Serial();
  const header = okHeader(context);
  const key = context.keys.externalTimestamp;
  return [
    clusterCall(cluster, PdService.ReportMinResolvedTS, (request, reply) => {
      const store = cluster.store(request.storeId);
      if (store === undefined)
        return reply(statusError(RPC_CODE.unknown, `store ${request.storeId} not found`));
      minResolved.report(store, request.minResolvedTs);
      reply({ header });
    }),
    clusterCall(cluster, PdService.GetExternalTimestamp, (_request, reply) => {
      context.metaStore.get(key, (error, entry) => {
        if (error !== undefined) return reply(failure(context, error.message));
        reply({ header, timestamp: entry === undefined ? 0n : decodeTimestampText(entry.value) });
      });
    }),
    leaderCall(cluster, PdService.SetExternalTimestamp, (request, reply) => {
      changes.run((done) =>
        setExternal(context, timestamps, request.timestamp, (answer) => {
          done();
          reply(answer);
        }),
      );
    }),
  ];
}

/** Grows only, and never beyond what PD has given out. */
function setExternal(
  context: PdContext,
  timestamps: TimestampOracle,
  wanted: bigint,
  reply: Reply<pdpb.ISetExternalTimestampResponse>,
): void {
  const key = context.keys.externalTimestamp;
  const invalid = (text: string): void => reply(failure(context, text, ERROR_TYPE.INVALID_VALUE));
  timestamps.generate(1, (late, now) => {
    if (late !== undefined || now === undefined) return reply(failure(context, late?.message ?? ""));
    if (wanted > composeTimestamp(now))
      return invalid("the external timestamp should not be larger than global ts");
    context.metaStore.get(key, (unread, entry) => {
      if (unread !== undefined) return reply(failure(context, unread.message));
      if (wanted <= (entry === undefined ? 0n : decodeTimestampText(entry.value)))
        return invalid("the external timestamp should be larger than current external timestamp");
      writeGuarded(context, [{ kind: "put", key, value: encodeTimestampText(wanted) }], (error) =>
        reply(error === undefined ? { header: okHeader(context) } : failure(context, error.message)),
      );
    });
  });
}
