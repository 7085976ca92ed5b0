/**
 * The state machine of the tests: registers, counters, and a fingerprint of everything that was applied, in order.
 */
import { fromUtf8, utf8 } from "../../base/index.js";
import type { AppliedEntry, ApplyContext, StateMachine } from "../index.js";

export type TestCommand =
  | { readonly kind: "put"; readonly key: string; readonly value: string }
  | {
      readonly kind: "cas";
      readonly key: string;
      readonly expected: string | undefined;
      readonly value: string;
    }
  | { readonly kind: "count"; readonly key: string };

export interface TestResponse {
  readonly previous?: string | undefined;
  readonly swapped?: boolean;
  readonly count?: number;
}

interface Saved {
  readonly registers: [string, string][];
  readonly counters: [string, number][];
  readonly seen: string[];
  readonly hash: number;
}

export class TestMachine implements StateMachine<TestCommand, TestResponse> {
  registers = new Map<string, string>();
  counters = new Map<string, number>();
  /** Every (client, serial) that had an effect. */
  seen = new Set<string>();
  hash = 1;
  applied = 0;
  restores = 0;
  /** Called after each command with the fingerprint so far. */
  onApply: ((index: number, position: number, hash: number) => void) | undefined;
  onTwice: ((what: string) => void) | undefined;
  chunkBytes = 100;

  apply({ command, index, position }: AppliedEntry<TestCommand>, context: ApplyContext): TestResponse {
    this.applied++;
    const text = `${index} ${position} ${context.timeMs} ${JSON.stringify(command)}`;
    for (let i = 0; i < text.length; i++) this.hash = Math.imul(this.hash ^ text.charCodeAt(i), 0x01000193);
    this.onApply?.(index, position, this.hash);
    if (context.clientId !== undefined) {
      const what = `${context.clientId} ${context.serial}`;
      if (this.seen.has(what)) this.onTwice?.(what);
      this.seen.add(what);
    }
    const previous = this.registers.get("key" in command ? command.key : "");
    switch (command.kind) {
      case "put":
        this.registers.set(command.key, command.value);
        return { previous };
      case "cas": {
        const swapped = previous === (command.expected ?? undefined);
        if (swapped) this.registers.set(command.key, command.value);
        return { previous, swapped };
      }
      case "count": {
        const count = (this.counters.get(command.key) ?? 0) + 1;
        this.counters.set(command.key, count);
        return { count };
      }
    }
  }

  async *snapshot(): AsyncGenerator<Uint8Array> {
    const { registers, counters, seen, hash } = this;
    const saved: Saved = { registers: [...registers], counters: [...counters], seen: [...seen], hash };
    const bytes = utf8(JSON.stringify(saved));
    for (let at = 0; at < bytes.length; at += this.chunkBytes) yield bytes.slice(at, at + this.chunkBytes);
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let text = "";
    for await (const chunk of chunks) text += fromUtf8(chunk);
    const saved = JSON.parse(text) as Saved;
    this.registers = new Map(saved.registers);
    this.counters = new Map(saved.counters);
    this.seen = new Set(saved.seen);
    this.hash = saved.hash;
    this.restores++;
  }
}
