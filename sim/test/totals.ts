/** What many seeds came to: counts, speed, rare states, and whether a seed did the same in two processes. */
import type { SeedSummary } from "./worker.js";

const TWICE_EVERY = 20;

export class Totals {
  passed = 0;
  failed = 0;
  runs = 0;
  readonly probes = new Map<string, number>();
  #events = 0;
  #virtualMs = 0;
  #cpuSeconds = 0;
  #heapBytesMax = 0;
  readonly #started = performance.now();
  /** Of seeds that run twice: what the first run left, and the process that made it. */
  readonly #first = new Map<number, { readonly trace: string; readonly job: number }>();

  isTwice(seed: number): boolean {
    return seed % TWICE_EVERY === 0;
  }

  get wallSeconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Counts a run; returns what is to be said about it. */
  take(summary: SeedSummary, job: number): string | undefined {
    const { seed, report, trace } = summary;
    this.runs++;
    this.#events += summary.events;
    this.#virtualMs += summary.virtualMs;
    this.#cpuSeconds += summary.seconds;
    this.#heapBytesMax = Math.max(this.#heapBytesMax, summary.heapBytes);
    for (const [name, count] of summary.probes) this.probes.set(name, (this.probes.get(name) ?? 0) + count);
    const first = this.#first.get(seed);
    if (first !== undefined) {
      if (first.trace === trace) return undefined;
      this.failed++;
      return `seed ${seed} FAILED: processes ${first.job} and ${job} did different things, ${first.trace} and ${trace}`;
    }
    if (this.isTwice(seed)) this.#first.set(seed, { trace, job });
    if (report === undefined) this.passed++;
    else this.failed++;
    return report;
  }

  progress(): string {
    const speed = (this.#virtualMs / 1000 / this.#cpuSeconds).toFixed(0);
    const rate = Math.round(this.#events / this.#cpuSeconds / 1000);
    const each = (this.#cpuSeconds / this.runs).toFixed(2);
    const minute = Math.round((60 * this.runs) / this.wallSeconds);
    const heap = Math.round(this.#heapBytesMax / 2 ** 20);
    return (
      `${this.passed} passed, ${this.failed} failed, ${this.wallSeconds.toFixed(0)} s, ${minute} seeds a minute; ` +
      `a core: ${each} s a seed, ${speed} times real time, ${rate}k events/s; heap up to ${heap} MiB`
    );
  }
}
