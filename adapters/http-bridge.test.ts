/** Addresses of all kinds reach the handler as they are, and none of them ends the process. */
import { createServer, request as httpRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bridge, type PlainRequest } from "./http-bridge.js";

let server: Server;
const seen: PlainRequest[] = [];
const fatal: Error[] = [];

beforeEach(async () => {
  seen.length = 0;
  fatal.length = 0;
  const handle = bridge(
    (request, reply) => {
      seen.push(request);
      reply(200, "text/plain", "ok");
    },
    (error) => void fatal.push(error),
  );
  server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

function get(path: string): Promise<number> {
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port, host: "127.0.0.1", path, agent: false }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
    });
    sent.on("error", reject);
    sent.end();
  });
}

test("names of a query that every JavaScript object knows are names like any other", async () => {
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    expect(await get(`/pd/api/v1/stores?${name}=1&${name}=2`)).toBe(200);
    expect(seen.at(-1)?.query[name]).toEqual(["1", "2"]);
  }
  expect(fatal).toEqual([]);
});

test("encoded slashes stay encoded, dots cannot climb out, and long addresses are read", async () => {
  expect(await get("/pd/api/v1/region/key/a%2Fb%00")).toBe(200);
  expect(seen.at(-1)?.path).toBe("/pd/api/v1/region/key/a%2Fb%00");
  for (const path of ["/pd/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd"]) {
    expect(await get(path)).toBe(200);
    expect(seen.at(-1)?.path).not.toContain("..");
  }
  expect(await get(`/${"x".repeat(8_000)}`)).toBe(200);
  expect(await get(`/${"x".repeat(80_000)}`)).toBe(431);
  expect(fatal).toEqual([]);
});
