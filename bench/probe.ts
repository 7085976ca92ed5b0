/**
 * Looks into the processes of a cluster from outside: a module that Node loads first watches garbage collection and
 * the event loop, and tells on SIGUSR2 what it saw since the last time. The program itself knows nothing of it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./local.js";

export interface ProbeReading {
  /** After a whole collection. */
  readonly heapUsed: number;
  readonly heapTotal: number;
  readonly external: number;
  readonly rss: number;
  /** Since the last reading: the longest pause by garbage collection, the sum of all, how many. */
  readonly gcMaxMs: number;
  readonly gcTotalMs: number;
  readonly gcCount: number;
  /** The longest time that the event loop did not come round, writes to the disk included. */
  readonly loopMaxMs: number;
}

const script = (directory: string): string => `
const { writeFileSync, renameSync } = require("node:fs");
const { PerformanceObserver, monitorEventLoopDelay } = require("node:perf_hooks");
let gc = { max: 0, total: 0, count: 0 };
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    gc.max = Math.max(gc.max, duration);
    gc.total += duration;
    gc.count++;
  }
}).observe({ entryTypes: ["gc"] });
const resolution = 5;
const loop = monitorEventLoopDelay({ resolution });
loop.enable();
process.on("SIGUSR2", () => {
  const seen = gc;
  const loopMaxMs = Math.max(0, loop.max / 1e6 - resolution);
  globalThis.gc?.();
  const { heapUsed, heapTotal, external, rss } = process.memoryUsage();
  const path = ${JSON.stringify(directory)} + "/" + process.pid;
  const reading = { heapUsed, heapTotal, external, rss, loopMaxMs };
  Object.assign(reading, { gcMaxMs: seen.max, gcTotalMs: seen.total, gcCount: seen.count });
  writeFileSync(path + ".new", JSON.stringify(reading));
  renameSync(path + ".new", path);
  // The collection just asked for is nobody's pause.
  setTimeout(() => { gc = { max: 0, total: 0, count: 0 }; loop.reset(); }, 20);
});
`;

export class Probe {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Processes that are started within `run` are watched. */
  static async around<T>(run: (probe: Probe) => Promise<T>): Promise<T> {
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-probe-"));
    const path = join(directory, "probe.cjs");
    writeFileSync(path, script(directory));
    try {
      return await withNodeOptions(`--expose-gc --require ${path}`, () => run(new Probe(directory)));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  async read(pid: number): Promise<ProbeReading> {
    const path = join(this.#directory, String(pid));
    rmSync(path, { force: true });
    process.kill(pid, "SIGUSR2");
    await until(() => existsSync(path), `process ${pid} to tell of itself`, 60_000, 20);
    return JSON.parse(readFileSync(path, "utf8")) as ProbeReading;
  }
}

/** Children that are started meanwhile get these beside what is set. */
export async function withNodeOptions<T>(options: string, run: () => Promise<T>): Promise<T> {
  const before = process.env["NODE_OPTIONS"];
  process.env["NODE_OPTIONS"] = `${before ?? ""} ${options}`.trim();
  try {
    return await run();
  } finally {
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
  }
}
