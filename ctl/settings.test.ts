/** Settings from flags and TOML files: what is unknown or wrong is refused, and what is printed can be read again. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parse } from "smol-toml";
import { loadPdConfig } from "./pd-config.js";
import { registerPd } from "./pd-command.js";
import { loadStoreConfig } from "./store-config.js";
import { registerStore } from "./store-command.js";
import { advertisedAddress } from "./units.js";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "raftwerk-settings-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(text: string): string {
  const path = join(directory, `${Math.random()}.toml`);
  writeFileSync(path, text);
  return path;
}

/** What `raftwerk WORDS --print-config` prints. */
async function printed(...words: string[]): Promise<string> {
  const program = new Command("raftwerk").exitOverride();
  registerPd(program);
  registerStore(program, "unused");
  let text = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    await program.parseAsync(["node", "raftwerk", ...words, "--print-config"]);
    return text;
  } finally {
    write.mockRestore();
  }
}

test.each([
  ["[raftstore]\nraft-base-tick = '1s'\n", "unknown key raftstore.raft-base-tick"],
  ["[raftstor]\n", "unknown key raftstor"],
  ["[server]\naddr = 7\n", "server.addr"],
  ["[storage]\napi-version = 3\n", "storage.api-version"],
  ["[storage]\nengine = 'titan'\n", "storage.engine"],
  ["[coprocessor]\nregion-split-size = 'big'\n", 'coprocessor.region-split-size: "big" is no size'],
  ["[raftstore]\nraft-base-tick-interval = '5'\n", 'raft-base-tick-interval: "5" is no duration'],
  ["[raftstore]\nraft-heartbeat-ticks = 1.5\n", "raftstore.raft-heartbeat-ticks"],
  ["[raftstore\n", "config file"],
])("a store's file with %j is refused with its place", (text, message) => {
  expect(() => loadStoreConfig(file(text))).toThrow(message);
});

test.each([
  ["lease = 3\n", "unknown key lease"],
  ["[schedul]\n", "unknown key schedul"],
  ["[log]\nlevel = 3\n", "log.level"],
])("PD's file with %j is refused with its place", (text, message) => {
  expect(() => loadPdConfig(file(text))).toThrow(message);
});

test("a store's settings keep TiKV's names and units", () => {
  const { store, labels, endpoints } = loadStoreConfig(
    file(
      "[server]\nlabels = { zone = 'a' }\n[pd]\nendpoints = ['127.0.0.1:2379']\n" +
        "[raftstore]\npd-heartbeat-tick-interval = '1m30s'\n" +
        "[coprocessor]\nregion-split-size = '64MiB'\nregion-max-size = '1GB'\n",
    ),
  );
  expect([store.pdHeartbeatTickMs, store.regionSplitBytes, store.regionMaxBytes]).toEqual([
    90_000,
    64 << 20,
    1 << 30,
  ]);
  expect([labels, endpoints]).toEqual([{ zone: "a" }, ["127.0.0.1:2379"]]);
});

test("what a store prints is a file that says the same, and flags win over the file", async () => {
  const given = file(
    "[server]\naddr = '127.0.0.1:1'\nlabels = { zone = 'a' }\n[storage]\napi-version = 2\nenable-ttl = true\n" +
      "[raftstore]\nraft-election-timeout-ticks = 20\ncapacity = '10GiB'\n",
  );
  const flags = ["--addr", "127.0.0.1:2", "--labels", "host=h", "--pd", "127.0.0.1:3,127.0.0.1:4"];
  const text = await printed("store", "--config", given, ...flags);
  expect(parse(text)).toMatchObject({
    server: { addr: "127.0.0.1:2", "advertise-addr": "127.0.0.1:2", labels: { zone: "a", host: "h" } },
    storage: { "api-version": 2, "enable-ttl": true, engine: "auto" },
    raftstore: { "raft-election-timeout-ticks": 20, capacity: "10GiB" },
    pd: { endpoints: ["127.0.0.1:3", "127.0.0.1:4"] },
  });
  expect(await printed("store", "--config", file(text))).toBe(text);
});

test("a store that listens on all addresses is known to others under its own, its status port too", async () => {
  const known = async (...flags: string[]): Promise<unknown> => {
    const { server } = parse(await printed("store", ...flags)) as { server: Record<string, string> };
    return server["advertise-status-addr"];
  };
  const everywhere = ["--addr", "0.0.0.0:20160", "--advertise-addr", "10.0.0.1:20160"];
  expect(await known(...everywhere, "--status-addr", "0.0.0.0:7")).toBe("10.0.0.1:7");
  expect(await known(...everywhere, "--status-addr", "[::]:7")).toBe("10.0.0.1:7");
  expect(await known(...everywhere, "--status-addr", "10.0.0.2:7")).toBe("10.0.0.2:7");
  const told = ["--advertise-status-addr", "store.example:80"];
  expect(await known(...everywhere, "--status-addr", "0.0.0.0:7", ...told)).toBe("store.example:80");
});

test("an address that others are told is one of this machine alone", () => {
  for (const everywhere of ["0.0.0.0:20160", "[::]:20160", "[0:0:0:0:0:0:0:0]:1"])
    expect(() => advertisedAddress("--advertise-addr", everywhere)).toThrow(
      "--advertise-addr: others cannot reach",
    );
  for (const text of ["10.0.0.1:20160", "[::1]:20160", "store:1"])
    expect(advertisedAddress("--advertise-addr", text)).toBe(text);
});

test("what PD prints is a file that says the same", async () => {
  const given = file(
    "[schedule]\nmax-store-down-time = '5m'\n[replication]\nlocation-labels = 'zone,host'\n",
  );
  const flags = ["--name", "one", "--client-urls", "http://127.0.0.1:5", "--log-level", "warn"];
  const text = await printed("pd", "--config", given, ...flags);
  expect(parse(text)).toMatchObject({
    name: "one",
    "client-urls": "http://127.0.0.1:5",
    "advertise-client-urls": "http://127.0.0.1:5",
    log: { level: "warn" },
    schedule: { "max-store-down-time": "5m0s", "leader-schedule-limit": 4 },
    replication: { "location-labels": "zone,host", "max-replicas": 3 },
  });
  expect(await printed("pd", "--config", file(text))).toBe(text);
});
