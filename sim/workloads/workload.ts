/**
 * What clients do while the world falls apart, and what they remember of it. A workload runs loops on clients
 * until the world says stop; what it remembers is judged afterwards, when all is healed.
 */
import { RaftwerkError, type Random, randomBelow } from "../../base/index.js";
import { checkBoundedRetry } from "../checkers/bounded-retry.js";
import type { RegisterOperation } from "../checkers/linearizability.js";
import type { SimClient, SimCluster } from "../cluster.js";
import { MS, type World } from "../world.js";

export interface WorkloadStage {
  readonly world: World;
  readonly cluster: SimCluster;
  readonly random: Random;
  /** Of registers, by key: what clients did and were answered. */
  readonly histories: Map<string, RegisterOperation[]>;
  /** No new operations from then on. */
  isOver: boolean;
  readonly hasLulls: boolean;
  /** So many times longer loops rest. */
  readonly restFactor: number;
  /** Steps of loops that have begun and not ended. */
  stepsUnderWay: number;
  /** Operations that succeeded. A run with too few proves nothing. */
  succeeded: number;
  failed: number;
  /** Operations that have not ended: each may still take effect. */
  underWay: number;
}

export interface Workload {
  readonly name: string;
  /** Starts its loops. */
  start(): void;
  /** After healing; throws a Violation. */
  check(): Promise<void>;
}

/** What became of an operation: `never` and `safe` errors had no effect; anything else may have had. */
export type Outcome<T> =
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "unknown"; readonly error: Error }
  | { readonly kind: "noEffect"; readonly error: Error };

/** Of a single call, `client` says whose: then its time is looked at. (invariant 24) */
export async function attempt<T>(
  stage: WorkloadStage,
  run: () => Promise<T>,
  client?: SimClient,
): Promise<Outcome<T>> {
  const { world, cluster } = stage;
  const [beganUs, pausedUs] = [world.nowUs, client?.node.pausedUs ?? 0];
  const settled = await settle(stage, run);
  if (client !== undefined) {
    const [tookUs, stoodUs] = [world.nowUs - beganUs, client.node.pausedUs - pausedUs];
    const what = `${client.node.name}: an operation that is ${settled.kind}`;
    try {
      checkBoundedRetry(what, tookUs, stoodUs, cluster.shape.clientTimeoutMs);
    } catch (error) {
      world.fail(error as Error);
    }
  }
  return settled;
}

async function settle<T>(stage: WorkloadStage, run: () => Promise<T>): Promise<Outcome<T>> {
  stage.underWay++;
  try {
    const value = await run();
    stage.succeeded++;
    return { kind: "ok", value };
  } catch (error) {
    if (!(error instanceof RaftwerkError)) {
      stage.world.fail(error as Error);
      throw error;
    }
    stage.failed++;
    stage.world.probe(`an operation ended as ${error.code}, ${error.retry}`);
    return { kind: error.retry === "unknown" ? "unknown" : "noEffect", error };
  } finally {
    stage.underWay--;
  }
}

/** For the judgement after healing: tried until it succeeds. That it does not is for the run's own bound to find. */
export async function surely<T>(client: SimClient, run: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof RaftwerkError)) throw error;
      await sleep(client, 100);
    }
  }
}

export const pick = <T>(random: Random, from: readonly T[]): T => from[randomBelow(random, from.length)] as T;

export const sleep = ({ env }: SimClient, ms: number): Promise<void> =>
  new Promise((resolve) => void env.timers.set(ms, resolve));

const LULL_EVERY_US = 6_000 * MS;
const LULL_US = 2_500 * MS;

/** Whether clients only read at present. */
export const isLull = ({ hasLulls, world }: WorkloadStage): boolean =>
  hasLulls && world.nowUs % LULL_EVERY_US < LULL_US;

/** One loop of a client. When clients are busiest it rests `meanPauseMs` between steps. Its failure is the world's. */
export function loop(
  stage: WorkloadStage,
  client: SimClient,
  meanPauseMs: number,
  step: () => Promise<void>,
): void {
  const run = async (): Promise<void> => {
    while (!stage.isOver) {
      await sleep(client, 1 + randomBelow(stage.random, 2 * meanPauseMs * stage.restFactor));
      if (stage.isOver) return;
      stage.stepsUnderWay++;
      await step();
      stage.stepsUnderWay--;
    }
  };
  // The world ends a run that failed; a loop that failed has told it.
  client.node.after(randomBelow(stage.random, 50 * MS), "loop", () => {
    run().catch((error: Error) => stage.world.fail(error));
  });
}
