/**
 * The network between processes: calls as of gRPC over TCP, carrying bytes. Frames of one stream arrive in the
 * order they
 * were sent, after a delay drawn for each. What is sent over a blocked link waits, as TCP waits; when the block lasts
 * longer than keep-alive allows, the streams over it break. A killed process's streams break at once; those of a
 * machine
 * without power only by keep-alive. Streams of Raft may moreover lose, repeat and reorder frames: Raft has to
 * bear it.
 */
import type { Env } from "../base/index.js";
import {
  type BoundMethod,
  type CallOptions,
  type ClientCall,
  type ClientCallListener,
  type MethodDefinition,
  RPC_CODE,
  type RpcChannel,
  type RpcNetwork,
} from "../proto/index.js";
import { SimCall } from "./call.js";
import type { SimNode } from "./node.js";
import { MS, type World } from "./world.js";

export interface NetworkKnobs {
  /** A frame takes this long at least. */
  latencyUs: number;
  /** And up to this much longer. */
  jitterUs: number;
  /** Of a million frames, how many take `slowUs` longer. */
  slowPerMillion: number;
  slowUs: number;
  /** Frames of Raft streams, of a million each. */
  raftDropPerMillion: number;
  raftRepeatPerMillion: number;
  raftReorderPerMillion: number;
  /** Silence after which a stream breaks. */
  keepAliveUs: number;
}

export const QUIET_NETWORK: NetworkKnobs = {
  latencyUs: 150,
  jitterUs: 200,
  slowPerMillion: 0,
  slowUs: 0,
  raftDropPerMillion: 0,
  raftRepeatPerMillion: 0,
  raftReorderPerMillion: 0,
  keepAliveUs: 6_000 * MS,
};

export interface Frame {
  readonly path: string;
  readonly from: SimNode;
  readonly to: SimNode;
  /** What `bytes` carry. To be read only. */
  readonly message: unknown;
  readonly bytes: Uint8Array;
  readonly isRaft: boolean;
}

/**
 * What becomes of a frame: it passes, is lost, goes on as other bytes, or waits, with all that follows it on its
 * stream, until `letGo`.
 */
export type FrameVerdict = "pass" | "drop" | "hold" | Uint8Array;

interface Listener {
  readonly node: SimNode;
  readonly incarnation: number;
  readonly methods: ReadonlyMap<string, BoundMethod>;
}

export class SimNetwork {
  readonly world: World;
  knobs: NetworkKnobs;
  /** For scripts: asked about each frame. */
  filter: ((frame: Frame) => FrameVerdict) | undefined;
  /** Sees each frame that leaves a client's side, whatever becomes of it. */
  observer: ((frame: Frame) => void) | undefined;
  /** Of faults that wait for a frame. */
  readonly watchers = new Set<(frame: Frame) => void>();
  readonly #listeners = new Map<string, Listener>();
  readonly #blocked = new Set<string>();
  readonly #slowed = new Map<string, number>();
  readonly #calls = new Set<SimCall>();

  constructor(world: World, knobs: NetworkKnobs = QUIET_NETWORK) {
    this.world = world;
    this.knobs = knobs;
  }

  /** Serves at `address` from the process that runs on `node` now. */
  listen(node: SimNode, address: string, methods: readonly BoundMethod[]): void {
    const byPath = new Map(methods.map((method) => [method.definition.path, method]));
    this.#listeners.set(address, { node, incarnation: node.incarnation, methods: byPath });
  }

  /** The network as the process that runs on `node` now sees it. */
  door(node: SimNode, env: Env): RpcNetwork {
    return {
      channel: (address): RpcChannel => ({
        open: (method, listener, options) => this.#open(node, env, address, method, listener, options),
      }),
    };
  }

  #open<Q, R, QI, RI>(
    node: SimNode,
    env: Env,
    address: string,
    method: MethodDefinition<Q, R, QI, RI>,
    listener: ClientCallListener<R>,
    options: CallOptions | undefined,
  ): ClientCall<QI> {
    const target = this.#listeners.get(address);
    const call = new SimCall(this, node, method as never, listener as never);
    this.#calls.add(call);
    if (options?.timeoutMs !== undefined) {
      const timer = env.timers.set(options.timeoutMs, () =>
        call.finish(RPC_CODE.deadlineExceeded, "deadline"),
      );
      call.onDone = () => env.timers.clear(timer);
    }
    if (target === undefined || !target.node.isUp || target.node.incarnation !== target.incarnation) {
      const isAlone = target !== undefined && this.isBlocked(node, target.node);
      const delayUs = isAlone ? this.knobs.keepAliveUs : 2 * this.delayUs(node, node);
      call.refuse(RPC_CODE.unavailable, `nobody listens at ${address}`, delayUs);
      return call as ClientCall<QI>;
    }
    call.connect(target.node, target.methods.get(method.path), options?.metadata ?? {});
    if (this.isBlocked(node, target.node) || this.isBlocked(target.node, node)) this.#breakLater(call);
    return call as ClientCall<QI>;
  }

  forget(call: SimCall): void {
    this.#calls.delete(call);
  }

  delayUs(from: SimNode, to: SimNode): number {
    const { latencyUs, jitterUs, slowPerMillion, slowUs } = this.knobs;
    const slow = this.chance(slowPerMillion) ? this.below(slowUs + 1) : 0;
    const slowedUs = this.#slowed.get(link(from, to)) ?? 0;
    return from.aheadUs + latencyUs + this.below(jitterUs + 1) + slow + slowedUs;
  }

  below(bound: number): number {
    return this.world.random.u32() % bound;
  }

  chance(perMillion: number): boolean {
    return perMillion > 0 && this.world.random.u32() % 1_000_000 < perMillion;
  }

  /** Of calls that are open, by client, server and method. */
  openCalls(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { route } of this.#calls) counts.set(route, (counts.get(route) ?? 0) + 1);
    return counts;
  }

  get blockedLinks(): number {
    return this.#blocked.size;
  }

  isBlocked(from: SimNode, to: SimNode): boolean {
    return this.#blocked.has(link(from, to));
  }

  /** Nothing passes from one node to the other. */
  block(from: SimNode, to: SimNode): void {
    if (from === to || this.#blocked.has(link(from, to))) return;
    this.#blocked.add(link(from, to));
    for (const call of this.#calls) if (call.isBetween(from, to)) this.#breakLater(call);
  }

  /** Streams that a filter holds go on. */
  letGo(): void {
    for (const call of [...this.#calls]) call.letGo();
  }

  slow(from: SimNode, to: SimNode, extraUs: number): void {
    this.#slowed.set(link(from, to), extraUs);
  }

  heal(from: SimNode, to: SimNode): void {
    if (!this.#blocked.delete(link(from, to))) return;
    for (const call of this.#calls) call.release(from, to);
  }

  healAll(): void {
    this.#slowed.clear();
    for (const each of [...this.#blocked]) {
      const [from, to] = each.split(">").map((index) => this.world.nodes[Number(index)] as SimNode);
      this.heal(from as SimNode, to as SimNode);
    }
  }

  /** The streams of a process that ended. Without power its peers are not told. */
  drop(node: SimNode, isPowerLoss: boolean): void {
    for (const call of [...this.#calls]) {
      if (!call.touches(node)) continue;
      const other = call.other(node);
      const isSilent = isPowerLoss || (other !== undefined && this.isBlocked(node, other));
      call.lose(node, isSilent ? this.knobs.keepAliveUs : this.delayUs(node, node));
    }
  }

  /** Breaks the streams between two nodes, as a reset connection. */
  reset(left: SimNode, right: SimNode): void {
    for (const call of [...this.#calls]) {
      if (call.isBetween(left, right)) call.break("connection reset");
    }
  }

  #breakLater(call: SimCall): void {
    const delayUs = this.knobs.keepAliveUs / 2 + this.below(this.knobs.keepAliveUs);
    this.world.at(delayUs, "keepalive", () => {
      if (this.#calls.has(call) && call.isBlocked()) call.break("keep-alive timed out");
    });
  }
}

const link = (from: SimNode, to: SimNode): string => `${from.index}>${to.index}`;
