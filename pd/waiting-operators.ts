/**
 * Operators that wait to be started: a queue per priority, from which one is drawn at random with weights 1, 4, 9,
 * 16, so that low ones are late but never starve. The two operators of a merge wait as one. (pd-rules 6.20)
 */
import { type Random, randomBelow } from "../base/index.js";
import { type Operator, type OperatorPriority, priorityLevel } from "./operator.js";

const ORDER: readonly OperatorPriority[] = ["low", "medium", "high", "urgent"];
const weightOf = (priority: OperatorPriority): number => (priorityLevel(priority) + 1) ** 2;

export type WaitingEntry = readonly Operator[];

export class WaitingOperators {
  readonly #random: Random;
  readonly #queues = new Map<OperatorPriority, WaitingEntry[]>(ORDER.map((priority) => [priority, []]));

  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    let found = 0;
    for (const queue of this.#queues.values()) found += queue.length;
    return found;
  }

  all(): Operator[] {
    return [...this.#queues.values()].flat().flatMap((entry) => [...entry]);
  }

  /** Entries by this author. */
  countOf(desc: string): number {
    let found = 0;
    for (const queue of this.#queues.values()) {
      for (const [first] of queue) if (first?.desc === desc) found += 1;
    }
    return found;
  }

  put(operators: WaitingEntry): void {
    const [first] = operators;
    if (first !== undefined) this.#queues.get(first.priority)?.push(operators);
  }

  /** The oldest of a queue drawn by weight; undefined when nothing waits. */
  take(): WaitingEntry | undefined {
    const filled = ORDER.filter((priority) => (this.#queues.get(priority)?.length ?? 0) > 0);
    let total = 0;
    for (const priority of filled) total += weightOf(priority);
    if (total === 0) return undefined;
    let drawn = randomBelow(this.#random, total);
    for (const priority of filled) {
      drawn -= weightOf(priority);
      if (drawn < 0) return this.#queues.get(priority)?.shift();
    }
    return undefined;
  }
}
