/** Scripts of kind `interaction`: the commands, their arguments, and what they print. */
import { utf8 } from "../../base/bytes.js";
import type { ConfigInit } from "../config.js";
import { EMPTY_CONF_STATE } from "../message.js";
import { describeMembers } from "../tracker/tracker.js";
import type { Progress } from "../tracker/progress.js";
import type { ConfChangeTransition, MessageType, NodeId, Snapshot } from "../types.js";
import type { LogIndex, Term } from "../../base/ids.js";
import { parseChanges } from "./confchange-script.js";
import type { Handler } from "./conformance.js";
import type { Directive } from "./datadriven.js";
import { CommandError, InteractionEnv, type Node } from "./interaction-env.js";

const LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"];

type Command = (env: InteractionEnv, directive: Directive) => void;

const argument = (directive: Directive, at: number): string => {
  const found = directive.args[at];
  if (found === undefined) throw new CommandError(`${directive.command}: argument ${at + 1} is missing`);
  return found.key;
};
const idAt = (directive: Directive, at: number): NodeId => Number(argument(directive, at));
const nodeAt = (env: InteractionEnv, directive: Directive, at: number): Node => env.node(idAt(directive, at));
const nodesOf = (env: InteractionEnv, directive: Directive): Node[] =>
  directive.args.filter(({ values }) => values.length === 0).map(({ key }) => env.node(Number(key)));

const valueOf = (directive: Directive, key: string): string | undefined =>
  directive.args.find((each) => each.key === key)?.values[0];
const numbersOf = (directive: Directive, key: string): number[] =>
  directive.args.filter((each) => each.key === key).flatMap((each) => each.values.map(Number));
const isTrue = (directive: Directive, key: string): boolean => valueOf(directive, key) === "true";

function setLevel(env: InteractionEnv, name: string): void {
  const level = name.toUpperCase();
  if (!LEVELS.includes(level)) {
    throw new CommandError(`log levels must be either of [${LEVELS.join(" ")}]`);
  }
  env.isQuiet = level === "NONE";
}

function addNodes(env: InteractionEnv, directive: Directive): void {
  const voters = numbersOf(directive, "voters");
  const learners = numbersOf(directive, "learners");
  const content = valueOf(directive, "content") ?? "";
  const index = Number(valueOf(directive, "index") ?? 0);
  const options: Partial<Record<keyof ConfigInit, unknown>> = {};
  const inflight = valueOf(directive, "inflight");
  if (inflight !== undefined) options.maxInflightMessages = Number(inflight);
  const applying = valueOf(directive, "max-committed-size-per-ready");
  if (applying !== undefined) options.maxCommittedSizePerReadyBytes = Number(applying);
  if (valueOf(directive, "read-only") === "lease-based") options.readOnlyOption = "leaseBased";
  for (const [key, option] of [
    ["async-storage-writes", "asyncStorageWrites"],
    ["prevote", "preVote"],
    ["checkquorum", "checkQuorum"],
    ["disable-conf-change-validation", "disableConfChangeValidation"],
    ["step-down-on-removal", "stepDownOnRemoval"],
  ] as const) {
    if (isTrue(directive, key)) options[option] = true;
  }
  const isEmpty = voters.length === 0 && learners.length === 0 && content === "" && index === 0;
  const snapshot: Snapshot = {
    metadata: {
      index: index as LogIndex,
      term: 1 as Term,
      confState: { ...EMPTY_CONF_STATE, voters, learners },
    },
    data: utf8(content),
  };
  env.addNodes(idAt(directive, 0), isEmpty ? undefined : snapshot, options as Partial<ConfigInit>);
}

function deliverMessages(env: InteractionEnv, directive: Directive): void {
  const type = valueOf(directive, "type") as MessageType | undefined;
  let handled = 0;
  for (const { key, values } of directive.args) {
    if (key === "type") continue;
    if (key === "drop") for (const id of values) handled += env.deliver(Number(id), true, type);
    else handled += env.deliver(Number(key), false, type);
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

function proposeConfChange(env: InteractionEnv, directive: Directive): void {
  const changes = parseChanges(directive.input);
  if (typeof changes === "string") throw new CommandError(changes);
  const isV1 = isTrue(directive, "v1");
  const transition = TRANSITIONS[valueOf(directive, "transition") ?? "auto"];
  if (transition === undefined) throw new CommandError("unknown transition");
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
    nodeAt(env, directive, 0).raw.setRandomizedElectionTimeout(Number(valueOf(directive, "timeout")));
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
    env.node(Number(valueOf(directive, "from"))).raw.transferLeader(Number(valueOf(directive, "to")));
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

export function interactionHandler(): Handler {
  const env = new InteractionEnv();
  return (directive) => {
    env.output = "";
    try {
      const command = COMMANDS[directive.command];
      if (command === undefined) throw new CommandError("unknown command");
      command(env, directive);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      if (env.isQuiet) return error.message;
      env.output += error.message;
    }
    return env.output === "" ? "ok" : env.output;
  };
}
