/** `raftwerk bench smoke`: that the benches work, in about a minute. Their figures are not looked at. */
import { SILENT_LOGGER } from "../base/index.js";
import { nodeEnv } from "../adapters/node-env.js";
import { Foreground, disturbed } from "./disturb.js";
import { EtcdCluster } from "./etcd-target.js";
import { BenchCluster, splitKeys } from "./local.js";
import { microFigures } from "./micro.js";
import { reportHtml } from "./report.js";
import { ClusterSampler } from "./report-sampler.js";
import { closedLoop, load, type LoadKind, raftwerkTarget, type Target } from "./target.js";
import { workload } from "./workload.js";
import { recordKey, runYcsb, type YcsbOptions } from "./ycsb.js";

const RECORDS = 2_000;
const KINDS: readonly LoadKind[] = ["put", "get", "scan", "batchPut"];

type Check = (name: string, run: () => Promise<void>) => Promise<void>;

function expect(condition: boolean, words: string): void {
  if (!condition) throw new Error(words);
}

async function checkTarget(name: string, target: Target, check: Check): Promise<void> {
  await load(target, RECORDS, 100);
  for (const kind of KINDS) {
    await check(`${name}: ${kind}`, async () => {
      const figure = await closedLoop(
        target,
        { kind, inFlight: 8, records: RECORDS, valueBytes: 100, rows: 20 },
        1,
        0,
      );
      expect(figure.errors === 0, `${figure.errors} errors: ${figure.firstError ?? ""}`);
      expect(figure.operations > 0, "no operation ended");
      if (kind === "scan") expect(figure.items === figure.operations * 20, "scans gave too few rows");
    });
  }
}

async function checkCluster(check: Check): Promise<void> {
  const cluster = await BenchCluster.start();
  try {
    const client = await cluster.client(1);
    await check("a cluster of four regions", async () => {
      const regions = await cluster.split(splitKeys(4));
      expect(regions === 4, `${regions} regions`);
    });
    const target = raftwerkTarget(client);
    await checkTarget("raftwerk", target, check);
    const base: YcsbOptions = {
      workload: workload("a"),
      records: RECORDS,
      operations: 2_000,
      threads: 8,
      valueBytes: 100,
      scanRows: 10,
      rate: 0,
      warmUpOperations: 50,
      random: nodeEnv(SILENT_LOGGER).random,
      onProgress: () => {},
    };
    await check("ycsb, open loop, and its report", async () => {
      const sampler = await ClusterSampler.start(cluster.pdAddress);
      const seconds: Parameters<typeof reportHtml>[0]["seconds"][number][] = [];
      const taken: Promise<void>[] = [];
      const result = await runYcsb(client, {
        ...base,
        operations: 600,
        rate: 200,
        onSecond: (second) => {
          taken.push(sampler.take().then((sample) => void seconds.push({ ...second, cluster: sample })));
        },
      });
      await Promise.all(taken);
      expect(result.errors === 0, result.firstError ?? "");
      expect(result.operations === 600, `${result.operations} operations`);
      expect(result.seconds > 2.5, "600 operations at 200 a second took less than 3 s");
      const processes = sampler.names;
      const html = reportHtml({ title: "smoke", facts: [], processes, seconds, result });
      for (const words of ["Throughput", "store", "fsync", "Regions", "uPlot"]) {
        expect(html.includes(words), `the report says nothing of ${words}`);
      }
    });
    for (const name of ["b", "e", "f"]) {
      await check(`ycsb ${name}`, async () => {
        const result = await runYcsb(client, { ...base, workload: workload(name), operations: 300 });
        expect(result.errors === 0 && result.operations === 300, result.firstError ?? "");
      });
    }
    await check("split under load", async () => {
      const key = (): Uint8Array => recordKey(Math.floor(Math.random() * RECORDS));
      const figure = await disturbed(
        "split",
        new Foreground(target, 8, key, 100),
        async () => {
          await cluster.split(splitKeys(8));
        },
        500,
      );
      expect(figure.errors === 0, figure.firstError ?? "");
      expect(figure.before.perSecond > 0 && figure.during.perSecond > 0, "no writes");
    });
  } finally {
    await cluster.stop();
  }
}

export async function smoke(say: (line: string) => void): Promise<boolean> {
  let passed = 0;
  let failed = 0;
  const check: Check = async (name, run) => {
    try {
      await run();
      passed++;
      say(`ok    ${name}`);
    } catch (error) {
      failed++;
      say(`FAIL  ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  await check("micro", async () => {
    const figures = await microFigures({ seconds: 0.05, only: [], onStep: () => {} });
    const wrong = figures.find(({ nanoseconds, heapBytes }) => !(nanoseconds > 0) || !(heapBytes >= 0));
    expect(figures.length > 15 && wrong === undefined, `${figures.length} figures, ${wrong?.name ?? ""}`);
  });
  await check("benches on a cluster", () => checkCluster(check));
  let etcd: EtcdCluster | undefined;
  try {
    etcd = await EtcdCluster.start();
    await checkTarget("etcd", etcd.target(), check);
  } catch (error) {
    say(`left out: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await etcd?.stop();
  }
  say(`${passed} passed, ${failed} failed`);
  return failed === 0;
}
