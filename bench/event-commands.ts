/** The words and flags of the benches that start a cluster of their own, but for `peers`. */
import type { Command } from "commander";
import { fixed, type Numbers, word } from "./command-word.js";
import type { Disturbance } from "./disturb.js";
import {
  type EventOptions,
  moveUnderLoad,
  NO_MOVES,
  NO_SPLITS,
  splitUnderLoad,
  startups,
  withCluster,
} from "./events.js";
import { type Flag, FLAGS } from "./flags.js";
import { failover } from "./failover.js";
import { idle } from "./idle.js";
import { count, progress } from "./output.js";
import { scale } from "./scale.js";
import { spread } from "./peers.js";
import { Probe } from "./probe.js";

export function registerEvents(bench: Command): void {
  registerScale(bench);
  registerSteady(bench);
  registerFailover(bench);
  registerChanges(bench);
}

function registerScale(bench: Command): void {
  word(
    bench,
    "scale",
    "how cost grows with regions, stores, value sizes and records: one at a time, a fresh cluster each",
    [
      ["--regions <list>", "numbers of regions, up to 4096; none: leave out", "1,16,256"],
      ["--stores <list>", "numbers of stores", "3,4,6"],
      ["--value-size <list>", "bytes of a value", "16,1024,65536"],
      ["--records <list>", "records, up to millions", "10000,500000"],
      FLAGS.inFlight("256"),
      FLAGS.seconds("3"),
    ],
    async (number, list) => {
      const rows = await scale({
        regions: list("regions"),
        stores: list("stores"),
        valueBytes: list("valueSize"),
        records: list("records"),
        inFlight: number("inFlight"),
        seconds: number("seconds"),
        say: progress,
      });
      const head = [
        "regions",
        "stores",
        "value B",
        "records",
        "puts/s",
        "p99 ms",
        "CPU µs",
        "gets/s",
        "CPU µs",
        "MiB",
      ];
      return {
        head,
        rows: rows.map((row) => [
          row.regions,
          row.stores,
          row.valueBytes,
          count(row.records),
          count(row.putsPerSecond),
          fixed(row.putP99Ms),
          fixed(row.putCpuMicroseconds),
          count(row.getsPerSecond),
          fixed(row.getCpuMicroseconds),
          count(row.residentMib),
        ]),
        figures: Object.fromEntries(
          rows.map((row) => [
            `puts.r${row.regions}.s${row.stores}.v${row.valueBytes}.n${row.records}`,
            row.putsPerSecond,
          ]),
        ),
        all: rows,
      };
    },
  );
}

function registerSteady(bench: Command): void {
  word(
    bench,
    "idle",
    "what each process costs when nobody asks anything",
    [
      FLAGS.regions("1000"),
      FLAGS.seconds("20", "to measure"),
      ["--split-seconds <n>", "give up splitting after this, and measure what there is", "1200"],
      ["--asleep-seconds <n>", "give up waiting until regions are quiet after this, and measure", "600"],
      ["--election-ticks <n>", "raft-election-timeout-ticks of the stores", "10"],
    ],
    async (number) => {
      const options = {
        regions: number("regions"),
        seconds: number("seconds"),
        splitSecondsMax: number("splitSeconds"),
        asleepSecondsMax: number("asleepSeconds"),
        restMs: 10_000,
        say: progress,
      };
      const storeConfig = `[raftstore]\nraft-election-timeout-ticks = ${number("electionTicks")}\n`;
      const figure = await Probe.around((probe) =>
        withCluster({ storeConfig }, (cluster) => idle(cluster, probe, options)),
      );
      const { heapBytesPerRegion, nativeBytesPerRegion, restartMs } = figure;
      return {
        head: [`${figure.regions} regions`, "% of a core", "resident MiB"],
        rows: [
          ...figure.rows.map((row) => [row.process, fixed(row.corePercent), count(row.residentMib)]),
          ["seconds from the last split until quiet", count(figure.asleepSeconds), ""],
          ["replicas awake, before and after", figure.awake.join(", "), ""],
          ["store 1, bytes of heap a region", count(heapBytesPerRegion), ""],
          ["store 1, native bytes a region", count(nativeBytesPerRegion), ""],
          ["store 1, started again: seconds to ready", fixed(restartMs / 1000, 2), ""],
        ],
        figures: {
          regions: figure.regions,
          asleepSeconds: figure.asleepSeconds,
          awake: figure.awake[1],
          corePercentMax: Math.max(...figure.rows.map((row) => row.corePercent)),
          residentMibMax: Math.max(...figure.rows.map((row) => row.residentMib)),
          heapBytesPerRegion,
          nativeBytesPerRegion,
          restartMs,
        },
        all: figure,
      };
    },
  );
  word(
    bench,
    "startup",
    "from the first process of a new cluster to a write",
    [FLAGS.rounds("5", "starts")],
    async (number) => {
      const times = await startups(number("rounds"), progress);
      return {
        head: ["median s", "min", "max"],
        rows: [[times.median, times.min, times.max].map((ms) => fixed(ms / 1000, 2))],
        figures: { medianMs: times.median },
        all: times,
      };
    },
  );
}

function registerFailover(bench: Command): void {
  word(
    bench,
    "failover",
    "kill -9 of the store with the most leaders, with a writer to each region",
    [
      FLAGS.regions("300", "regions; a third of them are led by the store that is killed"),
      ["--rate <n>", "writes a second over all regions together", "300"],
      FLAGS.rounds("1", "times, on a fresh cluster each"),
    ],
    async (number) => {
      const options = { regions: number("regions"), rate: number("rate"), say: progress };
      const figures = [];
      for (let round = 0; round < number("rounds"); round++) {
        figures.push(await withCluster({}, (cluster) => failover(cluster, options)));
      }
      return {
        head: [
          "leaders",
          "first elected after s",
          "all elected",
          "all serve",
          "median region s",
          "p99 ms of others before",
          "after",
          "errors",
        ],
        rows: figures.map((each) => [
          each.leaders,
          fixed(each.firstElectedMs / 1000, 2),
          fixed(each.allElectedMs / 1000, 2),
          fixed(each.allServeMs / 1000, 2),
          fixed(each.medianServeMs / 1000, 2),
          fixed(each.untouchedP99BeforeMs),
          fixed(each.untouchedP99AfterMs),
          each.errors,
        ]),
        figures: { allServeMs: spread(figures.map((each) => each.allServeMs)).median },
        all: figures,
      };
    },
  );
}

const DISTURBED_HEAD = [
  "what",
  "took ms",
  "puts/s before",
  "p99 ms",
  "max ms",
  "during: p99 ms",
  "max ms",
  "errors",
];

const disturbedRow = (each: Disturbance): string[] => [
  each.what,
  count(each.ms),
  count(each.before.perSecond),
  fixed(each.before.p99),
  fixed(each.before.max),
  fixed(each.during.p99),
  fixed(each.during.max),
  each.errors === 0 ? "0" : `${each.errors}: ${each.firstError ?? ""}`,
];

const changeOptions = (number: Numbers): EventOptions => ({
  mib: number("mib"),
  inFlight: number("inFlight"),
  rounds: number("rounds"),
  restMs: 3_000,
  quietMs: 3_000,
  say: progress,
});

function registerChanges(bench: Command): void {
  const options: readonly Flag[] = [
    ["--mib <n>", "size of the region", "96"],
    FLAGS.inFlight("64", "writers meanwhile"),
    FLAGS.rounds("3"),
  ];
  word(bench, "split", "split of a region under load", options, async (number) => {
    const settings = changeOptions(number);
    const figures = await withCluster({ storeConfig: NO_SPLITS, pdConfig: NO_MOVES }, (cluster) =>
      splitUnderLoad(cluster, { ...settings, rounds: Math.min(9, settings.rounds) }),
    );
    return {
      head: DISTURBED_HEAD,
      rows: figures.map(disturbedRow),
      figures: { maxMs: spread(figures.map((each) => each.during.max)).median },
      all: figures,
    };
  });
  const paced = [
    "--mib-per-second <n>",
    "what a store sends of snapshots; 0: as much as connections take",
    "0",
  ] as const;
  word(bench, "move", "move of a region to another store under load", [...options, paced], async (number) => {
    const mibPerSecond = number("mibPerSecond", 0);
    const storeConfig = `${NO_SPLITS}[server]\nsnap-io-max-bytes-per-sec = "${mibPerSecond}MiB"\n`;
    const figures = await withCluster({ stores: 4, storeConfig, pdConfig: NO_MOVES }, (cluster) =>
      moveUnderLoad(cluster, changeOptions(number)),
    );
    const ms = spread(figures.map((each) => each.ms)).median;
    const rawCopyMs = spread(figures.map((each) => each.rawCopyMs)).median;
    return {
      head: [...DISTURBED_HEAD, "raw copy ms"],
      rows: figures.map((each) => [...disturbedRow(each), count(each.rawCopyMs)]),
      figures: { mibPerSecond, moveMs: ms, rawCopyMs },
      all: figures,
    };
  });
}
