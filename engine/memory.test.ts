import { describe, test } from "vitest";
import { engineConformance } from "./conformance.js";
import { MemoryEngine } from "./memory.js";

describe("the memory engine", () => {
  for (const { title, run } of engineConformance({ name: "it", open: async () => new MemoryEngine() })) {
    test(title, run);
  }
});
