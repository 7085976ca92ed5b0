/**
 * PD's side of region heartbeats alone: decoding, acceptance, indexes, statistics, checks and dispatch, without a
 * network. Also the memory of a region and a pass of the patrol. Needs node --expose-gc for the memory.
 */
import type { Command } from "commander";
import type { ServerCallListener } from "../proto/index.js";
import { PdService, type pdpb } from "../proto/index.js";
import { regionMethods } from "../pd/rpc-regions.js";
import { ScheduleWorld } from "../sim/pd-scheduling/world.js";
import { SLICE, TURN_MS } from "../pd/region-patrol.js";
import { Explainer } from "../pd/explain.js";
import type { Peer } from "../pd/region-info.js";
import { metaToWire, peerToWire } from "../pd/wire.js";
import { type Distribution, distribution } from "./latencies.js";
import { heartbeat, type Load } from "./made-heartbeats.js";
import { printFigures } from "./output.js";

interface HeartbeatFlags {
  readonly regions: string;
  readonly stores: string;
  readonly json?: boolean;
  readonly patrolOnly?: boolean;
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
  /** Turns of that pass by the wall clock: how long a timestamp may have to wait. */
  readonly patrolTurnMsP99: number;
  readonly patrolTurnMsMax: number;
  /** The same in CPU time, collections of garbage on all threads included: what a busy machine cannot blow up. */
  readonly patrolTurnCpuMsP99: number;
  readonly patrolTurnCpuMsMax: number;
  readonly explainMsMax: number;
}

const KEY_BYTES = 2 * 9;

export function registerPdHeartbeat(bench: Command): void {
  bench
    .command("pd-heartbeat")
    .description("region heartbeats that one PD takes, its memory per region, and a pass of its patrol")
    .option("--regions <n>", "regions of three peers", "100000")
    .option("--stores <n>", "stores", "12")
    .option("--patrol-only", "no heartbeats: for more regions than messages fit into memory")
    .option("--json", "print the figures as JSON")
    .action((flags: HeartbeatFlags) => {
      const [regions, stores] = [Number(flags.regions), Number(flags.stores)];
      const figures =
        flags.patrolOnly === true ? patrolFigures(regions, stores) : heartbeatFigures(regions, stores);
      printFigures(figures, flags.json === true);
    });
}

function heapBytes(): number {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) return Number.NaN;
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Even, so that the figures differ from those of the round that is measured. */
const BUSY_ROUNDS = 4;
const ROUND_MS = 60_000;

function encodeAll({ cluster }: ScheduleWorld, load: Load): Uint8Array[] {
  const { regions } = cluster;
  return [...regions.all()].map(({ meta, leader }, i) => {
    const made = { region: metaToWire(meta), leader: peerToWire(leader ?? (meta.peers[0] as Peer)) };
    return heartbeat(1n, made, i, regions.count, load);
  });
}

interface LoadedWorld {
  readonly world: ScheduleWorld;
  /** Bytes of heap before the regions came. */
  readonly empty: number;
}

function worldOf(regions: number, stores: number): LoadedWorld {
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
  return { world, empty };
}

function patrolFigures(regions: number, stores: number) {
  const { world, empty } = worldOf(regions, stores);
  const bytesPerRegion = Math.round((heapBytes() - empty) / regions - KEY_BYTES);
  return { regions, bytesPerRegion, ...patrol(world), explainMsMax: explainMsMax(world) };
}

/** The longest of asking why for a thousand regions, all stores and all schedulers. */
function explainMsMax(world: ScheduleWorld): number {
  const explainer = new Explainer(world.scheduling);
  let longest = 0;
  const timed = (ask: () => unknown): void => {
    const ms = 1_000 * seconds(() => void ask());
    longest = Math.max(longest, ms);
  };
  for (const region of world.cluster.regions.scan(new Uint8Array(0), new Uint8Array(0), 1_000))
    timed(() => explainer.region(region));
  for (const store of world.cluster.stores.values()) timed(() => explainer.store(store));
  for (const name of world.scheduling.schedulers.names()) timed(() => explainer.scheduler(name));
  return longest;
}

function heartbeatFigures(regions: number, stores: number): HeartbeatFigures {
  const { world, empty } = worldOf(regions, stores);
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
    explainMsMax: explainMsMax(world),
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

/** Turns of one pass as the patrol takes them, each timed. */
function patrol(world: ScheduleWorld) {
  const { regions } = world.cluster;
  const batch = Math.min(8192, Math.max(128, Math.ceil(regions.count / 1024)));
  let position: Uint8Array = new Uint8Array(0);
  const turns: number[] = [];
  let isOver = false;
  /** One turn: its part of the pass, or what of it fits into its time. */
  const turn = (): void => {
    const endMs = performance.now() + TURN_MS;
    for (let left = batch; left > 0 && !isOver && performance.now() < endMs; ) {
      const found = regions.scan(position, new Uint8Array(0), Math.min(left, SLICE));
      for (const region of found) world.scheduling.patrol.check(region);
      left -= found.length;
      const last = found.at(-1);
      isOver = last === undefined || last.meta.endKey.length === 0;
      if (last !== undefined) position = last.meta.endKey;
    }
  };
  const cpu: number[] = [];
  while (!isOver) {
    const startedMs = performance.now();
    cpu.push(1_000 * seconds(turn));
    turns.push(performance.now() - startedMs);
  }
  const [wall, used] = [turns, cpu].map(distribution) as [Distribution, Distribution];
  return {
    patrolSeconds: cpu.reduce((sum, ms) => sum + ms, 0) / 1_000,
    patrolTurnMsP99: wall.p99,
    patrolTurnMsMax: wall.max,
    patrolTurnCpuMsP99: used.p99,
    patrolTurnCpuMsMax: used.max,
  };
}
