/**
 * Is there one order of the operations on a register which keeps real time and explains every answer? (Wing and
 * Gong 1993, with the memory of Lowe 2016.) An operation of unknown outcome may take effect at any time after its
 * beginning, or never.
 *
 * The search is exponential in the number of operations that overlap, so it is bounded: beyond `statesMax` the
 * answer is `inconclusive`, which is no pass. Keep a key to some 200 operations of at most 8 clients.
 */

export type RegisterCall =
  | { readonly kind: "put"; readonly value: string }
  | { readonly kind: "delete" }
  /** `result`: what was read; undefined when there was no such key. */
  | { readonly kind: "get"; readonly result: string | undefined }
  /** `swapped` undefined: the outcome is unknown. Otherwise `previous` is what was there. */
  | {
      readonly kind: "cas";
      readonly expected: string | undefined;
      readonly value: string;
      readonly swapped: boolean | undefined;
      readonly previous: string | undefined;
    };

export interface RegisterOperation {
  readonly client: number;
  readonly call: RegisterCall;
  readonly beganAt: number;
  /** Undefined: nobody knows whether it took effect. */
  readonly endedAt: number | undefined;
}

export type Verdict =
  | { readonly kind: "linearizable"; readonly states: number }
  | { readonly kind: "inconclusive"; readonly states: number }
  /** `stuckAt`: the operation whose answer no order explains, after the longest order that was found. */
  | { readonly kind: "violation"; readonly states: number; readonly stuckAt: RegisterOperation | undefined };

/** What the register holds afterwards; `false` when the answer cannot be given in this state. */
function after(
  state: string | undefined,
  call: RegisterCall,
): { readonly state: string | undefined } | false {
  switch (call.kind) {
    case "put":
      return { state: call.value };
    case "delete":
      return { state: undefined };
    case "get":
      return call.result === state ? { state } : false;
    case "cas": {
      const matches = state === call.expected;
      if (call.swapped === undefined) return { state: matches ? call.value : state };
      if (call.swapped !== matches) return false;
      if (!call.swapped && call.previous !== state) return false;
      return { state: matches ? call.value : state };
    }
  }
}

/** An end of an operation in the doubly linked list of all beginnings and ends. */
interface Edge {
  readonly id: number;
  readonly at: number;
  /** Of a beginning: the end that belongs to it. */
  end: Edge | undefined;
  previous: Edge | undefined;
  next: Edge | undefined;
}

function edges(history: readonly RegisterOperation[]): Edge {
  const all: { edge: Edge; isEnd: boolean }[] = [];
  history.forEach((operation, id) => {
    const make = (at: number): Edge => ({ id, at, end: undefined, previous: undefined, next: undefined });
    const begin = make(operation.beganAt);
    begin.end = make(operation.endedAt ?? Number.POSITIVE_INFINITY);
    all.push({ edge: begin, isEnd: false }, { edge: begin.end, isEnd: true });
  });
  // Of one time a beginning comes first: such operations overlap.
  all.sort((left, right) => left.edge.at - right.edge.at || Number(left.isEnd) - Number(right.isEnd));
  const head: Edge = { id: -1, at: -1, end: undefined, previous: undefined, next: undefined };
  let last = head;
  for (const { edge } of all) {
    last.next = edge;
    edge.previous = last;
    last = edge;
  }
  return head;
}

function unlink(edge: Edge): void {
  if (edge.previous !== undefined) edge.previous.next = edge.next;
  if (edge.next !== undefined) edge.next.previous = edge.previous;
}

function relink(edge: Edge): void {
  if (edge.previous !== undefined) edge.previous.next = edge;
  if (edge.next !== undefined) edge.next.previous = edge;
}

/**
 * Without the operations of unknown outcome that nobody can have noticed: of a value that no answer shows and no
 * swap expects. Such a one explains nothing by having happened, and need not have; but each doubles the search.
 */
function noticed(history: readonly RegisterOperation[]): readonly RegisterOperation[] {
  const shown = new Set<string | undefined>();
  for (const { call } of history) {
    if (call.kind === "get") shown.add(call.result);
    if (call.kind === "cas") shown.add(call.expected).add(call.previous);
  }
  return history.filter(
    ({ call, endedAt }) =>
      endedAt !== undefined ||
      call.kind === "get" ||
      shown.has(call.kind === "delete" ? undefined : call.value),
  );
}

/** Which operations have taken effect, 16 to a unit, and after them a number for what the register then holds. */
class Progress {
  readonly #units: Uint16Array;
  readonly #states = new Map<string | undefined, number>();

  constructor(operations: number) {
    this.#units = new Uint16Array(Math.ceil(operations / 16) + 1);
  }

  toggle(id: number): void {
    const unit = id >>> 4;
    this.#units[unit] = (this.#units[unit] as number) ^ (1 << (id & 15));
  }

  /** Of equal progress and state, and of no other. */
  key(state: string | undefined): string {
    let number = this.#states.get(state);
    if (number === undefined) {
      number = this.#states.size;
      this.#states.set(state, number);
    }
    this.#units[this.#units.length - 1] = number;
    return String.fromCharCode.apply(undefined, this.#units as unknown as number[]);
  }
}

export function checkRegister(whole: readonly RegisterOperation[], statesMax = 300_000): Verdict {
  const history = noticed(whole);
  const head = edges(history);
  const left = { certain: history.filter((operation) => operation.endedAt !== undefined).length };
  const seen = new Set<string>();
  const chosen: { readonly begin: Edge; readonly state: string | undefined }[] = [];
  const done = new Progress(history.length);
  let state: string | undefined;
  let states = 0;
  let deepest = -1;
  let stuckAt: RegisterOperation | undefined;
  let edge = head.next;
  while (left.certain > 0) {
    const operation = edge === undefined ? undefined : (history[edge.id] as RegisterOperation);
    if (edge?.end !== undefined && operation !== undefined) {
      const next = after(state, operation.call);
      // Of unknown outcome and without effect here: the same as if it never happens.
      if (next === false || (operation.endedAt === undefined && next.state === state)) {
        edge = edge.next;
        continue;
      }
      done.toggle(edge.id);
      const memo = done.key(next.state);
      if (!seen.has(memo)) {
        if (++states > statesMax) return { kind: "inconclusive", states };
        seen.add(memo);
        chosen.push({ begin: edge, state });
        state = next.state;
        unlink(edge);
        unlink(edge.end);
        if (operation.endedAt !== undefined) left.certain--;
        edge = head.next;
      } else {
        done.toggle(edge.id);
        edge = edge.next;
      }
      continue;
    }
    // An end: its operation must come before everything that follows, and no order does it.
    if (operation !== undefined && chosen.length > deepest) {
      deepest = chosen.length;
      stuckAt = operation;
    }
    const undone = chosen.pop();
    if (undone === undefined) return { kind: "violation", states, stuckAt };
    const { begin } = undone;
    state = undone.state;
    done.toggle(begin.id);
    relink(begin.end as Edge);
    relink(begin);
    if (history[begin.id]?.endedAt !== undefined) left.certain++;
    edge = begin.next;
  }
  return { kind: "linearizable", states };
}
