/**
 * `raftwerk kv`: single keys from the shell, for a first look and for scripts. Keys and values are text, or hex
 * with --hex.
 */
import type { Command } from "commander";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { fromHex, fromUtf8, RaftwerkError, SILENT_LOGGER, toHex, utf8 } from "../base/index.js";
import { RawClient } from "../client/index.js";

const TIMEOUT_MS = 5_000;

interface KvFlags {
  readonly pd: string;
  readonly hex?: boolean;
  readonly apiVersion: string;
}
interface ScanFlags {
  readonly limit: string;
  readonly reverse?: boolean;
}

export function registerKv(program: Command): void {
  const kv = program
    .command("kv")
    .description("put, get, delete and scan keys")
    .option("--pd <addresses>", "PD's addresses, separated by commas", "127.0.0.1:2379")
    .option("--hex", "keys and values are hex")
    .option("--api-version <version>", "1, or 2 for stores with storage.api-version = 2", "1");
  const withClient = async (run: (client: RawClient, codec: TextCodec) => Promise<void>): Promise<void> => {
    const flags = kv.opts<KvFlags>();
    const network = new GrpcNetwork();
    const client = new RawClient(nodeEnv(SILENT_LOGGER), network, {
      pdEndpoints: flags.pd.split(","),
      timeoutMs: TIMEOUT_MS,
      apiVersion: apiVersionOf(flags.apiVersion),
    });
    try {
      await client.connect();
      await run(client, flags.hex === true ? HEX : TEXT);
    } finally {
      client.close();
      network.close();
    }
  };
  const say = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  kv.command("put <key> <value>")
    .option("--ttl <seconds>", "the key is gone after this time; 0: never", "0")
    .action((key: string, value: string, { ttl }: { ttl: string }) =>
      withClient((client, { read }) =>
        client.put(read(key), read(value), { ttlSeconds: wholeNumber("--ttl", ttl) }),
      ),
    );
  kv.command("get <key>").action((key: string) =>
    withClient(async (client, { read, show }) => {
      const value = await client.get(read(key));
      if (value !== undefined) return say(show(value));
      process.stderr.write("no such key\n");
      process.exitCode = 1;
    }),
  );
  kv.command("delete <key>").action((key: string) =>
    withClient((client, { read }) => client.delete(read(key))),
  );
  kv.command("scan [start] [end]")
    .option("--limit <n>", "rows at most", "100")
    .option("--reverse", "from the end of the range")
    .action((start: string | undefined, end: string | undefined, { limit, reverse }: ScanFlags) =>
      withClient(async (client, { read, show }) => {
        const options = {
          start: read(start ?? ""),
          end: read(end ?? ""),
          limit: wholeNumber("--limit", limit),
          reverse: reverse === true,
        };
        for await (const { key, value } of client.scan(options)) say(`${show(key)}\t${show(value)}`);
      }),
    );
  kv.command("delete-range <start> <end>").action((start: string, end: string) =>
    withClient((client, { read }) => client.deleteRange(read(start), read(end))),
  );
}

interface TextCodec {
  readonly read: (text: string) => Uint8Array;
  readonly show: (bytes: Uint8Array) => string;
}

const TEXT: TextCodec = { read: utf8, show: fromUtf8 };
const HEX: TextCodec = {
  read(text) {
    const bytes = fromHex(text);
    if (bytes !== undefined) return bytes;
    throw new RaftwerkError("invalidArgument", `"${text}" is not hex`, { retry: "never" });
  },
  show: toHex,
};

function apiVersionOf(text: string): 1 | 2 {
  if (text === "1" || text === "2") return text === "1" ? 1 : 2;
  throw new RaftwerkError("invalidArgument", `--api-version must be 1 or 2, not "${text}"`, {
    retry: "never",
  });
}

function wholeNumber(name: string, text: string): number {
  if (/^[0-9]{1,12}$/.test(text)) return Number(text);
  throw new RaftwerkError("invalidArgument", `${name} must be a whole number, not "${text}"`, {
    retry: "never",
  });
}
