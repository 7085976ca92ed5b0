/**
 * What can be done to a cluster, each by a name. `begin` does it and returns how it ends; faults that are over
 * at once return nothing. Nothing here breaks what docs/guarantees.md asks of the world.
 */
import { RaftwerkError } from "../base/index.js";
import { administer, leaders } from "./administration.js";
import { ambush, ambushAtWrite, stopInTurn } from "./ambush.js";
import type { SimCluster, SimProcess } from "./cluster.js";
import { DISK_BYTES } from "./engine.js";
import { snapshotComesLate } from "./late-snapshot.js";
import { drain, join, loseDisk } from "./membership.js";
import type { Action, FaultClass } from "./nemesis.js";
import { type SimNode, TURN_US } from "./node.js";
import { strangerSpeaks } from "./stranger.js";
import { MS } from "./world.js";

export interface Fault {
  readonly class: FaultClass;
  readonly durationMsMax: number;
  begin(cluster: SimCluster, action: Action): (() => void) | undefined;
}

const at = <T>(from: readonly T[], number: number): T => from[number % from.length] as T;
/** Half of the numbers mean a store that leads a region: where regions are few, chance alone seldom meets it. */
function storeAt(cluster: SimCluster, number: number): SimProcess {
  const led = (number >>> 20) % 2 === 0 ? leaders(cluster) : [];
  return led.length === 0 ? at(cluster.stores, number) : at(led, number).store;
}
/** The same store as of `storeAt`, or PD. */
const processAt = (cluster: SimCluster, number: number): SimProcess =>
  (number >>> 16) % 6 === 0 ? cluster.pd : storeAt(cluster, number);

/** Cuts the links of each pair, one way or both, and tells how to mend them. */
function cut(
  cluster: SimCluster,
  pairs: readonly (readonly [SimNode, SimNode])[],
  isOneWay = false,
): () => void {
  const { network } = cluster;
  for (const [left, right] of pairs) {
    network.block(left, right);
    if (!isOneWay) network.block(right, left);
  }
  return () => {
    for (const [left, right] of pairs) {
      network.heal(left, right);
      if (!isOneWay) network.heal(right, left);
    }
  };
}

const across = (left: readonly SimNode[], right: readonly SimNode[]): (readonly [SimNode, SimNode])[] =>
  left.flatMap((one) => right.map((other) => [one, other] as const));

const storeNodes = (cluster: SimCluster): SimNode[] => cluster.stores.map(({ node }) => node);

function down(cluster: SimCluster, victim: SimProcess, isPowerLoss: boolean): () => void {
  victim.isHeldDown = true;
  cluster.crash(victim, isPowerLoss);
  return () => {
    victim.isHeldDown = false;
    cluster.restart(victim);
  };
}

function downAll(cluster: SimCluster, processes: readonly SimProcess[], isPowerLoss: boolean): () => void {
  const ends = processes.map((victim) => down(cluster, victim, isPowerLoss));
  return () => {
    for (const end of ends) end();
  };
}

function paused(node: SimNode): (() => void) | undefined {
  if (!node.isUp || node.isPaused) return undefined;
  const { incarnation } = node;
  node.pause();
  return () => {
    if (node.incarnation === incarnation && node.isPaused) node.goOn();
  };
}

/** Changes settings for a while. They go back to the usual ones, not to what another fault made of them meanwhile. */
function changed<T extends object>(target: T, values: Partial<T>, usual: Partial<T>): () => void {
  Object.assign(target, values);
  return () => {
    for (const name of Object.keys(values) as (keyof T)[]) Object.assign(target, { [name]: usual[name] });
  };
}

const fault = (kind: FaultClass, durationMsMax: number, begin: Fault["begin"]): Fault => ({
  class: kind,
  durationMsMax,
  begin,
});

/** Most jumps are of some seconds, as elections and leases are; one in four is of up to an hour. */
const jumpMs = (number: number): number => number % ((number >>> 20) % 4 === 0 ? 3_600_000 : 4_000);

export const FAULTS = {
  "isolate a store": fault("network", 9_000, (cluster, { target }) => {
    const { node } = storeAt(cluster, target);
    return cut(
      cluster,
      across(
        [node],
        cluster.world.nodes.filter((other) => other !== node),
      ),
    );
  }),
  "isolate a store from stores": fault("network", 9_000, (cluster, { target }) => {
    const { node } = storeAt(cluster, target);
    return cut(
      cluster,
      across(
        [node],
        storeNodes(cluster).filter((other) => other !== node),
      ),
    );
  }),
  "part the stores": fault("network", 7_000, (cluster, { detail }) => {
    const nodes = storeNodes(cluster);
    const left = nodes.filter((_, i) => ((detail >>> i) & 1) === 1);
    return cut(
      cluster,
      across(
        left,
        nodes.filter((node) => !left.includes(node)),
      ),
    );
  }),
  "cut one way": fault("network", 9_000, (cluster, { target, detail }) => {
    return cut(cluster, [[storeAt(cluster, target).node, at(storeNodes(cluster), detail)]], true);
  }),
  "cut one link": fault("network", 9_000, (cluster, { target, detail }) => {
    const nodes = cluster.processes.map(({ node }) => node);
    return cut(cluster, [[processAt(cluster, target).node, at(nodes, detail)]]);
  }),
  "a ring of links": fault("network", 7_000, (cluster) => {
    const nodes = storeNodes(cluster);
    const pairs = across(nodes, nodes).filter(([left, right]) => {
      const distance = Math.abs(nodes.indexOf(left) - nodes.indexOf(right));
      return distance > 1 && distance < nodes.length - 1;
    });
    return cut(cluster, pairs);
  }),
  "clog and clear in another order": fault("network", 4_000, (cluster, { detail, durationMs }) => {
    const nodes = storeNodes(cluster).filter((_, i) => ((detail >>> i) & 1) === 1);
    for (const [i, node] of nodes.entries()) {
      const others = cluster.world.nodes.filter((other) => other !== node);
      const from = ((detail >>> (8 + i)) % (durationMs / 2 + 1)) * MS;
      const until = (durationMs / 2 + ((detail >>> (12 + i)) % (durationMs / 2 + 1))) * MS;
      cluster.world.at(from, "clog", () => {
        cluster.world.at(Math.max(0, until - from), "clear", cut(cluster, across([node], others)));
      });
    }
    return undefined;
  }),
  "cut PD off": fault("network", 9_000, (cluster) => {
    const { node } = cluster.pd;
    return cut(
      cluster,
      across(
        [node],
        cluster.world.nodes.filter((other) => other !== node),
      ),
    );
  }),
  "cut a client off": fault("network", 4_000, (cluster, { target, detail }) => {
    const client = at(cluster.clients, target).node;
    return cut(cluster, [[client, storeAt(cluster, detail).node]]);
  }),
  "a slow link": fault("network", 8_000, (cluster, { target, detail }) => {
    const [from, to] = [storeAt(cluster, target).node, storeAt(cluster, detail).node];
    cluster.network.slow(from, to, (1 + (detail % 400)) * MS);
    return () => cluster.network.slow(from, to, 0);
  }),
  "reset connections": fault("network", 10, (cluster, { target, detail }) => {
    cluster.network.reset(at(cluster.world.nodes, target), at(cluster.world.nodes, detail));
    return undefined;
  }),
  "lossy Raft streams": fault("network", 6_000, (cluster, { detail }) =>
    changed(
      cluster.network.knobs,
      {
        raftDropPerMillion: (detail % 3) * 100_000,
        raftRepeatPerMillion: ((detail >>> 4) % 3) * 100_000,
        raftReorderPerMillion: ((detail >>> 8) % 3) * 100_000,
      },
      cluster.shape.network,
    ),
  ),
  "slow frames": fault("network", 6_000, (cluster, { detail }) =>
    changed(
      cluster.network.knobs,
      { slowPerMillion: 20_000, slowUs: (1 + (detail % 1_500)) * MS },
      cluster.shape.network,
    ),
  ),

  // Its peers have another leader by the time it hears so.
  "a store hears late": fault("network", 6_000, (cluster, { target, detail }) => {
    const { node } = storeAt(cluster, target);
    const others = storeNodes(cluster).filter((other) => other !== node);
    const lateUs = (50 + (detail % 1_200)) * MS;
    for (const other of others) cluster.network.slow(other, node, lateUs);
    return () => {
      for (const other of others) cluster.network.slow(other, node, 0);
    };
  }),
  "a store goes deaf": fault("network", 4_000, (cluster, { target }) => {
    const { node } = storeAt(cluster, target);
    const others = storeNodes(cluster).filter((other) => other !== node);
    return cut(cluster, across(others, [node]), true);
  }),
  "a store is not heard": fault("network", 4_000, (cluster, { target }) => {
    const { node } = storeAt(cluster, target);
    const others = storeNodes(cluster).filter((other) => other !== node);
    return cut(cluster, across([node], others), true);
  }),

  "a store goes deaf at the worst moment": fault(
    "network",
    2_500,
    ambush((cluster, { node }) =>
      cut(
        cluster,
        storeNodes(cluster).map((other) => [other, node] as const),
        true,
      ),
    ),
  ),
  "a store is cut off at the worst moment": fault(
    "network",
    2_500,
    ambush((cluster, { node }) => cut(cluster, across([node], storeNodes(cluster)))),
  ),
  "a snapshot arrives a second time": fault("network", 9_000, snapshotComesLate),

  "kill a store": fault("process", 8_000, (cluster, { target }) =>
    down(cluster, storeAt(cluster, target), false),
  ),
  "kill a store for a moment": fault("process", 60, (cluster, { target }) =>
    down(cluster, storeAt(cluster, target), false),
  ),
  "kill PD": fault("process", 6_000, (cluster) => down(cluster, cluster.pd, false)),
  "kill two stores": fault("process", 5_000, (cluster, { target, detail }) =>
    downAll(cluster, [storeAt(cluster, target), storeAt(cluster, detail)], false),
  ),
  "kill everything": fault("process", 2_000, (cluster) => downAll(cluster, cluster.processes, false)),
  "restart the stores one by one": fault("process", 100, (cluster, { detail }) => {
    cluster.stores.forEach((store, i) => {
      cluster.world.at(i * (300 + (detail % 2_500)) * MS, "rolling restart", () => {
        const end = down(cluster, store, false);
        cluster.world.at((20 + (detail % 200)) * MS, "rolling start", end);
      });
    });
    return undefined;
  }),
  "a store that crashes again and again": fault("process", 100, (cluster, { target, detail }) => {
    const store = storeAt(cluster, target);
    for (let i = 0; i < 5; i++) {
      cluster.world.at(i * (100 + (detail % 600)) * MS, "crash loop", () => {
        cluster.world.at(15 * MS, "crash loop start", down(cluster, store, (detail >>> i) % 2 === 0));
      });
    }
    return undefined;
  }),

  "a process is killed at the worst moment": fault(
    "process",
    2_500,
    ambush((cluster, victim) => down(cluster, victim, false)),
  ),
  "a process is killed at a write": fault(
    "process",
    2_500,
    ambushAtWrite((cluster, victim) => down(cluster, victim, false)),
  ),

  "stop a store": fault("pause", 6_000, (cluster, { target }) => paused(storeAt(cluster, target).node)),
  "stop a store for as long as a lease": fault("pause", 1_600, (cluster, { target }) =>
    paused(storeAt(cluster, target).node),
  ),
  "stop PD": fault("pause", 5_000, (cluster) => paused(cluster.pd.node)),
  "stop a client": fault("pause", 3_000, (cluster, { target }) => paused(at(cluster.clients, target).node)),
  "a process stops at the worst moment": fault(
    "pause",
    4_000,
    ambush((_, { node }) => paused(node)),
  ),
  "a store stops in the middle of a turn": fault("pause", 2_500, stopInTurn),
  "slow turns": fault("pause", 4_000, (cluster, { target, detail }) =>
    changed(processAt(cluster, target).node, { turnUs: (1 + (detail % 200)) * MS }, { turnUs: TURN_US }),
  ),

  "readers crowd in at the worst moment": fault(
    "admin",
    10,
    ambush((cluster, { node }) => cluster.onCrowd(node)),
  ),
  "readers crowd in at a write": fault(
    "admin",
    10,
    ambushAtWrite((cluster, { node }) => cluster.onCrowd(node)),
  ),

  "wall clock jumps ahead": fault("clock", 10, (cluster, { target, detail }) => {
    processAt(cluster, target).node.clock.wallOffsetMs += jumpMs(detail);
    return undefined;
  }),
  "wall clock jumps back": fault("clock", 10, (cluster, { target, detail }) => {
    processAt(cluster, target).node.clock.wallOffsetMs -= jumpMs(detail);
    return undefined;
  }),
  "PD's wall clock is wrong": fault("clock", 10_000, (cluster, { detail }) => {
    const { clock } = cluster.pd.node;
    const jumpMs = (detail % 120_000) - 60_000;
    clock.wallOffsetMs += jumpMs;
    return () => {
      clock.wallOffsetMs -= jumpMs;
    };
  }),

  "power fails at a store": fault("disk", 6_000, (cluster, { target }) =>
    down(cluster, storeAt(cluster, target), true),
  ),
  "power fails at PD": fault("disk", 4_000, (cluster) => down(cluster, cluster.pd, true)),
  "power fails everywhere": fault("disk", 3_000, (cluster) => downAll(cluster, cluster.processes, true)),
  "power flickers at a store": fault("disk", 60, (cluster, { target }) =>
    down(cluster, storeAt(cluster, target), true),
  ),
  "power fails at the worst moment": fault(
    "disk",
    2_500,
    ambush((cluster, victim) => down(cluster, victim, true)),
  ),
  "power fails at a write": fault(
    "disk",
    2_500,
    ambushAtWrite((cluster, victim) => down(cluster, victim, true)),
  ),
  "a slow disk": fault("disk", 8_000, (cluster, { target, detail }) =>
    changed(processAt(cluster, target).disk.knobs, { syncUs: (5 + (detail % 300)) * MS }, cluster.shape.disk),
  ),
  "a disk that stalls": fault("disk", 8_000, (cluster, { target, detail }) =>
    changed(
      processAt(cluster, target).disk.knobs,
      { stallPerMillion: 30_000, stallUs: (detail % 3_000) * MS },
      cluster.shape.disk,
    ),
  ),
  "a write fails": fault("disk", 10, (cluster, { target, detail }) => {
    const { disk, node } = processAt(cluster, target);
    const text = detail % 2 === 0 ? "EIO: i/o error, fdatasync" : "ENOSPC: no space left on device, write";
    if (node.isUp) disk.failure = new RaftwerkError("engineFailed", text, { retry: "never" });
    return undefined;
  }),

  "a disk fills up": fault("disk", 6_000, (cluster, { target, detail }) =>
    changed(
      storeAt(cluster, target).disk.knobs,
      // Below the reserve, or below a fifth of it.
      { availableBytes: detail % 2 === 0 ? 2 ** 20 : 2 ** 31 },
      { availableBytes: DISK_BYTES },
    ),
  ),
  "all disks fill up": fault("disk", 3_000, (cluster, { detail }) => {
    const full = { availableBytes: detail % 2 === 0 ? 2 ** 20 : 2 ** 31 };
    const ends = cluster.stores.map(({ disk }) => changed(disk.knobs, full, { availableBytes: DISK_BYTES }));
    return () => {
      for (const end of ends) end();
    };
  }),

  "a store of another cluster speaks": fault("network", 10, (cluster, { target, detail }) =>
    strangerSpeaks(cluster, target, detail),
  ),

  "a store joins": fault("admin", 10, join),
  "a store is drained": fault("admin", 10, (cluster, { target }) => drain(cluster, target)),
  "a store loses its disk": fault("admin", 10, (cluster, { target }) => loseDisk(cluster, target)),
  "split at a key": fault("admin", 10, administer("split")),
  "hand a leader over": fault("admin", 10, administer("transfer-leader")),
  "hand all leaders of a store over": fault("admin", 10, administer("evict")),
  "add a replica": fault("admin", 10, administer("add-peer")),
  "remove a replica": fault("admin", 10, administer("remove-peer")),
  "move a replica": fault("admin", 10, administer("transfer-peer")),
  "move a region": fault("admin", 10, administer("transfer-region")),
  "scatter a region": fault("admin", 10, administer("scatter-region")),
  "a spurious election": fault("admin", 10, administer("campaign")),
} as const satisfies Record<string, Fault>;

export type FaultKind = keyof typeof FAULTS;
