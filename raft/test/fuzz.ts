/**
 * Runs seeds: random steps under faults, then healing. What a failing seed did last is told in the order it
 * happened.
 */
import { FuzzWorld } from "./fuzz-world.js";

export const STEPS = 2_000;
const HEAL_ROUNDS = 2_000;

export type SeedResult =
  | { readonly kind: "passed"; readonly traceHash: number }
  | {
      readonly kind: "failed";
      readonly step: number;
      readonly error: Error;
      readonly events: readonly string[];
    };

export function runSeed(seed: number, steps: number = STEPS): SeedResult {
  let world: FuzzWorld | undefined;
  let step = 0;
  try {
    world = new FuzzWorld(seed);
    for (; step < steps; step++) world.step();
    world.heal(HEAL_ROUNDS);
    return { kind: "passed", traceHash: world.traceHash };
  } catch (error) {
    const reason = error instanceof Error ? error : new Error(String(error));
    return { kind: "failed", step, error: reason, events: world?.events() ?? [] };
  }
}
