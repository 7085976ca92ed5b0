/** YCSB's workloads by letter, and plain put, get and scan: shares of operations and how records are chosen. */
import { RaftwerkError } from "../base/index.js";
import type { Distribution } from "./distribution.js";

export type OperationKind = "read" | "update" | "insert" | "scan" | "readModifyWrite";

export interface Workload {
  readonly name: string;
  /** Shares, adding up to 1. */
  readonly shares: Readonly<Partial<Record<OperationKind, number>>>;
  readonly distribution: Distribution;
}

export const WORKLOADS: readonly Workload[] = [
  { name: "load", shares: { insert: 1 }, distribution: "uniform" },
  { name: "a", shares: { read: 0.5, update: 0.5 }, distribution: "zipfian" },
  { name: "b", shares: { read: 0.95, update: 0.05 }, distribution: "zipfian" },
  { name: "c", shares: { read: 1 }, distribution: "zipfian" },
  { name: "d", shares: { read: 0.95, insert: 0.05 }, distribution: "latest" },
  { name: "e", shares: { scan: 0.95, insert: 0.05 }, distribution: "zipfian" },
  { name: "f", shares: { read: 0.5, readModifyWrite: 0.5 }, distribution: "zipfian" },
  { name: "put", shares: { update: 1 }, distribution: "uniform" },
  { name: "get", shares: { read: 1 }, distribution: "uniform" },
  { name: "scan", shares: { scan: 1 }, distribution: "uniform" },
];

export function workload(name: string): Workload {
  const found = WORKLOADS.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = WORKLOADS.map((each) => each.name).join(", ");
  throw new RaftwerkError("invalidArgument", `workload "${name}" is none of ${names}`, { retry: "never" });
}

/** Which operation comes next, by a number in [0, 1). */
export function pick(shares: Workload["shares"], at: number): OperationKind {
  let sum = 0;
  let last: OperationKind = "read";
  for (const [kind, share] of Object.entries(shares)) {
    last = kind as OperationKind;
    sum += share;
    if (at < sum) break;
  }
  return last;
}
