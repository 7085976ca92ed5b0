/** Watches a local cluster come up, over PD's HTTP API and by a write through the front door. */
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER, utf8 } from "../base/index.js";
import { RawClient } from "../client/index.js";

interface PdRegions {
  readonly regions?: readonly { readonly peers?: readonly { readonly role_name?: string }[] }[];
}
interface StoreSettings {
  readonly storage?: { readonly "api-version"?: number };
}
interface PdStores {
  readonly stores?: readonly { readonly store: { readonly id: number; readonly address: string } }[];
}

async function getJson<T>(pdAddress: string, path: string): Promise<T | undefined> {
  try {
    const response = await fetch(`http://${pdAddress}/pd/api/v1/${path}`);
    return response.ok ? ((await response.json()) as T) : undefined;
  } catch {
    // Not up so far.
    return undefined;
  }
}

/** Store ids by address, as PD knows them. */
export async function storeIds(pdAddress: string): Promise<Map<string, number>> {
  const answer = await getJson<PdStores>(pdAddress, "stores");
  return new Map((answer?.stores ?? []).map(({ store }) => [store.address, store.id]));
}

/** True when every region has at least `replicas` voters. */
export async function isReplicated(pdAddress: string, replicas: number): Promise<boolean> {
  const answer = await getJson<PdRegions>(pdAddress, "regions");
  const regions = answer?.regions ?? [];
  const voters = (peers: readonly { readonly role_name?: string }[]): number =>
    peers.filter((peer) => (peer.role_name ?? "Voter") === "Voter").length;
  return regions.length > 0 && regions.every((region) => voters(region.peers ?? []) >= replicas);
}

/** `storage.api-version` of a store, asked of its status port as TiKV's clients do; 1 when it does not say. */
export async function apiVersionOf(statusAddress: string): Promise<1 | 2> {
  try {
    const config = (await (await fetch(`http://${statusAddress}/config`)).json()) as StoreSettings;
    return config.storage?.["api-version"] === 2 ? 2 : 1;
  } catch {
    return 1;
  }
}

/** Writes and removes one key as any client would. */
export async function tryWrite(pdAddress: string, timeoutMs: number, apiVersion: 1 | 2 = 1): Promise<void> {
  const client = new RawClient(nodeEnv(SILENT_LOGGER), new GrpcNetwork(), {
    pdEndpoints: [pdAddress],
    timeoutMs,
    apiVersion,
  });
  try {
    await client.connect();
    const key = utf8("raftwerk/playground/probe");
    await client.put(key, utf8("works"));
    await client.delete(key);
  } finally {
    client.close();
  }
}
