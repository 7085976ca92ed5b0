/**
 * Members of one process: packets are handed over in the next turn. For tests and for trying things out; links can be
 * cut and healed.
 */
import type { Env } from "../base/index.js";
import type { GroupTransport, TransportHandlers } from "./transport.js";

export class InProcessNetwork {
  readonly #timers: Env["timers"];
  readonly #handlers = new Map<string, TransportHandlers>();
  readonly #cut = new Set<string>();

  constructor(timers: Env["timers"]) {
    this.#timers = timers;
  }

  /** The door of the member at `address`, which is any name. */
  transport(address: string): GroupTransport {
    return new InProcessTransport(this, address, this.#timers);
  }

  /** Nothing passes between this address and the others. */
  isolate(address: string): void {
    this.#cut.add(address);
  }

  heal(address: string): void {
    this.#cut.delete(address);
  }

  /** For the transports. */
  attach(address: string, handlers: TransportHandlers | undefined): void {
    if (handlers === undefined) this.#handlers.delete(address);
    else this.#handlers.set(address, handlers);
  }

  /** For the transports. */
  find(from: string, to: string): TransportHandlers | undefined {
    return from !== to && (this.#cut.has(from) || this.#cut.has(to)) ? undefined : this.#handlers.get(to);
  }
}

class InProcessTransport implements GroupTransport {
  readonly address: string;
  readonly #network: InProcessNetwork;
  readonly #timers: Env["timers"];

  constructor(network: InProcessNetwork, address: string, timers: Env["timers"]) {
    this.#network = network;
    this.address = address;
    this.#timers = timers;
  }

  listen(handlers: TransportHandlers): void {
    this.#network.attach(this.address, handlers);
  }

  send(address: string, packet: Uint8Array): void {
    this.#timers.nextTurn(() => this.#network.find(this.address, address)?.onPacket(packet));
  }

  pendingBytes(): number {
    return 0;
  }

  call(
    address: string,
    request: Uint8Array,
    timeoutMs: number,
    callback: (error: Error | undefined, response?: Uint8Array) => void,
  ): void {
    let isOver = false;
    const end = (error: Error | undefined, response?: Uint8Array): void => {
      if (isOver) return;
      isOver = true;
      this.#timers.clear(timer);
      callback(error, response);
    };
    const timer = this.#timers.set(timeoutMs, () => end(new Error("no answer in time")));
    this.#timers.nextTurn(() => {
      const handlers = this.#network.find(this.address, address);
      if (handlers === undefined) return end(new Error("nobody is there"));
      handlers.onCall(request, (response) => this.#timers.nextTurn(() => end(undefined, response)));
    });
  }

  close(done: () => void): void {
    this.#network.attach(this.address, undefined);
    done();
  }
}
