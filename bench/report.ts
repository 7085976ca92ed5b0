/** The HTML report of a workload: one file that needs nothing else, with uPlot and the figures inside. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { ClusterSample } from "./report-sampler.js";
import type { YcsbResult } from "./ycsb.js";

export interface Second {
  /** Since the measurement began. */
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly p999Ms: number | null;
  readonly errors: number;
  readonly cluster: ClusterSample | undefined;
}

export interface Report {
  readonly title: string;
  /** Facts of the run, each a name and a value. */
  readonly facts: readonly (readonly [string, string])[];
  readonly processes: readonly string[];
  readonly seconds: readonly Second[];
  readonly result: YcsbResult;
}

interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly string[];
  /** First the seconds, then one list a series. */
  readonly data: readonly (readonly (number | null)[])[];
}

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const round = (value: number | null | undefined): number | null =>
  value === null || value === undefined ? null : Number(value.toPrecision(5));

export function charts({ seconds, processes }: Report): Chart[] {
  const times = seconds.map((each) => round(each.seconds));
  const chart = (
    title: string,
    unit: string,
    series: readonly (readonly [string, (each: Second) => number | null | undefined])[],
  ): Chart => ({
    title,
    unit,
    series: series.map(([name]) => name),
    data: [times, ...series.map(([, of]) => seconds.map((each) => round(of(each))))],
  });
  return [
    chart("Throughput", "operations/s", [
      ["operations", (each) => each.perSecond],
      ["errors", (each) => each.errors],
    ]),
    chart("Latency", "ms", [
      ["p50", (each) => each.p50Ms],
      ["p99", (each) => each.p99Ms],
      ["p99.9", (each) => each.p999Ms],
    ]),
    chart(
      "CPU of each process",
      "cores",
      processes.map((name, i) => [name, (each) => each.cluster?.processes[i]?.cores]),
    ),
    chart(
      "Resident memory of each process",
      "MiB",
      processes.map((name, i) => [name, (each) => each.cluster?.processes[i]?.residentMib]),
    ),
    chart("Writes with fsync, all stores", "per second", [
      ["fsyncs", (each) => each.cluster?.fsyncsPerSecond],
    ]),
    chart("Regions", "", [["regions", (each) => each.cluster?.regions]]),
  ].filter(({ data }) => data.slice(1).some((list) => list.some((value) => value !== null)));
}

const STYLE = `
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
table { border-collapse: collapse; margin: .5rem 0; } td, th { padding: .2rem .8rem .2rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; } th { border-bottom: 1px solid #8884; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 0 1.5rem; }
@media (max-width: 560px) { .charts { grid-template-columns: 1fr; } }
`;

const SCRIPT = `
const colours = ["#0b6bcb", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#0c8599", "#5c940d", "#495057"];
const drawn = CHARTS.map((chart, i) => {
  const box = document.getElementById("chart" + i);
  const series = chart.series.map((label, at) => ({ label, width: 1.5, spanGaps: true,
    stroke: colours[at % colours.length],
    value: (_, value) => value == null ? "-" : value.toLocaleString("en", { maximumFractionDigits: 2 }) }));
  const size = () => ({ width: box.clientWidth, height: 240 });
  const plot = new uPlot({ ...size(),
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high || 1) * 1.05] } },
    axes: [{ label: "seconds", labelSize: 20 }, { size: 70 }],
    series: [{ label: "second" }, ...series], cursor: { sync: { key: "run" } } }, chart.data, box);
  return () => plot.setSize(size());
});
addEventListener("resize", () => drawn.forEach((fit) => fit()));
`;

/** Text that may stand inside a script element. */
const inScript = (text: string): string => text.replaceAll("</", "<\\/");

export function reportHtml(report: Report): string {
  const require = createRequire(import.meta.url);
  const asset = (name: string): string => readFileSync(require.resolve(`uplot/dist/${name}`), "utf8");
  const list = charts(report);
  const { result } = report;
  const facts = report.facts.map(([name, value]) => `<tr><td>${escape(name)}<td>${escape(value)}`).join("\n");
  const kinds = Object.entries(result.kinds).map(([kind, each]) => {
    const times = [each.meanMs, each.p50Ms, each.p95Ms, each.p99Ms, each.p999Ms, each.maxMs];
    return `<tr><td>${kind}<td>${each.count.toLocaleString("en")}${times.map((ms) => `<td>${ms.toFixed(2)}`).join("")}`;
  });
  const boxes = list.map(
    ({ title, unit }, i) =>
      `<section><h2>${escape(title)}${unit === "" ? "" : `, ${unit}`}</h2><div id="chart${i}"></div></section>`,
  );
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(report.title)}</title>
<style>${asset("uPlot.min.css")}${STYLE}</style>
<h1>${escape(report.title)}</h1>
<table>${facts}</table>
<table><tr><th>operation<th>count<th>mean ms<th>p50<th>p95<th>p99<th>p99.9<th>max
${kinds.join("\n")}</table>
<div class="charts">${boxes.join("\n")}</div>
<script>${inScript(asset("uPlot.iife.min.js"))}</script>
<script>const CHARTS = ${inScript(JSON.stringify(list))};${SCRIPT}</script>
</html>
`;
}
