/**
 * Makes a failing plan smaller while it keeps failing in the same way. First fewer operations: workloads, clients,
 * time. Then fewer faults: classes, kinds, mischief. Then actions are left out in halves, quarters and so on (delta
 * debugging). Another failure than the first does not count.
 */
import { FAULTS } from "../faults.js";
import type { Action } from "../nemesis.js";
import type { Plan } from "../plan.js";
import type { SeedResult } from "../run-seed.js";
import { Violation } from "../world.js";

const kindOf = ({ failure }: SeedResult): string =>
  failure instanceof Violation ? failure.invariant : (failure?.message.slice(0, 40) ?? "");

export async function shrink(
  first: SeedResult,
  run: (plan: Plan) => Promise<SeedResult>,
  say: (text: string) => void,
): Promise<SeedResult> {
  const wanted = kindOf(first);
  let best = first;
  const tryPlan = async (plan: Plan): Promise<boolean> => {
    const result = await run(plan);
    if (result.failure === undefined || kindOf(result) !== wanted) return false;
    best = result;
    const { actions, workloads, shape, spanMs } = plan;
    const size = `${workloads.join("+")}, ${shape.clients} clients, ${spanMs} ms`;
    say(`${actions.length} actions; ${size}`);
    return true;
  };
  for (const name of first.plan.workloads) {
    const workloads = best.plan.workloads.filter((each) => each !== name);
    if (workloads.length > 0) await tryPlan({ ...best.plan, workloads });
  }
  for (let clients = 1; clients < best.plan.shape.clients; clients++) {
    await tryPlan({ ...best.plan, shape: { ...best.plan.shape, clients } });
  }
  for (const share of [0.25, 0.5, 0.75]) {
    const spanMs = Math.round(first.plan.spanMs * share);
    if (spanMs >= best.plan.spanMs) continue;
    await tryPlan({ ...best.plan, spanMs, actions: best.plan.actions.filter(({ atMs }) => atMs < spanMs) });
  }
  if (best.plan.mischiefPerMillion > 0) await tryPlan({ ...best.plan, mischiefPerMillion: 0 });
  for (const name of first.plan.classes) {
    const actions = best.plan.actions.filter(({ kind }) => FAULTS[kind].class !== name);
    if (actions.length < best.plan.actions.length) await tryPlan({ ...best.plan, actions });
  }
  for (const kind of new Set(best.plan.actions.map((action) => action.kind))) {
    const actions = best.plan.actions.filter((action) => action.kind !== kind);
    if (actions.length < best.plan.actions.length) await tryPlan({ ...best.plan, actions });
  }
  let parts = 2;
  while (best.plan.actions.length > 0 && parts <= 2 * best.plan.actions.length) {
    const size = Math.ceil(best.plan.actions.length / parts);
    let isSmaller = false;
    for (let from = 0; from < best.plan.actions.length; from += size) {
      const rest: Action[] = best.plan.actions.filter((_, i) => i < from || i >= from + size);
      isSmaller = await tryPlan({ ...best.plan, actions: rest });
      if (isSmaller) break;
    }
    if (isSmaller) parts = Math.max(2, parts - 1);
    else if (size === 1) break;
    else parts *= 2;
  }
  return best;
}
