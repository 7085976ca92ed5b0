/** The log is cut: up to what all have, and at the expense of those who lag when it grows too long. */
import { expect, it } from "vitest";
import { messages, script } from "../test/script.js";

it("a log that all have is cut on all of them [test_node_compact_log]", async () => {
  const s = await script({ config: { logGcTickMs: 100, logGcThreshold: 10 } });
  const before = s.truncatedOn(1);
  await s.putMany("k", 30);
  for (const store of [1, 2, 3]) {
    await s.until("the log was cut", () => s.truncatedOn(store) >= before + 10);
    await s.until("its entries are gone", () =>
      s.logOn(store).every((index) => index > s.truncatedOn(store)),
    );
  }
  expect(s.mustPeer(1).storage.firstIndex()).toBe(s.truncatedOn(1) + 1);
  await s.mustSettle();
});

it("one who lags keeps it from being cut, as long as it is short [test_node_compact_count_limit]", async () => {
  const s = await script({ config: { logGcTickMs: 100, logGcThreshold: 5, logGcCountLimit: 40 } });
  await s.pass(1_000);
  const away = s.isolate(3);
  const before = s.truncatedOn(1);
  await s.putMany("k", 20);
  await s.pass(1_000);
  expect(s.truncatedOn(1)).toBeLessThanOrEqual(before + 2);
  await s.putMany("m", 30);
  await s.until("beyond the limit it is cut", () => s.truncatedOn(1) > s.mustPeer(3).storage.lastIndex());
  const snapshots = s.filter(messages().type("snapshot").to(3));
  s.unfilter(away);
  await s.caughtUp(3);
  expect([snapshots.hits, s.valueOn(3, "m29")]).toEqual([1, "29"]);
});

it("a log that grows large is cut, whoever lags [test_node_compact_size_limit]", async () => {
  const s = await script({ config: { logGcTickMs: 100, logGcThreshold: 1_000, logGcBytesLimit: 5_000 } });
  s.isolate(3);
  await s.putMany("k", 10, "x".repeat(100));
  await s.pass(300);
  const lagging = s.mustPeer(3).storage.lastIndex();
  expect(s.truncatedOn(1)).toBeLessThan(lagging);
  await s.putMany("m", 10, "x".repeat(1_000));
  await s.until("it was cut", () => s.truncatedOn(1) > lagging);
  s.heal();
  await s.caughtUp(3);
  await s.mustSettle();
});

it("cut again and again a log stays short, and its beginning never goes back [test_node_compact_many_times]", async () => {
  const s = await script({ config: { logGcTickMs: 100, logGcThreshold: 5 } });
  let first = 0;
  for (let round = 0; round < 6; round++) {
    await s.putMany(`k${round}`, 15);
    await s.pass(300);
    const now = s.mustPeer(1).storage.firstIndex();
    expect(now).toBeGreaterThan(first);
    expect(s.logOn(1).length).toBeLessThan(25);
    first = now;
  }
  expect(await s.get("k00")).toBe("0");
  await s.mustSettle();
});
