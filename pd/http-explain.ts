/** Reasons over HTTP, and draining a store with them. Not part of PD's API. */
import { Explainer } from "./explain.js";
import type { DrainResult } from "./drain.js";
import type { HttpCall } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import type { ProgressAction, ProgressState } from "./progress.js";
import type { StoreInfo } from "./store-info.js";

const explainer = (call: HttpCall): Explainer => new Explainer(call.parts.scheduling);

function withStore(call: HttpCall, run: (store: StoreInfo) => void): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const store = call.parts.cluster.store(id);
  if (store === undefined) call.fail(404, `[PD:core:ErrStoreNotFound]store ${id} not found`);
  else run(store);
}

function explainRegion(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const region = call.parts.cluster.regions.byId(id);
  if (region === undefined) call.fail(404, `[PD:region:ErrRegionNotFound]region ${id} not found`);
  else call.json(explainer(call).region(region));
}

function explainOperator(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const { controller } = call.parts.scheduling;
  const operator = controller.operator(id) ?? controller.record(id);
  if (operator === undefined)
    call.fail(404, `no operator of region ${id} runs or ended in the last 10 minutes`);
  else call.json(explainer(call).operator(operator));
}

function explainScheduler(call: HttpCall): void {
  const name = call.nameParam(0);
  if (name === undefined) return;
  const found = explainer(call).scheduler(name);
  const names = (): string => call.parts.scheduling.schedulers.names().join(", ");
  if (found === undefined)
    call.fail(404, `[PD:scheduler:ErrSchedulerNotFound]scheduler not found: there are ${names()}`);
  else call.json(found);
}

function readyToStop(call: HttpCall): void {
  withStore(call, (store) => {
    const { isReady, leadersLeft, atRisk, atRiskCount, reason } = call.parts.scheduling.drain.readiness(
      store.id,
    );
    call.json({
      store_id: store.id,
      ready: isReady,
      leaders_left: leadersLeft,
      regions_at_risk: atRiskCount,
      examples: atRisk.map(({ regionId, reason: why }) => ({ region: regionId, reason: why })),
      reason,
    });
  });
}

const progressJson = (state: ProgressState): Record<string, unknown> => ({
  progress: state.percent,
  current_speed: state.speed,
  left_seconds: state.leftSeconds,
});

function drainState(call: HttpCall): void {
  withStore(call, (store) => {
    const { drain, progress, view } = call.parts.scheduling;
    const state = progress.of("draining", store.id);
    const { isReady, reason } = drain.readiness(store.id);
    call.json({
      store_id: store.id,
      draining: drain.isDraining(store.id),
      leaders_left: view.leaderCount(store.id),
      ...(state === undefined ? {} : progressJson(state)),
      ready: isReady,
      reason,
    });
  });
}

const ACTIONS: readonly ProgressAction[] = ["preparing", "removing"];

/** `?id=` or `?action=`: as PD answers. (11.25) */
export function storesProgress(call: HttpCall): void {
  const { progress } = call.parts.scheduling;
  const action = call.query("action");
  const id = call.query("id");
  if (id !== undefined && id !== "") {
    if (!/^[0-9]+$/.test(id)) return call.fail(400, `invalid store id ${id}`);
    for (const one of ACTIONS) {
      const state = progress.of(one, Number(id));
      if (state !== undefined)
        return call.json({ action: one, store_id: Number(id), ...progressJson(state) });
    }
    return call.fail(404, `[PD:progress:ErrProgressNotFound]no progress found for the given store ID: ${id}`);
  }
  if (action === undefined || action === "") return call.fail(400, "need query parameters");
  const known = ACTIONS.find((one) => one === action);
  const state = known === undefined ? undefined : progress.average(known);
  if (state !== undefined) return call.json({ action, ...progressJson(state) });
  call.fail(404, `[PD:progress:ErrProgressNotFound]no progress found for the action: ${action}`);
}

const answerDrain =
  (call: HttpCall, done: string) =>
  (result: DrainResult): void =>
    result.kind === "refused" ? call.fail(result.status, result.reason) : call.json(done);

export const EXPLAIN_ROUTES: readonly Route[] = [
  route("GET", "/explain/region/{id}", explainRegion),
  route("GET", "/explain/store/{id}", (call) =>
    withStore(call, (store) => call.json(explainer(call).store(store))),
  ),
  route("GET", "/explain/operator/{id}", explainOperator),
  route("GET", "/explain/scheduler/{name}", explainScheduler),
  route("GET", "/store/{id}/ready-to-stop", readyToStop),
  route("GET", "/store/{id}/drain", drainState),
  route("POST", "/store/{id}/drain", (call) =>
    withStore(call, (store) => {
      call.parts.scheduling.drain.start(
        store.id,
        answerDrain(call, "The store drains: its leaders move away."),
      );
    }),
  ),
  route("DELETE", "/store/{id}/drain", (call) =>
    withStore(call, (store) => {
      call.parts.scheduling.drain.stop(store.id, answerDrain(call, "The store serves again."));
    }),
  ),
];
