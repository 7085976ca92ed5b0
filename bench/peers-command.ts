/** The words and flags of `raftwerk bench peers`. */
import type { Command } from "commander";
import { RaftwerkError } from "../base/index.js";
import { word } from "./command-word.js";
import { FLAGS } from "./flags.js";
import { count, progress, progressEnd } from "./output.js";
import { type PeersRow, runPeers, type Spread } from "./peers.js";
import type { LoadKind } from "./target.js";

const KINDS: readonly LoadKind[] = ["put", "get", "scan", "batchPut"];

export function registerPeers(bench: Command): void {
  word(
    bench,
    "peers",
    "ours beside a real etcd of three nodes, in turns, in one run",
    [
      FLAGS.rounds("3", "rounds of all measurements"),
      FLAGS.seconds("2"),
      ["--warm-up <seconds>", "of each kind on each side, before anything counts", "5"],
      FLAGS.regions("16"),
      FLAGS.records("50000", "records on both sides"),
      FLAGS.valueSize("100"),
      FLAGS.connections("1"),
      ["--in-flight <list>", "puts and gets in flight", "1,64,256,1024"],
      ["--kinds <list>", "put, get, scan (100 rows) and batchPut (100 pairs)", KINDS.join(",")],
      ["--toy <directory>", "the toy limit beside puts: a folder with its store.cjs and node_modules"],
      ["--kvbench <program>", "load both sides by this Go program over their official clients"],
    ],
    async (number, list, text) => {
      const kvbench = text("kvbench");
      const [rounds, seconds] = [number("rounds"), number("seconds")];
      const result = await runPeers({
        rounds,
        seconds,
        warmUpSeconds: number("warmUp", 0),
        regions: number("regions"),
        records: number("records", 1000),
        valueBytes: number("valueSize", 0),
        connections: number("connections"),
        inFlight: list("inFlight"),
        kinds: kinds(text("kinds") ?? ""),
        toy: text("toy"),
        kvbench,
        onStep: progress,
        onMeasured: (words) => {
          progressEnd();
          process.stderr.write(`${words}\n`);
        },
      });
      const { rows, regions, etcdVersion } = result;
      return {
        note:
          `etcd ${etcdVersion}, 3 nodes; ours: ${regions} regions on 3 stores; fsync on both; ` +
          `medians (min to max) of ${rounds} rounds of ${seconds} s, in turns`,
        ...tableOf(rows),
        figures: figures(rows),
        all: result,
        recordAs: kvbench === undefined ? "peers" : "peers-go",
        failed: rows.some(({ errors }) => errors > 0),
      };
    },
  );
}

function tableOf(rows: readonly PeersRow[]): { readonly head: string[]; readonly rows: string[][] } {
  const hasLimit = rows.some(({ limit }) => limit !== undefined);
  const limitHead = hasLimit ? ["limit: toy, or engine alone", "ratio"] : [];
  const last = ["p99 ms, ours / etcd", `CPU µs a key, ours / etcd${hasLimit ? " / limit" : ""}`];
  return {
    head: ["keys/s", "in flight", "raftwerk", "etcd", "ratio", ...limitHead, ...last],
    rows: rows.map((row) => line(row, hasLimit)),
  };
}

function kinds(text: string): LoadKind[] {
  const words = text.split(",");
  const unknown = words.find((word) => !KINDS.includes(word as LoadKind));
  if (unknown === undefined) return words as LoadKind[];
  throw new RaftwerkError("invalidArgument", `--kinds: "${unknown}" is none of ${KINDS.join(", ")}`, {
    retry: "never",
  });
}

const words = ({ median, min, max }: Spread): string => `${count(median)} (${count(min)} to ${count(max)})`;

function line(row: PeersRow, hasLimit: boolean): string[] {
  const { limit, limitRatio, limitCpu } = row;
  const limitWords = limit === undefined ? ["", ""] : [words(limit), (limitRatio ?? 0).toFixed(2)];
  return [
    row.errors === 0 ? row.kind : `${row.kind} (${row.errors} errors)`,
    String(row.inFlight),
    words(row.ours),
    words(row.etcd),
    row.ratio.toFixed(2),
    ...(hasLimit ? limitWords : []),
    `${row.oursP99.toFixed(1)} / ${row.etcdP99.toFixed(1)}`,
    `${row.oursCpu.toFixed(0)} / ${row.etcdCpu.toFixed(0)}${limitCpu === undefined ? "" : ` / ${limitCpu.toFixed(0)}`}`,
  ];
}

function figures(rows: readonly PeersRow[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const { kind, inFlight, ours, etcd, limit } of rows) {
    all[`${kind}${inFlight}`] = ours.median;
    all[`etcd.${kind}${inFlight}`] = etcd.median;
    if (limit !== undefined) all[`limit.${kind}${inFlight}`] = limit.median;
  }
  return all;
}
