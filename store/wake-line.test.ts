/** The line of peers to be woken: order, reasons, and how much is begun in a tick. */
import { describe, expect, test } from "vitest";
import type { Peer } from "../region/peer.js";
import { BEGUN_PER_TICK_MAX, REASON, WakeLine, WINDOW_MAX, WINDOW_MIN } from "./wake-line.js";

const peers = Array.from({ length: 10 }, (_, id) => ({ regionId: id }) as unknown as Peer);
const at = (id: number): Peer => peers[id] as Peer;
const idsOf = (line: WakeLine, withStarted = true): number[] =>
  [...line.waiting(withStarted)].map(({ regionId }) => regionId);

describe("the line", () => {
  test("serves the urgent first, and the oldest of each kind", () => {
    const line = new WakeLine(100);
    line.add(at(1), REASON.started, "started");
    line.add(at(2), REASON.started, "startedFirst");
    line.add(at(3), REASON.doubt, "other");
    line.add(at(4), REASON.lacking, "other");
    line.add(at(5), REASON.leaderDead, "urgent");
    expect(idsOf(line)).toEqual([5, 3, 4, 2, 1]);
    expect(idsOf(line, false)).toEqual([5, 3, 4]);
  });

  test("keeps all reasons of a peer, in the most urgent of its places", () => {
    const line = new WakeLine(100);
    line.add(at(1), REASON.doubt, "other");
    line.add(at(2), REASON.doubt, "other");
    line.add(at(2), REASON.leaderDead, "urgent");
    line.add(at(2), REASON.report, "other");
    expect(idsOf(line)).toEqual([2, 1]);
    expect(line.length).toBe(2);
    expect(line.take(at(2))).toBe(REASON.doubt | REASON.leaderDead | REASON.report);
    expect([line.take(at(2)), line.reasonsOf(at(1))]).toEqual([0, REASON.doubt]);
  });
});

describe("the window", () => {
  test("grows while ticks are in time and somebody waits, up to its bound", () => {
    const line = new WakeLine(100);
    line.add(at(1), REASON.doubt, "other");
    for (let tick = 0; tick < 1_000; tick++) line.room(tick * 101, 0);
    expect(line.window).toBe(WINDOW_MAX);
    expect(line.room(101_000, 0)).toBe(BEGUN_PER_TICK_MAX);
    expect(line.room(101_100, WINDOW_MAX - 5)).toBe(5);
    expect(line.room(101_200, WINDOW_MAX + 5)).toBe(0);
  });

  test("halves with each tick that is late, down to its bound, so that work never stops", () => {
    const line = new WakeLine(100);
    line.add(at(1), REASON.doubt, "other");
    line.room(0, 0);
    const before = line.window;
    line.room(250, 0);
    expect(line.window).toBe(before / 2);
    for (let tick = 2; tick < 50; tick++) line.room(tick * 250, 0);
    expect(line.window).toBe(WINDOW_MIN);
    expect(line.room(50 * 250, 0)).toBe(WINDOW_MIN);
  });

  test("goes back to where it began while nobody waits", () => {
    const line = new WakeLine(100);
    const first = line.window;
    line.add(at(1), REASON.doubt, "other");
    for (let tick = 0; tick < 20; tick++) line.room(tick * 100, 0);
    line.take(at(1));
    for (let tick = 20; tick < 3_000; tick++) line.room(tick * 100, 0);
    expect(line.window).toBe(first);
  });
});
