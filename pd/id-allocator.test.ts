/** Ids from windows that are stored ahead. (PD: id/id_test.go) */
import { expect, test } from "vitest";
import { IdAllocator } from "./id-allocator.js";
import { MockCluster } from "./test/mock-cluster.js";

test("several allocators over one stored counter give no id twice [TestMultipleAllocator]", () => {
  const { env, context } = new MockCluster();
  const { metaStore, keys, leadership } = context;
  const allocators = Array.from({ length: 10 }, () => new IdAllocator(env, metaStore, keys, leadership));
  const given: number[] = [];
  let refused = 0;
  for (const allocator of allocators) allocator.rebase((error) => (refused += error === undefined ? 0 : 1));
  for (let round = 0; round < 300; round++) {
    for (const [i, allocator] of allocators.entries()) {
      const count = 1 + ((round + i) % 40);
      allocator.allocate(count, (error, last) => {
        if (error !== undefined) refused += 1;
        else for (let id = last - count + 1; id <= last; id++) given.push(id);
      });
    }
    env.advance(10);
  }
  env.advance(5_000);
  expect(new Set(given).size).toBe(given.length);
  expect(given.length).toBeGreaterThan(30_000);
  // Those that met another's write tried again.
  expect(refused).toBeLessThan(allocators.length);
});
