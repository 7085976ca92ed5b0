import { describe, expect, test } from "vitest";
import { engineConformance } from "./conformance.js";
import { MemoryEngine } from "./memory.js";

const target = { name: "it", open: async () => new MemoryEngine() };

describe("the memory engine", () => {
  test.each(engineConformance(target))("$title", async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});
