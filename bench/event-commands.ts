/** The words and flags of `raftwerk bench scale`, `idle`, `failover`, `split`, `move`, `startup` and `overload`. */
import type { Command } from "commander";
import type { Disturbance } from "./disturb.js";
import { failover, idle, moveUnderLoad, splitUnderLoad, startups } from "./events.js";
import {
  count,
  machine,
  printTable,
  progress,
  progressEnd,
  record,
  wholeNumber,
  wholeNumbers,
} from "./output.js";
import { overload } from "./overload.js";
import { scale } from "./scale.js";
import { spread } from "./peers.js";

interface Flags {
  readonly json?: boolean;
  readonly record?: boolean;
  readonly [name: string]: string | boolean | undefined;
}

interface Outcome {
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
  /** For the history. */
  readonly figures: Readonly<Record<string, number>>;
  readonly all: unknown;
}

type Numbers = (name: string) => number;
type Lists = (name: string) => number[];

function word(
  bench: Command,
  name: string,
  description: string,
  options: readonly (readonly [flags: string, description: string, value: string])[],
  run: (number: Numbers, list: Lists) => Promise<Outcome>,
): void {
  const command = bench.command(name).description(description);
  for (const [flags, words, value] of options) command.option(flags, words, value);
  command.option("--json", "print the figures as JSON");
  command.option("--record", "add a line to bench/history.tsv");
  command.action(async (flags: Flags) => {
    const flagOf = (of: string): string =>
      `--${of.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const outcome = await run(
      (of) => wholeNumber(flagOf(of), String(flags[of]), 1),
      (of) => (flags[of] === "none" ? [] : wholeNumbers(flagOf(of), String(flags[of]), 1)),
    );
    progressEnd();
    if (flags.json === true) {
      process.stdout.write(`${JSON.stringify({ machine: machine(), bench: name, figures: outcome.all })}\n`);
    } else {
      process.stdout.write(`${machine()}\n`);
      printTable(outcome.head, outcome.rows);
    }
    if (flags.record === true) record(name, outcome.figures);
  });
}

const fixed = (value: number, digits = 1): string => value.toFixed(digits);

export function registerEvents(bench: Command): void {
  registerScale(bench);
  registerSteady(bench);
  registerFailover(bench);
  registerChanges(bench);
  word(
    bench,
    "overload",
    "far more in flight than a slow disk takes",
    [
      ["--in-flight <n>", "puts in flight", "10000"],
      ["--value-size <bytes>", "bytes of a value", "16384"],
      ["--slow-ms <n>", "what each synced write waits while the disk is slow", "200"],
      ["--seconds <n>", "of each phase", "5"],
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
      ["--in-flight <n>", "operations in flight", "256"],
      ["--seconds <n>", "of each measurement", "3"],
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
      ["--regions <n>", "regions", "1000"],
      ["--seconds <n>", "to measure", "20"],
      ["--split-seconds <n>", "give up splitting after this, and measure what there is", "1200"],
    ],
    async (number) => {
      const figure = await idle(number("regions"), number("seconds"), number("splitSeconds"), progress);
      return {
        head: [`${figure.regions} regions`, "% of a core", "resident MiB"],
        rows: figure.rows.map((row) => [row.process, fixed(row.corePercent), count(row.residentMib)]),
        figures: {
          regions: figure.regions,
          corePercentMax: Math.max(...figure.rows.map((row) => row.corePercent)),
          residentMibMax: Math.max(...figure.rows.map((row) => row.residentMib)),
        },
        all: figure,
      };
    },
  );
  word(
    bench,
    "startup",
    "from the first process of a new cluster to a write",
    [["--rounds <n>", "starts", "5"]],
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
      ["--regions <n>", "regions; a third of them are led by the store that is killed", "300"],
      ["--rounds <n>", "times, on a fresh cluster each", "1"],
    ],
    async (number) => {
      const figures = [];
      for (let round = 0; round < number("rounds"); round++) {
        figures.push(await failover(number("regions"), progress));
      }
      return {
        head: [
          "leaders",
          "all serve after s",
          "median region s",
          "p99 ms of others before",
          "after",
          "errors",
        ],
        rows: figures.map((each) => [
          each.leaders,
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

function registerChanges(bench: Command): void {
  const options = (mib: string, rounds: string) =>
    [
      ["--mib <n>", "size of the region", mib],
      ["--in-flight <n>", "writers meanwhile", "64"],
      ["--rounds <n>", "times", rounds],
    ] as const;
  word(bench, "split", "split of a region under load", options("96", "3"), async (number) => {
    const figures = await splitUnderLoad({
      mib: number("mib"),
      inFlight: number("inFlight"),
      rounds: Math.min(9, number("rounds")),
      say: progress,
    });
    return {
      head: DISTURBED_HEAD,
      rows: figures.map(disturbedRow),
      figures: { maxMs: spread(figures.map((each) => each.during.max)).median },
      all: figures,
    };
  });
  word(bench, "move", "move of a region to another store under load", options("96", "3"), async (number) => {
    const figures = await moveUnderLoad({
      mib: number("mib"),
      inFlight: number("inFlight"),
      rounds: number("rounds"),
      say: progress,
    });
    return {
      head: [...DISTURBED_HEAD, "raw copy ms"],
      rows: figures.map((each) => [...disturbedRow(each), count(each.rawCopyMs)]),
      figures: {
        moveMs: spread(figures.map((each) => each.ms)).median,
        rawCopyMs: spread(figures.map((each) => each.rawCopyMs)).median,
      },
      all: figures,
    };
  });
}
