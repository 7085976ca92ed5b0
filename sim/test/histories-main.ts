/**
 * `tsx sim/test/histories-main.ts SEEDS`: prints histories of registers, one a line of JSON, each with our checker's
 * verdict: those of so many seeds, and of each some that are spoilt, by answers that were never or not then right.
 */
import { randomBelow, SeededRandom } from "../../base/index.js";
import { checkRegister, type RegisterOperation } from "../checkers/linearizability.js";
import { drawPlan } from "../plan.js";
import { runSeed } from "../run-seed.js";
import { drain } from "./worker.js";

const SPAN_MS = 6_000;

function print(name: string, operations: readonly RegisterOperation[]): void {
  const verdict = checkRegister(operations).kind;
  process.stdout.write(`${JSON.stringify({ name, verdict, operations })}\n`);
}

/** Another answer to one read: of another read, or of none. */
function spoilt(random: SeededRandom, operations: readonly RegisterOperation[]): RegisterOperation[] {
  const reads = operations.filter(({ call, endedAt }) => call.kind === "get" && endedAt !== undefined);
  const victim = reads[randomBelow(random, Math.max(1, reads.length))];
  const other = reads[randomBelow(random, Math.max(1, reads.length))];
  const result =
    randomBelow(random, 3) === 0 || other?.call.kind !== "get" ? "never written" : other.call.result;
  return operations.map((each) => (each === victim ? { ...each, call: { kind: "get", result } } : each));
}

/** One operation is said to have ended before others began. */
function moved(random: SeededRandom, operations: readonly RegisterOperation[]): RegisterOperation[] {
  const at = randomBelow(random, Math.max(1, operations.length));
  return operations.map((each, i) =>
    i === at && each.endedAt !== undefined
      ? { ...each, beganAt: Math.floor(each.beganAt / 2), endedAt: Math.floor(each.beganAt / 2) + 10 }
      : each,
  );
}

const seeds = Number(process.argv[2] ?? 10);
for (let seed = 1; seed <= seeds; seed++) {
  const plan = { ...drawPlan(seed, { spanMs: SPAN_MS }), workloads: ["registers"] as const };
  const { histories } = await runSeed(plan, drain);
  const random = new SeededRandom(seed, 0x90c);
  for (const [key, operations] of histories) {
    if (operations.length < 10) continue;
    print(`seed ${seed} ${key}`, operations);
    for (let i = 0; i < 3; i++) print(`seed ${seed} ${key}, spoilt ${i}`, spoilt(random, operations));
    print(`seed ${seed} ${key}, moved`, moved(random, operations));
  }
}
