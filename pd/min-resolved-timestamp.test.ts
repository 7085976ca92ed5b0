/** Up to where all stores can be read, as they report it. (PD: tests/server/api/min_resolved_ts_test.go) */
import { beforeEach, describe, expect, test } from "vitest";
import { PdService } from "../proto/index.js";
import { World } from "./test/world.js";

const MAX = (1n << 64n) - 1n;
const TS = 470642228205715457n;

describe("the minimum of resolved timestamps", () => {
  let world: World;
  beforeEach(() => {
    world = new World({ stores: 3 });
    world.addRegions([
      [1, 2, 3],
      [2, 3, 1],
    ]);
  });
  const report = (storeId: number, minResolvedTs: bigint): void =>
    void world.harness.call(PdService.ReportMinResolvedTS, { storeId, minResolvedTs });
  const text = (path = ""): string => world.harness.http("GET", `/pd/api/v1/min-resolved-ts${path}`).text;
  const of = (path = ""): string => /"min_resolved_ts": ([0-9]+)/.exec(text(path))?.[1] ?? "";
  const pass = (ms = 1100): void => world.harness.env.advance(ms);

  test("grows with the slowest of the stores that lead regions, and outlives PD (TestMinResolvedTS)", () => {
    expect(of()).toBe("0");
    report(1, TS);
    pass();
    // Store 2 leads as well and has told nothing.
    expect(of()).toBe("0");
    report(2, TS + 5n);
    pass();
    expect(of()).toBe(String(TS));
    report(1, TS - 3n);
    pass();
    expect(of()).toBe(String(TS));
    report(1, TS + 9n);
    pass();
    expect(of()).toBe(String(TS + 5n));
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(of()).toBe(String(TS + 5n));
  });

  test("is told for stores too; of one that leads nothing, or is not known, there is none", () => {
    report(1, TS);
    report(2, TS + 5n);
    pass();
    expect([of("/1"), of("/2"), of("/3"), of("/9")].map(BigInt)).toEqual([TS, TS + 5n, MAX, MAX]);
    expect([of("?scope=2"), of("?scope=1,2"), of("?scope=3,9")].map(BigInt)).toEqual([TS + 5n, TS, MAX]);
    const cluster = text("?scope=cluster").replaceAll(/\s/g, "");
    expect(cluster).toContain(`"stores_min_resolved_ts":{"1":${TS},"2":${TS + 5n},"3":${MAX}}`);
    expect(text()).toMatch(/"stores_min_resolved_ts": null/);
    expect(world.harness.http("GET", "/pd/api/v1/min-resolved-ts?scope=1,x").status).toBe(400);
    const unknown = { storeId: 9, minResolvedTs: TS };
    expect(world.harness.start1(PdService.ReportMinResolvedTS, unknown).status?.message).toMatch(
      /store 9 not found/,
    );
  });

  test("stands still while its interval is 0, and goes on when it is set again", () => {
    const setInterval = (value: string): void => {
      const body = { "min-resolved-ts-persistence-interval": value };
      expect(world.harness.http("POST", "/pd/api/v1/config", body).status).toBe(200);
    };
    setInterval("0s");
    report(1, TS);
    report(2, TS);
    pass();
    expect([of(), /is_real_time/.test(text())]).toEqual(["0", false]);
    setInterval("100ms");
    report(1, TS);
    pass(200);
    expect([of(), /"is_real_time": true/.test(text())]).toEqual([String(TS), true]);
  });

  test("does not exist before the first region is complete", () => {
    const young = new World({ stores: 3 });
    young.addRegions([[1]]);
    const { text: answer } = young.harness.http("GET", "/pd/api/v1/min-resolved-ts");
    expect(answer).toContain(`"min_resolved_ts": ${MAX}`);
  });
});
