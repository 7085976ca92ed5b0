import type { pdpb } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import type { HeartbeatStreams } from "./heartbeat-streams.js";
import type { RegionInfo } from "./region-info.js";
import type { StoreInfo } from "./store-info.js";

export class Scheduling {
  constructor(cluster: Cluster, streams: HeartbeatStreams, saveConfig: () => void) {
    void cluster;
    void streams;
    void saveConfig;
  }
  load(callback: (error: Error | undefined) => void): void {
    callback(undefined);
  }
  start(): void {}
  stop(): void {}
  onStoreHeartbeat(_store: StoreInfo, _stats: pdpb.StoreStats): void {}
  onRegionHeartbeat(_region: RegionInfo, _previous: RegionInfo | undefined): void {}
  onSplitAsked(_sourceId: number, _newIds: readonly number[]): void {}
}
