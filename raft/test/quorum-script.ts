/**
 * Scripts of kind `quorum`: `committed`, `vote` and (raft-rs) `group_committed` on bare configurations. Results are
 * cross-checked by other computations; a mismatch becomes a line of the output.
 */
import { jointCommitted, jointGroupCommitted, jointVote } from "../quorum/joint.js";
import type { VoteResult } from "../quorum/majority.js";
import { EMPTY_QUORUM_INDEX, majorityCommitted, majorityVote } from "../quorum/majority.js";
import type { Handler } from "./conformance.js";
import type { Directive } from "./datadriven.js";
import { ScriptError } from "./datadriven.js";

/** Values by id; an id without information is absent. */
type Known = ReadonlyMap<number, number>;

interface Input {
  readonly ids: readonly number[];
  readonly joint: boolean;
  readonly outgoing: readonly number[];
  readonly values: readonly number[];
  readonly groups: readonly number[];
}

const VOTES: Readonly<Record<string, number>> = { y: 2, n: 1, _: 0 };

function parseNumber(text: string, what: string): number {
  if (!/^\d+$/.test(text)) throw new ScriptError(`${what} must be a number: ${text}`);
  return Number(text);
}

function parseInput(directive: Directive): Input {
  const input = {
    ids: [] as number[],
    joint: false,
    outgoing: [] as number[],
    values: [] as number[],
    groups: [] as number[],
  };
  for (const { key, values } of directive.args) {
    for (const value of values) {
      if (value === "" && values.length === 1) {
        if (key === "cfgj") input.joint = true;
        continue;
      }
      switch (key) {
        case "cfg":
          input.ids.push(parseNumber(value, key));
          break;
        case "cfgj":
          input.joint = true;
          if (value !== "zero") input.outgoing.push(parseNumber(value, key));
          break;
        case "idx":
          if (value === "0") throw new ScriptError("cannot use 0 as idx");
          input.values.push(value === "_" ? 0 : parseNumber(value, key));
          break;
        case "gid":
          input.groups.push(value === "_" ? 0 : parseNumber(value, key));
          break;
        case "votes": {
          const vote = VOTES[value];
          if (vote === undefined) throw new ScriptError(`unknown vote: ${value}`);
          input.values.push(vote);
          break;
        }
        default:
          throw new ScriptError(`unknown arg ${key}`);
      }
    }
  }
  return input;
}

const unique = (ids: readonly number[]): number[] => [...new Set(ids)];
const sorted = (ids: readonly number[]): number[] => unique(ids).sort((left, right) => left - right);
const text = (index: number): string => (index === EMPTY_QUORUM_INDEX ? "∞" : String(index));

function lookup(order: readonly number[], values: readonly number[]): Map<number, number> {
  const known = new Map<number, number>();
  for (let i = 0; i < order.length; i++) {
    const value = values[i];
    if (value !== undefined && value !== 0) known.set(order[i] as number, value);
  }
  return known;
}

function committed(ids: readonly number[], known: Known): number {
  const members = unique(ids);
  const values = members.map((id) => known.get(id) ?? 0);
  return majorityCommitted(values, members.length);
}

/** The same by definition: the largest index that a majority has reached. */
function committedByCounting(ids: readonly number[], known: Known): number {
  const members = unique(ids);
  if (members.length === 0) return EMPTY_QUORUM_INDEX;
  let best = 0;
  for (const candidate of known.values()) {
    const reached = members.filter((id) => (known.get(id) ?? 0) >= candidate).length;
    if (reached > members.length / 2 && candidate > best) best = candidate;
  }
  return best;
}

function describe(ids: readonly number[], known: Known): string {
  const members = sorted(ids);
  const count = members.length;
  if (count === 0) return "<empty majority quorum>";
  const byIndex = members
    .map((id) => ({ id, index: known.get(id) ?? 0 }))
    .sort((left, right) => left.index - right.index || left.id - right.id);
  const bars = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const here = byIndex[i] as { id: number; index: number };
    const before = byIndex[i - 1];
    const grows = before !== undefined && before.index < here.index;
    bars.set(here.id, grows ? i : before !== undefined ? (bars.get(before.id) as number) : 0);
  }
  let out = `${" ".repeat(count)}    idx\n`;
  for (const id of members) {
    const bar = bars.get(id) as number;
    out += known.has(id) ? `${"x".repeat(bar)}>${" ".repeat(count - bar)}` : `?${" ".repeat(count)}`;
    out += ` ${String(known.get(id) ?? 0).padStart(5)}    (id=${id.toString(16)})\n`;
  }
  return out;
}

function committedText(input: Input, known: Known): string {
  const { ids, outgoing } = input;
  const own = committed(ids, known);
  const check = (index: number, expected: number, way: string): string =>
    index === expected ? "" : `${text(index)} <-- ${way}\n`;
  if (input.joint) {
    const index = jointCommitted(own, committed(outgoing, known));
    const mirrored = jointCommitted(committed(outgoing, known), own);
    return `${describe([...ids, ...outgoing], known)}${check(mirrored, index, "via symmetry")}${text(index)}\n`;
  }
  let out = describe(ids, known);
  out += check(committedByCounting(ids, known), own, "via alternative computation");
  out += check(jointCommitted(own, EMPTY_QUORUM_INDEX), own, "via zero-joint quorum");
  out += check(jointCommitted(own, committed(ids, known)), own, "via self-joint quorum");
  for (const id of unique(ids)) {
    const index = known.get(id) ?? 0;
    if (!(own > index && index > 0)) continue;
    for (const lowered of [index - 1, 0]) {
      const overlaid = new Map(known).set(id, lowered);
      out += check(committed(ids, overlaid), own, `overlaying ${id}->${lowered}`);
    }
  }
  return `${out}${text(own)}\n`;
}

function voteOf(ids: readonly number[], known: Known): VoteResult {
  const members = unique(ids);
  const yes = members.filter((id) => known.get(id) === 2).length;
  const no = members.filter((id) => known.get(id) === 1).length;
  return majorityVote(members.length, yes, no);
}

function voteText(input: Input, known: Known): string {
  const own = voteOf(input.ids, known);
  if (!input.joint) return `${own}\n`;
  const other = voteOf(input.outgoing, known);
  const result = jointVote(own, other);
  const mirrored = jointVote(other, own);
  return `${mirrored === result ? "" : `${mirrored} <-- via symmetry\n`}${result}\n`;
}

function groupCommittedText(input: Input, known: Known, groups: Known): string {
  const voters = (ids: readonly number[]) =>
    unique(ids).map((id) => ({ index: known.get(id) ?? 0, group: groups.get(id) ?? 0 }));
  const { index } = jointGroupCommitted(voters(input.ids), voters(input.outgoing));
  const mirrored = jointGroupCommitted(voters(input.outgoing), voters(input.ids)).index;
  const symmetry = mirrored === index ? "" : `${text(mirrored)} <-- via symmetry\n`;
  return `${symmetry}${text(index)}\n`;
}

export function quorumHandler(): Handler {
  return (directive) => {
    const input = parseInput(directive);
    const order = unique([...input.ids, ...input.outgoing]);
    if (order.length !== input.values.length) {
      const voters = sorted(order).map((id) => `${id}:{}`);
      return `error: mismatched input (explicit or _) for voters map[${voters.join(" ")}]: [${input.values.join(" ")}]`;
    }
    const known = lookup(order, input.values);
    switch (directive.command) {
      case "committed":
        return committedText(input, known);
      case "vote":
        return voteText(input, known);
      case "group_committed":
        return groupCommittedText(input, known, lookup(order, input.groups));
      default:
        throw new ScriptError(`unknown command: ${directive.command}`);
    }
  };
}
