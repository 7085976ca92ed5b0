/**
 * One call between two processes. Each direction is a queue of its own: frames and the end arrive in order.
 * Everything that either side is told is an event of that side's process, so that it is lost with it.
 */
import {
  type BoundMethod,
  type ClientCall,
  type ClientCallListener,
  type MethodDefinition,
  RPC_CODE,
  RPC_OK,
  type RpcCode,
  type RpcMetadata,
  type RpcStatus,
  type ServerCallListener,
} from "../proto/index.js";
import type { Lane } from "./event-queue.js";
import type { FrameVerdict, SimNetwork } from "./network.js";
import type { SimNode } from "./node.js";
import { MS } from "./violation.js";

interface Direction extends Lane {
  /** No frame arrives before the one that was sent before it. */
  lastUs: number;
  pendingBytes: number;
  /** Waiting for a blocked link, or for a script. */
  readonly held: (() => void)[];
  isStopped: boolean;
}

const direction = (): Direction => ({ lastUs: 0, readAtUs: 0, pendingBytes: 0, held: [], isStopped: false });

export class SimCall implements ClientCall<unknown> {
  readonly #network: SimNetwork;
  readonly #client: SimNode;
  readonly #clientIncarnation: number;
  readonly #method: MethodDefinition<unknown, unknown>;
  readonly #listener: ClientCallListener<unknown>;
  readonly #isRaft: boolean;
  #server: SimNode | undefined;
  #serverIncarnation = 0;
  #handler: ServerCallListener<unknown> | undefined;
  readonly #up = direction();
  readonly #down = direction();
  #clientDone = false;
  #serverDone = false;
  onDone: () => void = () => {};

  constructor(
    network: SimNetwork,
    client: SimNode,
    method: MethodDefinition<unknown, unknown>,
    listener: ClientCallListener<unknown>,
  ) {
    this.#network = network;
    this.#client = client;
    this.#clientIncarnation = client.incarnation;
    this.#method = method;
    this.#listener = listener;
    this.#isRaft = method.path.endsWith("/BatchRaft") || method.path.endsWith("/Raft");
  }

  /** Who calls whom, and for what. */
  get route(): string {
    return `${this.#client.name} ${this.#server?.name ?? "nobody"} ${this.#method.path}`;
  }

  get pendingBytes(): number {
    return this.#up.pendingBytes;
  }

  connect(server: SimNode, bound: BoundMethod | undefined, metadata: RpcMetadata): void {
    this.#server = server;
    this.#serverIncarnation = server.incarnation;
    if (bound === undefined) {
      this.refuse(RPC_CODE.unimplemented, `${this.#method.path} is not served`, 300);
      return;
    }
    this.#toServer(() => {
      const down = this.#down;
      this.#handler = bound.handler({
        metadata,
        peer: this.#client.name,
        get pendingBytes() {
          return down.pendingBytes;
        },
        send: (message) => this.#sendDown(message),
        end: (status) => this.#endFromServer(status ?? RPC_OK),
      });
    });
  }

  send(message: unknown): void {
    if (this.#clientDone || this.#server === undefined) return;
    const isReset = this.#server.isUp && this.#server.incarnation !== this.#serverIncarnation;
    // A machine that is up again knows nothing of the connection and says so.
    if (isReset && !this.isBlocked()) {
      this.#endClient({ code: RPC_CODE.unavailable, message: "connection reset" }, 500);
      return;
    }
    const bytes = this.#method.request.encode(message);
    const server = this.#server;
    const verdict = this.#shown(message, bytes, server);
    if (verdict === "drop") return;
    if (verdict === "hold") this.#up.isStopped = true;
    const frame = verdict instanceof Uint8Array ? verdict : bytes;
    if (!this.#isRaft) return this.#frameUp(frame);
    const { raftDropPerMillion, raftRepeatPerMillion, raftReorderPerMillion } = this.#network.knobs;
    if (this.#network.chance(raftDropPerMillion)) return;
    if (this.#network.chance(raftReorderPerMillion)) {
      // Most come a little late, some so late that the group is another by then.
      const delayUs = this.#network.below(this.#network.below(10) === 0 ? 5_000 * MS : 50 * MS);
      const late = server.after(delayUs, "late", () => this.#arriveUp(frame));
      if (this.#network.isBlocked(this.#client, server)) late.run = undefined;
      return;
    }
    this.#frameUp(frame);
    if (this.#network.chance(raftRepeatPerMillion)) this.#frameUp(frame);
  }

  /** To who watches frames, and to a script that may do something with them. */
  #shown(message: unknown, bytes: Uint8Array, server: SimNode): FrameVerdict {
    const { observer, filter, watchers } = this.#network;
    if (observer === undefined && filter === undefined && watchers.size === 0) return "pass";
    const frame = {
      path: this.#method.path,
      from: this.#client,
      to: server,
      message,
      bytes,
      isRaft: this.#isRaft,
    };
    observer?.(frame);
    for (const watcher of watchers) watcher(frame);
    return filter?.(frame) ?? "pass";
  }

  #frameUp(bytes: Uint8Array): void {
    this.#up.pendingBytes += bytes.length;
    this.#toServer(() => {
      this.#up.pendingBytes -= bytes.length;
      this.#arriveUp(bytes);
    });
  }

  #arriveUp(bytes: Uint8Array): void {
    if (this.#serverDone || this.#handler === undefined) return;
    this.#network.world.trace.bytes(bytes);
    this.#handler.onMessage(this.#method.request.decode(bytes));
  }

  #sendDown(message: unknown): void {
    if (this.#serverDone) return;
    const bytes = this.#method.response.encode(message);
    this.#down.pendingBytes += bytes.length;
    this.#toClient(() => {
      this.#down.pendingBytes -= bytes.length;
      if (this.#clientDone) return;
      this.#network.world.trace.bytes(bytes);
      this.#listener.onMessage(this.#method.response.decode(bytes));
    });
  }

  halfClose(): void {
    this.#toServer(() => {
      if (!this.#serverDone) this.#handler?.onHalfClose();
    });
  }

  cancel(): void {
    this.finish(RPC_CODE.cancelled, "cancelled by the caller");
  }

  /** The calling side gives up; the serving side hears of it. */
  finish(code: RpcCode, message: string): void {
    this.#tellServer();
    this.#endClient({ code, message }, 0);
  }

  refuse(code: RpcCode, message: string, delayUs: number): void {
    this.#serverDone = true;
    this.#endClient({ code, message }, delayUs);
  }

  /** Both sides lose the connection. */
  break(message: string): void {
    if (!this.#serverDone && this.#server?.incarnation === this.#serverIncarnation) {
      this.#serverDone = true;
      this.#server.after(0, "broken", () => this.#handler?.onCancel());
    }
    this.#endClient({ code: RPC_CODE.unavailable, message }, 0);
  }

  /** The process on `node` is gone; the other side learns it after a while. */
  lose(node: SimNode, delayUs: number): void {
    if (node === this.#client) {
      this.#clientDone = true;
      this.#network.forget(this);
      const server = this.#server;
      if (server === undefined || this.#serverDone || server.incarnation !== this.#serverIncarnation) return;
      server.after(delayUs, "lost", () => {
        if (this.#serverDone) return;
        this.#serverDone = true;
        this.#handler?.onCancel();
      });
    } else {
      this.#serverDone = true;
      this.#endClient({ code: RPC_CODE.unavailable, message: `${node.name} is gone` }, delayUs);
    }
  }

  touches(node: SimNode): boolean {
    return node === this.#client || node === this.#server;
  }
  other(node: SimNode): SimNode | undefined {
    return node === this.#client ? this.#server : this.#client;
  }
  isBetween(left: SimNode, right: SimNode): boolean {
    return this.touches(left) && this.touches(right);
  }
  isBlocked(): boolean {
    const server = this.#server;
    if (server === undefined) return false;
    return this.#network.isBlocked(this.#client, server) || this.#network.isBlocked(server, this.#client);
  }

  /** What waited for this link goes on. */
  release(from: SimNode, to: SimNode): void {
    if (from === this.#client && to === this.#server) for (const go of this.#up.held.splice(0)) go();
    if (from === this.#server && to === this.#client) for (const go of this.#down.held.splice(0)) go();
  }

  letGo(): void {
    if (!this.#up.isStopped) return;
    this.#up.isStopped = false;
    for (const go of this.#up.held.splice(0)) go();
  }

  #tellServer(): void {
    if (this.#serverDone || this.#server === undefined) return;
    this.#toServer(() => {
      if (this.#serverDone) return;
      this.#serverDone = true;
      this.#handler?.onCancel();
    });
  }

  #endFromServer(status: RpcStatus): void {
    if (this.#serverDone) return;
    this.#serverDone = true;
    this.#toClient(() => this.#endClient(status, 0));
  }

  #endClient(status: RpcStatus, delayUs: number): void {
    if (this.#clientDone || this.#client.incarnation !== this.#clientIncarnation) return;
    this.#client.after(delayUs, "end", () => {
      if (this.#clientDone) return;
      this.#clientDone = true;
      this.#network.forget(this);
      this.onDone();
      this.#listener.onEnd(status);
    });
  }

  #toServer(run: () => void): void {
    const server = this.#server;
    if (server !== undefined) this.#carry(this.#client, server, this.#serverIncarnation, this.#up, run);
  }

  #toClient(run: () => void): void {
    const server = this.#server;
    if (server !== undefined) this.#carry(server, this.#client, this.#clientIncarnation, this.#down, run);
  }

  #carry(from: SimNode, to: SimNode, incarnation: number, lane: Direction, run: () => void): void {
    const { world } = this.#network;
    const go = (): void => {
      if (lane.isStopped || this.#network.isBlocked(from, to)) {
        lane.held.push(go);
        return;
      }
      lane.lastUs = Math.max(lane.lastUs, world.nowUs + this.#network.delayUs(from, to));
      world.schedule(lane.lastUs, "deliver", to.index, incarnation, run, lane);
    };
    go();
  }
}
