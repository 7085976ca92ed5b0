/**
 * A fault-tolerant key-value server over HTTP. Every server answers every request: writes go to the leader by
 * themselves, reads are linearizable, or local with `?local`. See README.md beside this file.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { GroupNode, type GroupNodeOptions, RaftwerkError } from "raftwerk/group";
import { type KvCommand, type KvResponse, KvStore } from "./store.js";

type Options = Pick<
  GroupNodeOptions<KvCommand, KvResponse>,
  "id" | "listen" | "members" | "join" | "groupId" | "storage" | "config" | "log"
>;

export interface KvServer extends AsyncDisposable {
  readonly node: GroupNode<KvCommand, KvResponse>;
  readonly url: string;
}

const VALUE_BYTES_MAX = 1 << 20;

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > VALUE_BYTES_MAX)
      throw new RaftwerkError("invalidArgument", "the value is too long", { retry: "never" });
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

const statusOf = (error: unknown): number => {
  if (!(error instanceof RaftwerkError)) return 500;
  if (error.code === "commandRefused" || error.code === "invalidArgument") return 400;
  // 503: nothing happened, ask again. 504: it may have happened.
  return error.retry === "safe" ? 503 : error.retry === "unknown" ? 504 : 500;
};

type Answer = { readonly status: number; readonly body: unknown };
type Route = (request: IncomingMessage, url: URL) => Promise<Answer>;

const ok = (body: unknown): Answer => ({ status: 200, body });

function keyRoute(node: GroupNode<KvCommand, KvResponse>, store: KvStore): Route {
  return async (request, url) => {
    const key = decodeURIComponent(url.pathname.slice("/kv/".length));
    switch (request.method) {
      case "GET": {
        const value = url.searchParams.has("local")
          ? node.readLocal(() => store.get(key))
          : await node.read(() => store.get(key));
        return value === undefined ? { status: 404, body: { error: "no such key" } } : ok({ key, value });
      }
      case "PUT":
        return ok(await node.propose({ kind: "put", key, value: await bodyOf(request) }));
      case "DELETE":
        return ok(await node.propose({ kind: "delete", key }));
      default:
        return { status: 405, body: { error: "GET, PUT or DELETE" } };
    }
  };
}

function routes(node: GroupNode<KvCommand, KvResponse>, store: KvStore): Readonly<Record<string, Route>> {
  const id = (url: URL): number => Number(url.searchParams.get("id"));
  return {
    "GET /members": async () => ok(node.members),
    // A ticket: whom a new member asks for its id. It starts with `--join http://this-server`.
    "GET /join": async () => ok({ groupId: node.groupId, join: node.members.map(({ address }) => address) }),
    "POST /leave": async () => {
      await node.remove(node.id);
      return ok({ left: node.id });
    },
    "POST /remove": async (_request, url) => {
      await node.remove(id(url));
      return ok({ removed: id(url) });
    },
    "POST /transfer": async (_request, url) => {
      await node.transferLeader(id(url));
      return ok({ leader: id(url) });
    },
    "GET /debug/status": async () => ok(node.status),
    "GET /debug/keys": async () => ok({ keys: node.readLocal(() => store.size) }),
    "POST /debug/snapshot": async () => ok({ index: await node.snapshotNow() }),
    "GET /metrics": async () => ok(await node.metrics().metrics()),
  };
}

export async function startKvServer(
  options: Options,
  http: { host: string; port: number },
): Promise<KvServer> {
  const store = new KvStore();
  const node = await GroupNode.start({ ...options, stateMachine: store });
  const table = routes(node, store);
  const onKey = keyRoute(node, store);
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://server");
    const route = url.pathname.startsWith("/kv/") ? onKey : table[`${request.method} ${url.pathname}`];
    let answer: Answer;
    try {
      answer =
        route === undefined ? { status: 404, body: { error: "no such route" } } : await route(request, url);
    } catch (error) {
      answer = { status: statusOf(error), body: { error: (error as Error).message } };
    }
    const isText = typeof answer.body === "string";
    response.writeHead(answer.status, { "content-type": isText ? "text/plain" : "application/json" });
    response.end(isText ? answer.body : `${JSON.stringify(answer.body)}\n`);
  };
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(http.port, http.host, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    node,
    url: `http://${http.host}:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await node.close();
    },
  };
}

/** Addresses of members, or the URL of a server that gives a ticket. */
async function ticket(
  text: string,
): Promise<{ readonly groupId?: string; readonly join: readonly string[] }> {
  if (!text.startsWith("http")) return { join: text.split(",") };
  const response = await fetch(new URL("/join", text));
  return (await response.json()) as { groupId: string; join: string[] };
}

/** `1=host:port,2=host:port` */
const membersOf = (text: string): Record<number, string> =>
  Object.fromEntries(text.split(",").map((part) => part.split("=") as [string, string]));

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      id: { type: "string" },
      listen: { type: "string" },
      http: { type: "string", default: "127.0.0.1:8001" },
      data: { type: "string", default: "kv-data" },
      members: { type: "string" },
      join: { type: "string" },
    },
  });
  const [host = "127.0.0.1", port = "8001"] = values.http.split(":");
  const server = await startKvServer(
    {
      id: values.id === undefined ? undefined : Number(values.id),
      listen: values.listen,
      members: values.members === undefined ? undefined : membersOf(values.members),
      ...(values.join === undefined ? {} : await ticket(values.join)),
      storage: values.data,
    },
    { host, port: Number(port) },
  );
  process.stdout.write(`member ${server.node.id} serves at ${server.url}\n`);
  server.node.on("stopped", ({ error }) => {
    if (error === undefined) return;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
  server.node.on("removed", () => process.exit(0));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void server[Symbol.asyncDispose]().then(() => process.exit(0)));
  }
}

if (process.argv[1]?.endsWith("server.ts")) {
  main().catch((error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
}
