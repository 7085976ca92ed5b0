/** A replicated map: the state machine of the key-value example. */
import type { AppliedEntry, StateMachine } from "raftwerk/group";

export type KvCommand =
  | { readonly kind: "put"; readonly key: string; readonly value: string }
  | { readonly kind: "delete"; readonly key: string };

export interface KvResponse {
  /** Index of the log entry: grows with each change. */
  readonly revision: number;
  readonly previous: string | null;
}

const KEY_LENGTH_MAX = 1_024;
/** Pairs in one chunk of a snapshot. */
const CHUNK_PAIRS = 1_000;

export class KvStore implements StateMachine<KvCommand, KvResponse> {
  readonly #pairs = new Map<string, string>();

  get(key: string): string | undefined {
    return this.#pairs.get(key);
  }

  get size(): number {
    return this.#pairs.size;
  }

  validate(command: KvCommand): void {
    if (command.key.length === 0) throw new Error("the key is empty");
    if (command.key.length > KEY_LENGTH_MAX) throw new Error(`the key is longer than ${KEY_LENGTH_MAX}`);
  }

  apply({ command, index }: AppliedEntry<KvCommand>): KvResponse {
    const previous = this.#pairs.get(command.key) ?? null;
    if (command.kind === "put") this.#pairs.set(command.key, command.value);
    else this.#pairs.delete(command.key);
    return { revision: index, previous };
  }

  async *snapshot(): AsyncGenerator<Uint8Array> {
    let part: [string, string][] = [];
    for (const pair of this.#pairs) {
      part.push(pair);
      if (part.length < CHUNK_PAIRS) continue;
      yield Buffer.from(JSON.stringify(part));
      part = [];
    }
    yield Buffer.from(JSON.stringify(part));
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    this.#pairs.clear();
    for await (const chunk of chunks) {
      const part = JSON.parse(Buffer.from(chunk).toString()) as [string, string][];
      for (const [key, value] of part) this.#pairs.set(key, value);
    }
  }
}
