/**
 * Quiet regions: an idle region that is the same on all of its replicas costs nothing per tick, neither timer nor
 * message. Its leader asks the replicas, each falls quiet when it agrees that nothing is open, and the leader follows
 * when all have answered whose stores are alive. From then on the liveness of stores stands for that of the region:
 *
 *   quiet follower  => the store of its leader was alive at the last tick, both ways
 *   quiet leader    => the stores alive hold a quorum of its voters, and all of them hold its whole log, committed
 *
 * Whatever touches a quiet peer wakes it: a write, a read by index, an admin command, any message of Raft but a plain
 * heartbeat of its leader, the death of the leader's store, the return of a replica's. A follower that wakes for
 * another reason than its leader tells the leader. A leader that sleeps lets its lease run out: the next read asks a
 * quorum. A follower whose leader's store died counts the ticks that it slept as silence of its leader, since they
 * were: never more than an election timeout, and only from when it last heard the leader. (design 5; raftstore rules
 * 12)
 */
import { type Env, misbehaves } from "../base/index.js";
import { raft_serverpb } from "../proto/index.js";
import { readU64, writeU64 } from "../region/keys.js";
import type { Peer } from "../region/peer.js";
import { epochToProto, isVoter, type PeerMeta, peerToProto } from "../region/region.js";
import type { StoreConfig } from "./config.js";
import { type LifeSign, StoreLiveness } from "./liveness.js";

export interface QuietHost {
  readonly env: Env;
  readonly config: StoreConfig;
  storeId(): number;
  send(storeId: number, message: raft_serverpb.IRaftMessage): void;
  /** The region has something new to tell PD. */
  report(peer: Peer): void;
}

/** What a leader has asked, and who agreed. */
interface Offer {
  readonly term: number;
  readonly index: number;
  readonly agreed: Set<number>;
}

const Type = raft_serverpb.ExtraMessageType;
/** A sign of life: whether the sender hears the receiver:1, how often it took it for dead:8. */
const SIGN_BYTES = 9;
const HEARS = 1;
/** Stores that share regions are looked for this often. */
const NOTE_TICKS = 10;

export class QuietRegions {
  readonly liveness: StoreLiveness;
  readonly #host: QuietHost;
  readonly #active = new Set<Peer>();
  /** Quiet peers, and the tick in which each last heard its leader. */
  readonly #quiet = new Map<Peer, number>();
  readonly #offers = new Map<Peer, Offer>();
  /** Followers of leaders whose stores died, and their places in the line of who stands for election. */
  readonly #successors = new Map<Peer, number>();
  #ticks = 0;
  wakeUps = 0;

  constructor(host: QuietHost) {
    this.#host = host;
    const { raftElectionTicks, raftHeartbeatTicks, raftBaseTickMs } = host.config;
    this.liveness = new StoreLiveness({
      random: host.env.random,
      electionTicks: raftElectionTicks,
      heartbeatTicks: raftHeartbeatTicks,
      tickMs: raftBaseTickMs,
      say: (storeId, sign) => this.#say(storeId, sign),
      died: (storeId) => this.#storeDied(storeId),
      revived: (storeId) => this.#storeRevived(storeId),
      wasDead: (storeId) => this.#wasDead(storeId),
    });
  }

  /** Peers that tick. */
  get active(): Iterable<Peer> {
    return this.#active;
  }
  get quietCount(): number {
    return this.#quiet.size;
  }

  add(peer: Peer): void {
    this.#active.add(peer);
  }

  forget(peer: Peer): void {
    this.#active.delete(peer);
    this.#quiet.delete(peer);
    this.#offers.delete(peer);
    this.#successors.delete(peer);
  }

  /** One tick of the store: liveness, the peers that are awake, and who may fall quiet. */
  tick(nowMs: number): void {
    if (this.#ticks++ % NOTE_TICKS === 0) this.#noteStores();
    this.liveness.tick();
    for (const [peer, rank] of this.#successors) this.#succeed(peer, rank);
    for (const peer of this.#active) {
      peer.tick(nowMs);
      this.#consider(peer);
    }
  }

  /** Something touched a quiet peer. `byLeader`: its leader spoke to it, and need not be told. */
  wake(peer: Peer, byLeader = false): void {
    const heardTick = this.#quiet.get(peer);
    if (heardTick === undefined) return;
    this.#quiet.delete(peer);
    this.#active.add(peer);
    peer.isQuiet = false;
    this.wakeUps++;
    const leader = peer.leader;
    if (peer.isLeader) {
      peer.resumeLeading((meta) => this.liveness.deadMs(meta.storeId));
    } else if (leader !== undefined) {
      this.#countSilence(peer, leader.storeId, heardTick);
      if (!byLeader && this.liveness.isAlive(leader.storeId)) {
        this.#tell(peer, leader, Type.MsgRegionWakeUp, 0, 0);
      }
    }
  }

  /**
   * A leader that last spoke in that tick was silent since, but for as long as its store lived. A candidate elsewhere
   * may wake a follower before the silence of that store makes it dead here: did the follower begin to count then, it
   * could not vote for a whole election timeout.
   */
  #countSilence(peer: Peer, storeId: number, heardTick: number): void {
    const { raftElectionTicks } = this.#host.config;
    const sinceHeard = Math.min(this.#ticks - heardTick, raftElectionTicks);
    if (this.liveness.isAlive(storeId))
      peer.missLeader(Math.min(sinceHeard, this.liveness.silentTicks(storeId)));
    else peer.missTicks(sinceHeard);
  }

  /** A quiet peer heard its leader and sleeps on. */
  heardLeader(peer: Peer): void {
    if (this.#quiet.has(peer)) this.#quiet.set(peer, this.#ticks);
  }

  /** A message between stores, of no region. */
  onStoreMessage(raw: raft_serverpb.RaftMessage): void {
    const storeId = raw.fromPeer?.storeId ?? 0;
    if (storeId === 0 || storeId === this.#host.storeId()) return;
    const { extraCtx } = raw;
    if (extraCtx.length !== SIGN_BYTES) return;
    this.liveness.heard(storeId, {
      incarnation: raw.extraMsg?.index ?? 0,
      hears: extraCtx[0] === HEARS,
      deaths: readU64(extraCtx, 1),
    });
  }

  /** A message of this protocol for a peer; the sender is a peer of the region. */
  onMessage(peer: Peer, from: PeerMeta, raw: raft_serverpb.RaftMessage): void {
    const type = raw.extraMsg?.type;
    if (type === Type.MsgRegionWakeUp) {
      this.#offers.delete(peer);
      peer.idleTicks = 0;
      this.wake(peer, true);
      if (peer.isLeader) peer.ping();
      return;
    }
    if (raw.extraCtx.length !== 8) return;
    const term = readU64(raw.extraCtx, 0);
    const index = raw.extraMsg?.index ?? 0;
    if (type === Type.MsgHibernateRequest) this.#onOffer(peer, from, term, index);
    else if (type === Type.MsgHibernateResponse) this.#onAgreement(peer, from, term, index);
  }

  #consider(peer: Peer): void {
    const { quietAfterTicks, raftHeartbeatTicks } = this.#host.config;
    if (quietAfterTicks === 0 || !peer.isLeader) return;
    if (peer.idleTicks < quietAfterTicks || !this.#mayRest(peer)) {
      this.#offers.delete(peer);
      return;
    }
    const { term } = peer;
    const index = peer.appliedIndex;
    let offer = this.#offers.get(peer);
    if (offer === undefined || offer.term !== term || offer.index !== index) {
      offer = { term, index, agreed: new Set() };
      this.#offers.set(peer, offer);
    } else if (this.#ticks % raftHeartbeatTicks !== 0) {
      return;
    }
    for (const other of this.#othersAlive(peer)) {
      if (!offer.agreed.has(other.id)) this.#tell(peer, other, Type.MsgHibernateRequest, term, index);
    }
    this.#maybeSleep(peer, offer);
  }

  /** Everything is on all replicas that can be heard, and those alive are a quorum. */
  #mayRest(peer: Peer): boolean {
    const { region } = peer;
    if (!peer.isAtRest || region.peers.some(({ role }) => role !== "voter" && role !== "learner"))
      return false;
    if (!this.#hasQuorum(peer)) return false;
    return region.peers.every(
      (other) => other.id === peer.peerId || !this.#isHeard(peer, other) || peer.holdsAll(other.id),
    );
  }

  /**
   * Its store is alive, or it was heard a moment ago: of a store that has just got its first peer nobody knows yet, and
   * that peer, without data, does not know whom to tell.
   */
  #isHeard(peer: Peer, { id, storeId }: PeerMeta): boolean {
    if (this.liveness.isAlive(storeId)) return true;
    const { env, config } = this.#host;
    const silentMs = peer.silentMs(id, env.clock.monotonicMs());
    return silentMs !== undefined && silentMs < config.raftElectionTicks * config.raftBaseTickMs;
  }

  #hasQuorum(peer: Peer): boolean {
    const voters = peer.region.peers.filter(isVoter);
    const alive = voters.filter(({ id, storeId }) => id === peer.peerId || this.liveness.isAlive(storeId));
    return alive.length > Math.floor(voters.length / 2);
  }

  #othersAlive({ region, peerId }: Peer): PeerMeta[] {
    return region.peers.filter(({ id, storeId }) => id !== peerId && this.liveness.isAlive(storeId));
  }

  #onOffer(peer: Peer, from: PeerMeta, term: number, index: number): void {
    const isSame = peer.term === term && peer.appliedIndex === index && peer.leaderId === from.id;
    if (peer.isLeader || !isSame || !peer.isAtRest || !this.liveness.isAlive(from.storeId)) return;
    if (misbehaves(this.#host.env, "a replica does not fall quiet")) return;
    this.#sleep(peer);
    this.#tell(peer, from, Type.MsgHibernateResponse, term, index);
  }

  #onAgreement(peer: Peer, from: PeerMeta, term: number, index: number): void {
    const offer = this.#offers.get(peer);
    if (offer === undefined || offer.term !== term || offer.index !== index) return;
    offer.agreed.add(from.id);
    // Something may have begun since the offer.
    if (peer.idleTicks >= this.#host.config.quietAfterTicks && this.#mayRest(peer))
      this.#maybeSleep(peer, offer);
  }

  #maybeSleep(peer: Peer, offer: Offer): void {
    if (this.#othersAlive(peer).every(({ id }) => offer.agreed.has(id))) this.#sleep(peer);
  }

  #sleep(peer: Peer): void {
    this.#offers.delete(peer);
    this.#active.delete(peer);
    this.#quiet.set(peer, this.#ticks);
    peer.fallQuiet();
  }

  /** Its followers here campaign, its co-leaders see whether they still have a quorum. */
  #storeDied(storeId: number): void {
    this.#host.env.log.info("a store is not alive", { store: storeId });
    for (const peer of [...this.#quiet.keys()]) {
      if (peer.isLeader ? !this.#hasQuorum(peer) : peer.leader?.storeId === storeId) this.wake(peer);
    }
    for (const peer of this.#active) {
      if (!peer.isLeader && peer.leader?.storeId === storeId) this.#lineUp(peer);
    }
  }

  /**
   * The voters alive stand for election one after the other instead of at random times: of a thousand regions some
   * would draw long waits on all replicas. Who is first differs from region to region.
   */
  #lineUp(peer: Peer): void {
    const { region, peerId } = peer;
    const voters = region.peers.filter(
      (meta) => isVoter(meta) && (meta.id === peerId || this.liveness.isAlive(meta.storeId)),
    );
    const at = voters.findIndex(({ id }) => id === peerId);
    if (at < 0) return;
    this.#successors.set(peer, (at + region.id) % voters.length);
    peer.awaitSuccessor();
  }

  /** Two ticks more than an election timeout: who is asked has to have missed the leader for a whole one as well. */
  #succeed(peer: Peer, rank: number): void {
    const { leader, node } = peer;
    const isLed = leader !== undefined && this.liveness.isAlive(leader.storeId);
    if (peer.isRemoved || peer.isLeader || isLed) {
      this.#successors.delete(peer);
      peer.awaitNobody();
      return;
    }
    node.electAfter(this.#host.config.raftElectionTicks + 2 + 4 * rank);
    node.askAgainAfter(2 + 2 * rank);
    // Long enough for the answers of a store that is slow.
    node.standAgainAfter(5 + 4 * rank);
  }

  /** Its replicas may lack something, or wait for their leader. */
  #storeRevived(storeId: number): void {
    this.#host.env.log.info("a store is alive", { store: storeId });
    for (const peer of [...this.#quiet.keys()]) {
      if (!peer.isLeader || !peer.region.peers.some((meta) => meta.storeId === storeId)) continue;
      this.wake(peer);
      peer.ping();
      this.#host.report(peer);
    }
  }

  /** Removed meanwhile, a peer here would wait for ever for a leader that knows nothing of it. */
  #wasDead(storeId: number): void {
    for (const peer of [...this.#quiet.keys()]) {
      const isConcerned = peer.isLeader
        ? peer.region.peers.some((meta) => meta.storeId === storeId)
        : peer.leader?.storeId === storeId;
      if (!isConcerned) continue;
      this.wake(peer);
      if (peer.isLeader) peer.ping();
    }
  }

  #noteStores(): void {
    const own = this.#host.storeId();
    for (const { region } of this.#active) {
      for (const { storeId } of region.peers) if (storeId !== own) this.liveness.note(storeId);
    }
  }

  #tell(peer: Peer, to: PeerMeta, type: raft_serverpb.ExtraMessageType, term: number, index: number): void {
    const own = peer.meta;
    if (own === undefined || misbehaves(this.#host.env, "a word of falling quiet is lost", 4)) return;
    const extraCtx = new Uint8Array(8);
    writeU64(extraCtx, 0, term);
    this.#host.send(to.storeId, {
      regionId: peer.regionId,
      fromPeer: peerToProto(own),
      toPeer: peerToProto(to),
      regionEpoch: epochToProto(peer.region.epoch),
      extraMsg: { type, index },
      extraCtx,
    });
  }

  #say(storeId: number, { incarnation, hears, deaths }: LifeSign): void {
    if (misbehaves(this.#host.env, "a sign of life is lost", 4)) return;
    const extraCtx = new Uint8Array(SIGN_BYTES);
    if (hears) extraCtx[0] = HEARS;
    writeU64(extraCtx, 1, deaths);
    this.#host.send(storeId, {
      regionId: 0,
      fromPeer: { id: 0, storeId: this.#host.storeId() },
      toPeer: { id: 0, storeId },
      extraMsg: { type: Type.MsgAvailabilityRequest, index: incarnation },
      extraCtx,
    });
  }
}
