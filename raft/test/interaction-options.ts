/** `add-nodes`: how the nodes of interaction scripts are set up. */
import { utf8 } from "../../base/bytes.js";
import type { Term, LogIndex } from "../../base/ids.js";
import type { ConfigInit } from "../config.js";
import { EMPTY_CONF_STATE } from "../message.js";
import type { Snapshot } from "../types.js";
import type { Directive } from "./datadriven.js";
import { allowKeys, type Command, flagOf, idAt, numberOf, numbersOf, valueOf } from "./interaction-args.js";
import { CommandError } from "./interaction-env.js";

type Option = keyof ConfigInit;

const NUMBERS: Readonly<Record<string, Option>> = {
  inflight: "maxInflightMessages",
  "max-committed-size-per-ready": "maxCommittedSizePerReadyBytes",
  // Beyond etcd's.
  "max-inflight-bytes": "maxInflightBytes",
  "max-size-per-msg": "maxSizePerMessageBytes",
  "max-uncommitted-size": "maxUncommittedEntriesBytes",
  "max-pending-reads": "maxPendingReads",
  "max-apply-unpersisted": "maxApplyUnpersistedEntries",
  "election-tick": "electionTicks",
  "heartbeat-tick": "heartbeatTicks",
  "min-election-tick": "minElectionTicks",
  "max-election-tick": "maxElectionTicks",
  priority: "priority",
};

const FLAGS: Readonly<Record<string, Option>> = {
  "async-storage-writes": "asyncStorageWrites",
  prevote: "preVote",
  checkquorum: "checkQuorum",
  "disable-conf-change-validation": "disableConfChangeValidation",
  "step-down-on-removal": "stepDownOnRemoval",
  // Beyond etcd's.
  "disable-proposal-forwarding": "disableProposalForwarding",
  "commit-by-vote": "commitByVote",
  "commit-in-responses": "commitInResponses",
  "batch-append": "batchAppend",
  "skip-broadcast-commit": "skipBroadcastCommit",
  "group-commit": "groupCommit",
};

const SNAPSHOT_KEYS = ["voters", "learners", "content", "index"];

function readOnlyOption(directive: Directive): "safe" | "leaseBased" | undefined {
  const text = valueOf(directive, "read-only");
  if (text === undefined || text === "safe") return text;
  if (text === "lease-based") return "leaseBased";
  throw new CommandError(`invalid read-only option ${JSON.stringify(text)}`);
}

/** Undefined when nothing was said of it: then the nodes begin with nothing, and outside of any group. */
function firstSnapshot(directive: Directive): Snapshot | undefined {
  const voters = numbersOf(directive, "voters");
  const learners = numbersOf(directive, "learners");
  const content = valueOf(directive, "content") ?? "";
  const index = numberOf(directive, valueOf(directive, "index") ?? "0");
  if (voters.length === 0 && learners.length === 0 && content === "" && index === 0) return undefined;
  return {
    metadata: {
      index: index as LogIndex,
      term: 1 as Term,
      confState: { ...EMPTY_CONF_STATE, voters, learners },
    },
    data: utf8(content),
  };
}

export const addNodes: Command = (env, directive) => {
  allowKeys(directive, [...SNAPSHOT_KEYS, "read-only", ...Object.keys(NUMBERS), ...Object.keys(FLAGS)]);
  const options: Partial<Record<Option, unknown>> = {};
  for (const [key, option] of Object.entries(NUMBERS)) {
    const text = valueOf(directive, key);
    if (text !== undefined) options[option] = numberOf(directive, text);
  }
  for (const [key, option] of Object.entries(FLAGS)) {
    const value = flagOf(directive, key);
    if (value !== undefined) options[option] = value;
  }
  const reads = readOnlyOption(directive);
  if (reads !== undefined) options.readOnlyOption = reads;
  env.addNodes(idAt(directive, 0), firstSnapshot(directive), options as Partial<ConfigInit>);
};
