/** `GroupNode`: a member of a Raft group in a real process, with disk, gRPC and clock. */
import type { Registry } from "prom-client";
import { type Env, type Logger, RaftwerkError, SILENT_LOGGER } from "../base/index.js";
import { openEngine } from "../engine/open.js";
import type { EngineKind } from "../engine/stamp.js";
import {
  BaseGroupNode,
  EngineGroupStorage,
  type Founder,
  type GroupStorage,
  type GroupTransport,
  type NodeGround,
  type NodeOptions,
} from "../group/index.js";
import { CompactedLogFiles, type CompactedLogOptions } from "./group-compacted-log.js";
import { GrpcGroupTransport, type GroupTls } from "./group-grpc.js";
import { groupRegistry } from "./group-metrics.js";
import { nodeEnv } from "./node-env.js";

export interface GroupNodeOptions<Command, Response>
  extends Omit<NodeOptions<Command, Response>, "members" | "compactedLog"> {
  /** `host:port` to listen on. Not with `transport`. */
  readonly listen?: string | undefined;
  /** Where the others reach this member, if not at `listen`. */
  readonly advertise?: string | undefined;
  readonly tls?: GroupTls | undefined;
  /** Instead of gRPC: a door of an `InProcessNetwork`, or a transport of one's own. */
  readonly transport?: GroupTransport | undefined;
  /** A directory of this member's own, created if absent; or a storage of another kind. */
  readonly storage: string | GroupStorage;
  /** For a directory: `auto` takes RocksDB where it works, LevelDB elsewhere. */
  readonly engine?: "auto" | EngineKind | undefined;
  /** The founders of a new group, this one among them, by id: `{ 1: "10.0.0.1:7000", 2: ... }`. */
  readonly members?: Readonly<Record<number, string>> | readonly Founder[] | undefined;
  /** Entries that leave the log are kept there. */
  readonly keepCompactedLog?: CompactedLogOptions | undefined;
  /** Default: silent. */
  readonly log?: Logger | undefined;
}

const founders = (
  members: Readonly<Record<number, string>> | readonly Founder[] | undefined,
): readonly Founder[] | undefined =>
  members === undefined || Array.isArray(members)
    ? (members as readonly Founder[] | undefined)
    : Object.entries(members as Readonly<Record<string, string>>).map(([id, address]) => ({
        id: Number(id),
        address,
      }));

/** A directory's engine belongs to its storage, and closes with it. */
async function openDirectory(
  directory: string,
  kind: "auto" | EngineKind,
  log: Logger,
): Promise<GroupStorage> {
  const { engine } = await openEngine({ directory, kind, role: "group", log });
  const storage = new EngineGroupStorage(engine);
  const close = storage.close.bind(storage);
  storage.close = (done) => {
    const closeEngine = (error: Error | undefined): void => engine.close((closing) => done(error ?? closing));
    try {
      close(closeEngine);
    } catch (error) {
      // An engine that failed takes no last write.
      closeEngine(error as Error);
    }
  };
  return storage;
}

async function ground<C, R>(options: GroupNodeOptions<C, R>, env: Env): Promise<NodeGround> {
  const { listen, advertise, tls, transport, log = SILENT_LOGGER } = options;
  if ((listen === undefined) === (transport === undefined)) {
    throw new RaftwerkError("invalidConfig", "give `listen` (host:port) or `transport`, one of them", {
      retry: "never",
    });
  }
  const storage =
    typeof options.storage === "string"
      ? await openDirectory(options.storage, options.engine ?? "auto", log)
      : options.storage;
  try {
    const door =
      transport ?? (await GrpcGroupTransport.listen({ listen: listen ?? "", advertise, tls, log }));
    return { env, storage, transport: door };
  } catch (error) {
    await new Promise<void>((resolve) => storage.close(() => resolve()));
    throw error;
  }
}

export class GroupNode<Command, Response> extends BaseGroupNode<Command, Response> {
  /**
   * Starts a member and resolves when it takes part: a founder when all founders were up once, a joiner when the
   * group took it in, one that comes back when its state is restored. Rejects with a `RaftwerkError` that says what
   * to do.
   */
  static async start<C, R>(options: GroupNodeOptions<C, R>): Promise<GroupNode<C, R>> {
    const { members, keepCompactedLog, log = SILENT_LOGGER } = options;
    const env = nodeEnv(log);
    const compactedLog = keepCompactedLog === undefined ? undefined : new CompactedLogFiles(keepCompactedLog);
    const parts = await ground(options, env);
    let node: GroupNode<C, R>;
    try {
      node = new GroupNode(parts, { ...options, members: founders(members), compactedLog });
    } catch (error) {
      await new Promise<void>((resolve) => parts.transport.close(resolve));
      await new Promise<void>((resolve) => parts.storage.close(() => resolve()));
      throw error;
    }
    await node.begin(options.signal);
    return node;
  }

  /** Prometheus metrics of this member, added to `registry` or to a new one. */
  metrics(registry?: Registry): Registry {
    return groupRegistry(() => this.status, registry);
  }
}
