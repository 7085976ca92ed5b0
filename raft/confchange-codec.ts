/**
 * Bytes of a configuration change inside an entry, and the meaning of its transition.
 *
 * The library knows no protobuf, so that it has a small codec of its own: a version byte (1 = a single change of type
 * EntryConfChange, 2 = EntryConfChangeV2), then for version 2 a transition byte and a varint count, then per change a
 * type byte and a varint node id, then the context to the end. A configuration of no changes without context is zero
 * bytes, as in etcd, so that the proposal to leave a joint configuration weighs nothing against the quota.
 *
 * Decoding never throws: what a peer sent malformed is `undefined`.
 */
import { copyBytes, EMPTY_BYTES } from "../base/bytes.js";
import type {
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  ConfChangeV2,
  EntryType,
} from "./types.js";

const TYPES: readonly ConfChangeType[] = [
  "ConfChangeAddNode",
  "ConfChangeRemoveNode",
  "ConfChangeUpdateNode",
  "ConfChangeAddLearnerNode",
];
const TRANSITIONS: readonly ConfChangeTransition[] = [
  "ConfChangeTransitionAuto",
  "ConfChangeTransitionJointImplicit",
  "ConfChangeTransitionJointExplicit",
];
const CHANGES_MAX = 4096;

export function makeConfChange(
  changes: readonly ConfChangeSingle[],
  transition: ConfChangeTransition = "ConfChangeTransitionAuto",
  context: Uint8Array = EMPTY_BYTES,
): ConfChangeV2 {
  return { transition, changes, context };
}

function pushVarint(out: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
}

/**
 * The entry of a change. `EntryConfChange` is the older form of exactly one change; anything else needs
 * `EntryConfChangeV2`.
 */
export function encodeConfChange(change: ConfChangeV2, type: EntryType = "EntryConfChangeV2"): Uint8Array {
  const single = type === "EntryConfChange" && change.changes.length === 1;
  const empty = change.changes.length === 0 && change.context.length === 0;
  if (!single && empty && change.transition === "ConfChangeTransitionAuto") return EMPTY_BYTES;
  const out: number[] = [];
  if (single) {
    out.push(1);
  } else {
    out.push(2, TRANSITIONS.indexOf(change.transition));
    pushVarint(out, change.changes.length);
  }
  for (const one of change.changes) {
    out.push(TYPES.indexOf(one.type));
    pushVarint(out, one.nodeId);
  }
  const bytes = new Uint8Array(out.length + change.context.length);
  bytes.set(out);
  bytes.set(change.context, out.length);
  return bytes;
}

/** The change in an entry's data; `undefined` when malformed. */
export function decodeConfChange(data: Uint8Array): ConfChangeV2 | undefined {
  if (data.length === 0) return makeConfChange([]);
  let at = 1;
  let malformed = false;
  const byte = (): number => {
    if (at >= data.length) malformed = true;
    return data[at++] ?? 0;
  };
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; !malformed; scale *= 128) {
      const next = byte();
      value += (next & 127) * scale;
      if (value > Number.MAX_SAFE_INTEGER || scale > 2 ** 49) malformed = true;
      if (next < 128) break;
    }
    return value;
  };
  const version = data[0];
  if (version !== 1 && version !== 2) return undefined;
  const transition = version === 1 ? TRANSITIONS[0] : TRANSITIONS[byte()];
  const count = version === 1 ? 1 : varint();
  if (transition === undefined || count > CHANGES_MAX) return undefined;
  const changes: ConfChangeSingle[] = [];
  for (let i = 0; i < count && !malformed; i++) {
    const type = TYPES[byte()];
    const nodeId = varint();
    if (type === undefined) return undefined;
    changes.push({ type, nodeId });
  }
  if (malformed) return undefined;
  return { transition, changes, context: copyBytes(data.subarray(at)) };
}

/** How a change is to be carried out. */
export type ConfChangeMode =
  | { readonly kind: "simple" }
  | { readonly kind: "enterJoint"; readonly autoLeave: boolean }
  | { readonly kind: "leaveJoint" };

/** `Auto` takes the simple way where it can; otherwise the joint way is taken, left on its own unless `Explicit`. */
export function confChangeMode(change: ConfChangeV2): ConfChangeMode {
  if (change.transition === "ConfChangeTransitionAuto") {
    if (change.changes.length === 0) return { kind: "leaveJoint" };
    if (change.changes.length === 1) return { kind: "simple" };
  }
  return { kind: "enterJoint", autoLeave: change.transition !== "ConfChangeTransitionJointExplicit" };
}
