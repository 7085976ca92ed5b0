/** etcd for a local cluster: whether the machine has it, and the command line of each node. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { RaftwerkError } from "../base/index.js";

/** Throws with what to do when the program is missing. */
export function requireEtcd(): string {
  try {
    const words = execFileSync("etcd", ["--version"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return /etcd Version: (\S+)/.exec(words)?.[1] ?? "unknown";
  } catch {
    throw new RaftwerkError(
      "invalidConfig",
      "several PDs need etcd, and this machine has no program etcd: install it (Debian: apt-get install -y etcd-server)",
      { retry: "never" },
    );
  }
}

export interface EtcdNodes {
  readonly host: string;
  /** Node i, from 0, serves clients on `port + 2 i` and its peers on the port after that. */
  readonly port: number;
  readonly count: number;
  readonly dataDir: string;
}

export const etcdClientUrl = ({ host, port }: EtcdNodes, i: number): string =>
  `http://${host}:${port + 2 * i}`;

const peerUrl = ({ host, port }: EtcdNodes, i: number): string => `http://${host}:${port + 2 * i + 1}`;

export function etcdArgs(nodes: EtcdNodes, i: number): string[] {
  const initial = Array.from({ length: nodes.count }, (_, at) => `etcd-${at + 1}=${peerUrl(nodes, at)}`);
  return [
    ...["--name", `etcd-${i + 1}`, "--data-dir", join(nodes.dataDir, `etcd-${i + 1}`)],
    ...["--listen-client-urls", etcdClientUrl(nodes, i), "--advertise-client-urls", etcdClientUrl(nodes, i)],
    ...["--listen-peer-urls", peerUrl(nodes, i), "--initial-advertise-peer-urls", peerUrl(nodes, i)],
    ...["--initial-cluster", initial.join(","), "--initial-cluster-state", "new"],
    // History of one hour is kept: PD needs none, and without this the disk fills.
    ...["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h"],
  ];
}
