/**
 * What a cluster says about itself while a workload runs, once a second: CPU and memory of each process and fsyncs from
 * their `/metrics` pages, the number of regions from PD. Works over the network, with TiKV as far as it has the names.
 */
import { parseMetrics } from "./local.js";

export interface ProcessSample {
  /** Cores in use since the sample before. */
  readonly cores: number;
  readonly residentMib: number;
}

export interface ClusterSample {
  /** By process; null when it did not answer. */
  readonly processes: readonly (ProcessSample | null)[];
  /** Of all stores; null when no store tells. */
  readonly fsyncsPerSecond: number | null;
  readonly regions: number | null;
}

interface Source {
  readonly name: string;
  readonly url: string;
  cpuSeconds: number | undefined;
  fsyncs: number | undefined;
  atMs: number;
}

const FSYNCS = "raftwerk_store_synced_writes_total";
const ANSWER_MS = 900;

async function text(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}

export class ClusterSampler {
  readonly #pd: string;
  readonly #sources: readonly Source[];

  private constructor(pd: string, sources: readonly Source[]) {
    this.#pd = pd;
    this.#sources = sources;
  }

  static async start(pdAddress: string): Promise<ClusterSampler> {
    const pd = pdAddress.includes("://") ? pdAddress : `http://${pdAddress}`;
    const source = (name: string, address: string): Source => ({
      name,
      url: `${address.includes("://") ? address : `http://${address}`}/metrics`,
      cpuSeconds: undefined,
      fsyncs: undefined,
      atMs: 0,
    });
    const answer = JSON.parse((await text(`${pd}/pd/api/v1/stores`)) ?? "{}") as {
      readonly stores?: readonly {
        readonly store: { readonly id: number; readonly status_address?: string };
      }[];
    };
    const stores = (answer.stores ?? []).flatMap(({ store }) =>
      store.status_address === undefined ? [] : [source(`store ${store.id}`, store.status_address)],
    );
    const sampler = new ClusterSampler(pd, [source("PD", pd), ...stores]);
    await sampler.take();
    return sampler;
  }

  get names(): string[] {
    return this.#sources.map(({ name }) => name);
  }

  async take(): Promise<ClusterSample> {
    let fsyncs: number | null = null;
    const processes = await Promise.all(
      this.#sources.map(async (source): Promise<ProcessSample | null> => {
        const page = await text(source.url);
        if (page === undefined) return null;
        const metrics = parseMetrics(page);
        const now = performance.now();
        const seconds = (now - source.atMs) / 1000;
        const cpu = metrics.get("process_cpu_seconds_total");
        const synced = metrics.get(FSYNCS);
        if (synced !== undefined && source.fsyncs !== undefined) {
          fsyncs = (fsyncs ?? 0) + Math.max(0, synced - source.fsyncs) / seconds;
        }
        const cores =
          cpu === undefined || source.cpuSeconds === undefined
            ? 0
            : Math.max(0, cpu - source.cpuSeconds) / seconds;
        source.cpuSeconds = cpu;
        source.fsyncs = synced;
        source.atMs = now;
        return { cores, residentMib: (metrics.get("process_resident_memory_bytes") ?? 0) / 2 ** 20 };
      }),
    );
    const regions = await text(`${this.#pd}/pd/api/v1/regions/count`);
    const found = /"count"\s*:\s*(\d+)/.exec(regions ?? "")?.[1];
    return { processes, fsyncsPerSecond: fsyncs, regions: found === undefined ? null : Number(found) };
  }
}
