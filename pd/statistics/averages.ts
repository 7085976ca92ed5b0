/**
 * Averages over the last reports: medians against spikes, a harmonic one that is quick to see less. (pd-rules
 * 10.1, 10.3)
 */

/** The last `size` values. */
class Window {
  readonly values: number[] = [];
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  push(value: number): void {
    this.values.push(value);
    if (this.values.length > this.#size) this.values.shift();
  }
}

export class MedianWindow {
  readonly #window: Window;

  constructor(size: number) {
    this.#window = new Window(size);
  }

  push(value: number): void {
    this.#window.push(value);
  }

  get(): number {
    const sorted = [...this.#window.values].sort((left, right) => left - right);
    const { length } = sorted;
    if (length === 0) return 0;
    const middle = length >> 1;
    return length % 2 === 1
      ? (sorted[middle] as number)
      : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
  }
}

const MEDIAN_SIZE = 5;
const SCRATCH: number[] = [0, 0, 0, 0, 0];

/** Medians of the last five of four figures each, in one array: a hundred thousand peers may have such. */
export class RateMedians {
  /** Five of the first figure, five of the second, and so on; filled up to `#count` of each. */
  readonly #values: number[] = new Array<number>(4 * MEDIAN_SIZE).fill(0.5);
  #count = 0;
  #next = 0;

  push(first: number, second: number, third: number, fourth: number): void {
    const at = this.#next;
    this.#values[at] = first;
    this.#values[at + MEDIAN_SIZE] = second;
    this.#values[at + 2 * MEDIAN_SIZE] = third;
    this.#values[at + 3 * MEDIAN_SIZE] = fourth;
    this.#next = (at + 1) % MEDIAN_SIZE;
    if (this.#count < MEDIAN_SIZE) this.#count += 1;
  }

  get(figure: number): number {
    const begin = figure * MEDIAN_SIZE;
    const count = this.#count;
    for (let i = 0; i < count; i++) {
      const value = this.#values[begin + i] as number;
      let at = i;
      for (; at > 0 && (SCRATCH[at - 1] as number) > value; at--) SCRATCH[at] = SCRATCH[at - 1] as number;
      SCRATCH[at] = value;
    }
    if (count === 0) return 0;
    const middle = count >> 1;
    const upper = SCRATCH[middle] as number;
    return count % 2 === 1 ? upper : ((SCRATCH[middle - 1] as number) + upper) / 2;
  }
}

/** Rates from amounts: gathered until 10 s are full, then the median of the last few. */
export class RateMedian {
  readonly #median: MedianWindow;
  readonly #fullSeconds: number;
  #amount = 0;
  #seconds = 0;

  constructor(size = 5, fullSeconds = 10) {
    this.#median = new MedianWindow(size);
    this.#fullSeconds = fullSeconds;
  }

  add(amount: number, seconds: number): void {
    if (seconds <= 0) return;
    this.#amount += amount;
    this.#seconds += seconds;
    if (this.#seconds < this.#fullSeconds) return;
    this.#median.push(this.#amount / this.#seconds);
    this.#amount = 0;
    this.#seconds = 0;
  }

  get(): number {
    return this.#median.get();
  }
}

/** Compaction makes free space jump by GiB: less is believed at once, more slowly. */
export class HarmonicAverage {
  readonly #size: number;
  readonly #inverses: number[] = [];
  #next = 0;
  #sum = 0;

  constructor(size = 60) {
    this.#size = size;
  }

  push(value: number): void {
    const inverse = 1 / Math.max(value, 1e-9);
    if (this.#inverses.length < this.#size) this.#inverses.push(inverse);
    else {
      this.#sum -= this.#inverses[this.#next] as number;
      this.#inverses[this.#next] = inverse;
      this.#next = (this.#next + 1) % this.#size;
    }
    this.#sum += inverse;
  }

  get(): number {
    return this.#inverses.length === 0 ? 0 : this.#inverses.length / this.#sum;
  }
}
