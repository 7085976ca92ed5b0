/** Plain counters and gauges under PD's metric names; an adapter exports them. */

export interface MetricSample {
  readonly name: string;
  readonly kind: "counter" | "gauge";
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class PdMetrics {
  readonly #samples = new Map<
    string,
    { kind: "counter" | "gauge"; labels: Record<string, string>; value: number }
  >();

  increment(name: string, labels: Record<string, string> = {}, amount = 1): void {
    this.#sample(name, "counter", labels).value += amount;
  }

  set(name: string, labels: Record<string, string>, value: number): void {
    this.#sample(name, "gauge", labels).value = value;
  }

  value(name: string, labels: Record<string, string> = {}): number {
    return this.#samples.get(sampleKey(name, labels))?.value ?? 0;
  }

  samples(): MetricSample[] {
    return [...this.#samples].map(([key, sample]) => ({ name: key.slice(0, key.indexOf("{")), ...sample }));
  }

  #sample(name: string, kind: "counter" | "gauge", labels: Record<string, string>): { value: number } {
    const key = sampleKey(name, labels);
    let sample = this.#samples.get(key);
    if (sample === undefined) {
      sample = { kind, labels, value: 0 };
      this.#samples.set(key, sample);
    }
    return sample;
  }
}

const sampleKey = (name: string, labels: Record<string, string>): string =>
  `${name}{${Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(",")}}`;
