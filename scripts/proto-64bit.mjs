/**
 * Which 64-bit fields are `number` and which `bigint`, decided per field by the first rule that matches its full name
 * (`package.Message.field`, as in the .proto files). What raftwerk or PD counts up from small (ids, terms, log
 * indexes, sizes, counts, durations) is `number`, checked at the codec border. What is random or uses the whole 64 bits
 * (cluster ids, hashes, timestamps of the timestamp oracle, nanoseconds since 1970) is `bigint`, as is everything of a
 * transaction when in doubt: clients do send 2^64-1 there (txn_size, versions, "for ever" as time to live).
 */

/** [pattern, kind]; a field that no rule matches stops the generator, so that new fields are decided, not guessed. */
export const RULES = [
  // Identities of regions, peers, stores, and positions in a region's log, in whatever package.
  [/\.(\w+_)?(region|peer|store)_ids?$/, "number"],
  [/^kvrpcpb\.(\w+\.(applied_index|read_index)|CheckLeaderResponse\.regions)$/, "number"],
  [/\.(regions_id|failed_regions_id|damaged_regions_id|new_peer_ids|regions_by_id|region_ids)$/, "number"],
  [/\.(log_|raft_|current_|commit_|compact_|applied_)?term$/, "number"],

  // Random in 64 bits.
  [
    /\.(cluster_id|member_id|sender_id|checksum|\w*hash|lease|trace_id|span_id|trace_control_flags)$/,
    "bigint",
  ],
  [/^etcdserverpb\.Member\.ID$/, "bigint"],
  [/^metapb\.Cluster\.id$/, "bigint"],
  [/^encryptionpb\./, "bigint"],

  // Seconds or milliseconds since 1970 fit a number; nanoseconds do not.
  [/^pdpb\.Timestamp\.(physical|logical)$/, "number"],
  [/^metapb\.Store\.start_timestamp$/, "number"],
  [/^metapb\.Store\.last_heartbeat$/, "bigint"],
  [/^tikvpb\.\w+\.(client_send_time_ns|tikv_send_time_ns|last_observed_time|test_id)$/, "bigint"],
  [/^pdpb\.TimeInterval\./, "number"],
  [/^keyspacepb\.\w+\.(created_at|state_changed_at)$/, "number"],

  // Of the timestamp oracle, and times to live where clients send the largest integer for "for ever".
  [/\.(\w+_)?(ts|safe_point|timestamp)$/, "bigint"],
  [/^pdpb\.Advance\w+\.target$/, "bigint"],
  [/^debugpb\.FlashbackToVersionRequest\.version$/, "bigint"],
  [/^pdpb\.\w+\.(TTL|ttl|ttl_seconds)$/, "bigint"],

  // Raw requests and the frame around every request: counted by us, and on the hot path.
  [/^kvrpcpb\.Raw\w+\.(ttl|ttls|total_kvs|total_bytes)$/, "number"],
  [/^kvrpcpb\.Context\.(buckets_version|max_execution_duration_ms)$/, "number"],
  [/^kvrpcpb\.\w+\.\w+_(ms|ns|nanos|count|bytes|iterations|slices)$/, "number"],
  [
    /^kvrpcpb\.(ScanInfo|ScanDetail|ScanDetailV2|WriteDetail|RUV2|ExecDetailsV2|TimeDetail|TimeDetailV2)\./,
    "number",
  ],
  [/^kvrpcpb\.ResourceControlContext\.override_priority$/, "number"],
  [/^kvrpcpb\.PessimisticLockRequest\.wait_timeout$/, "number"],
  [/^kvrpcpb\.HealthFeedback\./, "number"],
  [/^tikvpb\./, "number"],

  // The commands of transactions that travel in Raft entries carry their timestamps as "version".
  [/^(raft_cmdpb|import_sstpb)\.\w+\.(start_version|commit_version|max_version|min_version)$/, "bigint"],

  // Packages that are ours or PD's own, and those that belong to transactions and SQL.
  [
    /^(metapb|pdpb|raft_cmdpb|raft_serverpb|eraftpb|errorpb|import_sstpb|replication_modepb|debugpb)\./,
    "number",
  ],
  [/^(meta_storagepb|etcdserverpb|keyspacepb|resource_manager)\./, "number"],
  [/^(kvrpcpb|deadlock|coprocessor|disaggregated|mpp|tracepb)\./, "bigint"],
];

/** "number" or "bigint" for the full name of a 64-bit field. */
export function kindOf64(fullName) {
  for (const [pattern, kind] of RULES) if (pattern.test(fullName)) return kind;
  throw new Error(`no 64-bit rule for ${fullName}: add one to scripts/proto-64bit.mjs`);
}
