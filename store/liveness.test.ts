/** Which stores are taken for alive: by what is heard of them and how late this store is itself. */
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../base/index.js";
import { type LifeSign, type Revival, StoreLiveness } from "./liveness.js";

const TICK_MS = 100;

/** One store's view; the other one is store 2. */
class View {
  nowMs = 0;
  readonly said: (LifeSign & { readonly atMs: number; readonly to: number })[] = [];
  readonly events: string[] = [];
  readonly revivals: Revival[] = [];
  readonly liveness: StoreLiveness;

  constructor(seed = 1) {
    this.liveness = new StoreLiveness({
      random: new SeededRandom(seed),
      electionTicks: 10,
      heartbeatTicks: 2,
      tickMs: TICK_MS,
      nowMs: () => this.nowMs,
      say: (to, sign) => void this.said.push({ ...sign, atMs: this.nowMs, to }),
      died: (id) => void this.events.push(`died ${id}`),
      revived: (id, how) => {
        this.events.push(`revived ${id}`);
        this.revivals.push(how);
      },
      wasDead: (id) => void this.events.push(`was dead ${id}`),
    });
    this.liveness.note(2);
  }

  tick(lengthMs = TICK_MS): void {
    this.nowMs += lengthMs;
    this.liveness.tick();
  }
  hear(sign: Partial<LifeSign> = {}): void {
    this.liveness.heard(2, { incarnation: 7, hears: true, deaths: 0, ...sign });
  }
}

/** Store 2 is alive, and was spoken to in the tick before. */
function acquainted(): View {
  const view = new View();
  view.hear();
  for (let i = 0; i < 2; i++) view.tick();
  view.events.length = 0;
  view.said.length = 0;
  view.hear();
  return view;
}

describe("what is said", () => {
  test("comes once a heartbeat interval while ticks are in time, though timers are not exact", () => {
    const view = acquainted();
    for (let i = 0; i < 100; i++) {
      view.hear();
      view.tick(i % 2 === 0 ? 97 : 102);
    }
    expect(view.said.length).toBeGreaterThanOrEqual(49);
    expect(view.said.length).toBeLessThanOrEqual(51);
  });

  test("comes with each tick that is late: three rounds of 0.45 s leave no second of silence", () => {
    const view = acquainted();
    for (let i = 0; i < 3; i++) view.tick(450);
    expect(view.said.map(({ atMs }) => atMs - 200)).toEqual([450, 900, 1350]);
  });

  test("stops while the process stands still", () => {
    const view = acquainted();
    view.nowMs += 5_000;
    expect(view.said).toEqual([]);
  });

  test("is that the other is not heard, when it is not", () => {
    const view = acquainted();
    for (let i = 0; i < 12; i++) view.tick();
    expect(view.said.at(-1)?.hears).toBe(false);
  });

  test("is said at once to a store that was dead and is heard, and never twice in quick succession", () => {
    const view = acquainted();
    for (let i = 0; i < 12; i++) view.tick();
    view.nowMs += 60;
    view.said.length = 0;
    view.hear({ hears: false });
    view.hear({ hears: false });
    expect(view.said.map(({ hears }) => hears)).toEqual([true]);
  });

  test("is said seldom to a store that was silent for ten minutes", () => {
    const view = acquainted();
    for (let i = 0; i < 6_100; i++) view.tick();
    view.said.length = 0;
    for (let i = 0; i < 1_000; i++) view.tick();
    expect(view.said.length).toBe(10);
  });
});

describe("a store", () => {
  test("is dead when nothing was heard of it for an election timeout", () => {
    const view = acquainted();
    for (let i = 0; i < 9; i++) view.tick();
    expect(view.events).toEqual([]);
    view.tick();
    expect(view.events).toEqual(["died 2"]);
  });

  test("lives as long as any message of it comes", () => {
    const view = acquainted();
    for (let i = 0; i < 100; i++) {
      view.tick();
      if (i % 9 === 0) view.liveness.heardAny(2);
    }
    expect([view.events, view.said.every(({ hears }) => hears)]).toEqual([[], true]);
  });

  test("is dead when it says that it does not hear us, and no other message of it makes it alive again", () => {
    const view = acquainted();
    view.hear({ hears: false });
    expect(view.events).toEqual(["died 2"]);
    for (let i = 0; i < 20; i++) {
      view.liveness.heardAny(2);
      view.tick();
    }
    expect(view.events).toEqual(["died 2"]);
    expect(view.liveness.isAlive(2)).toBe(false);
    view.hear();
    expect(view.events).toEqual(["died 2", "revived 2"]);
  });

  test("is not made known by a message of another kind", () => {
    const view = new View();
    view.liveness.heardAny(3);
    view.tick();
    expect(view.said.map(({ to }) => to)).toEqual([2]);
  });

  test("is not taken for dead by one that stood still itself", () => {
    const view = acquainted();
    view.tick(60_000);
    view.hear();
    expect(view.events).toEqual([]);
  });

  test("that was restarted unnoticed died and is alive as another process", () => {
    const view = acquainted();
    view.hear({ incarnation: 8 });
    expect(view.events).toEqual(["died 2", "revived 2"]);
    expect(view.revivals.at(-1)).toEqual({ deadMs: 0, isRestarted: true });
  });

  test("that was restarted while dead is another process, though its first words were that it does not hear us", () => {
    const view = acquainted();
    for (let i = 0; i < 15; i++) view.tick();
    view.hear({ incarnation: 8, hears: false });
    view.hear({ incarnation: 8, hears: true });
    expect(view.revivals.at(-1)).toEqual({ deadMs: 500, isRestarted: true });
    view.hear({ incarnation: 8, hears: false });
    view.hear({ incarnation: 8, hears: true });
    expect(view.revivals.at(-1)).toEqual({ deadMs: 0, isRestarted: false });
  });

  test("that took us for dead is known by its count", () => {
    const view = acquainted();
    view.hear({ deaths: 1 });
    view.hear({ deaths: 1 });
    expect(view.events).toEqual(["was dead 2"]);
  });
});
