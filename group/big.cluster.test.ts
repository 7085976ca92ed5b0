/**
 * A snapshot far larger than the heap: made, sent, installed and restored by processes that may use 200 MiB. 32 MiB
 * here, 1 GiB with `npm run test:group`.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bundle } from "./test/bundle.js";
import type { BigOptions, BigReport } from "./test/big-process.js";

const MEBIBYTES = Number(process.env["GROUP_SNAPSHOT_MIB"] ?? 0);
const HEAP_MIB = 200;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const reportOf = (child: ChildProcess, kind: BigReport["kind"]): Promise<BigReport> =>
  new Promise((resolve, reject) => {
    child.on("message", (report: BigReport) => {
      if (report.kind === kind) resolve(report);
    });
    child.once("exit", (code) => reject(new Error(`the process ended with ${String(code)}`)));
  });

test.runIf(MEBIBYTES > 0)(
  `a state of ${MEBIBYTES} MiB goes to a new member, each in a heap of ${HEAP_MIB} MiB`,
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-group-big-"));
    const script = bundle("big-process");
    const children: ChildProcess[] = [];
    const start = (options: BigOptions): ChildProcess => {
      const child = fork(script, [JSON.stringify(options)], {
        execArgv: [`--max-old-space-size=${HEAP_MIB}`],
      });
      children.push(child);
      return child;
    };
    try {
      const [first, second] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
      const common = { chunks: MEBIBYTES };
      const leader = start({
        ...common,
        id: 1,
        listen: first,
        join: undefined,
        directory: join(directory, "1"),
      });
      await reportOf(leader, "started");
      const joiner = start({
        ...common,
        id: 0,
        listen: second,
        join: first,
        directory: join(directory, "2"),
      });
      const restored = await reportOf(joiner, "restored");
      expect(restored.chunks).toBe(MEBIBYTES);
      const peak = reportOf(leader, "peak");
      leader.send("peak");
      const both = [await peak, restored];
      const mib = (bytes: number): number => Math.round(bytes / (1 << 20));
      const used = both.map(
        ({ heapBytes, externalBytes }) => `heap ${mib(heapBytes)}, buffers ${mib(externalBytes)}`,
      );
      if (MEBIBYTES > 100) process.stderr.write(`peaks in MiB: leader ${used[0]}; joiner ${used[1]}\n`);
      for (const { heapBytes, externalBytes } of both) {
        expect(mib(heapBytes)).toBeLessThan(HEAP_MIB);
        expect(mib(heapBytes + externalBytes)).toBeLessThan(HEAP_MIB * 2);
      }
    } finally {
      for (const child of children) child.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
      rmSync(script, { force: true });
    }
  },
  60_000 + MEBIBYTES * 1_000,
);
