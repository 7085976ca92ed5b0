/**
 * PD's side of region heartbeats alone: decoding, acceptance, indexes, statistics, checks and dispatch, without a
 * network. Also the memory of a region and a pass of the patrol. Needs node --expose-gc for the memory.
 */
import type { Command } from "commander";
import type { ServerCallListener } from "../proto/index.js";
import { PdService, pdpb } from "../proto/index.js";
import { regionMethods } from "../pd/rpc-regions.js";
import { ScheduleWorld } from "../sim/pd-scheduling/world.js";
import { metaToWire, peerToWire } from "../pd/wire.js";

interface HeartbeatFlags {
  readonly regions: string;
  readonly stores: string;
  readonly json?: boolean;
}

export interface HeartbeatFigures {
  readonly regions: number;
  readonly unchangedPerSecond: number;
  readonly changedPerSecond: number;
  /** Keys of 9 bytes each are not counted. */
  readonly bytesPerRegion: number | undefined;
  /** CPU time of looking at every region once. */
  readonly patrolSeconds: number;
  /** The longest turn of that pass: how long a timestamp may have to wait. */
  readonly patrolTurnMsMax: number;
}

const KEY_BYTES = 2 * 9;

export function registerPdHeartbeat(bench: Command): void {
  bench
    .command("pd-heartbeat")
    .description("region heartbeats that one PD takes, its memory per region, and a pass of its patrol")
    .option("--regions <n>", "regions of three peers", "100000")
    .option("--stores <n>", "stores", "12")
    .option("--json", "print the figures as JSON")
    .action((flags: HeartbeatFlags) => {
      const figures = heartbeatFigures(Number(flags.regions), Number(flags.stores));
      if (flags.json === true) return void process.stdout.write(`${JSON.stringify(figures)}\n`);
      for (const [name, value] of Object.entries(figures))
        process.stdout.write(`${name}: ${String(value)}\n`);
    });
}

function heapBytes(): number {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) return Number.NaN;
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function heartbeatFigures(regions: number, stores: number): HeartbeatFigures {
  const world = new ScheduleWorld({
    seed: 1,
    regionSizeMib: 96,
    settings: { "leader-schedule-limit": 0, "region-schedule-limit": 0 },
  });
  const ids = Array.from({ length: stores }, (_, i) => i + 1);
  for (const id of ids) world.addStore(id);
  const before = heapBytes();
  world.addRegions(regions, ids, 3);
  const bytesPerRegion = (heapBytes() - before) / regions - KEY_BYTES;
  world.start();
  const send = heartbeats(world);
  const encode = (changed: boolean): Uint8Array[] =>
    [...world.cluster.regions.all()].map((region) =>
      pdpb.RegionHeartbeatRequest.encode({
        header: { clusterId: 1n },
        region: metaToWire(region.meta),
        leader: peerToWire(region.leader ?? (region.meta.peers[0] as NonNullable<typeof region.leader>)),
        term: 6,
        approximateSize: (changed ? 97 : 96) * 2 ** 20,
        approximateKeys: 960_000,
        bytesWritten: changed ? 5_000_000 : 0,
        interval: { startTimestamp: 0, endTimestamp: 60 },
      }).finish(),
    );
  const same = encode(false);
  send(same);
  const unchangedPerSecond = regions / seconds(() => send(same));
  const changedPerSecond =
    regions /
    seconds(
      () => send(encode(true)),
      () => void encode(true),
    );
  return {
    regions,
    unchangedPerSecond: Math.round(unchangedPerSecond),
    changedPerSecond: Math.round(changedPerSecond),
    bytesPerRegion: Number.isNaN(bytesPerRegion) ? undefined : Math.round(bytesPerRegion),
    ...patrol(world),
  };
}

/** CPU seconds of `run`, less those of what it needs besides. */
function seconds(run: () => void, besides: () => void = () => {}): number {
  const of = (part: () => void): number => {
    const start = process.cpuUsage();
    part();
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1e6;
  };
  const extra = of(besides);
  return Math.max(1e-6, of(run) - extra);
}

function heartbeats(world: ScheduleWorld): (messages: readonly Uint8Array[]) => void {
  const method = regionMethods(world.cluster, world.streams, world.scheduling).find(
    ({ definition }) => definition.path === PdService.RegionHeartbeat.path,
  );
  const listener = method?.handler({
    metadata: {},
    peer: "bench",
    pendingBytes: 0,
    send() {},
    end(status) {
      throw new Error(`the stream ended: ${JSON.stringify(status)}`);
    },
  }) as ServerCallListener<pdpb.RegionHeartbeatRequest>;
  return (messages) => {
    for (const message of messages) listener.onMessage(PdService.RegionHeartbeat.request.decode(message));
  };
}

/** Slices of one pass as the patrol takes them, each timed. */
function patrol(world: ScheduleWorld): Pick<HeartbeatFigures, "patrolSeconds" | "patrolTurnMsMax"> {
  const { regions } = world.cluster;
  const batch = Math.min(8192, Math.max(128, Math.ceil(regions.count / 1024)));
  let position: Uint8Array = new Uint8Array(0);
  let [total, longest] = [0, 0];
  for (;;) {
    const found = regions.scan(position, new Uint8Array(0), batch);
    const start = process.cpuUsage();
    for (const region of found) world.scheduling.patrol.check(region);
    const { user, system } = process.cpuUsage(start);
    total += (user + system) / 1e6;
    longest = Math.max(longest, (user + system) / 1000);
    const last = found.at(-1);
    if (last === undefined || last.meta.endKey.length === 0) break;
    position = last.meta.endKey;
  }
  return { patrolSeconds: total, patrolTurnMsMax: longest };
}
