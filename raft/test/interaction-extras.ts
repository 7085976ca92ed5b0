/** Commands of interaction scripts beyond etcd's: reads, transport reports, restarts, and the options of raft-rs. */
import { utf8 } from "../../base/bytes.js";
import { describeConfig } from "../tracker/tracker.js";
import type { Directive } from "./datadriven.js";
import {
  allowKeys,
  argument,
  type Command,
  flagOf,
  idAt,
  nodeAt,
  numberOf,
  requiredNumber,
  valueOf,
} from "./interaction-args.js";
import { CommandError } from "./interaction-env.js";

const flag = (directive: Directive, key: string): boolean => {
  const value = flagOf(directive, key);
  if (value === undefined) throw new CommandError(`${directive.command}: ${key}= is missing`);
  return value;
};

const readIndex: Command = (env, directive) => {
  const result = nodeAt(env, directive, 0).raw.readIndex(utf8(argument(directive, 1)));
  if (result.kind === "dropped") throw new CommandError(`read dropped: ${result.reason}`);
};

const tick: Command = (env, directive) => {
  allowKeys(directive, ["n"]);
  const { raw } = nodeAt(env, directive, 0);
  const count = requiredNumber(directive, "n");
  for (let i = 0; i < count; i++) raw.tick();
};

const reportSnapshot: Command = (env, directive) => {
  allowKeys(directive, ["status"]);
  const status = valueOf(directive, "status");
  if (status !== "finish" && status !== "failure") throw new CommandError("status is finish or failure");
  nodeAt(env, directive, 0).raw.reportSnapshot(idAt(directive, 1), status);
};

const proposeMany: Command = (env, directive) => {
  const data = directive.args.slice(1).map(({ key }) => utf8(key));
  const result = nodeAt(env, directive, 0).raw.proposeMany(data);
  if (result.kind === "dropped") throw new CommandError("raft proposal dropped");
};

/** `groups=(1:1, 2:1, 3:2)`: node and group. */
const assignGroups: Command = (env, directive) => {
  allowKeys(directive, ["groups"]);
  const pairs = directive.args.find(({ key }) => key === "groups")?.values ?? [];
  const groups = pairs.map((pair): [number, number] => {
    const [id, group] = pair.split(":");
    return [numberOf(directive, id ?? ""), numberOf(directive, group ?? "")];
  });
  nodeAt(env, directive, 0).raw.assignCommitGroups(groups);
};

export const EXTRA_COMMANDS: Readonly<Record<string, Command>> = {
  "read-index": readIndex,
  tick,
  "report-snapshot": reportSnapshot,
  "propose-many": proposeMany,
  "assign-groups": assignGroups,
  "clear-groups": (env, directive) => nodeAt(env, directive, 0).raw.clearCommitGroups(),
  "group-commit": (env, directive) =>
    nodeAt(env, directive, 0).raw.enableGroupCommit(flag(directive, "enabled")),
  "groups-consistent": (env, directive) =>
    env.write(`${nodeAt(env, directive, 0).raw.commitGroupsConsistent() ?? "unknown"}`),
  ping: (env, directive) => nodeAt(env, directive, 0).raw.ping(),
  "request-snapshot": (env, directive) => {
    if (!nodeAt(env, directive, 0).raw.requestSnapshot()) throw new CommandError("snapshot not requested");
  },
  "set-priority": (env, directive) =>
    nodeAt(env, directive, 0).raw.setPriority(requiredNumber(directive, "priority")),
  "batch-append": (env, directive) =>
    nodeAt(env, directive, 0).raw.setBatchAppend(flag(directive, "enabled")),
  "skip-broadcast-commit": (env, directive) =>
    nodeAt(env, directive, 0).raw.setSkipBroadcastCommit(flag(directive, "enabled")),
  "set-max-inflight": (env, directive) =>
    nodeAt(env, directive, 0).raw.setMaxInflight(idAt(directive, 1), requiredNumber(directive, "max")),
  "in-lease": (env, directive) => env.write(`${nodeAt(env, directive, 0).raw.inLease()}`),
  transferee: (env, directive) => env.write(`${nodeAt(env, directive, 0).raw.leadTransferee}`),
  "conf-state": (env, directive) => env.write(describeConfig(nodeAt(env, directive, 0).raw.status().config)),
  "applied-data": (env, directive) => env.writeApplied(nodeAt(env, directive, 0)),
  "snapshot-available": (env, directive) => {
    nodeAt(env, directive, 0).storage.hasSnapshot = flag(directive, "value");
  },
  "log-available": (env, directive) => {
    nodeAt(env, directive, 0).storage.hasLog = flag(directive, "value");
  },
  "entries-fetched": (env, directive) => {
    const { raw, storage } = nodeAt(env, directive, 0);
    const to = requiredNumber(directive, "to");
    const context = storage.wanted.get(to);
    if (context === undefined) throw new CommandError(`nothing was to be fetched for ${to}`);
    storage.wanted.delete(to);
    raw.onEntriesFetched(context);
  },
  restart: (env, directive) => env.restart(idAt(directive, 0)),
};
