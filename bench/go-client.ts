/**
 * Load by a Go program over each side's official client, for `raftwerk bench peers --kvbench PROGRAM`: the program
 * lies outside of this project. `-target tikv|etcd -addr ... -op put|get|scan|batchput|load -c N -t SECONDS` must print
 * one line of JSON with `items_s` (keys a second), `p99_ms` and `errors`.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { RaftwerkError, utf8 } from "../base/index.js";
import type { LoadKind } from "./target.js";

const run = promisify(execFile);

export interface GoTarget {
  readonly program: string;
  readonly target: "tikv" | "etcd";
  /** PD's address, or those of etcd. */
  readonly addresses: readonly string[];
  readonly keys: number;
  readonly valueBytes: number;
}

export interface GoFigure {
  readonly itemsPerSecond: number;
  readonly p99Ms: number;
  readonly errors: number;
}

const CONNECTIONS = 4;

async function call(target: GoTarget, args: readonly string[]): Promise<GoFigure> {
  const own = ["-target", target.target, "-addr", target.addresses.join(",")];
  const sizes = ["-keys", String(target.keys), "-value", String(target.valueBytes)];
  const all = [...own, ...sizes, "-conns", String(CONNECTIONS), ...args];
  let words: string;
  try {
    words = (await run(target.program, all, { timeout: 300_000 })).stdout;
  } catch (error) {
    const text = `--kvbench: ${target.program} ${args.join(" ")} failed: ${(error as Error).message.slice(0, 500)}`;
    throw new RaftwerkError("invalidArgument", text, { retry: "never", cause: error });
  }
  const { items_s, p99_ms, errors } = JSON.parse(words) as Record<string, number>;
  return { itemsPerSecond: items_s ?? 0, p99Ms: p99_ms ?? 0, errors: errors ?? 0 };
}

export const goLoad = (target: GoTarget): Promise<GoFigure> => call(target, ["-op", "load", "-c", "16"]);

export const goRun = (
  target: GoTarget,
  kind: LoadKind,
  inFlight: number,
  seconds: number,
  warmUpSeconds: number,
): Promise<GoFigure> => {
  const loop = ["-c", String(inFlight), "-t", String(seconds), "-warm", String(warmUpSeconds)];
  return call(target, ["-op", kind.toLowerCase(), ...loop]);
};

/** Keys that cut its key space into even parts. */
export const goSplitKeys = (regions: number, keys: number): Uint8Array[] =>
  Array.from({ length: regions - 1 }, (_, i) => {
    const at = Math.floor((keys * (i + 1)) / regions);
    return utf8(`kvbench-${String(at).padStart(10, "0")}`);
  });
