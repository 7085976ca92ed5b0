/** The words and flags of `raftwerk bench latency`, `pauses` and `overload`. */
import type { Command } from "commander";
import { fixed, type Numbers, word } from "./command-word.js";
import { withCluster } from "./events.js";
import { type Flag, FLAGS } from "./flags.js";
import { count, progress } from "./output.js";
import { overload } from "./overload.js";
import { Probe } from "./probe.js";
import { latency, pauses, type SteadyOptions } from "./steady.js";

export function registerSteadyLoads(bench: Command): void {
  registerLatency(bench);
  registerPauses(bench);
  registerOverload(bench);
}

const STEADY: readonly Flag[] = [
  FLAGS.regions("16"),
  FLAGS.records("50000"),
  FLAGS.valueSize("100"),
  FLAGS.inFlight("256", "operations in flight where the loop is closed"),
  FLAGS.seconds("10"),
];

const steadyOptions = (number: Numbers): SteadyOptions => ({
  regions: number("regions"),
  records: number("records"),
  valueBytes: number("valueSize"),
  inFlight: number("inFlight"),
  seconds: number("seconds"),
  say: progress,
});

function registerLatency(bench: Command): void {
  word(
    bench,
    "latency",
    "puts begun at a share of the highest rate, whatever became of the ones before; counted from when they were due",
    [...STEADY, ["--percent <n>", "of the highest rate", "50"]],
    async (number) => {
      const figure = await withCluster({}, (cluster) =>
        latency(cluster, number("percent") / 100, steadyOptions(number)),
      );
      const { open } = figure;
      return {
        head: ["puts/s at most", "puts/s begun", "p50 ms", "p95", "p99", "p99.9", "max", "errors"],
        rows: [
          [
            count(figure.maxPerSecond),
            count(figure.rate),
            ...[open.p50Ms, open.p95Ms, open.p99Ms, open.p999Ms, open.maxMs].map((ms) => fixed(ms)),
            figure.errors,
          ],
        ],
        figures: {
          maxPerSecond: figure.maxPerSecond,
          rate: figure.rate,
          p50Ms: open.p50Ms,
          p99Ms: open.p99Ms,
        },
        all: figure,
      };
    },
  );
}

function registerPauses(bench: Command): void {
  word(
    bench,
    "pauses",
    "the longest pauses of each store's loop under full load: by garbage collection, and by anything",
    STEADY,
    async (number) => {
      const rows = await Probe.around((probe) =>
        withCluster({}, (cluster) => pauses(cluster, probe, steadyOptions(number))),
      );
      return {
        head: [
          "load",
          "keys/s",
          "store",
          "collections",
          "longest ms",
          "sum ms",
          "loop's longest ms",
          "heap MiB",
        ],
        rows: rows.map(({ load, perSecond, store, reading }) => [
          load,
          count(perSecond),
          store,
          reading.gcCount,
          fixed(reading.gcMaxMs),
          fixed(reading.gcTotalMs),
          fixed(reading.loopMaxMs),
          count(reading.heapUsed / 2 ** 20),
        ]),
        figures: {
          gcMaxMs: Math.max(...rows.map(({ reading }) => reading.gcMaxMs)),
          loopMaxMs: Math.max(...rows.map(({ reading }) => reading.loopMaxMs)),
        },
        all: rows,
      };
    },
  );
}

function registerOverload(bench: Command): void {
  word(
    bench,
    "overload",
    "far more in flight than a slow disk takes",
    [
      FLAGS.inFlight("10000", "puts in flight"),
      FLAGS.valueSize("16384"),
      ["--slow-ms <n>", "what each synced write waits while the disk is slow", "200"],
      FLAGS.seconds("5", "of each phase"),
    ],
    async (number) => {
      const figure = await overload({
        inFlight: number("inFlight"),
        valueBytes: number("valueSize"),
        slowMs: number("slowMs"),
        seconds: number("seconds"),
        say: progress,
      });
      const reasons = (counts: Readonly<Record<string, number>>): string =>
        Object.entries(counts)
          .map(([reason, times]) => `${times} x ${reason}`)
          .join("\n") || "none";
      const { recoveryMs } = figure;
      return {
        head: ["what", "measured"],
        rows: [
          ["puts/s, disk as it is", count(figure.normalPerSecond)],
          ["puts/s, slow disk", count(figure.slowPerSecond)],
          ["resident MiB of the largest store before", count(figure.residentMibNormal)],
          ["and at most", count(figure.residentMibMax)],
          ["ServerIsBusy", reasons(figure.busy)],
          ["other errors", reasons(figure.otherErrors)],
          [
            "0.9 of the rate again after",
            recoveryMs === undefined ? "not within 30 s" : `${fixed(recoveryMs / 1000)} s`,
          ],
        ],
        figures: { residentMibMax: figure.residentMibMax, recoveryMs: recoveryMs ?? -1 },
        all: figure,
      };
    },
  );
}
