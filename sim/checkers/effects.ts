/**
 * 18 epoch check and 31 atomicity, on what is durable: in a batch that moves applied indexes, every key that is
 * written or deleted is one that an entry applied by that batch names, and that entry was proposed under the
 * version which its region has at that place of the log.
 *
 *   forall batch B, key k in B: exists region r, index i in (applied before, applied after]: k in keys(entry(r, i)),
 *   version(entry(r, i)) = version(r at i)
 */
import { compareBytes } from "../../base/index.js";
import { decodeAdmin } from "../../region/admin.js";
import { decodeCommand, visitWrites } from "../../region/command.js";
import { decodeEntry } from "../../region/entry-codec.js";
import type { DiskOperation } from "../engine.js";
import { Violation } from "../world.js";

/** A region whose applied index moves in the batch. */
export interface AppliedStep {
  readonly region: number;
  readonly from: number;
  readonly to: number;
  readonly versionBefore: number;
  readonly versionAfter: number;
  /** The entry's bytes on the disk; undefined when it came by snapshot. */
  readonly entryAt: (index: number) => Uint8Array | undefined;
}

class Named {
  readonly keys = new Set<string>();
  readonly ranges: (readonly [Uint8Array, Uint8Array])[] = [];

  has(key: Uint8Array): boolean {
    if (this.keys.has(latin1(key))) return true;
    return this.ranges.some(
      ([start, end]) => compareBytes(key, start) >= 0 && (end.length === 0 || compareBytes(key, end) < 0),
    );
  }
}

const latin1 = (bytes: Uint8Array): string =>
  String.fromCharCode.apply(undefined, bytes as unknown as number[]);
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16)).join(",");

/** Adds what the step's entries may write; false when they are not all known. */
function collect(step: AppliedStep, named: Named): boolean {
  let version = step.versionBefore === 0 ? step.versionAfter : step.versionBefore;
  for (let index = step.from + 1; index <= step.to; index++) {
    const bytes = step.entryAt(index);
    if (bytes === undefined) return false;
    const entry = decodeEntry(bytes);
    if (entry.type !== "EntryNormal" || entry.data.length === 0) continue;
    const command = decodeCommand(entry.data);
    if (command.kind === "admin") {
      const { epoch, command: admin } = decodeAdmin(command.request);
      if (admin.kind === "split" && epoch.version === version) version += admin.splits.length;
      continue;
    }
    if (command.epochVersion !== version) continue;
    const add = (_space: string, key: Uint8Array): void => void named.keys.add(latin1(key));
    visitWrites(command.body, {
      put: add,
      delete: add,
      deleteRange: (_, start, end) => void named.ranges.push([start.slice(), end.slice()]),
      compareAndSwap: (key) => void named.keys.add(latin1(key)),
    });
  }
  // A split that was refused for another reason than its version: then nothing is known of what follows.
  return version === step.versionAfter;
}

export function checkEffects(
  store: string,
  steps: readonly AppliedStep[],
  operations: readonly DiskOperation[],
): void {
  const named = new Named();
  for (const step of steps) if (!collect(step, named)) return;
  for (const { space, key } of operations) {
    if (space !== "default" || named.has(key)) continue;
    const regions = steps.map(({ region, from, to }) => `${region} from ${from} to ${to}`).join(", ");
    throw new Violation(
      "18 31 effects",
      `${store} writes key ${hex(key)}, which no valid entry names that it applies: regions ${regions}`,
    );
  }
}
