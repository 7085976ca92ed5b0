/**
 * `raftwerk store --count N`: N stores on one machine, a process each, since a store is one thread. They share the
 * label `host`, so that PD keeps the replicas of a region on different hosts. Store i, from 0, takes the ports i above
 * the given ones and the directory `<data-dir>/<i + 1>`.
 */
import { spawn } from "node:child_process";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Logger } from "../base/index.js";
import { addressText, parseAddress } from "./units.js";

export interface FleetOptions {
  readonly count: number;
  /** The script that node runs. */
  readonly program: string;
  readonly addr: string;
  readonly advertiseAddr: string;
  readonly statusAddr: string;
  readonly advertiseStatusAddr: string;
  readonly dataDir: string;
  readonly labels: readonly { readonly key: string; readonly value: string }[];
  /** Arguments that all of them get as they are. */
  readonly shared: readonly string[];
  readonly log: Logger;
}

function shifted(option: string, address: string, by: number): string {
  const { host, port } = parseAddress(option, address);
  return addressText(host, port + by);
}

function argsOf(options: FleetOptions, i: number): string[] {
  const labels = [...options.labels];
  if (!labels.some(({ key }) => key === "host")) {
    labels.push({ key: "host", value: hostname().replace(/[^\w./-]/g, "-") });
  }
  return [
    "store",
    ...["--addr", shifted("--addr", options.addr, i)],
    ...["--advertise-addr", shifted("--advertise-addr", options.advertiseAddr, i)],
    ...["--status-addr", shifted("--status-addr", options.statusAddr, i)],
    ...["--advertise-status-addr", shifted("--advertise-status-addr", options.advertiseStatusAddr, i)],
    ...["--data-dir", join(options.dataDir, String(i + 1))],
    ...["--labels", labels.map(({ key, value }) => `${key}=${value}`).join(",")],
    ...options.shared,
    "--stop-on-stdin-end",
  ];
}

/** Resolves with the exit code when all have ended: the first that fails stops the others. */
export async function runFleet(options: FleetOptions): Promise<number> {
  const children = Array.from({ length: options.count }, (_, i) =>
    spawn(process.execPath, [options.program, ...argsOf(options, i)], {
      stdio: ["pipe", "inherit", "inherit"],
      detached: true,
    }),
  );
  let stopping = false;
  // Once: a second signal would cut short the clean stop.
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    for (const child of children) child.kill("SIGTERM");
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  const codes = await Promise.all(
    children.map(
      (child, i) =>
        new Promise<number>((resolve) => {
          child.stdin.on("error", () => {});
          child.on("exit", (code, signal) => {
            options.log.info("a store ended", { store: i + 1, code, signal });
            stop();
            resolve(code ?? 1);
          });
        }),
    ),
  );
  return Math.max(...codes);
}
