/**
 * A member process of `bench group`: a register that counts, on disk, over gRPC. The one that leads runs the load in
 * its own process, as an application around a group does, when its parent says so; figures go back as messages.
 */
import { bytesCodec, GroupNode, type StateMachine } from "../adapters/group-entry.js";
import { distribution, type Distribution } from "./latencies.js";

export interface MemberArgs {
  readonly id: number;
  readonly members: Readonly<Record<number, string>>;
  readonly directory: string;
  readonly engine: "auto" | "rocksdb" | "leveldb";
}

export type BenchOrder =
  | {
      readonly kind: "propose";
      readonly inFlight: number;
      readonly bytes: number;
      readonly warmUpMs: number;
      readonly ms: number;
    }
  | { readonly kind: "read"; readonly inFlight: number; readonly warmUpMs: number; readonly ms: number }
  | { readonly kind: "readLocal"; readonly ms: number }
  | { readonly kind: "stop" };

export type BenchReport =
  | { readonly kind: "ready"; readonly isLeader: boolean }
  | { readonly kind: "leader"; readonly isLeader: boolean }
  | {
      readonly kind: "done";
      readonly perSecond: number;
      readonly latency: Distribution | undefined;
      /** Share of a core that this process used. */
      readonly cpu: number;
      readonly commandsPerEntry: number;
    };

/** Keeps the last command and a count: the work of the group, not of an application, is measured. */
class Register implements StateMachine<Uint8Array, Uint8Array> {
  count = 0;
  value: Uint8Array = new Uint8Array(0);

  apply({ command }: { readonly command: Uint8Array }): Uint8Array {
    this.count++;
    this.value = command;
    return EMPTY;
  }
  async *snapshot(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(JSON.stringify({ count: this.count, value: Buffer.from(this.value).toString("hex") }));
  }
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let text = "";
    for await (const chunk of chunks) text += Buffer.from(chunk).toString();
    const { count, value } = JSON.parse(text) as { count: number; value: string };
    this.count = count;
    this.value = Buffer.from(value, "hex");
  }
}

const EMPTY = new Uint8Array(0);
const report = (message: BenchReport): void => void process.send?.(message);

async function closedLoop(
  operation: () => Promise<unknown>,
  inFlight: number,
  warmUpMs: number,
  ms: number,
): Promise<{ readonly perSecond: number; readonly latency: Distribution }> {
  const latencies: number[] = [];
  const measuredFrom = performance.now() + warmUpMs;
  const until = measuredFrom + ms;
  let finished = 0;
  const worker = async (): Promise<void> => {
    for (;;) {
      const began = performance.now();
      if (began >= until) return;
      await operation();
      const ended = performance.now();
      if (ended < measuredFrom || ended > until) continue;
      finished++;
      latencies.push(ended - began);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return { perSecond: (finished / ms) * 1000, latency: distribution(latencies) };
}

async function serve(args: MemberArgs): Promise<void> {
  const register = new Register();
  const { id, members, directory, engine } = args;
  const node = await GroupNode.start({
    id,
    members,
    listen: members[id] as string,
    storage: directory,
    engine,
    stateMachine: register,
    commandCodec: bytesCodec,
    responseCodec: bytesCodec,
  });
  node.on("leader", ({ isSelf }) => report({ kind: "leader", isLeader: isSelf }));
  report({ kind: "ready", isLeader: node.isLeader });
  const run = async (order: Exclude<BenchOrder, { kind: "stop" }>): Promise<void> => {
    const cpu = process.cpuUsage();
    const before = node.status.counters;
    const began = performance.now();
    let result: { readonly perSecond: number; readonly latency?: Distribution };
    if (order.kind === "propose") {
      const command = new Uint8Array(order.bytes).map((_, i) => i & 0xff);
      result = await closedLoop(() => node.propose(command), order.inFlight, order.warmUpMs, order.ms);
    } else if (order.kind === "read") {
      const query = (): number => register.count;
      result = await closedLoop(() => node.read(query), order.inFlight, order.warmUpMs, order.ms);
    } else {
      let reads = 0;
      const until = performance.now() + order.ms;
      while (performance.now() < until) {
        for (let i = 0; i < 1000; i++) node.readLocal(() => register.value);
        reads += 1000;
      }
      result = { perSecond: (reads / order.ms) * 1000 };
    }
    const { user, system } = process.cpuUsage(cpu);
    const after = node.status.counters;
    const entries = after.entriesProposed - before.entriesProposed;
    report({
      kind: "done",
      perSecond: result.perSecond,
      latency: result.latency,
      cpu: (user + system) / 1000 / (performance.now() - began),
      commandsPerEntry: entries === 0 ? 0 : (after.proposals - before.proposals) / entries,
    });
  };
  process.on("message", (order: BenchOrder) => {
    if (order.kind === "stop") void node.close().then(() => process.exit(0));
    else
      run(order).catch((error: Error) => {
        process.stderr.write(`${error.message}\n`);
        process.exit(1);
      });
  });
  process.on("disconnect", () => process.exit(0));
}

const args = process.argv[2];
if (process.send !== undefined && args?.startsWith("{")) {
  serve(JSON.parse(args) as MemberArgs).catch((error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
}
