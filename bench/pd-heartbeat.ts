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
  /** Size, keys and flow of every region are others; the flow of a region falls with its rank. */
  readonly changedPerSecond: number;
  /** Every region is as hot as the hottest: none is left out of the caches of hot peers. */
  readonly hotPerSecond: number;
  /** Keys of 9 bytes each are not counted. */
  readonly bytesPerIdleRegion: number;
  /** With a flow of its own for each region, and the hottest of them in the caches. */
  readonly bytesPerBusyRegion: number;
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

type Load = "idle" | "busy" | "changed" | "hot";

/** Few regions have most of the load; their order is not that of their keys. */
const SHARED_BYTES = 6e9;
const PRIME = 7919;
/** Even, so that the figures differ from those of the round that is measured. */
const BUSY_ROUNDS = 4;
const ROUND_MS = 60_000;

function encodeAll(world: ScheduleWorld, load: Load): Uint8Array[] {
  const { regions } = world.cluster;
  return [...regions.all()].map((region, i) => {
    const rank = 1 + ((i * PRIME) % regions.count);
    const share = Math.floor((SHARED_BYTES / rank) * (load === "busy" ? 1 : 1.1));
    const written = load === "idle" ? 0 : load === "hot" ? 5_000_000 : share;
    return pdpb.RegionHeartbeatRequest.encode({
      header: { clusterId: 1n },
      region: metaToWire(region.meta),
      leader: peerToWire(region.leader ?? (region.meta.peers[0] as NonNullable<typeof region.leader>)),
      term: 6,
      approximateSize: (load === "changed" ? 97 : 96) * 2 ** 20,
      approximateKeys: 960_000 + Math.floor(written / 100),
      bytesWritten: written,
      keysWritten: Math.floor(written / 100),
      interval: { startTimestamp: 0, endTimestamp: 60 },
    }).finish();
  });
}

function heartbeatFigures(regions: number, stores: number): HeartbeatFigures {
  const world = new ScheduleWorld({
    seed: 1,
    regionSizeMib: 96,
    settings: { "leader-schedule-limit": 0, "region-schedule-limit": 0 },
  });
  const ids = Array.from({ length: stores }, (_, i) => i + 1);
  for (const id of ids) world.addStore(id);
  const empty = heapBytes();
  world.addRegions(regions, ids, 3);
  world.start();
  const send = heartbeats(world);
  const loaded = heapBytes();
  const idle = encodeAll(world, "idle");
  const [busy, changed] = [encodeAll(world, "busy"), encodeAll(world, "changed")];
  const hot = encodeAll(world, "hot");
  const encoded = heapBytes() - loaded;
  const bytesPerRegion = (): number => Math.round((heapBytes() - encoded - empty) / regions - KEY_BYTES);
  const perSecond = (messages: readonly Uint8Array[]): number =>
    Math.round(regions / seconds(() => send(messages)));
  send(idle);
  const unchangedPerSecond = perSecond(idle);
  const bytesPerIdleRegion = bytesPerRegion();
  for (let i = 0; i < BUSY_ROUNDS; i++) send(i % 2 === 0 ? changed : busy);
  const changedPerSecond = perSecond(changed);
  const bytesPerBusyRegion = bytesPerRegion();
  return {
    regions,
    unchangedPerSecond,
    changedPerSecond,
    hotPerSecond: perSecond(hot),
    bytesPerIdleRegion,
    bytesPerBusyRegion,
    ...patrol(world),
  };
}

/** CPU seconds, garbage collection on other threads included. */
function seconds(run: () => void): number {
  const start = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(start);
  return Math.max(1e-6, (user + system) / 1e6);
}

/** A stream for each store, as stores have. */
function heartbeats(world: ScheduleWorld): (messages: readonly Uint8Array[]) => void {
  const method = regionMethods(world.cluster, world.streams, world.scheduling).find(
    ({ definition }) => definition.path === PdService.RegionHeartbeat.path,
  );
  const streams = new Map<number, ServerCallListener<pdpb.RegionHeartbeatRequest>>();
  const open = (): ServerCallListener<pdpb.RegionHeartbeatRequest> =>
    method?.handler({
      metadata: {},
      peer: "bench",
      pendingBytes: 0,
      send() {},
      end(status) {
        throw new Error(`the stream ended: ${JSON.stringify(status)}`);
      },
    }) as ServerCallListener<pdpb.RegionHeartbeatRequest>;
  return (messages) => {
    for (const message of messages) {
      world.env.skip(ROUND_MS / messages.length);
      const request = PdService.RegionHeartbeat.request.decode(message);
      const storeId = request.leader?.storeId ?? 0;
      let stream = streams.get(storeId);
      if (stream === undefined) {
        stream = open();
        streams.set(storeId, stream);
      }
      stream.onMessage(request);
    }
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
