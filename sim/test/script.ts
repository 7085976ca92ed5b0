/** Scripts in Node: `const s = await script({ stores: 4 })`. */
import { Script } from "../scripts/script.js";
import type { ScriptOptions } from "../scripts/stage.js";
import { drain } from "./worker.js";

export { messages, region } from "../scripts/filter.js";
export { regionStates } from "../scripts/stage.js";
export type { Script } from "../scripts/script.js";

/** Another one shows which scripts rest on chance: `SCRIPT_SEED=7 npx vitest run sim/scripts`. */
const SEED = Number(process.env["SCRIPT_SEED"] ?? 1);

export const script = (options: ScriptOptions = {}): Promise<Script> =>
  Script.start({ seed: SEED, ...options }, drain);

/** One on which nothing has been started. */
export const rawScript = (options: ScriptOptions = {}): Script =>
  new Script({ seed: SEED, ...options }, drain);
