/** Writers and readers that wait: each is answered exactly once, and none before its due. */
import { describe, expect, test } from "vitest";
import type { RegionError } from "./errors.js";
import { plainError } from "./errors.js";
import { type Proposal, ProposalQueue } from "./proposals.js";
import { ReadQueue } from "./reads.js";
import { WriteGatherer } from "./write-gatherer.js";

describe("the queue of proposals", () => {
  const answers: string[] = [];
  const proposal = (term: number, index: number, createdMs = 0, swapIndex = -1): Proposal => ({
    term,
    index,
    createdMs,
    bytes: 10,
    waiters: [
      {
        swapIndex,
        done: (error, swap) => answers.push(`${term}/${index} ${error?.message ?? swap?.succeeded ?? "ok"}`),
      },
    ],
  });
  const outcome = (term: number, index: number) => ({ term, index, error: undefined, swaps: [] });
  const queueOf = (...proposals: Proposal[]): ProposalQueue => {
    answers.length = 0;
    const queue = new ProposalQueue();
    for (const each of proposals) queue.push(each);
    return queue;
  };

  test("answers the writers of an applied entry", () => {
    const queue = queueOf(proposal(5, 6), proposal(5, 7));
    queue.settle(outcome(5, 6));
    expect(answers).toEqual(["5/6 ok"]);
    expect([queue.length, queue.bytes]).toEqual([1, 10]);
  });

  test("never takes the entry of another term for its own, though the index is the same", () => {
    const queue = queueOf(proposal(5, 6));
    queue.settle(outcome(7, 6));
    expect(answers).toEqual(["5/6 stale command"]);
  });

  test("tells writers of overwritten entries by the first entry that proves it", () => {
    const queue = queueOf(proposal(5, 6), proposal(5, 7), proposal(8, 7));
    queue.settle(outcome(6, 6));
    expect(answers).toEqual(["5/6 stale command", "5/7 stale command"]);
    queue.settle(outcome(8, 7));
    expect(answers.at(-1)).toBe("8/7 ok");
  });

  test("leaves later proposals waiting when older entries are applied", () => {
    const queue = queueOf(proposal(5, 9));
    queue.settle(outcome(4, 8));
    queue.settle(outcome(5, 8));
    expect(answers).toEqual([]);
  });

  test("finds the newest proposal that a commit index covers, of that term only", () => {
    const queue = queueOf(proposal(4, 9, 100), proposal(5, 10, 200), proposal(5, 12, 300));
    expect(queue.createdMsUpTo(5, 11)).toBe(200);
    expect(queue.createdMsUpTo(5, 12)).toBe(300);
    expect(queue.createdMsUpTo(5, 9)).toBeUndefined();
    expect(queue.createdMsUpTo(6, 99)).toBeUndefined();
  });

  test("gives each compare-and-swap its own outcome", () => {
    const queue = queueOf(proposal(5, 6, 0, 1));
    const swaps = [
      { succeeded: false, previous: undefined },
      { succeeded: true, previous: undefined },
    ];
    queue.settle({ ...outcome(5, 6), swaps });
    expect(answers).toEqual(["5/6 true"]);
  });

  test("stays right after thousands of entries", () => {
    const queue = queueOf(...Array.from({ length: 3000 }, (_, i) => proposal(5, 6 + i)));
    for (let index = 6; index < 2506; index++) queue.settle(outcome(5, index));
    expect([queue.length, queue.bytes, answers.length]).toEqual([500, 5000, 2500]);
    queue.failAll(plainError("over"));
    expect([queue.length, queue.bytes, answers.length]).toEqual([0, 0, 3000]);
    expect(answers.at(-1)).toBe("5/3005 over");
  });
});

describe("the queue of reads", () => {
  const log: string[] = [];
  const read = (name: string) => ({
    run: () => void log.push(name),
    fail: (error: RegionError) => void log.push(`${name}: ${error.message}`),
  });
  const queueOf = (tag = 7, first = 100): ReadQueue => {
    log.length = 0;
    return new ReadQueue(tag, first);
  };
  const serve = (queue: ReadQueue, applied: number): void => {
    for (const request of queue.takeReady(applied)) request.run();
  };

  test("serves a read when it is confirmed and its index applied, not before", () => {
    const queue = queueOf();
    queue.add(read("a"));
    const context = queue.seal(50);
    serve(queue, 99);
    expect(log).toEqual([]);
    expect(queue.confirm(context, 10)).toBe(50);
    serve(queue, 9);
    expect(log).toEqual([]);
    serve(queue, 10);
    expect(log).toEqual(["a"]);
    expect(queue.length).toBe(0);
  });

  test("lets a later confirmation stand for an earlier one that was lost", () => {
    const queue = queueOf();
    queue.add(read("a"));
    queue.seal(50);
    queue.add(read("b"));
    const second = queue.seal(60);
    expect(queue.confirm(second, 12)).toBe(60);
    serve(queue, 12);
    expect(log).toEqual(["a", "b"]);
  });

  test("does not let an earlier confirmation stand for a later read", () => {
    const queue = queueOf();
    queue.add(read("a"));
    const first = queue.seal(50);
    queue.add(read("b"));
    queue.seal(60);
    queue.confirm(first, 12);
    serve(queue, 99);
    expect(log).toEqual(["a"]);
  });

  test("ignores confirmations of other peers, of a former life, and malformed ones", () => {
    const queue = queueOf(7, 100);
    queue.add(read("a"));
    const context = queue.seal(50);
    const otherPeer = queueOf(8, 100);
    otherPeer.add(read("x"));
    const formerLife = queueOf(7, 5000);
    formerLife.add(read("y"));
    expect(queue.confirm(otherPeer.seal(0), 10)).toBeUndefined();
    expect(queue.confirm(formerLife.seal(0), 10)).toBeUndefined();
    expect(queue.confirm(context.subarray(0, 8), 10)).toBeUndefined();
    expect(queue.confirm(new Uint8Array(0), 10)).toBeUndefined();
    serve(queue, 99);
    expect(log).toEqual([]);
  });

  test("keeps the smaller index when a request is answered twice", () => {
    const queue = queueOf();
    queue.add(read("a"));
    const context = queue.seal(50);
    queue.confirm(context, 10);
    queue.confirm(context, 20);
    serve(queue, 10);
    expect(log).toEqual(["a"]);
  });

  test("fails what is not confirmed at a change of role, and keeps what is", () => {
    const queue = queueOf();
    queue.add(read("a"));
    const context = queue.seal(50);
    queue.add(read("b"));
    queue.seal(60);
    queue.add(read("unsent"));
    queue.confirm(context, 10);
    queue.fail(plainError("moved"), "unconfirmed");
    expect(log).toEqual(["b: moved", "unsent: moved"]);
    serve(queue, 10);
    expect(log.at(-1)).toBe("a");
    queue.add(read("c"));
    queue.fail(plainError("gone"), "all");
    expect(log.at(-1)).toBe("c: gone");
    expect(queue.length).toBe(0);
  });

  test("asks again only for the newest request without an answer, and only after a while", () => {
    const queue = queueOf();
    queue.add(read("a"));
    queue.seal(50);
    queue.add(read("b"));
    const newest = queue.seal(60);
    expect(queue.contextToRetry(559)).toBeUndefined();
    expect(queue.contextToRetry(560)).toEqual(newest);
    queue.confirm(newest, 5);
    expect(queue.contextToRetry(9999)).toBeUndefined();
  });
});

describe("the gatherer of writes", () => {
  test("makes one entry of many writes, with the first one's time and each swap's place", () => {
    const gatherer = new WriteGatherer();
    const key = Uint8Array.of(1);
    const done = (): void => {};
    gatherer.add(3, 100, (encoder) => encoder.delete("default", key), false, done);
    gatherer.add(3, 150, (e) => e.compareAndSwap(key, undefined, key, key, 9), true, done);
    gatherer.add(3, 160, (e) => e.compareAndSwap(key, undefined, key, key, 9), true, done);
    expect(gatherer.bytes).toBeGreaterThan(0);
    const { waiters, createdMs } = gatherer.take();
    expect(createdMs).toBe(100);
    expect(waiters.map((waiter) => waiter.swapIndex)).toEqual([-1, 0, 1]);
    expect([gatherer.isEmpty, gatherer.bytes]).toEqual([true, 0]);
    gatherer.add(3, 200, (e) => e.compareAndSwap(key, undefined, key, key, 9), true, done);
    expect(gatherer.take()).toMatchObject({ createdMs: 200, waiters: [{ swapIndex: 0 }] });
  });
});
