/**
 * The lease alone: every rule whose loss would let a leader answer from the past after another was elected. That the
 * peer asks the lease in the right order is tested with the peer.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_REGION_CONFIG, validateRegionConfig } from "./config.js";
import { Lease } from "./lease.js";

const LEASE_MS = 800;

describe("the lease", () => {
  test("is not usable before anything was confirmed", () => {
    expect(new Lease(LEASE_MS).inspect(0)).toBe("expired");
  });

  test("runs from the creation of the confirmed request, not from the arrival of its answer", () => {
    const lease = new Lease(LEASE_MS);
    lease.renew(1000);
    expect(lease.inspect(1799.9)).toBe("valid");
    expect(lease.inspect(1800)).toBe("expired");
  });

  test("confirmed long after its request was made is over already", () => {
    const lease = new Lease(LEASE_MS);
    lease.renew(1000);
    expect(lease.inspect(5000)).toBe("expired");
    expect(lease.remainingMs(5000)).toBe(0);
  });

  test("stays expired once seen so, even if a clock were read out of order", () => {
    const lease = new Lease(LEASE_MS);
    lease.renew(1000);
    lease.inspect(1800);
    expect(lease.inspect(1500)).toBe("expired");
  });

  test("is not shortened by a confirmation that comes late", () => {
    const lease = new Lease(LEASE_MS);
    lease.renew(2000);
    lease.renew(1500);
    expect(lease.inspect(2799)).toBe("valid");
    expect(lease.remainingMs(2700)).toBe(100);
  });

  test("does not come back after expiry through a confirmation older than the last", () => {
    const lease = new Lease(LEASE_MS);
    lease.renew(2000);
    expect(lease.inspect(2800)).toBe("expired");
    lease.renew(1999);
    expect(lease.inspect(2790)).toBe("expired");
  });

  test("while suspect is never usable, however much time is left", () => {
    const lease = new Lease(LEASE_MS);
    lease.renew(1000);
    lease.suspect(1001);
    for (const now of [1001, 1100, 1799, 5000]) expect(lease.inspect(now)).toBe("suspect");
    expect(lease.remainingMs(1100)).toBe(0);
  });

  test("while suspect counts only requests created since", () => {
    const lease = new Lease(LEASE_MS);
    lease.suspect(1000);
    lease.renew(999);
    expect(lease.inspect(1100)).toBe("suspect");
    lease.renew(1000);
    expect(lease.inspect(1100)).toBe("valid");
    expect(lease.inspect(1800)).toBe("expired");
  });

  test("expired by a change of role needs a new confirmation", () => {
    const lease = new Lease(LEASE_MS);
    lease.renew(1000);
    lease.expire();
    expect(lease.inspect(1001)).toBe("expired");
    lease.renew(1001);
    expect(lease.inspect(1002)).toBe("valid");
  });

  test("is valid at a time only if a confirmed request was created less than its length before", () => {
    type Event = { kind: "renew" | "suspect" | "expire" | "inspect"; age: number; pass: number };
    const event: fc.Arbitrary<Event> = fc.record({
      kind: fc.constantFrom("renew", "suspect", "expire", "inspect"),
      age: fc.nat(1500),
      pass: fc.nat(600),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 30 }), (events) => {
        const lease = new Lease(LEASE_MS);
        let now = 10_000;
        let floor = 0;
        let confirmed: number[] = [];
        for (const { kind, age, pass } of events) {
          now += pass;
          const createdMs = now - age;
          if (kind === "renew") {
            lease.renew(createdMs);
            confirmed.push(createdMs);
          }
          if (kind === "suspect") {
            lease.suspect(now);
            floor = now;
          }
          if (kind === "expire") {
            lease.expire();
            confirmed = [];
            floor = 0;
          }
          if (lease.inspect(now) !== "valid") continue;
          expect(confirmed.some((t) => t >= floor && now < t + LEASE_MS)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("the numbers that the lease rests on", () => {
  const refuses = (change: Partial<typeof DEFAULT_REGION_CONFIG>): (() => void) => {
    return () => validateRegionConfig({ ...DEFAULT_REGION_CONFIG, ...change });
  };

  test("by default hold", () => {
    expect(refuses({})).not.toThrow();
  });

  test("leave two ticks between the lease and the shortest election timeout", () => {
    expect(refuses({ leaseMs: 800 })).not.toThrow();
    expect(refuses({ leaseMs: 801 })).toThrow("raft-store-max-leader-lease");
    expect(refuses({ leaseMs: 800, raftElectionTicks: 9 })).toThrow("raft-store-max-leader-lease");
  });

  test("refuse an election timeout that a heartbeat cannot meet, and too short a tick", () => {
    expect(refuses({ raftElectionTicks: 2 })).toThrow("raft-election-timeout-ticks");
    expect(refuses({ raftHeartbeatTicks: 0 })).toThrow("raft-heartbeat-ticks");
    expect(refuses({ raftBaseTickMs: 9 })).toThrow("raft-base-tick-interval");
    expect(refuses({ proposalBytesMax: 9 << 20 })).toThrow("raft-entry-max-size");
  });
});
