/**
 * What a change of the cluster does to those who use it meanwhile: writers in a closed loop, every latency kept with
 * its moment, and the longest wait inside and outside of the change.
 */
import { distribution, type Distribution } from "./latencies.js";
import type { BenchCluster, PdRegion } from "./local.js";
import { type Target, valueMaker } from "./target.js";

interface Sample {
  readonly beganMs: number;
  readonly endedMs: number;
}

/** Writers that go on until told to stop; errors are kept, not hidden. */
export class Foreground {
  readonly samples: Sample[] = [];
  errors = 0;
  firstError: string | undefined;
  #stopped = false;
  readonly #workers: Promise<void>[];

  constructor(target: Target, inFlight: number, key: (worker: number) => Uint8Array, valueBytes: number) {
    const value = valueMaker(valueBytes);
    this.#workers = Array.from({ length: inFlight }, async (_, worker) => {
      while (!this.#stopped) {
        const beganMs = performance.now();
        try {
          await target.put(key(worker), value());
          this.samples.push({ beganMs, endedMs: performance.now() });
        } catch (error) {
          this.errors++;
          this.firstError ??= error instanceof Error ? error.message : String(error);
        }
      }
    });
  }

  /** Of the writes that were under way at any time between the two moments. */
  between(fromMs: number, toMs: number): Distribution & { readonly perSecond: number } {
    const inside = this.samples.filter(({ beganMs, endedMs }) => endedMs >= fromMs && beganMs <= toMs);
    return {
      ...distribution(inside.map(({ beganMs, endedMs }) => endedMs - beganMs)),
      perSecond: (inside.length * 1000) / (toMs - fromMs),
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }
}

export interface Disturbance {
  readonly what: string;
  /** From the order until PD knows that it is done. */
  readonly ms: number;
  readonly before: Distribution & { readonly perSecond: number };
  readonly during: Distribution & { readonly perSecond: number };
  readonly errors: number;
  readonly firstError: string | undefined;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Load for `quietMs`, then the change under the same load, then as long again. */
export async function disturbed(
  what: string,
  foreground: Foreground,
  change: () => Promise<void>,
  quietMs = 3_000,
): Promise<Disturbance> {
  await pause(1_000);
  const from = performance.now();
  await pause(quietMs);
  const began = performance.now();
  await change();
  const ended = performance.now();
  // A write that met the change may end well after it.
  await pause(1_000);
  await foreground.stop();
  return {
    what,
    ms: ended - began,
    before: foreground.between(from, began),
    during: foreground.between(began, ended + 200),
    errors: foreground.errors,
    firstError: foreground.firstError,
  };
}

export async function regionOf(cluster: BenchCluster, key: Uint8Array): Promise<PdRegion> {
  const hex = Buffer.from(key).toString("hex").toUpperCase();
  const found = (await cluster.regions()).find(
    ({ start_key, end_key }) => start_key <= hex && (end_key === "" || hex < end_key),
  );
  if (found === undefined) throw new Error("PD knows no region for the key");
  return found;
}
