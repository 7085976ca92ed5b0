/** A member in a process of its own; its parent gives it operations over the process channel, and kills it. */
import { GroupNode, RaftwerkError } from "../../adapters/group-entry.js";
import { type TestCommand, TestMachine } from "./machine.js";

export interface ProcessOptions {
  readonly id: number;
  readonly members: Readonly<Record<number, string>>;
  readonly directory: string;
  readonly reads: "readIndex" | "lease";
}

export type ProcessRequest =
  | { readonly request: number; readonly kind: "propose"; readonly command: TestCommand }
  | { readonly request: number; readonly kind: "read"; readonly key: string }
  | { readonly request: number; readonly kind: "status" };

export interface ProcessAnswer {
  readonly request: number;
  readonly value?: unknown;
  readonly error?: { readonly code: string; readonly retry: string; readonly message: string };
}

async function main({ id, members, directory, reads }: ProcessOptions): Promise<void> {
  const machine = new TestMachine();
  machine.chunkBytes = 10_000;
  const node = await GroupNode.start({
    id,
    members,
    listen: members[id] as string,
    storage: directory,
    stateMachine: machine,
    config: { tickMs: 50, reads, timeoutMs: 3_000, snapshots: { entries: 200, keepEntries: 20 } },
  });
  node.on("stopped", ({ error }) => {
    process.stderr.write(`member ${id}: ${error?.message ?? "closed"}\n`);
    process.exit(1);
  });
  const serve = (request: ProcessRequest): Promise<unknown> => {
    switch (request.kind) {
      case "propose":
        return node.propose(request.command);
      case "read":
        return node.read(() => machine.registers.get(request.key));
      case "status":
        return Promise.resolve(node.status);
    }
  };
  const answer = (message: ProcessAnswer): void => void process.send?.(message);
  process.on("message", (message: ProcessRequest) => {
    const { request } = message;
    serve(message).then(
      (value) => answer({ request, value }),
      (error: Error) => {
        const { code, retry } = error instanceof RaftwerkError ? error : { code: "bug", retry: "unknown" };
        answer({ request, error: { code, retry, message: error.message } });
      },
    );
  });
  process.on("disconnect", () => process.exit(0));
  answer({ request: 0 });
}

main(JSON.parse(process.argv[2] as string) as ProcessOptions).catch((error: Error) => {
  process.stderr.write(`${error.stack ?? error.message}\n`);
  process.exit(1);
});
