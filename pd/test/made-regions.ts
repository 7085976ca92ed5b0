/** Records of regions on three stores by their bounds as text, and how a list of them reads. */
import type { RegionInfo } from "../region-info.js";
import { MockCluster, type MockRegion } from "./mock-cluster.js";

export const TEXT: { decode(bytes: Uint8Array): string } = new TextDecoder();

export const ranges = (regions: Iterable<RegionInfo>): string =>
  [...regions]
    .map(({ meta }) => `${meta.id}[${TEXT.decode(meta.startKey)},${TEXT.decode(meta.endKey)})`)
    .join(" ");

const maker = new MockCluster();
export const made = (id: number, start: string, end: string, more: MockRegion = {}): RegionInfo =>
  maker.region(id, [1, 2, 3], { start, end, ...more });
