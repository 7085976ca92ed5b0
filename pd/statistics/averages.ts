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
