/** The words of `raftwerk ctl` against a PD behind a real HTTP port. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { bridge } from "../adapters/http-bridge.js";
import { Harness } from "../pd/test/harness.js";
import { threeStores } from "../pd/test/three-stores.js";
import { registerPdCtl } from "./pd-ctl.js";

let harness: Harness;
let server: Server;
let url: string;

beforeEach(async () => {
  harness = Harness.started();
  threeStores(harness);
  server = createServer(
    bridge(
      (request, reply) => {
        harness.pd.handleHttp(request, reply);
        harness.env.settle();
      },
      (error) => {
        throw error;
      },
    ),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

interface Outcome {
  readonly out: string;
  readonly errors: string;
  readonly code: number;
}

/** What a shell would see. */
async function ctl(...words: string[]): Promise<Outcome> {
  const program = new Command("raftwerk").exitOverride();
  registerPdCtl(program.command("ctl").exitOverride());
  const seen = { out: "", errors: "" };
  const out = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    seen.out += String(text);
    return true;
  });
  const errors = vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    seen.errors += String(text);
    return true;
  });
  try {
    await program.parseAsync(["node", "raftwerk", "ctl", "-u", url, ...words]);
    return { ...seen, code: Number(process.exitCode ?? 0) };
  } finally {
    out.mockRestore();
    errors.mockRestore();
    process.exitCode = 0;
  }
}

describe("ctl shows", () => {
  test("stores and regions as tables, or as PD's JSON", async () => {
    expect((await ctl("store")).out).toMatch(/ID +ADDRESS +STATE[^]*127\.0\.0\.1:20162 +Up/);
    expect((await ctl("store", "2")).out).toMatch(/leader_count +1/);
    const json = JSON.parse((await ctl("--json", "store")).out) as { count: number };
    expect(json.count).toBe(3);
    expect((await ctl("region")).out).toMatch(/10 +6D +- +4\/2 +1 2\* 3\?!~/);
    expect((await ctl("region", "2", "--json")).out).toContain('"approximate_size":50');
    expect((await ctl("region", "key", "zebra")).out).toMatch(/id +10/);
    expect((await ctl("region", "key", "6d", "--format", "hex")).out).toMatch(/id +10/);
    expect((await ctl("region", "check", "learner-peer")).out).toContain("1 region");
    expect((await ctl("region", "store", "3")).out).toContain("2 regions");
    expect((await ctl("region", "scan", "--limit", "1")).out).toContain("1 region");
    expect((await ctl("region", "sibling", "2")).out).toContain("1 region");
    expect((await ctl("store", "--state", "offline")).out).toContain("no stores");
  });

  test("the cluster, with ids of 64 bits in full", async () => {
    const id = String(harness.pd.clusterId);
    expect((await ctl("cluster")).out).toContain(id);
    expect((await ctl("--json", "cluster")).out).toContain(id);
    expect((await ctl("member")).out).toMatch(/pd +[0-9]{10,} +leader/);
    expect((await ctl("health")).out).toMatch(/pd +true/);
    expect((await ctl("ping")).out).toMatch(/PD answered in [0-9.]+ ms/);
    expect((await ctl("hot", "write")).out).toMatch(/REGION +LEADER ON[^]*2 +1 +2000/);
    expect((await ctl("scheduler", "show")).out).toContain("balance-leader-scheduler");
    expect((await ctl("tso", "470642228205715457")).out).toMatch(/physical +1795357621024[^]*logical +1/);
  });
});

describe("ctl changes", () => {
  test("operators, schedulers, settings and stores", async () => {
    expect((await ctl("operator", "add", "transfer-leader", "2", "2")).out).toBe(
      "The operator is created.\n",
    );
    expect((await ctl("operator", "show")).out).toContain("admin-transfer-leader");
    expect((await ctl("operator", "remove", "2")).out).toContain("canceled");
    const split = await ctl("operator", "add", "split-region", "2", "--keys=61");
    expect(split).toMatchObject({ out: "The operator is created.\n", code: 0 });
    expect((await ctl("operator", "check", "2")).out).toContain("split");
    expect((await ctl("scheduler", "add", "evict-leader-scheduler", "1")).out).toContain("created");
    expect((await ctl("scheduler", "remove", "evict-leader-scheduler")).out).toContain("removed");
    expect((await ctl("config", "set", "leader-schedule-limit", "7")).out).toContain("updated");
    expect((await ctl("config", "set", "replication.max-replicas", "1")).code).toBe(0);
    expect((await ctl("config", "set", "max-store-down-time", "1h")).code).toBe(0);
    expect((await ctl("config", "show", "schedule")).out).toMatch(/leader-schedule-limit +7/);
    expect((await ctl("config", "show")).out).toMatch(/schedule\.max-store-down-time +1h0m0s/);
    expect((await ctl("store", "label", "1", "zone", "z1")).out).toContain("updated");
    expect((await ctl("store", "1")).out).toMatch(/labels +zone=z1/);
    expect((await ctl("store", "label", "1", "zone", "--delete")).out).toContain("deleted");
    expect((await ctl("store", "weight", "1", "2", "0.5")).code).toBe(0);
    expect((await ctl("store", "limit", "1", "20")).code).toBe(0);
    expect((await ctl("store", "limit")).out).toMatch(/1 +20 +20/);
    expect((await ctl("store", "delete", "3")).out).toContain("Offline");
    expect((await ctl("store", "cancel-delete", "3")).code).toBe(0);
  });
});

describe("ctl says what is wrong and ends with 1", () => {
  test("when PD refuses, is not there, or the word is malformed", async () => {
    expect(await ctl("store", "99")).toMatchObject({
      code: 1,
      errors: "raftwerk ctl: PD answered 404: [PD:core:ErrStoreNotFound]store 99 not found\n",
    });
    expect((await ctl("store", "x")).errors).toContain("is not an id");
    expect((await ctl("region", "check", "nonsense")).errors).toContain("miss-peer");
    expect((await ctl("config", "set", "no-such-item", "1")).errors).toContain("config item no-such-item");
    const gone = await ctl("-u", "127.0.0.1:1", "store");
    expect(gone.code).toBe(1);
    expect(gone.errors).toMatch(/cannot reach PD at http:\/\/127\.0\.0\.1:1: .*Is it running/);
  });
});
