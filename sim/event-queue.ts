/**
 * What is going to happen, in the order of its time; of the same time, in the order of its making. A binary heap. An
 * event that was called off stays in the heap and is passed over when its time comes.
 */

export interface SimEvent {
  /** Virtual microseconds. */
  readonly atUs: number;
  readonly order: number;
  /** What it is, for the trace: `timer`, `turn`, `deliver`, `disk`, `nemesis`... */
  readonly kind: string;
  /** Index of the node it happens to, or -1 for the world itself. */
  readonly node: number;
  /** Of the node; an event of a dead incarnation does not happen. */
  readonly incarnation: number;
  /** Of what arrives on a connection: what arrives on the same one never passes it. */
  readonly lane: Lane | undefined;
  run: (() => void) | undefined;
}

/** One direction of a connection, as its receiving process reads it. */
export interface Lane {
  /** Virtual microseconds: a process that went on after a pause comes to what is newer then, and not before. */
  readAtUs: number;
}

const before = (left: SimEvent, right: SimEvent): boolean =>
  left.atUs < right.atUs || (left.atUs === right.atUs && left.order < right.order);

export class EventQueue {
  readonly #heap: SimEvent[] = [];

  get length(): number {
    return this.#heap.length;
  }

  push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] as SimEvent;
      if (!before(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  peek(): SimEvent | undefined {
    return this.#heap[0];
  }

  pop(): SimEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const smaller =
        right < heap.length && before(heap[right] as SimEvent, heap[left] as SimEvent) ? right : left;
      const child = heap[smaller] as SimEvent;
      if (!before(child, last)) break;
      heap[at] = child;
      at = smaller;
    }
    heap[at] = last;
    return first;
  }
}
