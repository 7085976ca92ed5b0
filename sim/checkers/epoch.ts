/**
 * 12 An epoch means one thing, and 14 a peer id is used once.
 *
 *   (region, version, conf_ver) -> (range, peers) is a function
 *   peer id -> (region, store) is a function
 *   of one peer, version and conf_ver never fall
 */
import { toHex } from "../../base/index.js";
import type { Region } from "../../region/region.js";
import { Violation } from "../world.js";

export class Epochs {
  readonly #epochs = new Map<string, string>();
  readonly #owners = new Map<number, string>();
  /** The greatest versions that any peer has shown. */
  readonly #greatest = new Map<number, { version: number; confVer: number }>();

  /** A peer's region changed. */
  grows(before: Region, now: Region, where: string): void {
    const [old, next] = [before.epoch, now.epoch];
    if (next.version >= old.version && next.confVer >= old.confVer) return;
    throw new Violation(
      "12 epoch",
      `${where}: region ${now.id} went from ${old.version}/${old.confVer} back to ${next.version}/${next.confVer}`,
    );
  }

  /** The greatest epoch of a region that was real. */
  greatest(region: number): { readonly version: number; readonly confVer: number } | undefined {
    return this.#greatest.get(region);
  }

  /** Of a region as a peer that has data shows it. */
  shows(region: Region, where: string): void {
    const { version, confVer } = region.epoch;
    const key = `${region.id} ${version} ${confVer}`;
    const greatest = this.#greatest.get(region.id);
    if (greatest === undefined) this.#greatest.set(region.id, { version, confVer });
    else {
      greatest.version = Math.max(greatest.version, version);
      greatest.confVer = Math.max(greatest.confVer, confVer);
    }
    const members = region.peers.map(({ id, storeId, role }) => `${id}@${storeId} ${role}`).sort();
    const content = `${toHex(region.startKey)} ${toHex(region.endKey)} ${members.join()}`;
    const known = this.#epochs.get(key);
    if (known === undefined) this.#epochs.set(key, content);
    else if (known !== content) {
      throw new Violation(
        "12 epoch",
        `${where}: region, version, conf ${key} is ${content} and was ${known}`,
      );
    }
    for (const { id, storeId } of region.peers) {
      const owner = `region ${region.id} on store ${storeId}`;
      const before = this.#owners.get(id);
      if (before !== undefined && before !== owner)
        throw new Violation("14 peer ids", `${id} is of ${before} and ${owner}`);
      this.#owners.set(id, owner);
    }
  }
}
