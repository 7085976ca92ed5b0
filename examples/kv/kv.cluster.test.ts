/** The key-value example as its README tells it. */
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MemoryGroupStorage } from "raftwerk/group";
import { type KvServer, startKvServer } from "./server.js";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const HTTP = { host: "127.0.0.1", port: 0 };
const config = { tickMs: 20 };

test("the example has fewer than 300 lines", () => {
  const lines = ["server.ts", "store.ts"].map(
    (name) => readFileSync(join(import.meta.dirname, name), "utf8").split("\n").length,
  );
  expect(lines.reduce((sum, count) => sum + count)).toBeLessThan(300);
});

test("three servers keep keys; one joins, one leaves", async () => {
  const members: Record<number, string> = {};
  for (const id of [1, 2, 3]) members[id] = `127.0.0.1:${await freePort()}`;
  const start = (id: number): Promise<KvServer> =>
    startKvServer({ id, listen: members[id], members, storage: new MemoryGroupStorage(), config }, HTTP);
  const [first, second, third] = (await Promise.all([1, 2, 3].map(start))) as [KvServer, KvServer, KvServer];
  const ask = async (server: KvServer, method: string, path: string, body?: string): Promise<unknown> =>
    (await fetch(`${server.url}${path}`, { method, ...(body === undefined ? {} : { body }) })).json();

  expect(await ask(first, "PUT", "/kv/color", "blue")).toMatchObject({ previous: null });
  expect(await ask(second, "GET", "/kv/color")).toEqual({ key: "color", value: "blue" });
  expect(await ask(third, "PUT", "/kv/color", "red")).toMatchObject({ previous: "blue" });
  expect(await ask(first, "PUT", `/kv/${"x".repeat(2_000)}`, "v")).toEqual({
    error: "the key is longer than 1024",
  });

  const ticket = (await ask(third, "GET", "/join")) as { groupId: string; join: string[] };
  expect(ticket.join).toEqual(Object.values(members));
  const joining = { listen: `127.0.0.1:${await freePort()}`, ...ticket };
  const fourth = await startKvServer({ ...joining, storage: new MemoryGroupStorage(), config }, HTTP);
  expect(await ask(fourth, "GET", "/kv/color")).toEqual({ key: "color", value: "red" });
  expect(await ask(first, "POST", "/leave")).toEqual({ left: 1 });
  await expect.poll(async () => (await ask(second, "GET", "/members")) as unknown[]).toHaveLength(3);
  expect(await ask(fourth, "DELETE", "/kv/color")).toMatchObject({ previous: "red" });
  expect(await ask(second, "GET", "/kv/color")).toEqual({ error: "no such key" });
  expect(await ask(second, "GET", "/debug/status")).toMatchObject({ phase: "running" });
  expect(await (await fetch(`${second.url}/metrics`)).text()).toContain("raftwerk_group_applied_index");
  for (const server of [first, second, third, fourth]) await server[Symbol.asyncDispose]();
});
