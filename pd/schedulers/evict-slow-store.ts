/**
 * Takes the leaders of the one store that has become slow, and gives it back when it has been quick for long enough.
 * With two slow stores it does nothing: then it is the load and not a disk. A store that the others reach slowly
 * takes no leaders for the time, where that is switched on. (pd-rules 9.41)
 */
import { isEvictBatch, LeaderEvictor } from "../evict-leader.js";
import { settingsOk, settingsRefused, type SettingsReply } from "../scheduler.js";
import type { StoreInfo } from "../store-info.js";

export const EVICT_SLOW_STORE = "evict-slow-store-scheduler";
const EVICT_SCORE = 100;
const RECOVERED_SCORE = 1;
const RECOVERY_SECONDS = 1800;
const NETWORK_PROBLEM_SCORE = 95;
const NETWORK_TROUBLED_SCORE = 10;
const NETWORK_SCORES_MIN = 3;
/** Of slowness to all others in a row: then it loses its leaders, too. */
const NETWORK_REPORTS_EVICT = 6;

export class EvictSlowStore extends LeaderEvictor {
  readonly name = EVICT_SLOW_STORE;
  #recoverySeconds = RECOVERY_SECONDS;
  #networkEnabled = false;
  #evicted: number | undefined;
  /** Since when the evicted store has been quick again. */
  #quickSinceMs: number | undefined;
  #networkSlow: number | undefined;
  #networkQuickSinceMs: number | undefined;

  get evictedStore(): number | undefined {
    return this.#evicted;
  }

  override settings(): Record<string, unknown> {
    return {
      "evict-stores": this.#evicted === undefined ? [] : [this.#evicted],
      "recovery-duration": this.#recoverySeconds,
      batch: this.batch,
      "enable-network-slow-store": this.#networkEnabled,
      "paused-network-slow-stores": this.#networkSlow === undefined ? [] : [this.#networkSlow],
    };
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    this.change(stored);
    const evicted = stored["evict-stores"];
    const id = Array.isArray(evicted) ? (evicted[0] as unknown) : undefined;
    const store = typeof id === "number" ? this.view.store(id) : undefined;
    if (store !== undefined) this.#mark(store);
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    const { "recovery-duration": recovery, batch, "enable-network-slow-store": network } = body;
    if (recovery !== undefined && (typeof recovery !== "number" || !(recovery >= 0))) {
      return settingsRefused("invalid recovery-duration, it should be a number of seconds");
    }
    if (batch !== undefined && !isEvictBatch(batch)) {
      return settingsRefused("invalid batch size which should be an integer between 1 and 100");
    }
    if (network !== undefined && typeof network !== "boolean") {
      return settingsRefused("enable-network-slow-store should be true or false");
    }
    if (typeof recovery === "number") this.#recoverySeconds = recovery;
    if (isEvictBatch(batch)) this.batch = batch;
    if (typeof network === "boolean") this.#networkEnabled = network;
    return settingsOk("Config updated.");
  }

  override stop(): void {
    this.#recover();
    this.#recoverNetwork();
  }

  run(): number {
    if (this.#networkEnabled) this.#watchNetwork();
    else this.#recoverNetwork();
    const leaving = new Set<number>();
    const store = this.#evicted === undefined ? this.#findSlow() : this.view.store(this.#evicted);
    if (store === undefined || store.isRemoved || this.#isRecovered(store)) this.#recover();
    else {
      this.#mark(store);
      leaving.add(store.id);
    }
    const cutOff = this.#networkSlow === undefined ? undefined : this.view.store(this.#networkSlow);
    if (cutOff !== undefined && cutOff.networkSlowReports >= NETWORK_REPORTS_EVICT) leaving.add(cutOff.id);
    return this.evictFrom([...leaving]);
  }

  #findSlow(): StoreInfo | undefined {
    const slow = this.view.stores().filter((store) => store.isUp && store.isSlow);
    const [store] = slow;
    if (slow.length > 1) {
      for (const { id } of slow)
        this.note(id, "slow, but not alone: its leaders stay, the load may be the cause");
      return undefined;
    }
    return (store?.stats?.slowScore ?? 0) >= EVICT_SCORE ? store : undefined;
  }

  #isRecovered(store: StoreInfo): boolean {
    if (this.#evicted === undefined) return false;
    if ((store.stats?.slowScore ?? 0) > RECOVERED_SCORE) {
      this.#quickSinceMs = undefined;
      return false;
    }
    this.#quickSinceMs ??= this.view.nowMs();
    return this.view.nowMs() - this.#quickSinceMs >= this.#recoverySeconds * 1000;
  }

  #mark(store: StoreInfo): void {
    if (this.#evicted === store.id) return;
    this.#evicted = store.id;
    store.isEvictedAsSlow = true;
    this.view.env.log.warn("the leaders of a slow store are taken away", { store: store.id });
    this.note(store.id, "slow: its leaders are taken away until it has recovered");
    this.onChanged();
  }

  #recover(): void {
    const id = this.#evicted;
    if (id === undefined) return;
    this.#evicted = undefined;
    this.#quickSinceMs = undefined;
    const store = this.view.store(id);
    if (store !== undefined) store.isEvictedAsSlow = false;
    this.host.notes.clear("store", id, this.name);
    this.onChanged();
  }

  // The network between stores, by the scores they give each other.

  #watchNetwork(): void {
    if (this.#networkSlow !== undefined) {
      const store = this.view.store(this.#networkSlow);
      if (store === undefined || this.#hasQuickNetwork(store)) this.#recoverNetwork();
      return;
    }
    for (const store of this.view.stores()) {
      if (!store.isUp || !this.#hasSlowNetwork(store)) continue;
      this.#networkSlow = store.id;
      store.leaderInPauses += 1;
      this.note(store.id, "other stores reach it slowly: no leader is moved to it");
      return;
    }
  }

  #scoresOf(store: StoreInfo): [number, number][] {
    return Object.entries(store.stats?.networkSlowScores ?? {}).map(([id, score]) => [Number(id), score]);
  }

  #hasSlowNetwork(store: StoreInfo): boolean {
    const scores = this.#scoresOf(store);
    if (scores.length < NETWORK_SCORES_MIN) return false;
    const others = this.view.stores().filter((other) => other.isUp && other !== store);
    const problems = others.filter((other) => {
      const own = store.stats?.networkSlowScores?.[other.id] ?? 0;
      const theirs = other.stats?.networkSlowScores?.[store.id] ?? 0;
      return Math.max(own, theirs) >= NETWORK_PROBLEM_SCORE;
    });
    if (problems.length === 0) return false;
    if (problems.length === others.length) return true;
    const troubled = scores.filter(
      ([id, score]) => score >= NETWORK_TROUBLED_SCORE && !problems.some((other) => other.id === id),
    );
    return troubled.length >= 2;
  }

  #hasQuickNetwork(store: StoreInfo): boolean {
    const scores = this.view.stores().flatMap((other) => other.stats?.networkSlowScores?.[store.id] ?? []);
    const average = scores.reduce((sum, score) => sum + score, 0) / Math.max(1, scores.length);
    if (average > RECOVERED_SCORE) {
      this.#networkQuickSinceMs = undefined;
      return false;
    }
    this.#networkQuickSinceMs ??= this.view.nowMs();
    return this.view.nowMs() - this.#networkQuickSinceMs >= this.#recoverySeconds * 1000;
  }

  #recoverNetwork(): void {
    const id = this.#networkSlow;
    if (id === undefined) return;
    this.#networkSlow = undefined;
    this.#networkQuickSinceMs = undefined;
    const store = this.view.store(id);
    if (store !== undefined) store.leaderInPauses = Math.max(0, store.leaderInPauses - 1);
    this.host.notes.clear("store", id, this.name);
  }

  /** What is stored must follow: a new leader of PD goes on where this one stopped. */
  onChanged: () => void = () => {};
}
