/** Moves leaders and peers at random, for tests of everything that must bear it. (pd-rules 9.45, 9.46) */
import { mergeProblem, storesCanMerge } from "../checkers/merge-checker.js";
import { mergeOperators } from "../merge-operator.js";
import { OperatorBuilder } from "../operator-builder.js";
import { peerOnStore, type RegionInfo } from "../region-info.js";
import {
  BaseScheduler,
  type SchedulerHost,
  settingsOk,
  settingsRefused,
  type SettingsReply,
} from "../scheduler.js";
import type { StoreInfo } from "../store-info.js";
import type { PeerKind } from "../store-regions.js";
import { randomBelow } from "../../base/index.js";

export const SHUFFLE_LEADER = "shuffle-leader-scheduler";
export const SHUFFLE_REGION = "shuffle-region-scheduler";
export const SHUFFLE_HOT_REGION = "shuffle-hot-region-scheduler";
export const RANDOM_MERGE = "random-merge-scheduler";
const ROLES: readonly string[] = ["leader", "follower", "learner"];
const TRIES = 10;

abstract class Shuffler extends BaseScheduler {
  protected anyOf<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : list[randomBelow(this.view.env.random, list.length)];
  }

  /** A store that may take a peer of the region in place of `sourceId`'s. */
  protected anyTarget(region: RegionInfo, sourceId: number): StoreInfo | undefined {
    const { view } = this;
    const fits = view.safeguard(region, sourceId);
    const stores = view
      .stores()
      .filter(
        (store) =>
          peerOnStore(region, store.id) === undefined &&
          view.regionTargetProblem(store) === undefined &&
          view.temporaryTargetProblem(store) === undefined &&
          fits(store),
      );
    return this.anyOf(stores);
  }
}

export class ShuffleLeader extends Shuffler {
  readonly name = SHUFFLE_LEADER;

  constructor(host: SchedulerHost) {
    super(host, "leader", "admin");
  }

  run(): number {
    const { view } = this;
    const target = this.anyOf(view.stores().filter((store) => view.leaderTargetProblem(store) === undefined));
    if (target === undefined) return 0;
    const region = this.pickOn(
      target.id,
      "follower",
      (other) =>
        this.isWell(other) && this.hasVoterOn(other, target.id) && view.leaderSafeguard(other)(target),
    );
    if (region === undefined) return 0;
    const built = new OperatorBuilder(view, this.name, region).setLeader(target.id).build(["admin"], "low");
    return built.kind === "built" && this.submit(built.operator) === undefined ? 1 : 0;
  }
}

export class ShuffleRegion extends Shuffler {
  readonly name = SHUFFLE_REGION;
  #roles: readonly PeerKind[] = ["leader", "follower", "learner"];

  constructor(host: SchedulerHost) {
    super(host, "region");
  }

  override settings(): Record<string, unknown> {
    return { roles: this.#roles, ranges: [{ "start-key": "", "end-key": "" }] };
  }

  get roles(): readonly PeerKind[] {
    return this.#roles;
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    this.setRoles(stored["roles"]);
  }

  /** The body of `POST roles`, a list; `POST config` gives it as an item. */
  setRoles(roles: unknown): SettingsReply {
    if (!Array.isArray(roles) || !roles.every((role) => ROLES.includes(role as string))) {
      return settingsRefused("roles should be a list of leader, follower and learner");
    }
    this.#roles = [...new Set(roles as PeerKind[])];
    return settingsOk(null);
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    return this.setRoles(body["roles"]);
  }

  run(): number {
    const { view } = this;
    const sources = view.stores().filter((store) => view.regionSourceProblem(store) === undefined);
    const source = this.anyOf(sources);
    if (source === undefined) return 0;
    for (const role of this.#roles) {
      const region = this.pickOn(source.id, role, (other) => this.isWell(other) && view.isReplicated(other));
      const target = region === undefined ? undefined : this.anyTarget(region, source.id);
      if (region === undefined || target === undefined) continue;
      const kept = peerOnStore(region, source.id)?.role === "learner" ? "learner" : "voter";
      const builder = new OperatorBuilder(view, this.name, region).addPeer(target.id, kept);
      const built = builder.removePeer(source.id).build(["region"], "low");
      return built.kind === "built" && this.submit(built.operator) === undefined ? 1 : 0;
    }
    return 0;
  }
}

/** Moves the leader of a hot region, with its peer, to a store that has none. */
export class ShuffleHotRegion extends Shuffler {
  readonly name = SHUFFLE_HOT_REGION;
  #limit = 1;

  constructor(host: SchedulerHost) {
    super(host, "hot-region");
  }

  override settings(): Record<string, unknown> {
    return { limit: this.#limit };
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    this.change(stored);
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    const { limit } = body;
    if (typeof limit !== "number" || !Number.isSafeInteger(limit) || limit < 1) {
      return settingsRefused("limit should be a whole number above 0");
    }
    this.#limit = limit;
    return settingsOk(null);
  }

  override limitReached(): string | undefined {
    if (this.host.controller.count("hot-region") >= this.#limit) return `its limit ${this.#limit} is reached`;
    return super.limitReached();
  }

  run(): number {
    const { view } = this;
    const { statistics } = this.host;
    const cache = statistics.hot(this.anyOf(["read", "write"] as const) ?? "write");
    const degree = view.config.number("schedule.hot-region-cache-hits-threshold");
    const hot = view
      .stores()
      .flatMap((store) => cache.hotPeers(store.id, degree, view.nowMs()))
      .filter((peer) => peer.isLeader);
    for (let i = 0; i < Math.min(TRIES, hot.length); i++) {
      const region = view.cluster.regions.byId(this.anyOf(hot)?.regionId ?? 0);
      if (region === undefined || !this.isWell(region)) continue;
      const from = region.leader?.storeId ?? 0;
      const target = this.anyTarget(region, from);
      if (target === undefined || view.leaderTargetProblem(target) !== undefined) continue;
      const builder = new OperatorBuilder(view, "random-move-hot-leader", region).addPeer(target.id, "voter");
      const built = builder.removePeer(from).setLeader(target.id).build(["hot-region"], "low");
      return built.kind === "built" && this.submit(built.operator) === undefined ? 1 : 0;
    }
    return 0;
  }
}

export class RandomMerge extends Shuffler {
  readonly name = RANDOM_MERGE;

  constructor(host: SchedulerHost) {
    super(host, "merge");
  }

  run(): number {
    const { view } = this;
    const { regions } = view.cluster;
    const store = this.anyOf(view.stores());
    if (store === undefined || !storesCanMerge(view)) return 0;
    const fit = (region: RegionInfo): boolean =>
      this.isWell(region) && view.isReplicated(region) && !this.host.statistics.isRegionHot(region.meta.id);
    const source = this.pickOn(store.id, "leader", fit);
    if (source === undefined) return 0;
    const neighbours = [regions.previous(source), regions.next(source)];
    const target = this.anyOf(neighbours.filter((other) => other !== undefined));
    if (target === undefined || !fit(target)) return 0;
    const problem = mergeProblem(view, source, target);
    const made = problem ?? mergeOperators(view, source, target, "random-merge", ["merge"], "low");
    const refused = typeof made === "string" ? made : this.submit(...made);
    if (refused === undefined) return 1;
    this.host.notes.note("region", source.meta.id, this.name, refused);
    return 0;
  }
}
