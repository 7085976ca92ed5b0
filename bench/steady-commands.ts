/** The words and flags of `raftwerk bench latency`, `pauses` and `overload`. */
import type { Command } from "commander";
import { fixed, type Numbers, word } from "./command-word.js";
import { withCluster } from "./events.js";
import { type Flag, FLAGS } from "./flags.js";
import { laggard } from "./laggard.js";
import { count, progress } from "./output.js";
import { overload } from "./overload.js";
import { Probe } from "./probe.js";
import { SlowDisk } from "./slow-disk.js";
import { latency, pauses, type SteadyOptions } from "./steady.js";

export function registerSteadyLoads(bench: Command): void {
  registerLatency(bench);
  registerPauses(bench);
  registerOverload(bench);
  registerLaggard(bench);
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

function registerLaggard(bench: Command): void {
  word(
    bench,
    "laggard",
    "one store of three, a follower of everything, stands still, then has a slow disk; rate and memory of the others",
    [
      FLAGS.regions("16"),
      FLAGS.records("20000"),
      FLAGS.valueSize("1024"),
      FLAGS.inFlight("64", "writers"),
      FLAGS.seconds("10", "of each phase without trouble"),
      ["--trouble-seconds <n>", "of each phase with it", "30"],
      ["--slow-ms <n>", "what each of its synced writes waits while its disk is slow", "200"],
    ],
    async (number) => {
      const options = { ...steadyOptions(number), troubleSeconds: number("troubleSeconds") };
      const { rows, errors, firstError } = await SlowDisk.around(number("slowMs"), (disk) =>
        withCluster({}, (cluster) => laggard(cluster, disk, options)),
      );
      return {
        note: `${errors} errors${firstError === undefined ? "" : `: ${firstError}`}`,
        head: ["phase", "puts/s", "p99 ms", "max ms", "resident MiB of the others", "of the one in trouble"],
        rows: rows.map((row) => [
          row.phase,
          count(row.putsPerSecond),
          fixed(row.p99Ms),
          fixed(row.maxMs),
          count(row.othersMib),
          count(row.ownMib),
        ]),
        figures: {
          stillRatio: (rows[1]?.putsPerSecond ?? 0) / (rows[0]?.putsPerSecond ?? 1),
          slowRatio: (rows[3]?.putsPerSecond ?? 0) / (rows[0]?.putsPerSecond ?? 1),
          othersMibMax: Math.max(...rows.map(({ othersMib }) => othersMib)),
        },
        all: { rows, errors, firstError },
        failed: errors > 0,
      };
    },
  );
}
