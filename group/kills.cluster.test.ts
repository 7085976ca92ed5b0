/**
 * Three members as real processes, killed with SIGKILL one after the other, the leader more often than not, while
 * clients write and read. What they saw must be linearizable. Three kills here; `npm run test:group` makes fifty.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkRegister, type RegisterOperation } from "../sim/checkers/linearizability.js";
import type { GroupStatus } from "./index.js";
import { bundle } from "./test/bundle.js";
import { freePorts } from "./test/free-ports.js";
import type { ProcessAnswer, ProcessOptions, ProcessRequest } from "./test/member-process.js";

const KILLS = Number(process.env["GROUP_KILLS"] ?? 3);
const CLIENTS = 6;
const OPERATIONS_PER_KEY = 150;

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Counted in looks, not by the clock: a machine that stands still must not look like a group that does. */
async function until(what: () => string | Promise<string>, condition: () => boolean): Promise<void> {
  for (let looks = 0; looks < 600; looks++) {
    if (condition()) return;
    await delay(50);
  }
  throw new Error(`not within 600 looks: ${await what()}`);
}

type Unnumbered<T> = T extends unknown ? Omit<T, "request"> : never;

class Member {
  readonly #script: string;
  readonly #options: ProcessOptions;
  #child: ChildProcess | undefined;
  #next = 1;
  readonly #waiting = new Map<number, (answer: ProcessAnswer) => void>();
  isReady = false;

  constructor(script: string, options: ProcessOptions) {
    this.#script = script;
    this.#options = options;
  }

  start(): void {
    const child = fork(this.#script, [JSON.stringify(this.#options)]);
    this.#child = child;
    child.on("message", (answer: ProcessAnswer) => {
      if (answer.request === 0) this.isReady = true;
      this.#waiting.get(answer.request)?.(answer);
      this.#waiting.delete(answer.request);
    });
    child.on("exit", () => {
      if (this.#child !== child) return;
      this.isReady = false;
      const error = { code: "killed", retry: "unknown", message: "the process was killed" };
      for (const [request, resolve] of this.#waiting) resolve({ request, error });
      this.#waiting.clear();
    });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  ask(message: Unnumbered<ProcessRequest>): Promise<ProcessAnswer> {
    const request = this.#next++;
    return new Promise((resolve) => {
      if (!this.isReady || this.#child?.connected !== true) {
        return resolve({ request, error: { code: "down", retry: "safe", message: "the process is down" } });
      }
      this.#waiting.set(request, resolve);
      // A process that was killed this moment breaks the pipe: its exit answers whoever waits.
      this.#child.send({ ...message, request }, () => {});
    });
  }
}

class Clients {
  readonly history = new Map<string, RegisterOperation[]>();
  /** Changes with the kills, so that no key has too many operations to check. */
  key = "k0";
  isOver = false;
  acknowledged = 0;
  readonly #running: Promise<void>[];
  #value = 0;

  constructor(members: readonly Member[]) {
    this.#running = Array.from({ length: CLIENTS }, (_, client) => this.#run(client, members));
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.#running);
  }

  async #run(client: number, members: readonly Member[]): Promise<void> {
    for (let turn = client; !this.isOver; turn++) {
      await delay(4 + ((turn * 7) % 11));
      const { key } = this;
      const history = this.history.get(key) ?? [];
      this.history.set(key, history);
      if (history.length >= OPERATIONS_PER_KEY) continue;
      await this.#operate(client, key, history, members[turn % members.length] as Member, turn % 3 === 0);
    }
  }

  async #operate(
    client: number,
    key: string,
    history: RegisterOperation[],
    member: Member,
    isRead: boolean,
  ): Promise<void> {
    const beganAt = performance.now();
    const at = history.length;
    if (isRead) {
      const call = { kind: "get", result: undefined } as const;
      history.push({ client, call, beganAt, endedAt: undefined });
      const { value, error } = await member.ask({ kind: "read", key });
      if (error !== undefined) return;
      const result = value as string | undefined;
      history[at] = { client, call: { kind: "get", result }, beganAt, endedAt: performance.now() };
      this.acknowledged++;
      return;
    }
    const value = `${++this.#value}`;
    const put = { kind: "put", value } as const;
    history.push({ client, call: put, beganAt, endedAt: undefined });
    const { error } = await member.ask({ kind: "propose", command: { kind: "put", key, value } });
    if (error === undefined) {
      history[at] = { client, call: put, beganAt, endedAt: performance.now() };
      this.acknowledged++;
    } else if (error.retry !== "unknown") {
      // It had no effect, they say: then nobody may ever read it.
      const never = {
        kind: "cas",
        expected: `never ${value}`,
        value,
        swapped: undefined,
        previous: undefined,
      } as const;
      history[at] = { client, call: never, beganAt, endedAt: undefined };
    }
  }

  verdicts(): string[] {
    return [...this.history].map(([key, history]) => {
      const known = history.filter(({ call, endedAt }) => call.kind !== "get" || endedAt !== undefined);
      return `${key} ${checkRegister(known).kind}`;
    });
  }
}

test(
  `a group of processes stays linearizable over ${KILLS} kills`,
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-group-kills-"));
    const script = bundle("member-process");
    const ports = await freePorts(3);
    const addresses = Object.fromEntries(ports.map((port, i) => [i + 1, `127.0.0.1:${port}`]));
    const members = [1, 2, 3].map(
      (id) =>
        new Member(script, {
          id,
          members: addresses,
          directory: join(directory, String(id)),
          reads: id === 1 ? "readIndex" : "lease",
        }),
    );
    try {
      for (const member of members) member.start();
      const serving = async (): Promise<string> => {
        const statuses = await Promise.all(members.map((member) => member.ask({ kind: "status" })));
        return `operations succeed; ${JSON.stringify(statuses)}`;
      };
      await until(
        () => "all members are up",
        () => members.every(({ isReady }) => isReady),
      );
      const clients = new Clients(members);
      for (let kill = 0; kill < KILLS; kill++) {
        clients.key = `k${kill}`;
        const before = clients.acknowledged;
        await until(serving, () => clients.acknowledged > before + 20);
        const statuses = await Promise.all(members.map((member) => member.ask({ kind: "status" })));
        const leader = statuses.findIndex(
          ({ value }) => (value as GroupStatus | undefined)?.raftState === "StateLeader",
        );
        const victim = members[kill % 3 === 2 || leader < 0 ? kill % 3 : leader] as Member;
        await victim.kill();
        await delay(100);
        victim.start();
        await until(
          () => `the member of kill ${kill} is up again`,
          () => victim.isReady,
        );
      }
      const before = clients.acknowledged;
      clients.key = "last";
      await until(serving, () => clients.acknowledged > before + 20);
      await clients.stop();
      expect(clients.verdicts().filter((verdict) => !verdict.endsWith(" linearizable"))).toEqual([]);
      expect(clients.history.size).toBe(KILLS + 1);
    } finally {
      await Promise.all(members.map((member) => member.kill()));
      rmSync(directory, { recursive: true, force: true });
      rmSync(script, { force: true });
    }
  },
  60_000 + KILLS * 20_000,
);
