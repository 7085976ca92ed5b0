/** Numbers that govern a store beyond its peers, with units. */
import { RaftwerkError } from "../base/index.js";
import { DEFAULT_REGION_CONFIG, type RegionConfig, validateRegionConfig } from "../region/config.js";

export interface StoreConfig extends RegionConfig {
  /** 1: keys are the user's. 2: keys carry a mode and a keyspace. (see ApiMode) */
  readonly apiVersion: 1 | 2;
  /** Whether values may have times to live; always so with version 2. */
  readonly enableTtl: boolean;
  /** A region that grows beyond `regionMaxBytes` is split at multiples of `regionSplitBytes`. */
  readonly regionSplitBytes: number;
  readonly regionMaxBytes: number;
  /** The same by the number of keys. */
  readonly regionSplitKeys: number;
  readonly regionMaxKeys: number;
  readonly splitCheckTickMs: number;
  /** Expired values are looked for this often, and deleted. 0: never. */
  readonly ttlCheckTickMs: number;
  readonly logGcTickMs: number;
  /** Leaders report to PD at least this often; changes are reported at once. */
  readonly pdHeartbeatTickMs: number;
  /** The same of leaders of quiet regions. */
  readonly pdQuietHeartbeatTickMs: number;
  readonly pdStoreHeartbeatTickMs: number;
  /** A peer not heard from for this long is reported down. */
  readonly peerDownMs: number;
  /** A peer without a leader for this long asks PD whether it still exists. */
  readonly leaderMissingMs: number;
  /** Of all regions together, proposed and not applied; beyond it writers are told ServerIsBusy. */
  readonly writesUnderWayBytesMax: number;
  /** Of all regions together: recent log entries in memory. */
  readonly entryCacheTotalBytesMax: number;
  /** Rows gathered by scans under way; beyond it further scans are told ServerIsBusy. */
  readonly scansUnderWayBytesMax: number;
  /** Answers that clients have not taken yet; beyond it readers are told ServerIsBusy. */
  readonly answersPendingBytesMax: number;
  /** Disk kept free: min of this and a twentieth of the capacity. 0: no rule. (see DiskGuard) */
  readonly reserveSpaceBytes: number;
  readonly snapshotChunkBytesMax: number;
  /** What a store sends of snapshots at most, all together. 0: as much as connections take. */
  readonly snapshotBytesPerSecondMax: number;
  readonly snapshotSendsMax: number;
  readonly snapshotReceivesMax: number;
  readonly snapshotTimeoutMs: number;
  /** A stream of a snapshot that brings nothing for this long loses its place. */
  readonly snapshotIdleMs: number;
  /** Bounds of what one request may carry. */
  readonly keyBytesMax: number;
  readonly scanRowsMax: number;
  /** One page of a scan; a scan takes as many pages as it needs. */
  readonly scanBytesMax: number;
  /** A scan whose answer would be larger is refused. */
  readonly scanAnswerBytesMax: number;
  /** A client that does not read its answers is cut off beyond this backlog. */
  readonly streamPendingBytesMax: number;
}

export const DEFAULT_STORE_CONFIG: StoreConfig = Object.freeze({
  ...DEFAULT_REGION_CONFIG,
  apiVersion: 1,
  enableTtl: true,
  regionSplitBytes: 96 << 20,
  regionMaxBytes: 144 << 20,
  regionSplitKeys: 960_000,
  regionMaxKeys: 1_440_000,
  splitCheckTickMs: 2_000,
  ttlCheckTickMs: 3_600_000,
  logGcTickMs: 1_000,
  pdHeartbeatTickMs: 10_000,
  pdQuietHeartbeatTickMs: 300_000,
  pdStoreHeartbeatTickMs: 3_000,
  peerDownMs: 60_000,
  leaderMissingMs: 60_000,
  writesUnderWayBytesMax: 128 << 20,
  entryCacheTotalBytesMax: 128 << 20,
  scansUnderWayBytesMax: 256 << 20,
  answersPendingBytesMax: 256 << 20,
  reserveSpaceBytes: 5 * 2 ** 30,
  snapshotChunkBytesMax: 256 << 10,
  snapshotBytesPerSecondMax: 100 << 20,
  snapshotSendsMax: 8,
  snapshotReceivesMax: 8,
  snapshotTimeoutMs: 600_000,
  snapshotIdleMs: 30_000,
  keyBytesMax: 8 << 10,
  scanRowsMax: 10_240 * 16,
  scanBytesMax: 16 << 20,
  scanAnswerBytesMax: 256 << 20,
  streamPendingBytesMax: 128 << 20,
});

export function validateStoreConfig(config: StoreConfig): void {
  validateRegionConfig(config);
  if (config.apiVersion === 2 && !config.enableTtl) {
    const text = "storage.enable-ttl must be true with storage.api-version = 2";
    throw new RaftwerkError("invalidConfig", text, { retry: "never" });
  }
}
