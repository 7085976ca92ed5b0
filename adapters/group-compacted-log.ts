/**
 * Keeps the entries that leave a member's log: files of JSON lines named by their first index, synced before the
 * entries are deleted from the log, the oldest removed when all together outgrow their limit.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { CompactedLog, Done, Entry } from "../group/index.js";

export interface CompactedLogOptions {
  readonly directory: string;
  /** Of all files together. Default 1 GiB. */
  readonly bytesMax?: number;
}

const NAME = /^[0-9]{16}\.jsonl$/;

export class CompactedLogFiles implements CompactedLog {
  readonly #directory: string;
  readonly #bytesMax: number;

  constructor({ directory, bytesMax = 1 << 30 }: CompactedLogOptions) {
    this.#directory = directory;
    this.#bytesMax = bytesMax;
    mkdirSync(directory, { recursive: true });
  }

  write(entries: readonly Entry[], done: Done): void {
    const first = entries[0];
    if (first === undefined) return done(undefined);
    try {
      const text = entries
        .map(({ index, term, type, data }) =>
          JSON.stringify({ index, term, type, data: Buffer.from(data).toString("base64") }),
        )
        .join("\n");
      const name = `${String(first.index).padStart(16, "0")}.jsonl`;
      // Written again after a crash in between: the same entries under the same name.
      const file = openSync(join(this.#directory, name), "w");
      try {
        writeSync(file, `${text}\n`);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      this.#removeOldest();
    } catch (error) {
      return done(error as Error);
    }
    done(undefined);
  }

  #removeOldest(): void {
    const names = readdirSync(this.#directory)
      .filter((name) => NAME.test(name))
      .sort();
    const sizes = names.map((name) => statSync(join(this.#directory, name)).size);
    let total = sizes.reduce((sum, size) => sum + size, 0);
    for (let i = 0; i < names.length - 1 && total > this.#bytesMax; i++) {
      unlinkSync(join(this.#directory, names[i] as string));
      total -= sizes[i] as number;
    }
  }
}
