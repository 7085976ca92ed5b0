/** Settings of the hot-region scheduler, with PD's names and bounds. (pd-rules 9.29, 9.39) */
import { type SettingsReply, settingsOk, settingsRefused } from "../scheduler.js";
import { SAME_CONFIG } from "../balance-leader.js";
import { DIMENSIONS, type Dimension } from "../statistics/rates.js";
import { formatDurationMs, parseDurationMs } from "../duration.js";

export type Priorities = readonly [Dimension, Dimension];

const NUMBERS = {
  "min-hot-byte-rate": 100,
  "min-hot-key-rate": 10,
  "min-hot-query-rate": 10,
  "min-hot-cpu-rate": 10,
  "max-zombie-rounds": 3,
  "pending-weight": 1,
  "max-peer-number": 1000,
  "byte-rate-rank-step-ratio": 0.05,
  "key-rate-rank-step-ratio": 0.05,
  "query-rate-rank-step-ratio": 0.05,
  "cpu-rate-rank-step-ratio": 0.05,
  "count-rank-step-ratio": 0.01,
  "great-dec-ratio": 0.95,
  "minor-dec-ratio": 0.99,
  "src-tolerance-ratio": 1.05,
  "dst-tolerance-ratio": 1.05,
  "split-thresholds": 0.2,
} as const;
type NumberName = keyof typeof NUMBERS;
const RANK_STEP_MIN = 1e-6;

const PRIORITIES = {
  "write-leader-priorities": ["query", "byte"],
  "write-peer-priorities": ["byte", "key"],
  "read-priorities": ["cpu", "byte"],
} as const;
type PrioritiesName = keyof typeof PRIORITIES;

const FLAGS = { "strict-picking-store": true, "enable-for-tiflash": true } as const;
const FORBIDDEN: readonly string[] = ["none", "read", "write"];
const VERSIONS: readonly string[] = ["v1", "v2"];

export class HotSettings {
  readonly #numbers = new Map<NumberName, number>(Object.entries(NUMBERS) as [NumberName, number][]);
  readonly #priorities = new Map<PrioritiesName, Priorities>(
    Object.entries(PRIORITIES) as [PrioritiesName, Priorities][],
  );
  readonly #flags = new Map<string, boolean>(Object.entries(FLAGS));
  #version = "v2";
  #forbidden = "none";
  #historyMs = 300_000;
  #sampleMs = 30_000;

  number(name: NumberName): number {
    return this.#numbers.get(name) as number;
  }

  /** Share of the highest load by which loads are told apart. */
  rankStep(dimension: Dimension): number {
    return Math.max(RANK_STEP_MIN, this.number(`${dimension}-rate-rank-step-ratio`));
  }

  priorities(name: PrioritiesName): Priorities {
    return this.#priorities.get(name) as Priorities;
  }

  get version(): string {
    return this.#version;
  }

  get forbidden(): string {
    return this.#forbidden;
  }

  get sampleMs(): number {
    return this.#sampleMs;
  }

  get samples(): number {
    return this.#sampleMs === 0 ? 0 : Math.floor(this.#historyMs / this.#sampleMs);
  }

  toJson(): Record<string, unknown> {
    return {
      ...Object.fromEntries(this.#numbers),
      ...Object.fromEntries(this.#priorities),
      ...Object.fromEntries([...this.#flags].map(([name, value]) => [name, String(value)])),
      "forbid-rw-type": this.#forbidden === "none" ? undefined : this.#forbidden,
      "rank-formula-version": this.#version,
      "history-sample-duration": formatDurationMs(this.#historyMs),
      "history-sample-interval": formatDurationMs(this.#sampleMs),
    };
  }

  load(stored: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(stored)) this.change({ [name]: value });
  }

  /** All of the body or nothing of it. */
  change(body: Readonly<Record<string, unknown>>): SettingsReply {
    const before = JSON.stringify(this.toJson());
    const known = this.toJson();
    for (const [name, value] of Object.entries(body)) {
      if (!Object.hasOwn(known, name)) return settingsRefused("Config item is not found.");
      const problem = itemProblem(name, value);
      if (problem !== undefined) return settingsRefused(`invalid ${name}: ${problem}`);
    }
    for (const [name, value] of Object.entries(body)) this.#set(name, value);
    return settingsOk(JSON.stringify(this.toJson()) === before ? SAME_CONFIG : "Config is updated.");
  }

  #set(name: string, value: unknown): void {
    if (Object.hasOwn(NUMBERS, name)) this.#numbers.set(name as NumberName, value as number);
    else if (Object.hasOwn(PRIORITIES, name)) {
      this.#priorities.set(
        name as PrioritiesName,
        (value as Dimension[]).slice(0, 2) as unknown as Priorities,
      );
    } else if (Object.hasOwn(FLAGS, name)) this.#flags.set(name, value === true || value === "true");
    else if (name === "forbid-rw-type") this.#forbidden = value as string;
    else if (name === "rank-formula-version") this.#version = value as string;
    else if (name === "history-sample-duration") this.#historyMs = parseDurationMs(value as string) ?? 0;
    else this.#sampleMs = parseDurationMs(value as string) ?? 0;
  }
}

function itemProblem(name: string, value: unknown): string | undefined {
  if (Object.hasOwn(NUMBERS, name)) {
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
      return "it must be a number above 0";
    if (name === "pending-weight" && value < 1) return "it must be at least 1";
    if (name === "split-thresholds" && (value < 0.01 || value > 1)) return "it must be between 0.01 and 1";
    return undefined;
  }
  if (Object.hasOwn(PRIORITIES, name)) return prioritiesProblem(name, value);
  if (Object.hasOwn(FLAGS, name)) {
    return ["true", "false", true, false].includes(value as string) ? undefined : "it must be true or false";
  }
  if (name === "forbid-rw-type")
    return FORBIDDEN.includes(value as string) ? undefined : "none, read or write";
  if (name === "rank-formula-version") return VERSIONS.includes(value as string) ? undefined : "v1 or v2";
  return typeof value === "string" && parseDurationMs(value) !== undefined
    ? undefined
    : "it must be a duration";
}

function prioritiesProblem(name: string, value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length < 2) return "two dimensions are needed";
  const list = value as string[];
  if (list.some((item) => !(DIMENSIONS as readonly string[]).includes(item))) return "unknown dimension";
  if (new Set(list).size !== list.length) return "a dimension is repeated";
  if (name !== "read-priorities" && list.includes("cpu")) return "writes have no cpu";
  if (name === "write-peer-priorities" && list.includes("query")) return "queries are no load of a peer";
  return undefined;
}
