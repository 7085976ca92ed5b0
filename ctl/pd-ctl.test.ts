/** The words of `raftwerk ctl` against a PD behind a real HTTP port. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { bridge } from "../adapters/http-bridge.js";
import { utf8 } from "../base/index.js";
import { PdService } from "../proto/index.js";
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

describe("ctl has pd-ctl's words", () => {
  const out = async (...words: string[]): Promise<string> => {
    const { out: text, errors, code } = await ctl(...words);
    return code === 0 ? text : errors;
  };

  test("for the PDs and what they log", async () => {
    expect(await out("member", "leader", "show")).toMatch(/name +pd\n/);
    expect(await out("member", "leader_priority", "pd", "5")).toMatch(/success/);
    expect(await out("member")).toMatch(/pd +[0-9]+ +leader +0 +http/);
    expect(await out("member", "leader_priority", "pd", "much")).toMatch(/much is no priority/);
    expect(await out("member", "leader", "resign")).toMatch(/no valid pd to transfer/);
    expect(await out("member", "leader", "transfer", "pd")).toMatch(/submitted/);
    expect(await out("member", "delete", "name", "pd9")).toMatch(/404: not found, pd: pd9/);
    expect(await out("member", "delete", "id", "77")).toMatch(/404: not found, pd: 77/);
    expect(await out("log", "loud")).toMatch(/unknown level loud/);
    expect(await out("log", "debug")).toMatch(/log level/);
  });

  test("for regions without a quorum, which PD refuses with the reason", async () => {
    const words = (...more: string[]): Promise<string> => out("unsafe", "remove-failed-stores", ...more);
    expect(await words("show")).toMatch(/No on-going recovery/);
    expect(await words("4,5", "--timeout", "60")).toMatch(/501: unsafe recovery is not available/);
    expect(await words("abort")).toMatch(/400: no unsafe recovery is running/);
    expect(await words()).toMatch(/name the stores/);
    expect(await words("4", "--auto-detect")).toMatch(/one of the two/);
    expect(await words("x")).toMatch(/x/);
  });

  test("for load, now and then", async () => {
    expect(await out("hot", "write", "1")).toMatch(/2 +1 +2000/);
    expect(await out("hot", "read")).toMatch(/no hot regions/);
    expect(await out("hot", "store")).toMatch(/BYTES-WRITE-RATE[^]*1 +[0-9]/);
    expect(await out("hot", "buckets")).toBe("no hot buckets\n");
    const stream = harness.open(PdService.ReportBuckets);
    const load = [1 << 20];
    const stats = {
      readBytes: load,
      readKeys: load,
      readQps: load,
      writeBytes: [0],
      writeKeys: [0],
      writeQps: [0],
    };
    const buckets = { regionId: 2, version: 1, keys: [utf8("a"), utf8("b")], stats, periodInMs: 10_000 };
    for (let i = 0; i < 3; i++) stream.send({ header: harness.header, buckets });
    expect(await out("hot", "buckets", "2")).toMatch(/2 +61 +62 +3 +1048576/);
    expect(await out("hot", "buckets", "10")).toBe("no hot buckets\n");
    expect(await out("hot", "history", "0", "1", "store_ids", "1,2")).toBe("nothing was hot then\n");
    expect(await out("hot", "history", "0", "1", "color", "red")).toMatch(/unknown filter color/);
    expect(await out("hot", "history", "soon", "1")).toMatch(/soon is no time/);
    expect(await out("hot", "history", "0", "1", "store_ids", "x")).toMatch(/400: .*store_ids/);
  });

  test("for regions by size, version and the like", async () => {
    expect(await out("region", "topsize", "1")).toMatch(/^ID[^]*\n2 +[^]*1 region\n/);
    expect(await out("region", "topwrite", "query", "5")).toContain("2 regions");
    expect(await out("region", "topread")).toContain("2 regions");
    expect(await out("region", "topconfver", "1")).toMatch(/10 /);
    expect(await out("region", "topsize", "large")).toMatch(/large is neither/);
    expect(await out("region", "range-holes")).toBe("no gaps\n");
  });

  test("for operators and schedulers", async () => {
    expect(await out("operator", "add", "merge-region", "2", "10")).toMatch(/not every store says/);
    expect(await out("operator", "add", "transfer-region", "2", "1", "leader", "2", "voter")).toMatch(
      /created/,
    );
    expect(await out("operator", "add", "transfer-region", "2", "leader", "1")).toMatch(
      /a role follows each/,
    );
    expect(await out("operator", "show", "waiting")).toBe("no operators\n");
    expect(await out("operator", "remove", "all")).toMatch(/All pending operators are canceled/);
    expect(await out("operator", "history", "0")).toMatch(/admin-move-region/);
    expect(await out("scheduler", "add", "scatter-range-scheduler", "a", "b", "t")).toMatch(/created/);
    expect(await out("scheduler", "add", "scatter-range-scheduler", "a")).toMatch(/needs START END NAME/);
    expect(await out("scheduler", "add", "shuffle-hot-region-scheduler", "2")).toMatch(/created/);
    expect(await out("scheduler", "config", "shuffle-hot-region-scheduler")).toMatch(/limit +2/);
    expect(await out("scheduler", "config", "balance-leader-scheduler", "set", "batch", "8")).toMatch(
      /updated/,
    );
    expect(await out("scheduler", "config", "balance-leader-scheduler", "show")).toMatch(/batch +8/);
    const hot = "balance-hot-region-scheduler";
    expect(await out("scheduler", "config", hot, "set", "read-priorities", "byte", "key")).toMatch(/updated/);
    expect(await out("scheduler", "config", hot)).toMatch(/read-priorities +\["byte","key"\]/);
    expect(await out("scheduler", "config", hot, "set", "batch")).toMatch(/set ITEM VALUE/);
    expect(await out("scheduler", "describe", "balance-leader-scheduler")).toMatch(
      /no diagnostic result|status/,
    );
    expect(await out("scheduler", "show", "--status", "paused")).toMatch(/SCHEDULER/);
  });

  test("for stores by label and state, settings for a while, and safe points", async () => {
    await ctl("store", "label", "1", "zone", "z1");
    expect(await out("label")).toMatch(/zone +z1/);
    expect(await out("label", "store", "zone", "z1")).toMatch(/20161/);
    expect(await out("label", "store", "zone", "z2")).toBe("no stores\n");
    // Two regions stand on all three stores.
    for (const [id, host] of [
      ["1", "a"],
      ["2", "b"],
      ["3", "c"],
    ] as const)
      await ctl("store", "label", id, "host", host);
    expect(await out("label", "isolation")).toMatch(/host +2\nnone +0/);
    expect(await out("label", "isolation", "host")).toBe("2\n10\n");
    await ctl("store", "label", "3", "host", "b");
    expect(await out("label", "isolation")).toMatch(/host +0\nnone +2/);
    expect(await out("label", "isolation", "host")).toBe("no regions\n");
    expect(await out("label", "isolation", "rack")).toMatch(/rack is none of host, none/);
    expect(await out("store", "check", "up")).toMatch(/20163/);
    expect(await out("store", "check", "sideways")).toMatch(/unknown store state/);
    expect(await out("config", "set", "label-property", "reject-leader", "zone", "z1")).toMatch(/updated/);
    expect(await out("config", "show", "label-property")).toMatch(/reject-leader[^]*z1/);
    expect(await out("config", "delete", "label-property", "reject-leader", "zone", "z1")).toMatch(/updated/);
    expect(await out("config", "show", "label-property")).not.toMatch(/z1/);
    expect(await out("config", "set", "label-property", "reject-leader")).toMatch(/KIND KEY VALUE/);
    expect(await out("config", "show", "cluster-version")).toMatch(/^[0-9]+\.[0-9]/);
    expect(await out("config", "set", "schedule.merge-schedule-limit", "0", "--ttl", "60")).toMatch(
      /ttl config is updated/,
    );
    expect(await out("config", "set", "merge-schedule-limit", "3")).toMatch(/need to clean up TTL/);
    expect(await out("config", "set", "schedule.merge-schedule-limit", "0", "--ttl", "0")).toMatch(/deleted/);
    expect(await out("service-gc-safepoint")).toMatch(/gc_worker[^]*safe point 0/);
    expect(await out("service-gc-safepoint", "delete", "br")).toMatch(/Delete service GC safepoint/);
    expect(await out("min-resolved-ts")).toMatch(/min_resolved_ts +0/);
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
