/** What a checker found: nothing, an operator, or something wrong that cannot be mended now, and why. */
import type { Operator } from "../operator.js";
import type { BuildResult } from "../operator-builder.js";
import type { Selection } from "../store-selector.js";

export type CheckResult =
  | { readonly kind: "healthy" }
  /** `partner` is the other half of a merge: both or none. */
  | { readonly kind: "operator"; readonly operator: Operator; readonly partner?: Operator }
  /** Something is wrong and nothing can be done now; `soon` says that what stands in the way passes by itself. */
  | {
      readonly kind: "waiting";
      readonly reason: string;
      readonly soon: boolean;
      readonly noStore?: true;
      /** What stands in the way, store by store; made only when somebody asks. */
      readonly detail?: () => string;
    };

export const HEALTHY: CheckResult = { kind: "healthy" };

export const waiting = (reason: string, soon = false): CheckResult => ({ kind: "waiting", reason, soon });

export const noStore = (
  selection: Exclude<Selection, { kind: "store" }>,
  what: string,
  detail: () => string,
): CheckResult =>
  selection.kind === "later"
    ? {
        kind: "waiting",
        reason: `the stores that are best ${what} cannot take a peer just now`,
        soon: true,
        detail,
      }
    : { kind: "waiting", reason: `no store ${what}`, soon: false, noStore: true, detail };

export const planned = (built: BuildResult): CheckResult =>
  built.kind === "built" ? { kind: "operator", operator: built.operator } : waiting(built.reason);
