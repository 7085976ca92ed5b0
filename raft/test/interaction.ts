/** Scripts of kind `interaction`: etcd's commands, their arguments, and what they print. */
import { utf8 } from "../../base/bytes.js";
import { describeMembers } from "../tracker/tracker.js";
import type { Progress } from "../tracker/progress.js";
import type { ConfChangeTransition, MessageType } from "../types.js";
import { LOCAL_MESSAGE_TYPES, WIRE_MESSAGE_TYPES } from "../types.js";
import { parseChanges } from "./confchange-script.js";
import type { Handler } from "./conformance.js";
import type { Directive } from "./datadriven.js";
import { parseLine, ScriptError } from "./datadriven.js";
import {
  allowKeys,
  argument,
  type Command,
  flagOf,
  idAt,
  nodeAt,
  nodesOf,
  numberOf,
  requiredNumber,
  valueOf,
} from "./interaction-args.js";
import { CommandError, InteractionEnv, type Node } from "./interaction-env.js";
import { EXTRA_COMMANDS } from "./interaction-extras.js";
import { addNodes } from "./interaction-options.js";

const LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"];

function setLevel(env: InteractionEnv, name: string): void {
  const level = name.toUpperCase();
  if (!LEVELS.includes(level)) {
    throw new CommandError(`log levels must be either of [${LEVELS.join(" ")}]`);
  }
  env.isQuiet = level === "NONE";
}

const MESSAGE_TYPES: readonly MessageType[] = [...WIRE_MESSAGE_TYPES, ...LOCAL_MESSAGE_TYPES];

function messageType(directive: Directive): MessageType | undefined {
  const name = valueOf(directive, "type");
  if (name === undefined) return undefined;
  const type = MESSAGE_TYPES.find((each) => each === name);
  if (type === undefined) throw new ScriptError(`line ${directive.line}: unknown message type ${name}`);
  return type;
}

function deliverMessages(env: InteractionEnv, directive: Directive): void {
  allowKeys(directive, ["type", "drop"]);
  const type = messageType(directive);
  const seen = new Set<number>();
  let handled = 0;
  const handle = (text: string, drop: boolean): void => {
    const id = numberOf(directive, text);
    if (drop && seen.has(id))
      throw new ScriptError(`line ${directive.line}: messages to ${id} are both delivered and dropped`);
    seen.add(id);
    handled += env.deliver(id, drop, type);
  };
  for (const { key, values } of directive.args) {
    if (key === "type") continue;
    if (key === "drop") for (const id of values) handle(id, true);
    else handle(key, false);
  }
  if (handled === 0) env.write("no messages\n");
}

/** One node is served as it is; of several each gets a header and is indented. */
function forEach(what: string, run: (env: InteractionEnv, node: Node) => void): Command {
  return (env, directive) => {
    const nodes = nodesOf(env, directive);
    for (const node of nodes) {
      if (nodes.length === 1) run(env, node);
      else {
        env.write(`> ${node.id} ${what}\n`);
        env.indented(() => run(env, node));
      }
    }
  };
}

function stabilize(env: InteractionEnv, directive: Directive): void {
  const level = valueOf(directive, "log-level");
  const wasQuiet = env.isQuiet;
  if (level !== undefined) setLevel(env, level);
  try {
    const nodes = nodesOf(env, directive);
    env.stabilize(nodes.length === 0 ? env.nodes : nodes);
  } finally {
    env.isQuiet = wasQuiet;
  }
}

const TRANSITIONS: Readonly<Record<string, ConfChangeTransition>> = {
  auto: "ConfChangeTransitionAuto",
  implicit: "ConfChangeTransitionJointImplicit",
  explicit: "ConfChangeTransitionJointExplicit",
};

/** The only truth value whose error is part of the output. */
function isFirstVersion(directive: Directive): boolean {
  try {
    return flagOf(directive, "v1") ?? false;
  } catch {
    const text = JSON.stringify(valueOf(directive, "v1") ?? "");
    throw new CommandError(`strconv.ParseBool: parsing ${text}: invalid syntax`);
  }
}

function proposeConfChange(env: InteractionEnv, directive: Directive): void {
  const unknown = directive.args.find(
    ({ key, values }) => values.length > 0 && key !== "v1" && key !== "transition",
  );
  if (unknown !== undefined) throw new CommandError(`unknown command ${unknown.key}`);
  const isV1 = isFirstVersion(directive);
  const named = valueOf(directive, "transition") ?? "auto";
  const transition = TRANSITIONS[named];
  if (transition === undefined) throw new CommandError(`unknown transition ${named}`);
  const changes = parseChanges(directive.input);
  if (typeof changes === "string") throw new CommandError(changes);
  if (isV1 && (changes.length > 1 || transition !== "ConfChangeTransitionAuto")) {
    throw new CommandError("v1 conf change can only have one operation and no transition");
  }
  const change = { transition, changes, context: new Uint8Array(0) };
  const { raw } = nodeAt(env, directive, 0);
  const result = raw.proposeConfChange(change, isV1 ? "EntryConfChange" : "EntryConfChangeV2");
  if (result.kind === "dropped") throw new CommandError("raft proposal dropped");
}

function writeStates(env: InteractionEnv): void {
  for (const { raw } of env.nodes) {
    const { id, state, term, lead } = raw.basicStatus();
    env.write(`${id}: ${state} ${raw.isVoter() ? "(Voter)" : "(Non-Voter)"} Term:${term} Lead:${lead}\n`);
  }
}

function writeProgress(env: InteractionEnv, node: Node): void {
  if (node.raw.basicStatus().state !== "StateLeader") return;
  const members: Progress[] = [];
  node.raw.withProgress((_id, progress) => members.push(progress as Progress));
  env.write(describeMembers(members));
}

function tick(node: Node, count: number): void {
  for (let i = 0; i < count; i++) node.raw.tick();
}

const COMMANDS: Readonly<Record<string, Command>> = {
  _breakpoint() {},
  "add-nodes": addNodes,
  campaign: (env, directive) => nodeAt(env, directive, 0).raw.campaign(),
  compact: (env, directive) => env.compact(nodeAt(env, directive, 0), idAt(directive, 1)),
  "deliver-msgs": deliverMessages,
  "process-ready": forEach("handling Ready", (env, node) => env.processReady(node)),
  "process-append-thread": forEach("processing append thread", (env, node) => env.processAppendThread(node)),
  "process-apply-thread": forEach("processing apply thread", (env, node) => env.processApplyThread(node)),
  stabilize,
  "log-level": (env, directive) => setLevel(env, argument(directive, 0)),
  "raft-log": (env, directive) => env.writeLog(nodeAt(env, directive, 0)),
  "raft-state": writeStates,
  status: (env, directive) => writeProgress(env, nodeAt(env, directive, 0)),
  "set-randomized-election-timeout": (env, directive) => {
    nodeAt(env, directive, 0).raw.setRandomizedElectionTimeout(requiredNumber(directive, "timeout"));
  },
  "tick-election": (env, directive) => {
    const node = nodeAt(env, directive, 0);
    tick(node, node.electionTicks);
  },
  "tick-heartbeat": (env, directive) => {
    const node = nodeAt(env, directive, 0);
    tick(node, node.heartbeatTicks);
  },
  "transfer-leadership": (env, directive) => {
    env.node(requiredNumber(directive, "from")).raw.transferLeader(requiredNumber(directive, "to"));
  },
  "forget-leader": (env, directive) => nodeAt(env, directive, 0).raw.forgetLeader(),
  "send-snapshot": (env, directive) => env.sendSnapshot(idAt(directive, 0), idAt(directive, 1)),
  propose: (env, directive) => {
    const result = nodeAt(env, directive, 0).raw.propose(utf8(argument(directive, 1)));
    if (result.kind === "dropped") throw new CommandError("raft proposal dropped");
  },
  "propose-conf-change": proposeConfChange,
  "report-unreachable": (env, directive) => {
    nodeAt(env, directive, 0).raw.reportUnreachable(idAt(directive, 1));
  },
};

/** Runs one command; the text of its error. */
function run(env: InteractionEnv, directive: Directive): string | undefined {
  try {
    const command = COMMANDS[directive.command] ?? EXTRA_COMMANDS[directive.command];
    if (command === undefined) throw new CommandError("unknown command");
    command(env, directive);
    return undefined;
  } catch (error) {
    if (error instanceof CommandError) return error.message;
    throw error;
  }
}

/** Lines of input are further commands, but of changes of the configuration, which need theirs. */
function commandsOf(directive: Directive): Directive[] {
  const { command, input } = directive;
  if (command === "propose-conf-change" || input === "") return [directive];
  const more = input.split("\n").filter((line) => line.trim() !== "");
  return [directive, ...more.map((line) => ({ ...directive, ...parseLine(line), input: "" }))];
}

export function interactionHandler(): Handler {
  const env = new InteractionEnv();
  return (directive) => {
    env.output = "";
    for (const [at, each] of commandsOf(directive).entries()) {
      const error = run(env, each);
      if (error === undefined) continue;
      if (env.isQuiet) return error;
      env.output += error;
      if (at === 0) break;
    }
    return env.output === "" ? "ok" : env.output;
  };
}
