/** The network of a fuzzed group: it loses, repeats, reorders, delays and cuts. A lost snapshot is reported. */
import type { SeededRandom } from "../../base/random.js";
import type { Message } from "../types.js";
import type { FuzzOptions } from "./fuzz-options.js";

const MESSAGES_MAX = 400;
const IDS = 16;

export class FuzzNetwork {
  readonly #random: SeededRandom;
  readonly #options: FuzzOptions;
  #queue: Message[] = [];
  #delayed: { readonly due: number; readonly message: Message }[] = [];
  #now = 0;
  /** Pairs that cannot talk, as `from * IDS + to`. */
  readonly #cut = new Set<number>();
  /** Told of every message that does not arrive. */
  readonly #lose: (message: Message) => void;

  constructor(random: SeededRandom, options: FuzzOptions, lose: (message: Message) => void) {
    this.#random = random;
    this.#options = options;
    this.#lose = lose;
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  get cuts(): number {
    return this.#cut.size;
  }

  #chance(percent: number): boolean {
    return percent > 0 && this.#random.u32() % 100 < percent;
  }

  send(message: Message): void {
    if (this.#chance(this.#options.delayPercent)) {
      this.#delayed.push({ due: this.#now + 1 + (this.#random.u32() % 300), message });
    } else {
      this.#queue.push(message);
    }
  }

  /** Time passes: delayed messages come in behind what waits. */
  pass(): void {
    this.#now++;
    if (this.#delayed.length > 0 && this.#now % 8 === 0) this.#release(this.#now);
    if (this.#queue.length <= MESSAGES_MAX) return;
    for (const message of this.#queue.splice(0, MESSAGES_MAX / 2)) this.#lose(message);
  }

  #release(now: number): void {
    const waiting = this.#delayed;
    this.#delayed = [];
    for (const each of waiting) {
      if (each.due <= now) this.#queue.push(each.message);
      else this.#delayed.push(each);
    }
  }

  /** The next message that arrives, if the one whose turn it is does. */
  next(): Message | undefined {
    if (this.#queue.length === 0) return undefined;
    const { reorderPercent, repeatPercent, lossPercent } = this.#options;
    const at = this.#chance(reorderPercent) ? this.#random.u32() % this.#queue.length : 0;
    const message = this.#queue[at] as Message;
    if (at === 0) this.#queue.shift();
    else this.#queue.splice(at, 1);
    if (this.#chance(repeatPercent)) this.send(message);
    if (!this.#chance(lossPercent) && !this.#cut.has(message.from * IDS + message.to)) return message;
    this.#lose(message);
    return undefined;
  }

  /** Splits the nodes in two, now and then only in one direction. */
  partition(ids: readonly number[]): void {
    this.#cut.clear();
    const side = this.#random.u32();
    const isOneWay = this.#random.u32() % 3 === 0;
    const isLeft = (id: number): boolean => ((side >> id) & 1) === 0;
    for (const from of ids) {
      for (const to of ids) {
        if (isLeft(from) !== isLeft(to) && (!isOneWay || isLeft(from))) this.#cut.add(from * IDS + to);
      }
    }
  }

  join(): void {
    this.#cut.clear();
  }

  /** No faults: all that waits, in order. */
  drain(): Message[] {
    this.#release(Number.POSITIVE_INFINITY);
    const all = this.#queue;
    this.#queue = [];
    return all;
  }

  /** Kept for a receiver that is paused. */
  hold(message: Message): void {
    this.#queue.push(message);
  }
}
