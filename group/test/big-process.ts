/**
 * A member whose state is made up of as many bytes as asked for, without being in memory: a chunk is computed when it
 * is yielded, and checked when it is restored. It tells its parent how much memory it used at most.
 */
import { bytesCodec, GroupNode, type StateMachine } from "../../adapters/group-entry.js";

export interface BigOptions {
  readonly id: number;
  readonly listen: string;
  readonly join: string | undefined;
  readonly directory: string;
  readonly chunks: number;
}

export interface BigReport {
  readonly kind: "started" | "restored" | "peak";
  readonly chunks: number;
  readonly heapBytes: number;
  /** Outside of the heap: buffers. */
  readonly externalBytes: number;
}

const CHUNK_BYTES = 1 << 20;

function chunkOf(number: number): Uint8Array {
  const words = new Uint32Array(CHUNK_BYTES / 4);
  let word = Math.imul(number + 1, 0x9e3779b1);
  for (let i = 0; i < words.length; i++) {
    word = (Math.imul(word, 1664525) + 1013904223) | 0;
    words[i] = word;
  }
  return new Uint8Array(words.buffer);
}

class BigState implements StateMachine<Uint8Array, Uint8Array> {
  chunks: number;
  readonly snapshotsConcurrently = true;
  constructor(chunks: number) {
    this.chunks = chunks;
  }
  apply(): Uint8Array {
    return new Uint8Array(0);
  }
  async *snapshot(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < this.chunks; i++) yield chunkOf(i);
  }
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    this.chunks = 0;
    for await (const chunk of chunks) {
      const expected = chunkOf(this.chunks++);
      if (Buffer.compare(chunk, expected) !== 0) throw new Error(`chunk ${this.chunks - 1} is wrong`);
      // As an application does that writes it somewhere.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function main({ id, listen, join, directory, chunks }: BigOptions): Promise<void> {
  const state = new BigState(join === undefined ? chunks : 0);
  const peak = { heapBytes: 0, externalBytes: 0 };
  setInterval(() => {
    const { heapUsed, external } = process.memoryUsage();
    peak.heapBytes = Math.max(peak.heapBytes, heapUsed);
    peak.externalBytes = Math.max(peak.externalBytes, external);
  }, 20);
  const tell = (kind: BigReport["kind"]): void =>
    void process.send?.({ kind, chunks: state.chunks, ...peak });
  const node = await GroupNode.start({
    id,
    listen,
    ...(join === undefined ? { members: { [id]: listen } } : { join: [join] }),
    storage: directory,
    stateMachine: state,
    commandCodec: bytesCodec,
    responseCodec: bytesCodec,
    config: { snapshots: { entries: 0, bytes: 0, keepEntries: 0, sendBytesPerSecond: 0 } },
  });
  node.on("stopped", ({ error }) => {
    process.stderr.write(`${error?.message ?? "closed"}\n`);
    process.exit(1);
  });
  node.on("snapshot", ({ kind }) => {
    if (kind === "installed") tell("restored");
  });
  if (join === undefined) {
    await node.propose(new Uint8Array(10));
    await node.snapshotNow();
  }
  tell("started");
  process.on("message", () => tell("peak"));
  process.on("disconnect", () => process.exit(0));
}

main(JSON.parse(process.argv[2] as string) as BigOptions).catch((error: Error) => {
  process.stderr.write(`${error.stack ?? error.message}\n`);
  process.exit(1);
});
