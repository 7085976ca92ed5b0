/**
 * Balances the regions of one range among all stores, leaders first, then peers, empty regions too: for a table
 * that was just loaded. Several may run, each under the name of its range. (pd-rules 9.48)
 */
import { BalanceLeader, type BalanceScope } from "../balance-leader.js";
import { BalanceRegion } from "../balance-region.js";
import type { RegionSource } from "../balance-solver.js";
import { unescapeToBytes } from "../http-text.js";
import {
  BaseScheduler,
  type SchedulerHost,
  settingsOk,
  settingsRefused,
  type SettingsReply,
} from "../scheduler.js";
import { indexRegion, StoreRegions } from "../store-regions.js";

const PREFIX = "scatter-range-scheduler";
const KEPT_MS = 1000;
const TOLERANT_SIZE_RATIO = 2;
export const scatterRangeName = (range: string): string => `${PREFIX}-${range}`;

const EMPTY = new StoreRegions();

export class ScatterRange extends BaseScheduler {
  readonly name: string;
  readonly #rangeName: string;
  #startText = "";
  #endText = "";
  readonly #leaders: BalanceLeader;
  readonly #regions: BalanceRegion;
  #source: RegionSource | undefined;
  #sourceMs = 0;

  constructor(host: SchedulerHost, rangeName: string) {
    super(host, "region", "range");
    this.#rangeName = rangeName;
    this.name = scatterRangeName(rangeName);
    const scope = (what: string): BalanceScope => ({
      name: `scatter-range-${what}-${rangeName}`,
      kinds: ["range"],
      source: () => this.#regionsOfRange(),
      tolerantSizeRatio: TOLERANT_SIZE_RATIO,
    });
    this.#leaders = new BalanceLeader(host, scope("leader"));
    this.#regions = new BalanceRegion(host, scope("region"));
  }

  override settings(): Record<string, unknown> {
    return { "range-name": this.#rangeName, "start-key": this.#startText, "end-key": this.#endText };
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    this.change(stored);
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    const { "range-name": name, "start-key": start, "end-key": end } = body;
    if (name !== undefined && name !== this.#rangeName) {
      return settingsRefused("Cannot change the range name, please delete this schedule", 500);
    }
    const texts = [start ?? this.#startText, end ?? this.#endText];
    if (!texts.every((text) => typeof text === "string" && unescapeToBytes(text, true) !== undefined)) {
      return settingsRefused("start-key and end-key must be URL-escaped texts");
    }
    [this.#startText, this.#endText] = texts as [string, string];
    this.#source = undefined;
    return settingsOk(null);
  }

  override limitReached(): string | undefined {
    return this.#leaders.limitReached() === undefined || super.limitReached() === undefined
      ? undefined
      : super.limitReached();
  }

  run(): number {
    this.#source = undefined;
    const moved = this.#leaders.limitReached() === undefined ? this.#leaders.run() : 0;
    if (moved > 0 || this.#regions.limitReached() !== undefined) return moved;
    return this.#regions.run();
  }

  /** Counted anew for each round, and not more often than once a second. */
  #regionsOfRange(): RegionSource {
    const nowMs = this.view.nowMs();
    if (this.#source !== undefined && nowMs - this.#sourceMs < KEPT_MS) return this.#source;
    const start = unescapeToBytes(this.#startText, true) ?? new Uint8Array(0);
    const end = unescapeToBytes(this.#endText, true) ?? new Uint8Array(0);
    const stores = new Map<number, StoreRegions>();
    let sizeMib = 0;
    const found = this.view.cluster.regions.scan(start, end, 0);
    for (const region of found) {
      indexRegion(stores, region, 1);
      sizeMib += region.sizeMib;
    }
    this.#sourceMs = nowMs;
    this.#source = {
      count: found.length,
      averageSizeMib: found.length === 0 ? 1 : Math.max(1, sizeMib / found.length),
      onStore: (id) => stores.get(id) ?? EMPTY,
    };
    return this.#source;
  }
}
