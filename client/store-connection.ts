/**
 * One BatchCommands stream to one store. Commands of a turn travel in one message; answers come in any order, by id. A
 * stream that breaks fails everything under way with `broken`: what became of it is then unknown, and the operations
 * decide whether to try again. The next command opens a new stream.
 */
import { type Env, misbehaves } from "../base/index.js";
import type { tikvpb } from "../proto/index.js";
import { type ClientCall, type RpcNetwork, type RpcStatus, TikvService } from "../proto/index.js";
import { type AnswerTaker, PendingAnswers } from "./pending-answers.js";

export type Command = tikvpb.BatchCommandsRequest.IRequest;

/** Commands in one message; more go in the next. */
const COMMANDS_MAX = 1_024;
const BYTES_MAX = 8 << 20;

export class StoreConnection {
  readonly #env: Env;
  readonly #network: RpcNetwork;
  readonly #address: string;
  readonly #lane: number;
  readonly #underWay = new PendingAnswers();
  /** Of the next message: commands, their ids and weights, side by side. */
  #commands: Command[] = [];
  #ids: number[] = [];
  #weights: number[] = [];
  #call: ClientCall<tikvpb.IBatchCommandsRequest> | undefined;
  #isScheduled = false;
  #closed = false;

  constructor(env: Env, network: RpcNetwork, address: string, lane: number) {
    this.#env = env;
    this.#network = network;
    this.#address = address;
    this.#lane = lane;
  }

  /** `bytes`: roughly what the command weighs. Returns an id for `abandon`. */
  send(command: Command, bytes: number, taker: AnswerTaker): number {
    const id = this.#underWay.add(taker);
    this.#commands.push(command);
    this.#ids.push(id);
    this.#weights.push(bytes);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      this.#env.timers.nextTurn(() => this.#flush());
    }
    return id;
  }

  /** Its answer, should it come, is dropped. */
  abandon(id: number): void {
    this.#underWay.take(id);
  }

  close(): void {
    this.#closed = true;
    this.#call?.cancel();
    this.#fail({ code: 1, message: "the client is closed" });
  }

  #flush(): void {
    this.#isScheduled = false;
    if (this.#closed) return;
    const [commands, ids, weights] = [this.#commands, this.#ids, this.#weights];
    this.#commands = [];
    this.#ids = [];
    this.#weights = [];
    let from = 0;
    while (from < ids.length) {
      const requests: Command[] = [];
      const requestIds: number[] = [];
      let bytes = 0;
      const countMax = misbehaves(this.#env, "a client sends one command a message") ? 1 : COMMANDS_MAX;
      for (; from < ids.length && requests.length < countMax && bytes < BYTES_MAX; from++) {
        const id = ids[from] as number;
        if (!this.#underWay.has(id)) continue;
        requests.push(commands[from] as Command);
        requestIds.push(id);
        bytes += weights[from] as number;
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
      this.#underWay.take(requestIds[i] as number)?.answered(responses[i], undefined);
    }
  }

  #fail(status: RpcStatus): void {
    this.#commands = [];
    this.#ids = [];
    this.#weights = [];
    for (const taker of this.#underWay.takeAll()) taker.answered(undefined, status);
  }
}
