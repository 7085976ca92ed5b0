/**
 * The contract of `base/engine.ts` as cases that run against any engine, whatever the test runner: register
 * each as a test. A case opens an empty engine of its own, throws what it finds wrong, and closes what it
 * opened.
 */
import type { Engine } from "../base/index.js";
import { LIFECYCLE_CASES } from "./conformance-lifecycle.js";
import { ORDER_CASES } from "./conformance-order.js";
import { SCAN_CASES } from "./conformance-scans.js";
import { close, type ConformanceTarget } from "./conformance-tools.js";
import { WRITE_CASES } from "./conformance-writes.js";

export type { ConformanceTarget } from "./conformance-tools.js";

export interface ConformanceCase {
  /** A sentence about `target.name`. */
  readonly title: string;
  readonly run: () => Promise<void>;
}

export function engineConformance(target: ConformanceTarget): ConformanceCase[] {
  const cases = [...WRITE_CASES, ...ORDER_CASES, ...SCAN_CASES, ...LIFECYCLE_CASES];
  return cases
    .filter((one) => one.needsReopen !== true || target.reopen !== undefined)
    .map(({ title, body }) => ({
      title: `${target.name} ${title}`,
      async run() {
        const engine: Engine = await target.open();
        try {
          await body(engine, target);
        } finally {
          // A second close is harmless by contract, so cases may close by themselves.
          await close(engine);
        }
      },
    }));
}
