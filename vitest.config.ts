import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["**/*.test.ts"],
    // The long fault scenarios and what needs etcd have scripts of their own.
    exclude: [
      "node_modules/**",
      "dist/**",
      "**/*.faults.cluster.test.ts",
      "**/*.etcd.test.ts",
      "**/*.etcd.cluster.test.ts",
    ],
    // Cluster and engine tests start processes and sync disks: the suffix decides how long they may take.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A judge of changes asks twice before it blames one: tests of processes can meet a machine that stands still.
    retry: process.env["CI"] === undefined ? 0 : 1,
    pool: "forks",
    // One more than the cores of a small machine: tests of processes wait more than they compute.
    maxWorkers: 3,
  },
});
