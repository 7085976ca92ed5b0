/** Scripts of kind `confchange`: `simple`, `enter-joint [autoleave=B]`, `leave-joint` on a bare tracker. */
import type { ChangeResult } from "../confchange/changer.js";
import { enterJoint, leaveJoint, simpleChange } from "../confchange/changer.js";
import { describeConfig, describeMembers, ProgressTracker } from "../tracker/tracker.js";
import type { ConfChangeSingle, ConfChangeType } from "../types.js";
import type { Handler } from "./conformance.js";
import { flagOf } from "./interaction-args.js";

const TYPES: Readonly<Record<string, ConfChangeType>> = {
  v: "ConfChangeAddNode",
  l: "ConfChangeAddLearnerNode",
  r: "ConfChangeRemoveNode",
  u: "ConfChangeUpdateNode",
};

/** `v1 l2 r3 u4`; a string is an error. */
export function parseChanges(text: string): ConfChangeSingle[] | string {
  const changes: ConfChangeSingle[] = [];
  for (const token of text.split(" ")) {
    if (token === "" && text === "") continue;
    if (token.length < 2) return `unknown token ${token}`;
    const type = TYPES[token[0] as string];
    if (type === undefined) return `unknown input: ${token}`;
    const digits = token.slice(1);
    if (!/^\d+$/.test(digits)) return `strconv.ParseUint: parsing ${JSON.stringify(digits)}: invalid syntax`;
    if (BigInt(digits) >= 1n << 64n) return `strconv.ParseUint: parsing "${digits}": value out of range`;
    changes.push({ type, nodeId: Number(digits) });
  }
  return changes;
}

export function confChangeHandler(): Handler {
  const tracker = new ProgressTracker({ countMax: 10, bytesMax: Number.POSITIVE_INFINITY });
  let lastIndex = 0;
  return (directive) => {
    const index = lastIndex++;
    const changes = parseChanges(directive.input);
    if (typeof changes === "string") return changes;
    let result: ChangeResult;
    switch (directive.command) {
      case "simple":
        result = simpleChange(tracker, index, changes);
        break;
      case "enter-joint":
        result = enterJoint(tracker, index, flagOf(directive, "autoleave") ?? false, changes);
        break;
      case "leave-joint":
        result =
          changes.length > 0
            ? { kind: "invalid", reason: "this command takes no input" }
            : leaveJoint(tracker, index);
        break;
      default:
        return "unknown command";
    }
    if (result.kind === "invalid") return `${result.reason}\n`;
    tracker.install(result.config, result.members);
    return `${describeConfig(tracker.config)}\n${describeMembers(tracker.members)}`;
  };
}
