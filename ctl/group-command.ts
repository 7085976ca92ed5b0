/** `raftwerk group`: looks at, changes and repairs Raft groups built with `raftwerk/group`. */
import Table from "cli-table3";
import type { Command } from "commander";
import {
  type GroupCall,
  type GroupCallResult,
  GroupCaller,
  type GroupTls,
  askLeader,
} from "../adapters/group-entry.js";
import { nodeEnv } from "../adapters/node-env.js";
import { RaftwerkError, SILENT_LOGGER, utf8, fromUtf8 } from "../base/index.js";
import type { GroupStatus, MembershipChange } from "../group/index.js";
import { prepareMember, registerGroupFiles } from "./group-files.js";
import { exitWithError } from "./process.js";

interface CallFlags {
  readonly json?: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverName?: string;
  readonly timeout: string;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const refuse = (message: string): RaftwerkError =>
  new RaftwerkError("invalidArgument", message, { retry: "never" });

function tlsOf({ ca, cert, key, serverName }: CallFlags): GroupTls | undefined {
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if (ca === undefined || cert === undefined || key === undefined) {
    throw refuse("--ca, --cert and --key go together");
  }
  return { ca, cert, key, ...(serverName === undefined ? {} : { serverName }) };
}

const withCall = (command: Command): Command =>
  command
    .option("--json", "print JSON")
    .option("--ca <file>", "certificate of the authority, for groups with TLS")
    .option("--cert <file>", "certificate to show")
    .option("--key <file>", "key of that certificate")
    .option("--server-name <name>", "name in the members' certificates, if not their address")
    .option("--timeout <seconds>", "how long to try", "10");

/** Asks the member at `address` itself. */
async function askMember(address: string, flags: CallFlags, call: GroupCall): Promise<GroupCallResult> {
  const caller = new GroupCaller(tlsOf(flags));
  try {
    const response = await new Promise<Uint8Array>((resolve, reject) => {
      caller.call(address, utf8(JSON.stringify(call)), Number(flags.timeout) * 1000, (error, bytes) => {
        if (bytes !== undefined) return resolve(bytes);
        const text = `${address} does not answer (${error?.message ?? "no answer"}): is the member up?`;
        reject(new RaftwerkError("groupUnavailable", text, { retry: "safe" }));
      });
    });
    const answer = JSON.parse(fromUtf8(response)) as {
      readonly result?: GroupCallResult;
      readonly error?: { readonly code: "invalidArgument"; readonly message: string };
    };
    if (answer.error !== undefined) {
      throw new RaftwerkError(answer.error.code, answer.error.message, { retry: "never" });
    }
    return answer.result ?? {};
  } finally {
    caller.close();
  }
}

/** Asks whoever leads, beginning with `address`. */
async function ask(address: string, flags: CallFlags, call: GroupCall): Promise<GroupCallResult> {
  const caller = new GroupCaller(tlsOf(flags));
  try {
    return await new Promise((resolve, reject) => {
      const timeoutMs = Number(flags.timeout) * 1000;
      askLeader(nodeEnv(SILENT_LOGGER), caller, address.split(","), call, timeoutMs, (error, result) => {
        if (error !== undefined) reject(error);
        else resolve(result ?? {});
      });
    });
  } finally {
    caller.close();
  }
}

async function statusAt(address: string, flags: CallFlags): Promise<GroupStatus> {
  const { status } = await askMember(address, flags, { kind: "status" });
  if (status === undefined) throw refuse(`${address} gave no status`);
  return status;
}

async function showStatus(address: string, flags: CallFlags): Promise<void> {
  const status = await statusAt(address, flags);
  if (flags.json === true) return print(JSON.stringify(status, undefined, 2));
  const table = new Table({ style: { head: [], border: [] } });
  const { counters, members, snapshot, ...plain } = status;
  for (const [name, value] of Object.entries(plain)) table.push([name, String(value)]);
  table.push([
    "snapshot",
    snapshot === undefined ? "none" : `index ${snapshot.index}, ${snapshot.bytes} bytes`,
  ]);
  table.push(["members", members.map(({ id, role }) => `${id} (${role})`).join(", ")]);
  for (const [name, value] of Object.entries(counters)) table.push([name, String(value)]);
  print(table.toString());
}

async function showMembers(address: string, flags: CallFlags): Promise<void> {
  let status = await statusAt(address, flags);
  // The leader alone knows how far the others are.
  if (status.leaderAddress !== "" && status.leader !== status.id) {
    status = await statusAt(status.leaderAddress, flags).catch(() => status);
  }
  if (flags.json === true) return print(JSON.stringify(status.members, undefined, 2));
  const table = new Table({
    head: ["id", "address", "role", "leads", "active", "match"],
    style: { head: [], border: [] },
  });
  for (const { id, address: at, role, match, isActive } of status.members) {
    const leads = id === status.leader ? "yes" : "";
    table.push([id, at, role, leads, isActive === undefined ? "?" : isActive ? "yes" : "no", match ?? "?"]);
  }
  print(table.toString());
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value >= 1 && Number.isSafeInteger(value)) return value;
  throw refuse(`${name} must be a whole number from 1, not "${text}"`);
}

async function change(
  address: string,
  flags: CallFlags,
  what: MembershipChange,
  done: string,
): Promise<void> {
  const { ids } = await ask(address, flags, { kind: "change", changes: [what] });
  if (flags.json === true) print(JSON.stringify({ ids }));
  else print(`${done}: member ${ids?.join(", ") ?? ""}`);
}

type JoinFlags = CallFlags & {
  readonly directory: string;
  readonly listen: string;
  readonly observer?: boolean;
  readonly engine: "auto" | "rocksdb" | "leveldb";
};

async function join(address: string, flags: JoinFlags): Promise<void> {
  const { directory, listen, engine } = flags;
  const role = flags.observer === true ? "observer" : "learner";
  const identity = await prepareMember({ directory, address: listen, engine }, (storageId) =>
    ask(address, flags, { kind: "change", changes: [{ kind: "add", address: listen, storageId, role }] }),
  );
  if (flags.json === true) return print(JSON.stringify(identity));
  print(
    `member ${identity.nodeId} of group ${identity.groupId}: start it with storage ${directory}, listen ${listen}`,
  );
}

type WithId = CallFlags & { readonly id: string };

function registerChanges(group: Command): void {
  withCall(group.command("remove").description("take a member out of the group for good"))
    .argument("<address>", "of any member")
    .requiredOption("--id <n>", "the member")
    .action((address: string, flags: WithId) =>
      change(address, flags, { kind: "remove", id: wholeNumber("--id", flags.id) }, "removed").catch(
        exitWithError,
      ),
    );
  withCall(group.command("promote").description("make a learner or observer a voter"))
    .argument("<address>", "of any member")
    .requiredOption("--id <n>", "the member")
    .action((address: string, flags: WithId) =>
      change(address, flags, { kind: "promote", id: wholeNumber("--id", flags.id) }, "voter now").catch(
        exitWithError,
      ),
    );
  withCall(group.command("demote").description("make a voter an observer"))
    .argument("<address>", "of any member")
    .requiredOption("--id <n>", "the member")
    .action((address: string, flags: WithId) =>
      change(address, flags, { kind: "demote", id: wholeNumber("--id", flags.id) }, "observer now").catch(
        exitWithError,
      ),
    );
  withCall(
    group.command("join").description("prepare a directory for a new member: it has its id when it starts"),
  )
    .argument("<address>", "of any member")
    .requiredOption("--directory <directory>", "of the new member, empty or absent")
    .requiredOption("--listen <host:port>", "where the new member will listen")
    .option("--observer", "never promoted by itself")
    .option("--engine <kind>", "auto, rocksdb or leveldb", "auto")
    .action((address: string, flags: JoinFlags) => join(address, flags).catch(exitWithError));
  withCall(group.command("transfer").description("hand the leadership to a member"))
    .argument("<address>", "of any member")
    .requiredOption("--to <n>", "the member")
    .action(async (address: string, flags: CallFlags & { readonly to: string }) => {
      await ask(address, flags, { kind: "transfer", to: wholeNumber("--to", flags.to) }).catch(exitWithError);
      print(flags.json === true ? JSON.stringify({ leader: Number(flags.to) }) : `member ${flags.to} leads`);
    });
}

export function registerGroup(program: Command): void {
  const group = program.command("group").description("Raft groups built with raftwerk/group");
  withCall(group.command("status").description("what a member says of itself"))
    .argument("<address>", "host:port of a member")
    .action((address: string, flags: CallFlags) => showStatus(address, flags).catch(exitWithError));
  withCall(group.command("members").description("who belongs to the group"))
    .argument("<address>", "host:port of any member")
    .action((address: string, flags: CallFlags) => showMembers(address, flags).catch(exitWithError));
  withCall(group.command("snapshot").description("let a member make a snapshot now"))
    .argument("<address>", "host:port of the member")
    .action(async (address: string, flags: CallFlags) => {
      const { snapshotIndex } = await askMember(address, flags, { kind: "snapshot" }).catch(exitWithError);
      print(flags.json === true ? JSON.stringify({ snapshotIndex }) : `snapshot at index ${snapshotIndex}`);
    });
  registerChanges(group);
  registerGroupFiles(group);
}
