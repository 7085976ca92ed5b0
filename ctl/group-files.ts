/** `raftwerk group inspect` and `recover`: directories of members that are not running. */
import { existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { nodeEnv } from "../adapters/node-env.js";
import { type Engine, RaftwerkError, SILENT_LOGGER } from "../base/index.js";
import { type OpenedEngine, openEngine } from "../engine/open.js";
import type { EngineKind } from "../engine/stamp.js";
import {
  type DescribedEntry,
  describeEntry,
  describeStorage,
  EngineGroupStorage,
  type GroupCallResult,
  type GroupIdentity,
  type InitialState,
  recoverGroup,
} from "../group/index.js";
import { exitWithError, promised } from "./process.js";

interface InspectFlags {
  readonly json?: boolean;
  readonly from?: string;
  readonly limit: string;
  readonly decode?: string;
}

interface RecoverFlags {
  readonly fromLog?: string;
  readonly fromSnapshot?: string;
  readonly to?: string;
  readonly address?: string;
  readonly iAcceptDataLoss?: boolean;
  readonly json?: boolean;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const refuse = (message: string): RaftwerkError =>
  new RaftwerkError("invalidArgument", message, { retry: "never" });
const READ_BYTES = 1 << 20;

async function openMember(directory: string): Promise<OpenedEngine> {
  if (!existsSync(join(directory, "RAFTWERK.json"))) {
    throw refuse(`${directory} is not the directory of a member: RAFTWERK.json is missing`);
  }
  return openEngine({ directory, kind: "auto", role: "group", log: SILENT_LOGGER });
}

const close = (engine: Engine): Promise<void> => promised<void>((callback) => engine.close(callback));

/** Gives a directory an identity and, through `ask`, an id in the group; both once, however often it is called. */
export async function prepareMember(
  where: { readonly directory: string; readonly address: string; readonly engine: "auto" | EngineKind },
  ask: (storageId: string) => Promise<GroupCallResult>,
): Promise<GroupIdentity> {
  const { directory, address, engine: kind } = where;
  const { engine } = await openEngine({ directory, kind, role: "group", log: SILENT_LOGGER });
  try {
    const storage = new EngineGroupStorage(engine);
    const initial = await promised<InitialState>((callback) => storage.open(callback));
    const { random } = nodeEnv(SILENT_LOGGER);
    const storageId = [0, 1, 2].map(() => random.u32().toString(16).padStart(8, "0")).join("");
    const blank = { storageId, groupId: "", nodeId: 0, address, isFounded: false, pins: [] };
    const before = initial.identity ?? blank;
    if (before.nodeId !== 0) throw refuse(`${directory} belongs to member ${before.nodeId} already`);
    await promised<void>((callback) => storage.saveIdentity(before, callback));
    const { ids, groupId = "" } = await ask(before.storageId);
    const identity = { ...before, groupId, nodeId: ids?.[0] ?? 0, isFounded: true };
    await promised<void>((callback) => storage.saveIdentity(identity, callback));
    return identity;
  } finally {
    await close(engine);
  }
}

/** A module that exports `decodeCommand(bytes)`. */
async function decoder(path: string | undefined): Promise<((bytes: Uint8Array) => unknown) | undefined> {
  if (path === undefined) return undefined;
  const module = (await import(pathToFileURL(resolve(path)).href)) as {
    readonly decodeCommand?: (bytes: Uint8Array) => unknown;
  };
  if (typeof module.decodeCommand !== "function")
    throw refuse(`${path} does not export decodeCommand(bytes)`);
  return module.decodeCommand;
}

function lineOf(entry: DescribedEntry): string {
  const what =
    entry.type === "commands"
      ? (entry.commands ?? [])
          .map(({ kind, clientId, serial, command }) => {
            const session =
              clientId === undefined ? "" : ` ${clientId}${serial === undefined ? "" : `#${serial}`}`;
            const data = command === undefined ? "" : ` ${JSON.stringify(command)}`;
            return `${kind}${session}${data}`;
          })
          .join("; ")
      : (entry.changes?.join(", ") ?? entry.error ?? "");
  return `${entry.index}\tterm ${entry.term}\t${entry.type}\t${what}`;
}

async function inspect(directory: string, flags: InspectFlags): Promise<void> {
  const decode = await decoder(flags.decode);
  const { engine } = await openMember(directory);
  try {
    const storage = new EngineGroupStorage(engine);
    const initial = await promised<InitialState>((callback) => storage.open(callback));
    const described = describeStorage(storage, initial);
    const from = Math.max(storage.firstIndex(), Number(flags.from ?? 0));
    const stop = Math.min(storage.lastIndex() + 1, from + Number(flags.limit));
    const entries: DescribedEntry[] = [];
    for (let next = from; next < stop; ) {
      const page = storage.entries(next, stop, READ_BYTES);
      entries.push(...page.map((entry) => describeEntry(entry, decode)));
      next += page.length;
    }
    if (flags.json === true) return print(JSON.stringify({ ...described, entries }, undefined, 2));
    const { identity, hardState, snapshot, firstIndex, lastIndex } = described;
    print(
      `group ${identity?.groupId || "none"}, member ${identity?.nodeId ?? 0} at ${identity?.address ?? "?"}`,
    );
    print(
      `storage ${identity?.storageId ?? "none"}, ${identity?.isFounded ? "takes part" : "never took part"}`,
    );
    print(`hard state: term ${hardState.term}, vote ${hardState.vote}, commit ${hardState.commit}`);
    if (snapshot === undefined) print("snapshot: none");
    else {
      print(`snapshot: index ${snapshot.index}, term ${snapshot.term}, ${snapshot.bytes} bytes`);
      for (const { id, address, role } of snapshot.members) print(`  member ${id} at ${address}, ${role}`);
      print(`  voters ${snapshot.confState.voters.join(", ")}; sessions ${snapshot.sessions}`);
    }
    print(
      lastIndex < firstIndex ? `log: empty, next is ${firstIndex}` : `log: ${firstIndex} to ${lastIndex}`,
    );
    for (const entry of entries) print(lineOf(entry));
    if (stop <= lastIndex) print(`... ${lastIndex - stop + 1} more: --from ${stop}`);
  } finally {
    await close(engine);
  }
}

async function recover(flags: RecoverFlags): Promise<void> {
  const { fromLog, fromSnapshot } = flags;
  if ((fromLog === undefined) === (fromSnapshot === undefined)) {
    throw refuse("give --from-log DIR or --from-snapshot DIR, one of them");
  }
  const directory = (fromLog ?? fromSnapshot) as string;
  const to = flags.to ?? `${directory.replace(/\/+$/, "")}-recovered`;
  const source = await openMember(directory);
  try {
    const target = await openEngine({ directory: to, kind: source.kind, role: "group", log: SILENT_LOGGER });
    try {
      const recovery = await recoverGroup(
        new EngineGroupStorage(source.engine),
        new EngineGroupStorage(target.engine),
        {
          from: fromLog === undefined ? "snapshot" : "log",
          acceptDataLoss: flags.iAcceptDataLoss === true,
          random: nodeEnv(SILENT_LOGGER).random,
          ...(flags.address === undefined ? {} : { address: flags.address }),
        },
      );
      const notes = JSON.stringify({ ...recovery, directory, at: new Date().toISOString() }, undefined, 2);
      writeFileSync(join(to, "RECOVERY.json"), `${notes}\n`);
      if (flags.json === true) return print(notes);
      print(`group ${recovery.groupId} with one member, ${recovery.id} at ${recovery.address}, is in ${to}`);
      print(`it has entries up to ${recovery.lastIndex}`);
      if (recovery.dropped !== undefined) {
        print(`dropped: entries ${recovery.dropped.from} to ${recovery.dropped.to}`);
      }
      if (recovery.uncertain !== undefined) {
        print(`kept, maybe never committed: entries ${recovery.uncertain.from} to ${recovery.uncertain.to}`);
      }
      for (const { id, address } of recovery.membersGivenUp) print(`given up: member ${id} at ${address}`);
      print(`written down in ${join(to, "RECOVERY.json")}; start the member on ${to}, let others join it`);
    } finally {
      await close(target.engine);
    }
  } finally {
    await close(source.engine);
  }
}

export function registerGroupFiles(group: Command): void {
  group
    .command("inspect")
    .description("what the directory of a stopped member holds: identity, hard state, snapshot, entries")
    .argument("<directory>", "of a member")
    .option("--json", "print JSON")
    .option("--from <index>", "first entry to show")
    .option("--limit <n>", "entries to show", "100")
    .option("--decode <module>", "a JavaScript module that exports decodeCommand(bytes)")
    .action((directory: string, flags: InspectFlags) => inspect(directory, flags).catch(exitWithError));
  group
    .command("recover")
    .description("after a lost majority: a group of one member from what a survivor has")
    .option("--from-log <directory>", "all that the survivor has, committed or not")
    .option("--from-snapshot <directory>", "its snapshot alone")
    .option("--to <directory>", "the new member's (default <directory>-recovered)")
    .option("--address <host:port>", "where the new member will listen (default: the survivor's)")
    .option("--i-accept-data-loss", "go on although others may have newer data")
    .option("--json", "print JSON")
    .action((flags: RecoverFlags) => recover(flags).catch(exitWithError));
}
