/**
 * 24 Bounded retry: no call of a client outlives its time, plus a little for its own turns and pauses; and no client
 * asks in a circle: what it sends to stores in a second is bounded, whatever they answer.
 *
 *   ended - began <= timeout + slack + time that the client stood still
 *   forall client c, second s: |commands(c, s)| <= COMMANDS_MAX
 */
import type { tikvpb } from "../../proto/index.js";
import type { SimCluster } from "../cluster.js";
import type { Frame } from "../network.js";
import { MS, Violation } from "../world.js";

const SLACK_US = 500 * MS;

export function checkBoundedRetry(what: string, tookUs: number, pausedUs: number, timeoutMs: number): void {
  // Clocks of machines run up to 4.5 % too slow or too fast.
  const boundUs = timeoutMs * MS * 1.05 + SLACK_US + pausedUs;
  if (tookUs <= boundUs) return;
  throw new Violation("24 bounded retry", `${what} took ${tookUs / MS} ms, and its time was ${timeoutMs} ms`);
}

/**
 * Of a client and a second. Its loops are some dozen, one operation each at a time, a scan one a region: 130 was the
 * most that was seen. Who repeats without a pause sends thousands.
 */
const COMMANDS_MAX = 600;

export class RetryRate {
  readonly #cluster: SimCluster;
  readonly #counts = new Map<string, { second: number; commands: number }>();

  /** Looks at what clients send from now on. */
  static watch(cluster: SimCluster): void {
    const rate = new RetryRate(cluster);
    const { network } = cluster;
    const next = network.observer;
    network.observer = (frame) => {
      next?.(frame);
      rate.#sent(frame);
    };
  }

  private constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  #sent({ path, from, message }: Frame): void {
    if (!path.endsWith("/BatchCommands")) return;
    const { world } = this.#cluster;
    const second = Math.floor(world.nowUs / (1_000 * MS));
    let count = this.#counts.get(from.name);
    if (count === undefined) {
      count = { second, commands: 0 };
      this.#counts.set(from.name, count);
    }
    if (count.second !== second) Object.assign(count, { second, commands: 0 });
    count.commands += (message as tikvpb.IBatchCommandsRequest).requests?.length ?? 0;
    if (count.commands <= COMMANDS_MAX) return;
    world.fail(
      new Violation("24 bounded retry", `${from.name} sends ${count.commands} commands in second ${second}`),
    );
  }
}
