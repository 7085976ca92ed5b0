/** Percentiles of a list of latencies. */

export interface Distribution {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function distribution(latenciesMs: readonly number[]): Distribution {
  const sorted = Float64Array.from(latenciesMs).sort();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: sorted[sorted.length - 1] ?? 0 };
}
