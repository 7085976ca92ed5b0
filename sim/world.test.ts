/** What every run rests on: messages of one connection arrive in the order in which they were sent. */
import { expect, test } from "vitest";
import { SeededRandom } from "../base/index.js";
import type { Lane } from "./event-queue.js";
import { MS, World } from "./world.js";

const drain = (): Promise<void> => Promise.resolve();

/** Twenty messages over one connection to a process that stands still again and again; as they were heard. */
async function heard(seed: number): Promise<number[]> {
  const world = new World(seed, drain);
  const random = new SeededRandom(seed, 7);
  const below = (n: number): number => random.u32() % n;
  const node = world.addNode("store-1");
  node.boot();
  const lane: Lane = { readAtUs: 0 };
  const got: number[] = [];
  let atUs = 0;
  for (let i = 0; i < 20; i++) {
    atUs += below(5 * MS);
    world.schedule(atUs, "deliver", node.index, node.incarnation, () => void got.push(i), lane);
  }
  for (let pauseUs = below(10 * MS); pauseUs < atUs; pauseUs += 1 + below(10 * MS)) {
    const endUs = pauseUs + 1 + below(20 * MS);
    world.at(pauseUs, "stands still", () => node.pause());
    world.at(endUs, "goes on", () => node.resume(10 * MS));
    pauseUs = endUs;
  }
  await world.run(1_000 * MS);
  return got;
}

test("what comes over one connection keeps its order, however often the process stands still while it reads", async () => {
  const sent = Array.from({ length: 20 }, (_, i) => i);
  for (let seed = 1; seed <= 200; seed++) expect([seed, ...(await heard(seed))]).toEqual([seed, ...sent]);
});
