/** Counters, gauges and histograms under PD's metric names; an adapter exports them. */

export interface MetricSample {
  readonly name: string;
  readonly kind: "counter" | "gauge";
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricHistogram {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Upper bounds, ascending; what is above the last counts only in `count`. */
  readonly bounds: readonly number[];
  /** Observations at or below each bound and above the one before. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

interface Series {
  readonly name: string;
  readonly kind: "counter" | "gauge";
  readonly labels: Record<string, string>;
  value: number;
}

interface HistogramSeries extends MetricHistogram {
  readonly counts: number[];
  count: number;
  sum: number;
}

export class PdMetrics {
  readonly #samples = new Map<string, Series>();
  readonly #histograms = new Map<string, HistogramSeries>();

  increment(name: string, labels: Record<string, string> = {}, amount = 1): void {
    this.#sample(name, "counter", labels).value += amount;
  }

  /** The counter itself, for what is counted very often: the caller adds to its value. */
  counter(name: string, labels: Record<string, string>): { value: number } {
    return this.#sample(name, "counter", labels);
  }

  set(name: string, labels: Record<string, string>, value: number): void {
    this.#sample(name, "gauge", labels).value = value;
  }

  observe(name: string, labels: Record<string, string>, value: number, bounds: readonly number[]): void {
    observeIn(this.#series(name, labels, bounds), value);
  }

  /** The histogram itself, for what is observed very often. */
  histogram(
    name: string,
    labels: Record<string, string>,
    bounds: readonly number[],
  ): (value: number) => void {
    const series = this.#series(name, labels, bounds);
    return (value) => observeIn(series, value);
  }

  #series(name: string, labels: Record<string, string>, bounds: readonly number[]): HistogramSeries {
    const key = sampleKey(name, labels);
    let series = this.#histograms.get(key);
    if (series === undefined) {
      series = { name, labels, bounds, counts: bounds.map(() => 0), count: 0, sum: 0 };
      this.#histograms.set(key, series);
    }
    return series;
  }

  value(name: string, labels: Record<string, string> = {}): number {
    return this.#samples.get(sampleKey(name, labels))?.value ?? 0;
  }

  /** Takes away the gauges of a subject that is gone, as a store that was buried. */
  forget(label: string, value: string): void {
    for (const [key, { kind, labels }] of this.#samples) {
      if (kind === "gauge" && labels[label] === value) this.#samples.delete(key);
    }
  }

  samples(): MetricSample[] {
    return [...this.#samples.values()];
  }

  histograms(): MetricHistogram[] {
    return [...this.#histograms.values()];
  }

  #sample(name: string, kind: "counter" | "gauge", labels: Record<string, string>): Series {
    const key = sampleKey(name, labels);
    let sample = this.#samples.get(key);
    if (sample === undefined) {
      sample = { name, kind, labels, value: 0 };
      this.#samples.set(key, sample);
    }
    return sample;
  }
}

function observeIn(series: HistogramSeries, value: number): void {
  const { bounds, counts } = series;
  series.count += 1;
  series.sum += value;
  for (let bucket = 0; bucket < bounds.length; bucket++) {
    if (value > (bounds[bucket] as number)) continue;
    counts[bucket] = (counts[bucket] as number) + 1;
    return;
  }
}

const sampleKey = (name: string, labels: Record<string, string>): string =>
  `${name}{${Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(",")}}`;
