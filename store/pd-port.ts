/** What a store asks of PD, in callbacks. `pd-client/` implements it over the network. */
import type { metapb, pdpb } from "../proto/index.js";

export type PdCallback<T> = (error: Error | undefined, result: T | undefined) => void;

export interface RegionHeartbeatStream {
  send(request: pdpb.IRegionHeartbeatRequest): void;
  close(): void;
}

export interface PdPort {
  readonly clusterId: bigint;
  allocId(callback: PdCallback<number>): void;
  isBootstrapped(callback: PdCallback<boolean>): void;
  /** `alreadyBootstrapped` when another store was first. */
  bootstrap(
    store: metapb.IStore,
    region: metapb.IRegion,
    callback: PdCallback<"bootstrapped" | "alreadyBootstrapped">,
  ): void;
  putStore(store: metapb.IStore, callback: PdCallback<void>): void;
  getStore(storeId: number, callback: PdCallback<metapb.IStore>): void;
  getRegion(key: Uint8Array, callback: PdCallback<metapb.IRegion | null>): void;
  getRegionById(regionId: number, callback: PdCallback<metapb.IRegion | null>): void;
  askBatchSplit(region: metapb.IRegion, count: number, callback: PdCallback<pdpb.ISplitID[]>): void;
  reportBatchSplit(regions: metapb.IRegion[], callback: PdCallback<void>): void;
  storeHeartbeat(stats: pdpb.IStoreStats, callback: PdCallback<pdpb.IStoreHeartbeatResponse>): void;
  /** Reconnects by itself; `onReconnect` when a new stream begins, so that all leaders are reported again. */
  openRegionHeartbeat(
    onResponse: (response: pdpb.RegionHeartbeatResponse) => void,
    onReconnect: () => void,
  ): RegionHeartbeatStream;
}
