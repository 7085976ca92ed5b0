/** What one turn of a store writes, and when. */
import { describe, expect, test } from "vitest";
import { type EngineBatch, utf8 } from "../base/index.js";
import { ManualEnv } from "../base/test/manual-env.js";
import { MemoryEngine } from "../engine/memory.js";
import { PeerFigures } from "../region/figures.js";
import type { Peer, StagedWork } from "../region/peer.js";
import { TurnLoop } from "./turn.js";

const setUp = () => {
  const { clock, random, log, timers } = new ManualEnv();
  const engine = new MemoryEngine();
  const events: string[] = [];
  const due: (() => void)[] = [];
  const nextTurn = (callback: () => void): void => void due.push(callback);
  let hasOutput = false;
  const loop = new TurnLoop({ clock, random, log, timers: { ...timers, nextTurn } }, engine, {
    figures: new PeerFigures(),
    flushReads() {},
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
  return { loop, engine, events, wake, turn };
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
