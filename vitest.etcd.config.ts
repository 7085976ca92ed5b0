/** Tests that need a real etcd: `npm run test:etcd`. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["**/*.etcd.test.ts", "**/*.etcd.cluster.test.ts"],
    exclude: ["node_modules/**", "dist/**"],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    pool: "forks",
    // Their pauses are measured: one cluster at a time.
    maxWorkers: 1,
    fileParallelism: false,
  },
});
