/** Whether a store's labels satisfy the constraints of a rule. (pd-rules 7.10, 7.11) */
import type { StoreInfo } from "../store-info.js";
import type { LabelConstraint } from "./rule.js";

export function matchesConstraint(store: StoreInfo, { key, op, values }: LabelConstraint): boolean {
  const value = store.label(key);
  switch (op) {
    case "in":
      return value !== "" && values.includes(value);
    case "notIn":
      return value === "" || !values.includes(value);
    case "exists":
      return value !== "";
    case "notExists":
      return value === "";
  }
}

export function matchesConstraints(store: StoreInfo, constraints: readonly LabelConstraint[]): boolean {
  for (const key of store.exclusiveLabels) {
    if (!constraints.some((constraint) => constraint.key.toLowerCase() === key)) return false;
  }
  return constraints.every((constraint) => matchesConstraint(store, constraint));
}

/** For messages: `zone in [a, b], disk exists`. */
export const constraintsText = (constraints: readonly LabelConstraint[]): string =>
  constraints
    .map(({ key, op, values }) =>
      values.length === 0 ? `${key} ${op}` : `${key} ${op} [${values.join(", ")}]`,
    )
    .join(", ");
