/** Time and allocation of an operation in this process: the work is timed first and sampled for bytes after. */
import { Session } from "node:inspector";

export interface Cost {
  /** CPU time of the process, garbage collection and native threads included; best of the rounds. */
  readonly nanoseconds: number;
  /** On V8's heap, whether it survived or not; buffers' contents are outside of it. */
  readonly heapBytes: number;
}

interface SampledNode {
  readonly selfSize: number;
  readonly children: readonly SampledNode[];
}

const SAMPLE_BYTES = 4_096;
const ROUNDS = 5;

const cpuNs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1_000;
};

const total = (node: SampledNode): number =>
  node.selfSize + node.children.reduce((sum, child) => sum + total(child), 0);

/** `work(n)` does n operations. */
export async function costOf(
  seconds: number,
  work: (operations: number) => void | Promise<void>,
): Promise<Cost> {
  let operations = 1;
  // So many that a round takes its share of the time; this is the warm-up as well.
  for (;;) {
    const began = performance.now();
    await work(operations);
    const ms = performance.now() - began;
    if (ms > 30) {
      operations = Math.max(1, Math.round((operations * seconds * 1_000) / ROUNDS / ms));
      break;
    }
    operations *= ms < 1 ? 16 : 2;
  }
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const began = cpuNs();
    await work(operations);
    best = Math.min(best, (cpuNs() - began) / operations);
  }
  return { nanoseconds: best, heapBytes: await allocated(operations, work) };
}

/** V8's sampling heap profiler, told to keep what was collected: an estimate within some percent. */
async function allocated(
  operations: number,
  work: (operations: number) => void | Promise<void>,
): Promise<number> {
  const session = new Session();
  session.connect();
  const flags = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true };
  session.post("HeapProfiler.startSampling", { samplingInterval: SAMPLE_BYTES, ...flags } as object);
  await work(operations);
  const profile = await new Promise<SampledNode>((resolve, reject) =>
    session.post("HeapProfiler.stopSampling", (error, answer) =>
      error === null ? resolve((answer as { profile: { head: SampledNode } }).profile.head) : reject(error),
    ),
  );
  session.disconnect();
  return total(profile) / operations;
}
