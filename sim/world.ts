/**
 * The world: one virtual time, one queue of events, nodes. Nothing happens but events, one after the other; so
 * a run is a function of its seed. What a node does reaches the world by its `Env`, the network and the disk,
 * all of which make events.
 *
 * Time is whole microseconds since the world's beginning.
 */
import { assert, SeededRandom } from "../base/index.js";
import { EventQueue, type Lane, type SimEvent } from "./event-queue.js";
import { type LogLine, SimNode } from "./node.js";
import { TraceHash } from "./trace.js";

export { MS, Violation } from "./violation.js";

export type EventObserver = (event: SimEvent) => void;

/**
 * Resolves when no promise is left that could go on by itself. Only the host of a simulation knows a way to
 * that: in Node `setImmediate`, in a browser a message to oneself.
 */
export type Drain = () => Promise<void>;

export class World {
  readonly random: SeededRandom;
  readonly trace = new TraceHash();
  readonly nodes: SimNode[] = [];
  /** What was done to the world. */
  readonly lines: LogLine[] = [];
  /** Code of a node threw: a bug, unless the caller knows better. */
  onThrow: (node: SimNode, error: Error) => void = (_node, error) => this.fail(error);
  /** A process that stood still goes on, and has not done anything yet. */
  onResume: (node: SimNode) => void = () => {};
  /** Called after each event. What they throw ends the run. */
  readonly observers: EventObserver[] = [];
  /** Rare states that were seen, and how often. */
  readonly probes = new Map<string, number>();
  /** Of a million passes of an active site of mischief, how many misbehave. */
  mischiefPerMillion = 0;
  /** For scripts: whether a site misbehaves now on a node. */
  mischiefScript: ((site: string, node: SimNode) => boolean) | undefined;
  nowUs = 0;
  events = 0;
  readonly #drain: Drain;
  readonly #sites = new Map<string, boolean>();
  #afterEvent: (() => void)[] = [];
  readonly #queue = new EventQueue();
  #order = 0;
  #failure: Error | undefined;

  constructor(seed: number, drain: Drain) {
    this.#drain = drain;
    this.random = new SeededRandom(seed, 0x5eed);
  }

  addNode(name: string): SimNode {
    const node = new SimNode(this, this.nodes.length, name, this.random.fork());
    this.nodes.push(node);
    return node;
  }

  /** Something that happens to the world itself: faults, checks. */
  at(delayUs: number, kind: string, run: () => void): SimEvent {
    return this.schedule(this.nowUs + delayUs, kind, -1, 0, run);
  }

  /** When the event that happens now is over, before anybody looks. */
  afterEvent(run: () => void): void {
    this.#afterEvent.push(run);
  }

  schedule(
    atUs: number,
    kind: string,
    node: number,
    incarnation: number,
    run: () => void,
    lane?: Lane,
  ): SimEvent {
    assert(atUs >= this.nowUs, "nothing happens in the past");
    const order = this.#order++;
    const event: SimEvent = { atUs: Math.floor(atUs), order, kind, node, incarnation, lane, run };
    this.#queue.push(event);
    return event;
  }

  /** A rare state was reached. */
  probe(name: string): void {
    this.probes.set(name, (this.probes.get(name) ?? 0) + 1);
  }

  /** A site is active in a run or it is not: a seed sees a consistently odd world. (one in four, as FoundationDB) */
  misbehaves(site: string, oneIn: number, node: SimNode): boolean {
    if (this.mischiefScript?.(site, node) === true) return true;
    if (this.mischiefPerMillion === 0) return false;
    let isActive = this.#sites.get(site);
    if (isActive === undefined) {
      isActive = this.random.u32() % 4 === 0;
      this.#sites.set(site, isActive);
    }
    if (!isActive || this.random.u32() % 1_000_000 >= this.mischiefPerMillion / oneIn) return false;
    this.probe(`mischief: ${site}`);
    return true;
  }

  note(text: string): void {
    this.lines.push({ atUs: this.nowUs, node: "nemesis", text });
  }

  /** Ends the run at the next step; for code that must not throw where it is. */
  fail(error: Error): void {
    this.#failure ??= error;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Runs until `untilUs` or until `done` says so. Promises made by clients are worked off after each of their
   * events.
   */
  async run(untilUs: number, done: () => boolean = () => false): Promise<void> {
    await this.#drain();
    while (!done()) {
      const next = this.#queue.peek();
      if (next === undefined || next.atUs > untilUs) break;
      this.#queue.pop();
      if (!this.#step(next)) continue;
      if (next.node >= 0 && (this.nodes[next.node] as SimNode).usesPromises) {
        await this.#drain();
      }
      if (this.#failure !== undefined) throw this.#failure;
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (!done()) this.nowUs = Math.max(this.nowUs, untilUs);
  }

  #step(event: SimEvent): boolean {
    const { run } = event;
    if (run === undefined) return false;
    const node = this.nodes[event.node];
    this.nowUs = Math.max(this.nowUs, event.atUs);
    if (node !== undefined && event.incarnation !== node.incarnation) return false;
    // Also of a process that stands still again: what it was to read first may not wait behind this.
    const { lane } = event;
    if (lane !== undefined && lane.readAtUs > this.nowUs) {
      this.schedule(lane.readAtUs, event.kind, event.node, event.incarnation, run, lane);
      return false;
    }
    if (node?.isPaused) {
      node.hold(event);
      return false;
    }
    event.run = undefined;
    this.events++;
    this.trace.number(this.nowUs);
    this.trace.number(event.node);
    this.trace.text(event.kind);
    try {
      run();
    } catch (error) {
      if (node === undefined) throw error;
      this.onThrow(node, error as Error);
    }
    if (this.#afterEvent.length > 0) for (const each of this.#afterEvent.splice(0)) each();
    for (const observer of this.observers) observer(event);
    return true;
  }
}
