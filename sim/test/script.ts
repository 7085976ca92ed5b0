/** Scripts in Node: `const s = await script({ stores: 4 })`. */
import { Script } from "../scripts/script.js";
import type { ScriptOptions } from "../scripts/stage.js";
import { drain } from "./worker.js";

export { messages, region } from "../scripts/filter.js";
export { regionStates } from "../scripts/stage.js";
export type { Script } from "../scripts/script.js";

export const script = (options: ScriptOptions = {}): Promise<Script> => Script.start(options, drain);

/** One on which nothing has been started. */
export const rawScript = (options: ScriptOptions = {}): Script => new Script(options, drain);
