/** Arguments of interaction commands: what a directive says, or the error that it is not understood. */
import type { NodeId } from "../types.js";
import type { Directive } from "./datadriven.js";
import { ScriptError } from "./datadriven.js";
import { CommandError, type InteractionEnv, type Node } from "./interaction-env.js";

export type Command = (env: InteractionEnv, directive: Directive) => void;

const wrong = (directive: Directive, text: string): ScriptError =>
  new ScriptError(`line ${directive.line}: ${directive.command}: ${text}`);

export function argument(directive: Directive, at: number): string {
  const found = directive.args[at];
  if (found === undefined) throw new CommandError(`${directive.command}: argument ${at + 1} is missing`);
  return found.key;
}

/** A decimal number, `infinity` for the limits that may be none. */
export function numberOf(directive: Directive, text: string): number {
  if (text === "infinity") return Number.POSITIVE_INFINITY;
  if (!/^-?\d+$/.test(text)) throw wrong(directive, `not a number: ${text}`);
  return Number(text);
}

export const idAt = (directive: Directive, at: number): NodeId =>
  numberOf(directive, argument(directive, at));
export const nodeAt = (env: InteractionEnv, directive: Directive, at: number): Node =>
  env.node(idAt(directive, at));
export const nodesOf = (env: InteractionEnv, directive: Directive): Node[] =>
  directive.args
    .filter(({ values }) => values.length === 0)
    .map(({ key }) => env.node(numberOf(directive, key)));

export const valueOf = (directive: Directive, key: string): string | undefined =>
  directive.args.find((each) => each.key === key)?.values[0];
export const numbersOf = (directive: Directive, key: string): number[] =>
  directive.args
    .filter((each) => each.key === key)
    .flatMap((each) =>
      each.values.filter((value) => value !== "").map((value) => numberOf(directive, value)),
    );

export function requiredNumber(directive: Directive, key: string): number {
  const value = valueOf(directive, key);
  if (value === undefined) throw wrong(directive, `${key}= is missing`);
  return numberOf(directive, value);
}

const TRUE = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE = ["0", "f", "F", "FALSE", "false", "False"];

/** The spellings of Go's ParseBool; undefined when the argument is absent. */
export function flagOf(directive: Directive, key: string): boolean | undefined {
  const found = directive.args.find((each) => each.key === key);
  if (found === undefined) return undefined;
  const value = found.values[0];
  if (value !== undefined && TRUE.includes(value)) return true;
  if (value !== undefined && FALSE.includes(value)) return false;
  throw wrong(directive, `${key} is not a truth value`);
}

/** Misspelt options would otherwise pass for absent ones. */
export function allowKeys(directive: Directive, keys: readonly string[]): void {
  for (const { key, values } of directive.args) {
    if (values.length > 0 && !keys.includes(key)) throw wrong(directive, `unknown argument ${key}=`);
  }
}
