/** `raftwerk bench smoke`: that the benches work, in about a minute. Their figures are not looked at. */
import { SILENT_LOGGER } from "../base/index.js";
import { nodeEnv } from "../adapters/node-env.js";
import { EtcdCluster } from "./etcd-target.js";
import { moveUnderLoad, NO_SPLITS, splitUnderLoad } from "./events.js";
import { failover } from "./failover.js";
import { idle } from "./idle.js";
import { BenchCluster, splitKeys } from "./local.js";
import { laggard } from "./laggard.js";
import { microFigures } from "./micro.js";
import { Probe } from "./probe.js";
import { reportHtml } from "./report.js";
import { ClusterSampler } from "./report-sampler.js";
import { latency, pauses, type SteadyOptions } from "./steady.js";
import { SlowDisk } from "./slow-disk.js";
import { closedLoop, load, type LoadKind, raftwerkTarget, type Target } from "./target.js";
import { workload } from "./workload.js";
import { runYcsb, type YcsbOptions } from "./ycsb.js";

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
        0.3,
        0,
      );
      expect(figure.errors === 0, `${figure.errors} errors: ${figure.firstError ?? ""}`);
      expect(figure.operations > 0, "no operation ended");
      if (kind === "scan") expect(figure.items === figure.operations * 20, "scans gave too few rows");
    });
  }
}

async function checkYcsb(cluster: BenchCluster, check: Check): Promise<void> {
  const client = await cluster.client(1);
  const base: YcsbOptions = {
    workload: workload("a"),
    records: RECORDS,
    operations: 300,
    threads: 8,
    valueBytes: 100,
    scanRows: 10,
    rate: 0,
    warmUpOperations: 20,
    random: nodeEnv(SILENT_LOGGER).random,
    onProgress: () => {},
  };
  await check("ycsb, open loop, and its report", async () => {
    const sampler = await ClusterSampler.start(cluster.pdAddress);
    const seconds: Parameters<typeof reportHtml>[0]["seconds"][number][] = [];
    const taken: Promise<void>[] = [];
    const result = await runYcsb(client, {
      ...base,
      operations: 500,
      rate: 200,
      onSecond: (second) => {
        taken.push(sampler.take().then((sample) => void seconds.push({ ...second, cluster: sample })));
      },
    });
    await Promise.all(taken);
    expect(result.errors === 0, result.firstError ?? "");
    expect(result.operations === 500, `${result.operations} operations`);
    expect(result.seconds > 2.2, "500 operations at 200 a second took less than 2.5 s");
    const processes = sampler.names;
    const html = reportHtml({ title: "smoke", facts: [], processes, seconds, result });
    for (const words of ["Throughput", "store", "fsync", "Regions", "uPlot"]) {
      expect(html.includes(words), `the report says nothing of ${words}`);
    }
  });
  for (const name of ["b", "e", "f"]) {
    await check(`ycsb ${name}`, async () => {
      const result = await runYcsb(client, { ...base, workload: workload(name) });
      expect(result.errors === 0 && result.operations === 300, result.firstError ?? "");
    });
  }
}

const quiet = (): void => {};

async function checkSteady(cluster: BenchCluster, probe: Probe, check: Check): Promise<void> {
  const options: SteadyOptions = {
    ...{ regions: 4, records: RECORDS, valueBytes: 100, inFlight: 8, seconds: 1 },
    say: quiet,
  };
  await check("latency", async () => {
    const { open, rate, errors } = await latency(cluster, 0.2, options);
    expect(
      errors === 0 && open.count === rate && open.p99Ms > 0,
      `${open.count} of ${rate}, ${errors} errors`,
    );
  });
  await check("pauses", async () => {
    const rows = await pauses(cluster, probe, options);
    const stores = cluster.stores.length;
    expect(rows.length === 3 * stores, `${rows.length} rows`);
    expect(
      rows.every(({ reading }) => reading.heapUsed > 1 << 20),
      "no heap",
    );
  });
}

/** What changes the cluster; the last leaves it with a dead store. */
async function checkChanges(cluster: BenchCluster, probe: Probe, check: Check): Promise<void> {
  const change = { mib: 4, inFlight: 8, rounds: 1, restMs: 0, quietMs: 300, say: quiet };
  await check("split under load", async () => {
    const [figure] = await splitUnderLoad(cluster, change);
    expect(figure !== undefined && figure.errors === 0, figure?.firstError ?? "");
    expect((figure?.before.perSecond ?? 0) > 0 && (figure?.during.perSecond ?? 0) > 0, "no writes");
  });
  await check("move under load", async () => {
    const [figure] = await moveUnderLoad(cluster, change);
    expect(figure !== undefined && figure.errors === 0, figure?.firstError ?? "");
    expect((figure?.rawCopyMs ?? 0) > 0, "no raw copy");
  });
  await check("idle", async () => {
    const figure = await idle(cluster, probe, {
      ...{ regions: 32, seconds: 1, splitSecondsMax: 30, asleepSecondsMax: 60, restMs: 200 },
      say: quiet,
    });
    expect(figure.regions >= 32, `${figure.regions} regions`);
    expect(figure.restartMs > 0 && Number.isFinite(figure.heapBytesPerRegion), "no figures");
  });
  await check("failover", async () => {
    const figure = await failover(cluster, { regions: 32, rate: 200, say: quiet });
    expect(figure.leaders > 0 && figure.allServeMs > 0, `${figure.leaders} leaders`);
    expect(figure.errors === 0, `${figure.errors} errors`);
  });
}

async function checkLaggard(check: Check): Promise<void> {
  await check("a store that lags", () =>
    SlowDisk.around(50, async (disk) => {
      const cluster = await BenchCluster.start({ storeConfig: NO_SPLITS });
      try {
        const shape = { regions: 2, records: RECORDS, valueBytes: 100, inFlight: 8 };
        const options = { ...shape, seconds: 1, troubleSeconds: 1, say: quiet };
        const { rows, errors, firstError } = await laggard(cluster, disk, options);
        expect(errors === 0, firstError ?? "");
        expect(rows.length === 5 && rows.every((row) => row.putsPerSecond > 0), "a phase without puts");
      } finally {
        await cluster.stop();
      }
    }),
  );
}

async function checkCluster(check: Check): Promise<void> {
  await Probe.around(async (probe) => {
    const cluster = await BenchCluster.start({ stores: 4, storeConfig: NO_SPLITS });
    try {
      await check("a cluster of four regions", async () => {
        const regions = await cluster.split(splitKeys(4));
        expect(regions === 4, `${regions} regions`);
      });
      await checkTarget("raftwerk", raftwerkTarget(await cluster.client(1)), check);
      await checkYcsb(cluster, check);
      await checkSteady(cluster, probe, check);
      await checkChanges(cluster, probe, check);
    } finally {
      await cluster.stop();
    }
  });
}

export async function smoke(say: (line: string) => void): Promise<boolean> {
  let passed = 0;
  let failed = 0;
  const check: Check = async (name, run) => {
    const began = performance.now();
    try {
      await run();
      passed++;
      say(`ok    ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed++;
      say(`FAIL  ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  await check("micro", async () => {
    const figures = await microFigures({ seconds: 0.02, only: [], isSmall: true, onStep: quiet });
    const wrong = figures.find(({ nanoseconds, heapBytes }) => !(nanoseconds > 0) || !(heapBytes >= 0));
    expect(figures.length > 15 && wrong === undefined, `${figures.length} figures, ${wrong?.name ?? ""}`);
  });
  await check("benches on a cluster", () => checkCluster(check));
  await checkLaggard(check);
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
