/** What one turn of a store writes, and when. */
import { describe, expect, test } from "vitest";
import { type EngineBatch, utf8 } from "../base/index.js";
import { ManualEnv } from "../base/test/manual-env.js";
import { MemoryEngine } from "../engine/memory.js";
import { PeerFigures } from "../region/figures.js";
import type { Peer, StagedWork } from "../region/peer.js";
import { TurnLoop } from "./turn.js";

const setUp = () => {
  const env = new ManualEnv();
  const { clock, random, log, timers } = env;
  const engine = new MemoryEngine();
  const events: string[] = [];
  const due: (() => void)[] = [];
  const nextTurn = (callback: () => void): void => void due.push(callback);
  let hasOutput = false;
  /** What a visit to a peer takes. */
  let costMs = 0;
  const loop = new TurnLoop({ clock, random, log, timers: { ...timers, nextTurn } }, engine, {
    figures: new PeerFigures(),
    flushReads: () => void (costMs > 0 && events.push("reads")),
    flushOutput() {
      const had = hasOutput;
      if (had) events.push("messages leave");
      hasOutput = false;
      return had;
    },
    batchWritten: () => void events.push("written"),
  });
  /** A peer that wants one key on disk, with a message or without. */
  const wake = (name: string, withMessage: boolean): void => {
    const peer: Pick<Peer, "collect" | "written"> = {
      collect: (batch: EngineBatch): StagedWork => {
        events.push(`${name} staged`);
        env.nowMs += costMs;
        batch.put("raft", utf8(name), utf8(name));
        hasOutput ||= withMessage;
        const append = { mustSync: true };
        return {
          peer,
          append,
          apply: undefined,
          run: undefined,
          snapshot: undefined,
        } as unknown as StagedWork;
      },
      written: () => void events.push(`${name} acknowledged`),
    };
    loop.wake(peer as Peer);
  };
  const turn = (): void => {
    for (const run of due.splice(0)) run();
  };
  /** From now on visits take time. */
  const slow = (ms: number): void => {
    costMs = ms;
  };
  return { env, loop, engine, events, wake, turn, slow };
};

describe("a batch that must be synced", () => {
  test("is written at once where no message has to leave before it", () => {
    const { loop, events, wake, turn } = setUp();
    wake("a", false);
    turn();
    expect(events).toEqual(["a staged", "a acknowledged", "written"]);
    expect([loop.turns, loop.syncedWrites]).toEqual([1, 1]);
  });

  test("waits for a turn while its messages leave, and takes in what comes meanwhile", () => {
    const { loop, engine, events, wake, turn } = setUp();
    wake("a", true);
    turn();
    expect(events.splice(0)).toEqual(["a staged", "messages leave"]);
    wake("b", true);
    turn();
    // Nobody is acknowledged before the write that holds both.
    expect(events).toEqual(["b staged", "a acknowledged", "b acknowledged", "written", "messages leave"]);
    expect(loop.syncedWrites).toBe(1);
    expect(engine.multiGet("raft", [utf8("a"), utf8("b")]).map((value) => value !== undefined)).toEqual([
      true,
      true,
    ]);
    turn();
    expect(loop.isIdle).toBe(true);
  });
});

describe("after a turn of many regions", () => {
  const crowd = ["a", "b", "c", "d"];

  test("the next waits as long as that one took, and takes in what comes meanwhile", () => {
    const { env, loop, wake, turn, slow } = setUp();
    slow(0.2);
    for (const name of crowd) wake(name, false);
    turn();
    expect(loop.syncedWrites).toBe(1);
    wake("a", false);
    turn();
    wake("b", false);
    turn();
    expect(loop.turns).toBe(1);
    env.advance(1);
    expect([loop.turns, loop.syncedWrites, loop.isIdle]).toEqual([2, 2, true]);
    // One of few regions puts off nothing.
    wake("a", false);
    turn();
    expect(loop.turns).toBe(3);
  });

  test("the pause has a bound", () => {
    const { env, loop, wake, turn, slow } = setUp();
    slow(100);
    for (const name of crowd) wake(name, false);
    turn();
    wake("a", false);
    turn();
    expect(loop.turns).toBe(1);
    env.advance(1);
    expect(loop.turns).toBe(2);
  });

  test("messages that are out are followed by their batch without a pause", () => {
    const { loop, wake, turn, slow } = setUp();
    slow(1);
    for (const name of crowd) wake(name, true);
    turn();
    turn();
    expect([loop.turns, loop.syncedWrites]).toEqual([2, 1]);
  });

  test("reads and answers do not wait", () => {
    const { loop, events, wake, turn, slow } = setUp();
    slow(1);
    for (const name of crowd) wake(name, false);
    turn();
    events.length = 0;
    loop.schedule();
    turn();
    expect([events, loop.turns]).toEqual([["reads"], 1]);
  });
});
