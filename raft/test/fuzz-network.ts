/**
 * The network of a fuzzed group: it loses, repeats, reorders, delays and cuts. A cut loses what arrives, or only what
 * is sent from then on (what is under way arrives late), or holds it all until it is mended, as a connection does that
 * stalls. A lost snapshot is reported.
 */
import type { SeededRandom } from "../../base/random.js";
import type { Message } from "../types.js";
import type { FuzzOptions } from "./fuzz-options.js";

const MESSAGES_MAX = 400;
const IDS = 16;
const DELAY_STEPS = 300;
const SNAPSHOT_DELAY_STEPS = 900;

export type CutKind = "loses" | "losesNew" | "holds";
export const CUT_KINDS: readonly CutKind[] = ["loses", "losesNew", "holds"];

export class FuzzNetwork {
  readonly #random: SeededRandom;
  readonly #options: FuzzOptions;
  #queue: Message[] = [];
  #delayed: { readonly due: number; readonly message: Message }[] = [];
  #held: Message[] = [];
  #now = 0;
  /** Pairs that cannot talk, as `from * IDS + to`. */
  readonly #cut = new Set<number>();
  #cutKind: CutKind = "loses";
  /** For now nothing is lost, repeated, delayed or reordered. */
  isCalm = false;
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
    return percent > 0 && !this.isCalm && this.#random.u32() % 100 < percent;
  }

  #isCut(message: Message): boolean {
    return this.#cut.size > 0 && this.#cut.has(message.from * IDS + message.to);
  }

  send(message: Message): void {
    if (this.#cutKind === "losesNew" && this.#isCut(message)) return this.#lose(message);
    const isSnapshot = message.type === "MsgSnap";
    const { delayPercent } = this.#options;
    if (this.#chance(isSnapshot ? delayPercent * 2 : delayPercent)) {
      const steps = 1 + (this.#random.u32() % (isSnapshot ? SNAPSHOT_DELAY_STEPS : DELAY_STEPS));
      this.#delayed.push({ due: this.#now + steps, message });
    } else {
      this.#queue.push(message);
    }
  }

  /** Time passes: delayed messages come in behind what waits. */
  pass(): void {
    this.#now++;
    if (this.#delayed.length > 0 && this.#now % 8 === 0) this.#release(this.#now);
    if (this.#queue.length > MESSAGES_MAX) {
      for (const message of this.#queue.splice(0, MESSAGES_MAX / 2)) this.#lose(message);
    }
    if (this.#held.length > MESSAGES_MAX) {
      for (const message of this.#held.splice(0, MESSAGES_MAX / 2)) this.#lose(message);
    }
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
    const isCut = this.#cutKind !== "losesNew" && this.#isCut(message);
    if (isCut && this.#cutKind === "holds") {
      this.#held.push(message);
      return undefined;
    }
    if (this.#chance(repeatPercent)) this.send(message);
    // Snapshots are long under way, and tried again.
    if (message.type === "MsgSnap" && this.#chance(25)) {
      this.#delayed.push({ due: this.#now + 100 + (this.#random.u32() % SNAPSHOT_DELAY_STEPS), message });
    }
    if (!isCut && !this.#chance(lossPercent)) return message;
    this.#lose(message);
    return undefined;
  }

  /** Nothing gets from the ones to the others any more, nor back unless `isOneWay`. */
  cut(ones: readonly number[], others: readonly number[], kind: CutKind, isOneWay: boolean): void {
    this.join();
    this.#cutKind = kind;
    for (const from of ones) {
      for (const to of others) {
        this.#cut.add(from * IDS + to);
        if (!isOneWay) this.#cut.add(to * IDS + from);
      }
    }
  }

  /** What was held comes before or behind what waits. */
  join(): void {
    this.#cut.clear();
    this.#cutKind = "loses";
    if (this.#held.length === 0) return;
    const isFirst = this.#random.u32() % 2 === 0;
    this.#queue = isFirst ? this.#held.concat(this.#queue) : this.#queue.concat(this.#held);
    this.#held = [];
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
