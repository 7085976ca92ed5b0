/**
 * Registers: a few contended keys, put, get, delete and compare-and-swap from all clients. Judged by a search for an
 * order that explains all answers (invariant 20). Keys are changed after some operations, since the search is
 * bounded.
 */
import { fromUtf8, randomBelow, utf8 } from "../../base/index.js";
import { checkRegister, type RegisterCall, type RegisterOperation } from "../checkers/linearizability.js";
import type { SimClient } from "../cluster.js";
import { Violation } from "../world.js";
import { attempt, isLull, loop, type Outcome, pick, type Workload, type WorkloadStage } from "./workload.js";

const KEYS = 6;
const OPERATIONS_MAX = 120;
/** A put that is repeated may take effect twice, which no register explains. */
const STRICT = { onLost: "fail" } as const;

type Mutable = { -readonly [K in keyof RegisterOperation]: RegisterOperation[K] };

export class Registers implements Workload {
  readonly name = "registers";
  readonly histories: Map<string, RegisterOperation[]>;
  readonly #stage: WorkloadStage;
  readonly #current: string[];
  #values = 0;
  #generation = 0;

  constructor(stage: WorkloadStage) {
    this.#stage = stage;
    this.histories = stage.histories;
    this.#current = Array.from({ length: KEYS }, (_, slot) => this.#newKey(slot));
  }

  start(): void {
    this.#stage.cluster.clients.forEach((client, index) => {
      loop(this.#stage, client, 60, () => this.#operate(client, index));
      loop(this.#stage, client, 60, () => this.#operate(client, index));
    });
  }

  /** Keys lie all over the key space, so that splits part them. */
  #newKey(slot: number): string {
    const key = `${String.fromCharCode(97 + slot * 4)}/register/${++this.#generation}`;
    this.histories.set(key, []);
    return key;
  }

  history(key: string): RegisterOperation[] {
    return this.histories.get(key) as RegisterOperation[];
  }

  async #operate(client: SimClient, index: number): Promise<void> {
    const { random } = this.#stage;
    const slot = randomBelow(random, KEYS);
    const key = this.#current[slot] as string;
    if (this.history(key).length >= OPERATIONS_MAX) {
      this.#current[slot] = this.#newKey(slot);
      return;
    }
    const drawn = pick(random, ["put", "put", "get", "get", "get", "delete", "cas", "cas"] as const);
    const kind = isLull(this.#stage) ? "get" : drawn;
    const value = `v${++this.#values}`;
    if (kind === "put") await this.#put(client, index, key, value);
    else if (kind === "delete") await this.#delete(client, index, key);
    else if (kind === "get") await this.#get(client, index, key);
    else await this.#swap(client, index, key, value);
  }

  #begin(index: number, key: string, call: RegisterCall): Mutable {
    const operation: Mutable = {
      client: index,
      call,
      beganAt: this.#stage.world.nowUs,
      endedAt: undefined,
    };
    this.history(key).push(operation);
    return operation;
  }

  /** Takes out of the history what surely had no effect. */
  #end(key: string, operation: Mutable, outcome: Outcome<unknown>): void {
    if (outcome.kind === "ok") operation.endedAt = this.#stage.world.nowUs;
    else if (outcome.kind === "noEffect" || operation.call.kind === "get") {
      const history = this.history(key);
      history.splice(history.indexOf(operation), 1);
    }
  }

  async #put(who: SimClient, index: number, key: string, value: string): Promise<void> {
    const operation = this.#begin(index, key, { kind: "put", value });
    this.#end(
      key,
      operation,
      await attempt(this.#stage, () => who.client.put(utf8(key), utf8(value), STRICT), who),
    );
  }

  async #delete(who: SimClient, index: number, key: string): Promise<void> {
    const operation = this.#begin(index, key, { kind: "delete" });
    this.#end(key, operation, await attempt(this.#stage, () => who.client.delete(utf8(key), STRICT), who));
  }

  async #get(who: SimClient, index: number, key: string): Promise<void> {
    const operation = this.#begin(index, key, { kind: "get", result: undefined });
    const outcome = await attempt(this.#stage, () => who.client.get(utf8(key)), who);
    if (outcome.kind === "ok") operation.call = { kind: "get", result: text(outcome.value) };
    this.#end(key, operation, outcome);
  }

  async #swap(who: SimClient, index: number, key: string, value: string): Promise<void> {
    const { random } = this.#stage;
    const seen = this.history(key).findLast(({ call }) => call.kind === "get" || call.kind === "put")?.call;
    const known = seen?.kind === "get" ? seen.result : seen?.kind === "put" ? seen.value : undefined;
    const expected = randomBelow(random, 5) === 0 ? undefined : known;
    const call = { kind: "cas", expected, value, swapped: undefined, previous: undefined } as const;
    const operation = this.#begin(index, key, call);
    const before = expected === undefined ? undefined : utf8(expected);
    const outcome = await attempt(
      this.#stage,
      () => who.client.compareAndSwap(utf8(key), before, utf8(value)),
      who,
    );
    if (outcome.kind === "ok") {
      const { swapped } = outcome.value;
      const previous = outcome.value.swapped ? expected : text(outcome.value.previous);
      operation.call = { ...call, swapped, previous };
      if (!swapped) this.#stage.world.probe("a compare-and-swap met another value");
    }
    this.#end(key, operation, outcome);
  }

  async check(): Promise<void> {
    const client = this.#stage.cluster.clients[0] as SimClient;
    for (const key of this.#current) await this.#get(client, 0, key);
    for (const [key, history] of this.histories) {
      const verdict = checkRegister(history);
      if (verdict.kind === "inconclusive")
        this.#stage.world.probe("a register history was too wide to judge");
      if (verdict.kind !== "violation") continue;
      const { stuckAt } = verdict;
      const around = history
        .filter(({ beganAt }) => stuckAt === undefined || Math.abs(beganAt - stuckAt.beganAt) < 2_000_000)
        .map(describe);
      throw new Violation(
        "20 linearizability",
        `no order explains key ${key}; ${stuckAt === undefined ? "" : describe(stuckAt)}\n  ${around.join("\n  ")}`,
      );
    }
  }
}

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : fromUtf8(bytes);

function describe({ client, call, beganAt, endedAt }: RegisterOperation): string {
  const ms = (us: number): string => (us / 1000).toFixed(3);
  const end = endedAt === undefined ? "?" : ms(endedAt);
  return `client ${client} [${ms(beganAt)} ${end}] ${JSON.stringify(call)}`;
}
