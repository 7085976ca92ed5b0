/**
 * Histograms and counters for hot paths: an array of bucket counts per label value, and no objects per observation.
 * They join a prom-client registry, which only sees them when it is asked for its metrics.
 */
import type { Metric, Registry } from "prom-client";

/** Upper bounds `first * factor^i`; the bucket of what is larger comes behind. */
export const exponential = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

class Series {
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(buckets: number) {
    this.counts = new Float64Array(buckets + 1);
  }
}

export interface HistogramOptions {
  readonly name: string;
  readonly help: string;
  /** Name of the one label; none when absent. */
  readonly label?: string;
  /** Labels that are the same in all series. */
  readonly fixed?: Readonly<Record<string, string>>;
  readonly buckets: readonly number[];
  readonly registry: Registry;
}

export class LightHistogram {
  readonly #options: HistogramOptions;
  readonly #bounds: Float64Array;
  readonly #series = new Map<string, Series>();

  constructor(options: HistogramOptions) {
    this.#options = options;
    this.#bounds = Float64Array.from(options.buckets);
    if (options.label === undefined) this.#of("");
    register(options.registry, options, "histogram", () => this.#values());
  }

  /** `times`: as if observed so often. */
  observe(value: number, label = "", times = 1): void {
    const series = this.#of(label);
    let bucket = 0;
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] as number)) bucket++;
    series.counts[bucket] = (series.counts[bucket] as number) + times;
    series.sum += value * times;
    series.count += times;
  }

  #of(label: string): Series {
    let series = this.#series.get(label);
    if (series === undefined) {
      series = new Series(this.#bounds.length);
      this.#series.set(label, series);
    }
    return series;
  }

  #values(): Sample[] {
    const { name, label, fixed = {} } = this.#options;
    const values: Sample[] = [];
    for (const [value, series] of this.#series) {
      const labels = label === undefined ? fixed : { ...fixed, [label]: value };
      let upTo = 0;
      for (const [i, bound] of this.#bounds.entries()) {
        upTo += series.counts[i] as number;
        values.push({ labels: { le: bound, ...labels }, value: upTo, metricName: `${name}_bucket` });
      }
      values.push({ labels: { le: "+Inf", ...labels }, value: series.count, metricName: `${name}_bucket` });
      values.push({ labels, value: series.sum, metricName: `${name}_sum` });
      values.push({ labels, value: series.count, metricName: `${name}_count` });
    }
    return values;
  }
}

interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
}

export type Set = (labels: Readonly<Record<string, string>>, value: number) => void;

/** A gauge or counter whose values are read when asked. */
export function onScrape(
  registry: Registry,
  type: "gauge" | "counter",
  name: string,
  help: string,
  read: (set: Set) => void,
): void {
  register(registry, { name, help }, type, () => {
    const values: Sample[] = [];
    read((labels, value) => values.push({ labels, value }));
    return values;
  });
}

function register(
  registry: Registry,
  { name, help }: { readonly name: string; readonly help: string },
  type: "gauge" | "counter" | "histogram",
  values: () => Sample[],
): void {
  // What a registry asks of a metric; the classes of prom-client themselves cost too much on every request.
  const metric = {
    name,
    help,
    type,
    aggregator: "sum",
    reset() {},
    get: () => Promise.resolve({ name, help, type, aggregator: "sum", values: values() }),
  };
  registry.registerMetric(metric as unknown as Metric);
}
