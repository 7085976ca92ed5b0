/** PD asks a store's status port for its settings. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Registry } from "prom-client";
import { afterEach, describe, expect, test } from "vitest";
import { describeStoreConfig } from "../ctl/store-config.js";
import { regionSizesOf } from "../pd/region-sizes.js";
import { DEFAULT_STORE_CONFIG } from "../store/index.js";
import { createLogger } from "./logger.js";
import { StatusServer } from "./status-server.js";
import { fetchStoreConfig } from "./store-settings.js";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const fetched = (address: string): Promise<string> =>
  new Promise((resolve, reject) =>
    fetchStoreConfig(address, (error, body) => (error === undefined ? resolve(body) : reject(error))),
  );

describe("a store's settings", () => {
  test("come from its status port, and PD reads its sizes of regions from them", async () => {
    const config = { ...DEFAULT_STORE_CONFIG, regionMaxBytes: 30 << 20, regionSplitBytes: 20 << 20 };
    const server = await StatusServer.listen({
      host: "127.0.0.1",
      port: 0,
      source: {
        status: () => ({}),
        region: () => undefined,
        config: () => describeStoreConfig(config, 1 << 30),
        isReady: () => true,
      },
      registry: new Registry(),
      log: createLogger({ level: "error", file: "", format: "json", redactKeys: false }),
    });
    closers.push(() => server.close());
    const sizes = regionSizesOf(JSON.parse(await fetched(`127.0.0.1:${server.port}`)));
    expect(sizes).toEqual({
      maxMib: 30,
      splitMib: 20,
      maxKeys: 1_440_000,
      splitKeys: 960_000,
      hasBuckets: false,
    });
    expect(await fetched(`http://127.0.0.1:${server.port}`)).toContain("region-max-size");
  });

  const serve = async (answer: Parameters<typeof createServer>[1]): Promise<string> => {
    const server: Server = createServer(answer as never);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  test("are refused with the reason where nobody listens, and where the answer is an error or endless", async () => {
    await expect(fetched("127.0.0.1:1")).rejects.toThrow("ECONNREFUSED");
    await expect(fetched("no address at all")).rejects.toThrow("Invalid URL");
    await expect(fetched("gopher://127.0.0.1:1")).rejects.toThrow("Protocol");
    const failing = await serve((_request, response) => void response.writeHead(500).end("no"));
    await expect(fetched(failing)).rejects.toThrow("status 500");
    const endless = await serve((_request, response) => {
      const more = (): void => {
        if (!response.destroyed) response.write("x".repeat(100_000), more);
      };
      more();
    });
    await expect(fetched(endless)).rejects.toThrow("larger than");
  });
});
