/** The simulated cluster reaches nothing of Node: bundled for browsers, a seed does the same in a bare context. */
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { expect, it } from "vitest";
import { drawPlan, runSeed, type SeedResult } from "./index.js";

const drain = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
const SEED = 3;
const SPAN_MS = 1_500;
/** Handed in as parameters: in a context of `vm` each look at a global costs a call. */
const NAMES = "Array, BigInt, DataView, Error, Map, Math, Number, Object, Promise, Set, String, Uint8Array";

it("runs a seed of the bundle in a bare context with the same trace as outside", {
  timeout: 60_000,
}, async () => {
  const bundle = await build({
    entryPoints: [new URL("./index.ts", import.meta.url).pathname],
    bundle: true,
    write: false,
    platform: "browser",
    format: "iife",
    globalName: "sim",
    logLevel: "silent",
  });
  const text = bundle.outputFiles[0]?.text ?? "";
  expect(bundle.errors).toEqual([]);
  expect(text).not.toMatch(/from "node:|require\("node:/);
  const context = createContext({ TextEncoder, TextDecoder, drain });
  const run = `sim.runSeed(sim.drawPlan(${SEED}, { spanMs: ${SPAN_MS} }), drain)`;
  const source = `((${NAMES}) => { ${text}; return ${run}; })(${NAMES})`;
  const inside = (await runInContext(source, context)) as SeedResult;
  const outside = await runSeed(drawPlan(SEED, { spanMs: SPAN_MS }), drain);
  expect(inside.failure?.message).toBeUndefined();
  expect(inside.trace).toBe(outside.trace);
  expect(inside.succeeded).toBeGreaterThan(20);
});
