/**
 * One of several PDs over one meta store: campaigns, leads for a term, follows between terms. A follower keeps a
 * copy of the leader's map of regions and of the stored stores and settings, so that it serves at once when it is
 * elected. (pd-rules 1.2, 1.3)
 */
import type { Engine, Env } from "../base/index.js";
import { RaftwerkError } from "../base/index.js";
import type { pdpb, RpcNetwork } from "../proto/index.js";
import { mapOn, type RegionMap } from "./cluster.js";
import { Elector, LEASE_SECONDS } from "./elector.js";
import { Followership } from "./leadership.js";
import { decodeMember, encodeMember, MemberRegistry } from "./members.js";
import type { MetaWatch } from "./meta-store.js";
import { beginTerm, buildParts, endTerm, loadConfig, type Parts, type PartsInputs } from "./parts.js";
import { RegionSyncClient } from "./region-sync-client.js";
import type { TermOfOffice } from "./term-of-office.js";

const PRIORITY_CHECK_MS = 5_000;
/** A leader that has just been elected keeps the office for this long, whatever the priorities. */
const PRIORITY_GRACE_MS = 10_000;
const FOLLOW_RETRY_MS = 1_000;

export interface ElectionOptions {
  readonly network: RpcNetwork;
  /** A disk of this PD's own, for the map of regions. */
  readonly regionEngine: Engine;
  /** Default 2: the shortest that etcd with its default timing grants. */
  readonly leaseSeconds?: number;
}

export type CandidacyInputs = Omit<PartsInputs, "leadership" | "registry" | "otherLeader" | "map">;

export class Candidacy {
  readonly registry: MemberRegistry;
  readonly #env: Env;
  readonly #inputs: CandidacyInputs;
  readonly #options: ElectionOptions;
  readonly #map: RegionMap;
  readonly #elector: Elector;
  #parts: Parts;
  #followership = new Followership();
  #stored: MetaWatch | undefined;
  #sync: RegionSyncClient | undefined;
  #leader: pdpb.Member | undefined;
  #stopped = false;

  constructor(inputs: CandidacyInputs, options: ElectionOptions) {
    const { env, metaStore, keys, self } = inputs;
    this.#env = env;
    this.#inputs = inputs;
    this.#options = options;
    this.#map = mapOn(env, options.regionEngine, keys);
    this.registry = new MemberRegistry(env, metaStore, keys, self);
    this.#parts = this.#follow();
    this.#elector = new Elector(env, metaStore, keys, {
      memberId: self.memberId,
      leaderValue: encodeMember(self),
      leaseSeconds: options.leaseSeconds ?? LEASE_SECONDS,
      hasBetter: () => this.registry.hasBetter(),
      onElected: (term) => this.#lead(term),
      onTermEnded: (term) => this.#step(term),
      onLeader: (value) => this.#onLeader(value),
    });
  }

  start(): void {
    this.registry.start(() => {});
    this.#elector.start();
    this.#checkPriorities();
  }

  stop(callback: () => void): void {
    this.#stopped = true;
    this.#leaveLeader();
    this.#stored?.cancel();
    this.registry.stop();
    this.#elector.stop(() => this.#map.storage.flush(callback));
  }

  get parts(): Parts {
    return this.#parts;
  }

  /** Client URLs of the PD that leads, when it is another one. */
  leaderUrls(): readonly string[] | undefined {
    const leader = this.#parts.members.leader();
    return leader === undefined || this.#parts.leadership.isServing() ? undefined : (leader.clientUrls ?? []);
  }

  /** Gives the office to the member named, or to any other that is ready for it. */
  transfer(name: string | undefined, callback: (error: Error | undefined) => void): void {
    const warm = this.#parts.sync.warmMembers();
    const others = this.registry.list().filter(({ memberId }) => memberId !== this.#inputs.self.memberId);
    if (name === undefined) {
      const ready = others.filter(({ memberId }) => warm.includes(memberId ?? 0n));
      if (ready.length === 0) return callback(refused("no valid pd to transfer etcd leader"));
      return this.#elector.handOver(undefined, callback);
    }
    if (name === this.#inputs.self.name) return callback(undefined);
    const target = others.find((member) => member.name === name);
    if (target === undefined) return callback(refused("no valid pd to transfer etcd leader"));
    if (!warm.includes(target.memberId ?? 0n))
      return callback(refused(`${name} does not follow at the moment`));
    this.#elector.handOver(target.memberId ?? 0n, callback);
  }

  #build(leadership: PartsInputs["leadership"]): Parts {
    return buildParts({
      ...this.#inputs,
      leadership,
      registry: this.registry,
      otherLeader: () => this.#leader,
      map: this.#map,
    });
  }

  #follow(): Parts {
    const followership = new Followership();
    followership.hasRegions = () => this.#map.regions.count > 0;
    this.#followership = followership;
    const parts = this.#build(followership);
    this.#loadStored(parts);
    return parts;
  }

  /** Until it succeeds: the meta store may be away. */
  #loadStored(parts: Parts): void {
    this.#stored?.cancel();
    this.#stored = parts.cluster.followStored();
    const again = (): void => {
      if (this.#stopped || this.#parts !== parts) return;
      this.#loadStored(parts);
    };
    loadConfig(parts.context, (configError) => {
      parts.cluster.load((error) => {
        if (error !== undefined || configError !== undefined) this.#env.timers.set(FOLLOW_RETRY_MS, again);
      });
    });
  }

  #onLeader(value: Uint8Array | undefined): void {
    this.#leaveLeader();
    if (value === undefined || this.#stopped) return;
    const leader = decodeMember(value);
    if (leader === undefined)
      return this.#env.log.error("the leader key holds no member: who wrote it? PD waits until it is gone", {
        bytes: value.length,
      });
    this.#leader = leader;
    this.#followership.isLeaderKnown = true;
    this.#env.log.info("PD follows", { leader: leader.name });
    const [leaderUrl] = leader.clientUrls;
    const { clusterId, self } = this.#inputs;
    if (leaderUrl === undefined || leader.memberId === self.memberId) return;
    const followership = this.#followership;
    this.#sync = new RegionSyncClient(this.#env, {
      network: this.#options.network,
      clusterId,
      self,
      leaderUrl,
      regions: this.#map.regions,
      onRegion: (region) => void this.#parts.cluster.putRegion(region),
      onSynced: () => {
        followership.isSynced = true;
        // A leader has told all: the disk knows nothing newer, and the office must not wait for it.
        this.#map.isLoaded = true;
      },
    });
  }

  #leaveLeader(): void {
    this.#sync?.stop();
    this.#sync = undefined;
    this.#leader = undefined;
    this.#followership.isLeaderKnown = false;
    this.#followership.isSynced = false;
  }

  #lead(term: TermOfOffice): void {
    this.#leaveLeader();
    const parts = this.#build(term);
    const startedMs = this.#env.clock.monotonicMs();
    beginTerm(parts, (error) => {
      if (this.#stopped) return endTerm(parts, () => {});
      if (error !== undefined || this.#elector.term !== term) {
        endTerm(parts, () => {});
        return term.resign(`the term could not begin: ${error?.message ?? "it is over already"}`);
      }
      this.#stored?.cancel();
      this.#stored = undefined;
      this.#parts = parts;
      const tookMs = Math.round(this.#env.clock.monotonicMs() - startedMs);
      this.#env.log.info("PD serves as leader", { tookMs, regions: this.#map.regions.count });
    });
  }

  #step(term: TermOfOffice): void {
    if (this.#parts.leadership !== term) return;
    const ended = this.#parts;
    endTerm(ended, () => {});
    if (this.#stopped) return;
    this.#parts = this.#follow();
    this.#parts.cluster.inherit(ended.cluster);
  }

  /** The leader gives way to a follower with a higher priority that is ready. (1.13) */
  #checkPriorities(): void {
    this.#env.timers.set(PRIORITY_CHECK_MS, () => {
      if (this.#stopped) return;
      this.#checkPriorities();
      const { leadership, sync } = this.#parts;
      if (!leadership.isServing() || this.#env.clock.monotonicMs() < this.#electedMs + PRIORITY_GRACE_MS)
        return;
      const mine = this.registry.priority(this.#inputs.self.memberId);
      const [better] = sync
        .warmMembers()
        .filter((id) => this.registry.priority(id) > mine)
        .sort((left, right) => this.registry.priority(right) - this.registry.priority(left));
      if (better === undefined) return;
      this.#env.log.info("a member with a higher priority takes over", { member: String(better) });
      this.#elector.handOver(better, () => {});
    });
  }

  get #electedMs(): number {
    return this.#elector.electedMs;
  }
}

const refused = (text: string): RaftwerkError =>
  new RaftwerkError("invalidArgument", text, { retry: "safe" });
