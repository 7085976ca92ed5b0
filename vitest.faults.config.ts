import { defineConfig } from "vitest/config";

/** The long fault scenarios: `npm run test:faults`. They wait more than they compute, so several run beside each other. */
export default defineConfig({
  test: {
    include: ["test/cluster/*.faults.cluster.test.ts"],
    testTimeout: 400_000,
    hookTimeout: 60_000,
    // As for the other tests of processes (vitest.config.ts).
    retry: process.env["CI"] === undefined ? 0 : 1,
    pool: "forks",
    maxWorkers: 3,
    fileParallelism: true,
  },
});
