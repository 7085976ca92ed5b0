/**
 * Quiet regions: an idle region that is the same on all of its replicas costs nothing per tick, neither timer nor
 * message. Its leader asks the replicas, each falls quiet when it agrees that nothing is open, and the leader follows
 * when all have answered whose stores are alive. From then on the liveness of stores stands for that of the region:
 *
 *   quiet follower  => the store of its leader was alive at the last tick, both ways
 *   quiet leader    => the stores alive hold a quorum of its voters, and all of them hold its whole log, committed
 *
 * but for those that stand in line (`WakeLine`) because a store died or returned.
 *
 * Whatever touches a quiet peer wakes it: a write, a read by index, an admin command, any message of Raft but a plain
 * heartbeat of its leader, the death of the leader's store. A follower that wakes for another reason than its leader
 * tells the leader. A leader that sleeps lets its lease run out: the next read asks a quorum. A follower whose leader's
 * store died counts the ticks that it slept as silence of its leader, since they were: never more than an election
 * timeout, and only from when it last heard the leader. (design 5; raftstore rules 12)
 *
 * The return of a store wakes no replica that agreed to fall quiet, since it holds all, and tells its leader if it woke
 * meanwhile. What is left to do, in line:
 *
 *   a replica that had not agreed          its leader wakes
 *   that store took this one for dead      each peer here asks whether it still belongs to its region, without waking
 *   that store was restarted               followers of its leaders wake; its own peers know no leader and ask for one
 */
import { type Env, misbehaves } from "../base/index.js";
import { raft_serverpb } from "../proto/index.js";
import { readU64, writeU64 } from "../region/keys.js";
import type { Peer } from "../region/peer.js";
import { epochToProto, isVoter, type PeerMeta, peerToProto } from "../region/region.js";
import type { StoreConfig } from "./config.js";
import { type LifeSign, type Revival, StoreLiveness } from "./liveness.js";
import { rankOf, Successors } from "./successors.js";
import { REASON, WakeLine } from "./wake-line.js";

export interface QuietHost {
  readonly env: Env;
  readonly config: StoreConfig;
  storeId(): number;
  send(storeId: number, message: raft_serverpb.IRaftMessage): void;
  /** What was sent leaves now and not at the end of the turn. */
  flush(): void;
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
/** The least time between two ticks, in ticks. */
export const TICK_LEAST = 0.9;
/** Peers that tick before the event loop gets its chance again. */
const SLICE_PEERS = 256;
/** Of those in line looked at in a tick, most of them in vain. */
const LOOKS_MAX = 16_384;
/** Whoever was woken by the line and did not come to rest for so long is awake for reasons of its own. */
const UNDER_WAY_TICKS = 30;
/** A peer that asks whether it still belongs to its region wakes when nobody has answered for so long. */
const ANSWER_TICKS = 10;
/** A region woken only because of a store has so many ticks until it may fall quiet, in place of the usual number. */
const BRIEF_TICKS = 2;
/** A peer without a leader after a start leaves the one that may exist so many ticks to answer. */
const GRACE_TICKS = 3;

interface UnderWay {
  readonly sinceTick: number;
  /** Then it is over when there is a leader. */
  readonly isElection: boolean;
}

export class QuietRegions {
  readonly liveness: StoreLiveness;
  readonly #host: QuietHost;
  /** Peers that tick, and when each did last. */
  readonly #active = new Map<Peer, number>();
  /** Quiet peers, and the tick in which each last heard its leader. */
  readonly #quiet = new Map<Peer, number>();
  readonly #offers = new Map<Peer, Offer>();
  readonly #line: WakeLine;
  readonly #underWay = new Map<Peer, UnderWay>();
  /** Quiet followers that have asked whether they still belong to their regions, and when. */
  readonly #asked = new Map<Peer, number>();
  /** Quiet leaders some of whose replicas did not agree, and the stores of those. */
  readonly #lacking = new Map<Peer, readonly number[]>();
  readonly #successors: Successors;
  #ticks = 0;
  /** The peers awake when a round of ticks began that needs several turns of the event loop. */
  #round: readonly Peer[] = [];
  #stopped = false;
  wakeUps = 0;

  constructor(host: QuietHost) {
    this.#host = host;
    const { raftElectionTicks, raftHeartbeatTicks, raftBaseTickMs } = host.config;
    const nowMs = (): number => host.env.clock.monotonicMs();
    this.#line = new WakeLine(raftBaseTickMs);
    this.liveness = new StoreLiveness({
      random: host.env.random,
      nowMs,
      electionTicks: raftElectionTicks,
      heartbeatTicks: raftHeartbeatTicks,
      tickMs: raftBaseTickMs,
      say: (storeId, sign) => this.#say(storeId, sign),
      died: (storeId) => this.#storeDied(storeId),
      revived: (storeId, how) => this.#storeRevived(storeId, how),
      wasDead: (storeId) => this.#wasDead(storeId),
    });
    this.#successors = new Successors({
      electionTicks: raftElectionTicks,
      isAlive: (storeId) => this.liveness.isAlive(storeId),
      foundLeader: (peer, leader) => this.#tell(peer, leader, Type.MsgCheckStalePeer, 0, 0),
    });
  }

  /** Peers that tick. */
  get active(): Iterable<Peer> {
    return this.#active.keys();
  }
  get quietCount(): number {
    return this.#quiet.size;
  }

  /** Quiet peers that wait to be looked at because of another store. */
  get waitingCount(): number {
    return this.#line.length;
  }

  add(peer: Peer): void {
    this.#active.set(peer, Number.NEGATIVE_INFINITY);
  }

  /** A peer read from disk. Most of their regions have leaders that sleep. */
  addStarted(peer: Peer): void {
    if (this.#host.config.quietAfterTicks === 0) return this.add(peer);
    for (const { storeId } of peer.region.peers) this.#note(storeId);
    this.#quiet.set(peer, this.#ticks);
    peer.fallQuiet();
    this.#line.add(peer, REASON.started, rankOf(peer, () => true) === 0 ? "startedFirst" : "started");
  }

  forget(peer: Peer): void {
    this.#active.delete(peer);
    this.#quiet.delete(peer);
    this.#offers.delete(peer);
    this.#line.take(peer);
    this.#underWay.delete(peer);
    this.#asked.delete(peer);
    this.#lacking.delete(peer);
    this.#successors.forget(peer);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** One tick of the store: liveness, those in line, the peers that are awake, and who may fall quiet. */
  tick(nowMs: number): void {
    if (this.#ticks++ % NOTE_TICKS === 0) this.#noteStores();
    this.liveness.tick();
    // Before the work of this tick, which may be long.
    this.#host.flush();
    this.#settle();
    this.#attend(nowMs);
    this.#successors.tick();
    this.#beginRound(nowMs);
  }

  /** The peers awake tick, some of them in each turn of the event loop, so that messages are heard meanwhile. */
  #beginRound(nowMs: number): void {
    if (this.#round.length > 0) return;
    if (this.#active.size > SLICE_PEERS) {
      this.#round = [...this.#active.keys()];
      this.#tickSlice(0);
      return;
    }
    for (const [peer, lastMs] of this.#active) this.#tickPeer(peer, lastMs, nowMs);
  }

  #tickSlice(from: number): void {
    this.#host.env.timers.nextTurn(() => {
      if (this.#stopped) return;
      const nowMs = this.#host.env.clock.monotonicMs();
      const to = Math.min(from + SLICE_PEERS, this.#round.length);
      for (let at = from; at < to; at++) {
        const peer = this.#round[at] as Peer;
        const lastMs = this.#active.get(peer);
        if (lastMs !== undefined) this.#tickPeer(peer, lastMs, nowMs);
      }
      if (to < this.#round.length) this.#tickSlice(to);
      else this.#round = [];
    });
  }

  /** Ticks of a peer are no closer than those of the store, however long a round takes: leases rest on it. */
  #tickPeer(peer: Peer, lastMs: number, nowMs: number): void {
    if (nowMs - lastMs < this.#host.config.raftBaseTickMs * TICK_LEAST) return;
    this.#active.set(peer, nowMs);
    peer.tick(nowMs);
    this.#consider(peer);
  }

  /** Something touched a quiet peer. `byLeader`: its leader spoke to it, and need not be told. */
  wake(peer: Peer, byLeader = false): void {
    if (this.#quiet.has(peer)) this.#rouse(peer, byLeader, this.#line.take(peer));
  }

  /** Somebody wants from a quiet follower what a leader serves: if it stands in line for one, its turn has come. */
  needed(peer: Peer): void {
    const reasons = this.#line.reasonsOf(peer);
    const isOrphan = (reasons & (REASON.leaderGone | REASON.started)) !== 0 || this.#isOrphan(peer, reasons);
    if (isOrphan) this.wake(peer);
  }

  #isOrphan({ leader }: Peer, reasons: number): boolean {
    if ((reasons & REASON.leaderDead) === 0 || leader === undefined) return false;
    return !this.liveness.isAlive(leader.storeId);
  }

  #rouse(peer: Peer, byLeader: boolean, reasons: number): void {
    const heardTick = this.#quiet.get(peer) ?? this.#ticks;
    this.#quiet.delete(peer);
    this.#asked.delete(peer);
    this.#lacking.delete(peer);
    this.add(peer);
    peer.isQuiet = false;
    this.wakeUps++;
    const { leader } = peer;
    if (peer.isLeader) {
      peer.resumeLeading((meta) => this.liveness.deadMs(meta.storeId));
      if ((reasons & (REASON.report | REASON.lacking)) !== 0) this.#host.report(peer);
    } else if (leader !== undefined) {
      const isGone = (reasons & REASON.leaderGone) !== 0;
      this.#countSilence(peer, leader.storeId, heardTick, isGone);
      if (isGone || !this.liveness.isAlive(leader.storeId)) this.#successors.add(peer, isGone);
      else if (!byLeader) this.#tell(peer, leader, Type.MsgRegionWakeUp, 0, 0);
    } else if ((reasons & REASON.started) !== 0) {
      // Time without a leader, all of it. But one may lead and sleep.
      const graceTicks = this.#host.config.raftElectionTicks - GRACE_TICKS;
      peer.missTicks(Math.max(0, Math.min(this.#ticks - heardTick, graceTicks)));
      for (const other of this.#othersAlive(peer)) this.#tell(peer, other, Type.MsgCheckStalePeer, 0, 0);
    }
  }

  /**
   * A leader that last spoke in that tick was silent since, but for as long as its store lived. A candidate elsewhere
   * may wake a follower before the silence of that store makes it dead here: did the follower begin to count then, it
   * could not vote for a whole election timeout.
   */
  #countSilence(peer: Peer, storeId: number, heardTick: number, isGone: boolean): void {
    const { raftElectionTicks } = this.#host.config;
    const sinceHeard = Math.min(this.#ticks - heardTick, raftElectionTicks);
    if (!isGone && this.liveness.isAlive(storeId))
      peer.missLeader(Math.min(sinceHeard, this.liveness.silentTicks(storeId)));
    else peer.missTicks(sinceHeard);
  }

  /** A quiet peer heard its leader and sleeps on. */
  heardLeader(peer: Peer): void {
    this.#asked.delete(peer);
    if (this.#quiet.has(peer)) this.#quiet.set(peer, this.#ticks);
  }

  /** Any message of another store came. */
  heardStore(storeId: number): void {
    this.liveness.heardAny(storeId);
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
    else if (type === Type.MsgCheckStalePeer) this.#onQuestion(peer, from, term, index);
    else if (type === Type.MsgCheckStalePeerResponse && this.#isSame(peer, from, term, index))
      this.#asked.delete(peer);
  }

  /** A replica asks whether all is as it was when it fell quiet (index 0: it knows that it is not). */
  #onQuestion(peer: Peer, from: PeerMeta, term: number, index: number): void {
    if (!peer.isLeader) return;
    const isSame = index !== 0 && peer.term === term && peer.appliedIndex === index;
    if (peer.isQuiet && isSame && this.#lacking.get(peer)?.includes(from.storeId) !== true)
      return this.#tell(peer, from, Type.MsgCheckStalePeerResponse, term, index);
    this.#offers.delete(peer);
    if (peer.isQuiet) {
      this.wake(peer);
      this.#rest(peer);
    }
    peer.ping();
  }

  #isSame(peer: Peer, from: PeerMeta, term: number, index: number): boolean {
    return peer.term === term && peer.appliedIndex === index && peer.leaderId === from.id;
  }

  /** Nobody asked for this region: it may fall quiet sooner than one that is used. */
  #rest(peer: Peer): void {
    peer.idleTicks = Math.max(peer.idleTicks, this.#host.config.quietAfterTicks - BRIEF_TICKS);
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
    const isSame = this.#isSame(peer, from, term, index);
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
    if (!this.#othersAlive(peer).every(({ id }) => offer.agreed.has(id))) return;
    const others = peer.region.peers.filter(({ id }) => id !== peer.peerId && !offer.agreed.has(id));
    this.#sleep(peer);
    if (others.length > 0)
      this.#lacking.set(
        peer,
        others.map(({ storeId }) => storeId),
      );
  }

  #sleep(peer: Peer): void {
    this.#offers.delete(peer);
    this.#active.delete(peer);
    this.#asked.delete(peer);
    this.#quiet.set(peer, this.#ticks);
    peer.fallQuiet();
  }

  /** Its followers here campaign, its co-leaders see whether they still have a quorum. */
  #storeDied(storeId: number): void {
    this.#host.env.log.info("a store is not alive", { store: storeId });
    for (const peer of this.#quiet.keys()) {
      if (!peer.isLeader) this.#lineUpFollower(peer, storeId, REASON.leaderDead);
      else if (!this.#hasQuorum(peer)) this.#line.add(peer, REASON.noQuorum, "urgent");
    }
    for (const peer of this.#active.keys()) {
      if (!peer.isLeader && peer.leader?.storeId === storeId) this.#successors.add(peer, false);
    }
  }

  #lineUpFollower(peer: Peer, storeId: number, reason: number): void {
    if (peer.leader?.storeId !== storeId) return;
    const rank = rankOf(peer, (other) => this.liveness.isAlive(other) && other !== storeId);
    this.#line.add(peer, reason, rank === 0 ? "urgent" : "other");
  }

  /** Replicas there that did not agree to fall quiet may lack something. What woke there tells its leader. */
  #storeRevived(storeId: number, { deadMs, isRestarted }: Revival): void {
    this.#host.env.log.info("a store is alive", { store: storeId });
    for (const [peer, stores] of this.#lacking)
      if (stores.includes(storeId)) this.#line.add(peer, REASON.lacking, "other");
    if (isRestarted) {
      this.#successors.storeRestarted(storeId);
      for (const peer of this.#quiet.keys())
        if (!peer.isLeader) this.#lineUpFollower(peer, storeId, REASON.leaderGone);
    }
    if (deadMs < this.#host.config.peerDownMs) return;
    for (const peer of this.#quiet.keys())
      if (peer.isLeader && hasPeerOn(peer, storeId)) this.#line.add(peer, REASON.report, "other");
  }

  /** Removed meanwhile, a peer here would wait for ever for a leader that knows nothing of it, or lead nobody. */
  #wasDead(storeId: number): void {
    for (const peer of this.#quiet.keys())
      if (hasPeerOn(peer, storeId)) this.#line.add(peer, REASON.doubt, "other");
  }

  /** What the line has begun and what is over of it. */
  #settle(): void {
    for (const [peer, askedTick] of this.#asked) {
      if (this.#ticks - askedTick < ANSWER_TICKS) continue;
      this.#begin(peer, this.#line.take(peer), false);
    }
    for (const [peer, { sinceTick, isElection }] of this.#underWay) {
      const isLed = isElection && !this.#successors.has(peer);
      if (!isLed && !peer.isQuiet && this.#ticks - sinceTick < UNDER_WAY_TICKS) continue;
      this.#underWay.delete(peer);
      if (isLed && peer.isLeader) this.#rest(peer);
    }
  }

  /** Those whose turn it is in the line. Peers read from disk wait until other stores can be asked. */
  #attend(nowMs: number): void {
    let room = this.#line.room(nowMs, this.#underWay.size + this.#asked.size);
    const withStarted = this.#ticks > this.#host.config.raftElectionTicks || this.liveness.isEverybodyAlive;
    let looks = 0;
    for (const peer of this.#line.waiting(withStarted)) {
      if (room === 0 || looks++ === LOOKS_MAX) return;
      if (this.#look(peer, this.#line.take(peer))) room--;
    }
  }

  /** False: there was nothing to do. */
  #look(peer: Peer, reasons: number): boolean {
    if (peer.isLeader) return this.#lookAtLeader(peer, reasons);
    const isElection = (reasons & REASON.leaderGone) !== 0 || this.#isOrphan(peer, reasons);
    if (isElection || (reasons & REASON.started) !== 0) {
      this.#begin(peer, reasons, isElection);
      return true;
    }
    if ((reasons & REASON.doubt) === 0 || peer.leader === undefined) return false;
    this.#asked.set(peer, this.#ticks);
    this.#tell(peer, peer.leader, Type.MsgCheckStalePeer, peer.term, peer.appliedIndex);
    return true;
  }

  #lookAtLeader(peer: Peer, reasons: number): boolean {
    const isAlone = (reasons & REASON.noQuorum) !== 0 && !this.#hasQuorum(peer);
    if (isAlone || (reasons & REASON.lacking) !== 0) {
      this.#begin(peer, reasons, false);
      return true;
    }
    if ((reasons & REASON.report) !== 0) this.#host.report(peer);
    // Whoever removed or deposed it answers so; whoever sleeps as agreed sleeps on.
    if ((reasons & REASON.doubt) !== 0) peer.ping();
    return (reasons & (REASON.report | REASON.doubt)) !== 0;
  }

  #begin(peer: Peer, reasons: number, isElection: boolean): void {
    this.#rouse(peer, false, reasons);
    this.#underWay.set(peer, { sinceTick: this.#ticks, isElection });
    this.#rest(peer);
    if (peer.isLeader) peer.ping();
  }

  #noteStores(): void {
    for (const { region } of this.#active.keys()) for (const { storeId } of region.peers) this.#note(storeId);
  }

  #note(storeId: number): void {
    if (storeId !== this.#host.storeId()) this.liveness.note(storeId);
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

const hasPeerOn = ({ region }: Peer, storeId: number): boolean =>
  region.peers.some((meta) => meta.storeId === storeId);
