/**
 * Raft as the disks show it (invariants 6 to 8; 4 is in `log-matching.ts`, 5 in `leader-completeness.ts`). `committed(region, index)` is what the first store that applied
 * the index
 * found in its log. Every other store must apply the same; the entry must have been durable on a quorum by then;
 * and what a store acknowledges or votes must be on its disk before the message leaves.
 */
import type { raft_serverpb, tikvpb } from "../../proto/index.js";
import type { Region } from "../../region/region.js";
import type { SimCluster, SimStore } from "../cluster.js";
import type { Frame } from "../network.js";
import { Violation, type World } from "../world.js";
import { LeaderCompleteness } from "./leader-completeness.js";
import { leaseKeptInHandover } from "./lease-exclusion.js";
import { StoreLedger } from "./ledger.js";
import { LogMatching } from "./log-matching.js";

const MSG_APPEND_RESPONSE = 4;
const MSG_VOTE_RESPONSE = 6;
const MSG_TIMEOUT_NOW = 14;

/** The voters of a region at some time: store ids of both halves of a joint configuration. */
interface Voters {
  readonly name: string;
  readonly incoming: readonly number[];
  readonly outgoing: readonly number[];
}

export class Logs {
  readonly #world: World;
  readonly completeness = new LeaderCompleteness();
  readonly #matching = new LogMatching();
  readonly #ledgers = new Map<string, StoreLedger>();
  /** Of disks that are lost: what was on them was durable when it was committed. */
  readonly #lost: StoreLedger[] = [];
  readonly #committed = new Map<string, { hash: number; by: string }>();
  readonly #voters = new Map<number, Voters[]>();
  readonly #regionListeners: ((store: string, region: Region, isTombstone: boolean) => void)[] = [];

  /** Watches the disks of stores that are added from now on, and all frames. */
  static watch(cluster: SimCluster): Logs {
    return new Logs(cluster);
  }

  private constructor(cluster: SimCluster) {
    this.#world = cluster.world;
    cluster.onStore = (store) => this.#watch(store);
    cluster.network.observer = (frame) => this.#sent(cluster, frame);
  }

  ledger(name: string): StoreLedger | undefined {
    return this.#ledgers.get(name);
  }

  onRegion(listener: (store: string, region: Region, isTombstone: boolean) => void): void {
    this.#regionListeners.push(listener);
  }

  #watch({ node, disk }: SimStore): void {
    const ledger = new StoreLedger(node.name);
    const before = this.#ledgers.get(node.name);
    if (before !== undefined) this.#lost.push(before);
    this.#ledgers.set(node.name, ledger);
    ledger.onApplied = (_, region, from, to) => this.#applied(ledger, region, from, to);
    ledger.onEntry = ({ name }, ...entry) => this.#matching.durable(name, ...entry);
    ledger.onRegion = (_, region, isTombstone) => this.#region(ledger.name, region, isTombstone);
    disk.observer = (operations) => {
      try {
        ledger.observe(operations);
      } catch (error) {
        this.#world.fail(error as Error);
      }
    };
  }

  #region(store: string, region: Region, isTombstone: boolean): void {
    for (const listener of this.#regionListeners) listener(store, region, isTombstone);
    if (isTombstone) return;
    const stores = (roles: readonly string[]): number[] =>
      region.peers.filter(({ role }) => roles.includes(role)).map(({ storeId }) => storeId as number);
    const incoming = stores(["voter", "incomingVoter"]);
    const outgoing = stores(["voter", "demotingVoter"]);
    const name = `${incoming.join()} ${outgoing.join()}`;
    const known = this.#voters.get(region.id) ?? [];
    if (known.every((each) => each.name !== name)) known.push({ name, incoming, outgoing });
    this.#voters.set(region.id, known);
  }

  #applied(ledger: StoreLedger, region: number, from: number, to: number): void {
    const { entries } = ledger.region(region);
    for (let index = from + 1; index <= to; index++) {
      const hash = entries.get(index);
      // Came by snapshot.
      if (hash === undefined) continue;
      const key = `${region}/${index}`;
      const known = this.#committed.get(key);
      if (known === undefined) {
        this.#committed.set(key, { hash, by: ledger.name });
        const term = ledger.termOf(region, index);
        if (term !== undefined) this.completeness.committed(region, index, term, ledger.region(region).term);
        if (!this.#isDurableOnQuorum(region, index, hash)) {
          const configurations = (this.#voters.get(region) ?? []).map(({ name }) => name).join(" | ");
          const holders = this.#holders(region, index, hash).join();
          throw new Violation(
            "7 commit rule",
            `${ledger.name} applied ${key}, which is on the disks of stores ${holders} of ${configurations}`,
          );
        }
      } else if (known.hash !== hash) {
        throw new Violation(
          "6 state machine safety",
          `${ledger.name} and ${known.by} applied different entries ${key}`,
        );
      }
    }
  }

  /** Stores that have the entry on disk, or had it and have applied it. */
  #holders(region: number, index: number, hash: number): number[] {
    const holders: number[] = [];
    for (const ledger of [...this.#ledgers.values(), ...this.#lost]) {
      const kept = ledger.regions.get(region);
      if (kept === undefined) continue;
      const mine = kept.entries.get(index);
      // A peer that the entry removed may have applied it first, and be gone.
      const hadIt = mine === undefined && (kept.applied >= index || kept.isTombstone);
      if (mine === hash || hadIt) holders.push(ledger.storeId);
    }
    return holders;
  }

  #isDurableOnQuorum(region: number, index: number, hash: number): boolean {
    const holders = this.#holders(region, index, hash);
    const holds = (voters: readonly number[]): boolean =>
      voters.filter((id) => holders.includes(id)).length * 2 > voters.length;
    return (this.#voters.get(region) ?? []).some(
      ({ incoming, outgoing }) => holds(incoming) && holds(outgoing),
    );
  }

  /** What leaves a store must be on its disk. (invariant 8) */
  #sent(cluster: SimCluster, { from, isRaft, message: batch }: Frame): void {
    const { world } = cluster;
    if (!isRaft) return;
    const ledger = this.#ledgers.get(from.name);
    if (ledger === undefined) return;
    for (const message of (batch as tikvpb.IBatchRaftMessage).msgs ?? []) {
      if (message.message?.msgType === MSG_TIMEOUT_NOW) {
        const kept = leaseKeptInHandover(cluster, from, message.regionId ?? 0, message.toPeer?.id ?? 0);
        if (kept !== undefined) world.fail(kept);
      }
      const failure = violatesDurability(ledger, message);
      if (failure !== undefined) world.fail(new Violation("8 no acknowledgement before durable", failure));
    }
  }
}

function violatesDurability(
  ledger: StoreLedger,
  { regionId, fromPeer, message }: raft_serverpb.IRaftMessage,
): string | undefined {
  if (message == null || message.reject === true) return undefined;
  const kept = ledger.region(regionId ?? 0);
  // Of a peer that was removed the log is deleted while its last words are still on their way.
  const { region, isTombstone } = kept;
  const isMember = region === undefined || region.peers.some(({ id }) => id === fromPeer?.id);
  if (isTombstone || !isMember) return undefined;
  const index = message.index ?? 0;
  const term = message.term ?? 0;
  if (message.msgType === MSG_APPEND_RESPONSE && index > kept.applied && !kept.entries.has(index)) {
    const has = [...kept.entries.keys()].join();
    return `${ledger.name} acknowledges ${regionId}/${index}; its disk has applied ${kept.applied} and entries ${has}`;
  }
  if (
    message.msgType === MSG_VOTE_RESPONSE &&
    (kept.term < term || (kept.term === term && kept.vote !== message.to))
  ) {
    return `${ledger.name} votes in term ${term} of region ${regionId}; its disk has term ${kept.term}, vote ${kept.vote}`;
  }
  return undefined;
}
