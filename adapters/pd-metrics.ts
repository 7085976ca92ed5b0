/** PD's own samples as a prom-client registry, read when asked. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { PdMetrics } from "../pd/index.js";

export function pdMetricsText(metrics: PdMetrics, process: Registry): Promise<string> {
  const registry = new Registry();
  const known = new Map<string, Counter | Gauge>();
  for (const { name, kind, labels, value } of metrics.samples()) {
    let metric = known.get(name);
    if (metric === undefined) {
      const options = { name, help: name, labelNames: Object.keys(labels), registers: [registry] };
      metric = kind === "counter" ? new Counter(options) : new Gauge(options);
      known.set(name, metric);
    }
    metric.inc(labels, value);
  }
  return Registry.merge([process, registry]).metrics();
}

export function processRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}
