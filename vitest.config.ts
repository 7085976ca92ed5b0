import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The longest begin first, so that none of them runs alone at the end; by size they would come last. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number =>
      [/sim\/seeds-/, /engine\/crash/, /\.cluster\.test/, /raft\/fuzz/].findIndex((each) =>
        each.test(moduleId),
      );
    const last = (file: TestSpecification): number => (rank(file) < 0 ? 9 : rank(file));
    return (await super.sort(files)).sort((left, right) => last(left) - last(right));
  }
}

/** What runs long or has effects outside of its process. Each such file gets a process of its own. */
const ALONE = ["sim/seeds-*.test.ts", "raft/fuzz.test.ts", "**/*.engine.test.ts", "**/*.cluster.test.ts"];

/** The long fault scenarios and what needs etcd have scripts of their own. */
const ELSEWHERE = [
  "node_modules/**",
  "dist/**",
  "**/*.faults.cluster.test.ts",
  "**/*.etcd.test.ts",
  "**/*.etcd.cluster.test.ts",
];

export default defineConfig({
  test: {
    // Cluster and engine tests start processes and sync disks: the suffix decides how long they may take.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A judge of changes asks twice before it blames one: tests of processes can meet a machine that stands still.
    retry: process.env["CI"] === undefined ? 0 : 1,
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // One more than the cores of a small machine: tests of processes wait more than they compute.
    maxWorkers: 3,
    projects: [
      { extends: true, test: { name: "alone", include: ALONE, exclude: ELSEWHERE } },
      {
        extends: true,
        // Pure code keeps nothing between files: loaded once a worker, which saves a third of the whole time.
        test: { name: "pure", include: ["**/*.test.ts"], exclude: [...ELSEWHERE, ...ALONE], isolate: false },
      },
    ],
  },
});
