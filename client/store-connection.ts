/**
 * One BatchCommands stream to one store. Commands of a turn travel in one message; answers come in any order, by id. A
 * stream that breaks fails everything under way with `broken`: what became of it is then unknown, and the operations
 * decide whether to try again. The next command opens a new stream.
 */
import { type Env, misbehaves } from "../base/index.js";
import type { tikvpb } from "../proto/index.js";
import { type ClientCall, type RpcNetwork, type RpcStatus, TikvService } from "../proto/index.js";

export type Command = tikvpb.BatchCommandsRequest.IRequest;
export type Answer = tikvpb.BatchCommandsResponse.Response;
/** `broken` carries why no answer came. */
export type AnswerCallback = (answer: Answer | undefined, broken: RpcStatus | undefined) => void;

/** Commands in one message; more go in the next. */
const COMMANDS_MAX = 1_024;
const BYTES_MAX = 8 << 20;

interface Queued {
  readonly id: number;
  readonly command: Command;
  readonly bytes: number;
}

export class StoreConnection {
  readonly #env: Env;
  readonly #network: RpcNetwork;
  readonly #address: string;
  readonly #lane: number;
  readonly #underWay = new Map<number, AnswerCallback>();
  #queue: Queued[] = [];
  #call: ClientCall<tikvpb.IBatchCommandsRequest> | undefined;
  #nextId = 1;
  #isScheduled = false;
  #closed = false;

  constructor(env: Env, network: RpcNetwork, address: string, lane: number) {
    this.#env = env;
    this.#network = network;
    this.#address = address;
    this.#lane = lane;
  }

  /** `bytes`: roughly what the command weighs. Returns an id for `abandon`. */
  send(command: Command, bytes: number, callback: AnswerCallback): number {
    const id = this.#nextId++;
    this.#underWay.set(id, callback);
    this.#queue.push({ id, command, bytes });
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      this.#env.timers.nextTurn(() => this.#flush());
    }
    return id;
  }

  /** Its answer, should it come, is dropped. */
  abandon(id: number): void {
    this.#underWay.delete(id);
  }

  close(): void {
    this.#closed = true;
    this.#call?.cancel();
    this.#fail({ code: 1, message: "the client is closed" });
  }

  #flush(): void {
    this.#isScheduled = false;
    if (this.#closed) return;
    const queue = this.#queue;
    this.#queue = [];
    let from = 0;
    while (from < queue.length) {
      const requests: Command[] = [];
      const requestIds: number[] = [];
      let bytes = 0;
      const countMax = misbehaves(this.#env, "a client sends one command a message") ? 1 : COMMANDS_MAX;
      while (from < queue.length && requests.length < countMax && bytes < BYTES_MAX) {
        const { id, command, bytes: weight } = queue[from++] as Queued;
        if (!this.#underWay.has(id)) continue;
        requests.push(command);
        requestIds.push(id);
        bytes += weight;
      }
      if (requests.length > 0) this.#stream().send({ requests, requestIds });
    }
  }

  #stream(): ClientCall<tikvpb.IBatchCommandsRequest> {
    if (this.#call !== undefined) return this.#call;
    const call = this.#network.channel(this.#address, this.#lane).open(TikvService.BatchCommands, {
      onMessage: (message) => this.#receive(message),
      onEnd: (status) => {
        if (this.#call === call) this.#call = undefined;
        this.#fail(status);
      },
    });
    this.#call = call;
    return call;
  }

  #receive(message: tikvpb.BatchCommandsResponse): void {
    const { requestIds, responses } = message;
    for (let i = 0; i < requestIds.length; i++) {
      const id = requestIds[i] as number;
      const callback = this.#underWay.get(id);
      if (callback === undefined) continue;
      this.#underWay.delete(id);
      callback(responses[i], undefined);
    }
  }

  #fail(status: RpcStatus): void {
    const callbacks = [...this.#underWay.values()];
    this.#underWay.clear();
    this.#queue = [];
    for (const callback of callbacks) callback(undefined, status);
  }
}
