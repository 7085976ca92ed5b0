/**
 * Which messages reach a peer, which make one, and what a store answers to those from the past. Titles carry the number
 * of the rule (raftstore rules 2) and TiKV's name of the scenario.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { SILENT_LOGGER, utf8 } from "../base/index.js";
import { raft_serverpb } from "../proto/index.js";
import { makeMessage } from "../raft/index.js";
import type { Message } from "../raft/types.js";
import { regionStateKey } from "../region/keys.js";
import { encodeRegionState, type PeerState } from "../region/local-state.js";
import type { Peer } from "../region/peer.js";
import { type PeerMeta, peerToProto, type Region, regionToProto } from "../region/region.js";
import { entryOf, peerOf, regionOf } from "../region/test/fixtures.js";
import { Group, Node } from "../region/test/group.js";
import { DiskGuard } from "./disk-guard.js";
import { PeerRegistry } from "./peers.js";
import { messageToProto } from "./raft-message.js";
import { RaftRouter, type RouterHost } from "./raft-router.js";

type Wire = raft_serverpb.RaftMessage;

/** Store 1 with a router; its peer 21 of region 2 [a, m) leads in a group of three. */
class Fixture {
  readonly group = new Group(3);
  readonly node: Node;
  readonly region: Region;
  readonly sent: raft_serverpb.IRaftMessage[] = [];
  readonly created: number[] = [];
  readonly destroyed: number[] = [];
  readonly reservations = new Set<number>();
  readonly pendingSnapshots = new Map<number, Region>();
  readonly peers = new PeerRegistry();
  readonly router: RaftRouter;
  readonly disk = new DiskGuard({
    storeId: () => 1,
    log: SILENT_LOGGER,
    reserveSpaceBytes: 0,
    figures: () => undefined,
  });
  votesFromMs = 0;

  constructor() {
    this.region = { ...regionOf(2, 3, "a", "m"), epoch: { confVer: 5, version: 8 } };
    this.node = new Node(this.group.env, 1, this.region, this.group.config);
    this.peers.add(this.node.peer);
    const fixture = this;
    const host: RouterHost = {
      env: this.group.env,
      engine: this.node.engine,
      storeId: 1,
      peers: this.peers,
      transport: {
        send: (_to: number, message: raft_serverpb.IRaftMessage) => this.sent.push(message),
      } as never,
      disk: this.disk,
      quiet: { heardStore() {}, onMessage() {}, onStoreMessage() {} },
      get votesFromMs() {
        return fixture.votesFromMs;
      },
      createUninitialized: (region, peer) => this.#create(region, peer),
      destroyPeer: (peer) => {
        this.destroyed.push(peer.peerId);
        this.onDisk(peer.regionId, "tombstone", peer.region);
        peer.destroy();
        this.peers.remove(peer);
      },
      splitReservations: this.reservations,
      pendingSnapshots: this.pendingSnapshots,
    };
    this.router = new RaftRouter(host);
  }

  #create(region: number, peer: number): Peer {
    this.created.push(peer);
    const stranger = { ...regionOf(region, 1), peers: [peerOf(peer, 9)] };
    const made = new Node(this.group.env, 1, stranger, this.group.config).peer;
    Object.defineProperty(made, "peerId", { value: peer });
    this.peers.add(made);
    return made;
  }

  onDisk(id: number, state: PeerState, region: Region): void {
    const batch = this.node.engine.batch();
    batch.put("raft", regionStateKey(id), encodeRegionState({ state, region }));
    this.node.engine.write(batch, { sync: true }, () => {});
  }

  /** A message from peer 22 on store 2 to our peer 21, as changed. */
  wire(message: Message | undefined, more: Partial<raft_serverpb.IRaftMessage> = {}): Wire {
    const full = {
      regionId: 2,
      fromPeer: peerToProto(peerOf(22, 2)),
      toPeer: peerToProto(peerOf(21, 1)),
      regionEpoch: { confVer: 5, version: 8 },
      message: message === undefined ? null : messageToProto(message),
      ...more,
    };
    // The envelope and what is in it name the same peers.
    if (full.message != null) {
      full.message.from = full.fromPeer?.id ?? 0;
      full.message.to = full.toPeer?.id ?? 0;
    }
    return raft_serverpb.RaftMessage.decode(new Uint8Array(raft_serverpb.RaftMessage.encode(full).finish()));
  }

  /** Routes and tells whether the peer took it in. */
  reaches(wire: Wire): boolean {
    this.group.env.advance(7);
    this.router.route(wire);
    return this.node.peer.silentMs(wire.message?.from ?? 22, this.group.env.nowMs) === 0;
  }
}

const NOBODY = { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
const heartbeat = (term = 9, commit = 0): Message =>
  makeMessage({ type: "MsgHeartbeat", from: 22, to: 21, term: term as never, commit: commit as never });
const vote = (term = 6): Message =>
  makeMessage({
    type: "MsgVote",
    from: 22,
    to: 21,
    term: term as never,
    index: 5 as never,
    logTerm: 5 as never,
  });
const append = (index: number, term = 6): Message =>
  makeMessage({ type: "MsgApp", from: 22, to: 21, term: term as never, entries: [entryOf(index, term)] });
const from = (peer: PeerMeta): object => ({ fromPeer: peerToProto(peer) });
const to = (peer: PeerMeta): object => ({ toPeer: peerToProto(peer) });

let fixture: Fixture;
beforeEach(() => {
  fixture = new Fixture();
});

describe("a message for a peer that is here", () => {
  test("is taken in", () => {
    expect(fixture.reaches(fixture.wire(heartbeat()))).toBe(true);
  });

  test("for another store ends the stream, so that its sender asks PD for the address (2.1.1)", () => {
    expect(fixture.router.route(fixture.wire(heartbeat(), to(peerOf(21, 7))))).toBe(false);
    expect(fixture.router.route(fixture.wire(heartbeat()))).toBe(true);
  });

  test("without epoch, sender or content is dropped alone (2.2.4)", () => {
    for (const wire of [
      fixture.wire(heartbeat(), { regionEpoch: null }),
      fixture.wire(heartbeat(), { fromPeer: null }),
      fixture.wire(undefined),
    ]) {
      expect(fixture.router.route(wire)).toBe(true);
    }
    expect(fixture.router.dropped.malformed).toBe(3);
  });

  test("of an old epoch is normal from a member, a stranger is normal under the current epoch (2.2.7)", () => {
    const old = { regionEpoch: { confVer: 4, version: 8 } };
    expect(fixture.reaches(fixture.wire(heartbeat(), old))).toBe(true);
    expect(fixture.reaches(fixture.wire(heartbeat(), from(peerOf(22, 8))))).toBe(true);
    expect(fixture.sent).toEqual([]);
  });

  test("of an old epoch from a stranger gets a tombstone under our epoch (2.2.7) [test_node_stale_peer]", () => {
    const wire = fixture.wire(heartbeat(), {
      ...from(peerOf(22, 8)),
      regionEpoch: { confVer: 4, version: 8 },
    });
    expect(fixture.reaches(wire)).toBe(false);
    expect(fixture.sent).toMatchObject([
      {
        isTombstone: true,
        regionEpoch: { confVer: 5, version: 8 },
        toPeer: { id: 22 },
        fromPeer: { id: 21 },
      },
    ]);
  });

  test("to an earlier peer of this store is dropped (2.2.8) [test_stale_peer_handle_heartbeat]", () => {
    expect(fixture.reaches(fixture.wire(heartbeat(), to(peerOf(20, 1))))).toBe(false);
    expect(fixture.destroyed).toEqual([]);
  });

  test("to a later peer of this store ends ours, and makes the later one (2.2.8)", () => {
    fixture.router.route(fixture.wire(heartbeat(), to(peerOf(25, 1))));
    expect(fixture.destroyed).toEqual([21]);
    expect(fixture.created).toEqual([25]);
  });

  test("asking for a vote is dropped for an election timeout after the start (2.2.16)", () => {
    fixture.votesFromMs = fixture.group.env.nowMs + 500;
    expect(fixture.reaches(fixture.wire(vote(9)))).toBe(false);
    expect(fixture.reaches(fixture.wire(heartbeat()))).toBe(true);
    fixture.group.env.advance(500);
    expect(fixture.reaches(fixture.wire(vote(9)))).toBe(true);
  });
});

describe("a tombstone message", () => {
  const tombstone = (epoch: object, peer = peerOf(21, 1)): Wire =>
    fixture.wire(undefined, { isTombstone: true, regionEpoch: epoch, ...to(peer) });

  test("of a newer epoch ends the peer it names (2.4)", () => {
    fixture.router.route(tombstone({ confVer: 6, version: 8 }));
    expect(fixture.destroyed).toEqual([21]);
  });

  test("of the same or an older epoch does not (2.4)", () => {
    fixture.router.route(tombstone({ confVer: 5, version: 8 }));
    fixture.router.route(tombstone({ confVer: 4, version: 7 }));
    expect(fixture.destroyed).toEqual([]);
  });

  test("meant for an earlier incarnation does not end the new one (2.4)", () => {
    fixture.router.route(tombstone({ confVer: 6, version: 8 }, peerOf(20, 1)));
    expect(fixture.destroyed).toEqual([]);
  });

  test("for a region that is not here makes nothing (2.5)", () => {
    fixture.router.route(fixture.wire(undefined, { isTombstone: true, regionId: 7, ...to(peerOf(71, 1)) }));
    expect([fixture.created, fixture.sent]).toEqual([[], []]);
  });
});

describe("a message for a region that is not here", () => {
  const child = { regionId: 7, ...to(peerOf(71, 1)), startKey: utf8("m"), endKey: utf8("z") };

  test("makes a peer when it is a vote or a first heartbeat (2.6.1)", () => {
    fixture.router.route(fixture.wire(heartbeat(), child));
    expect(fixture.created).toEqual([71]);
    fixture = new Fixture();
    fixture.router.route(fixture.wire(vote(), child));
    expect(fixture.created).toEqual([71]);
  });

  test("makes none when it is an append, a snapshot or a later heartbeat (2.6.1)", () => {
    const snapshot = makeMessage({
      type: "MsgSnap",
      from: 22,
      to: 71,
      snapshot: {
        data: new Uint8Array(0),
        metadata: { index: 9, term: 9, confState: NOBODY } as never,
      },
    });
    for (const message of [append(9), heartbeat(9, 5), snapshot]) {
      fixture.router.route(fixture.wire(message, child));
    }
    expect(fixture.created).toEqual([]);
  });

  test("makes none where a region here overlaps: its split has not been applied (2.6.5) [test_follower_slow_split]", () => {
    fixture.router.route(fixture.wire(vote(), { ...child, startKey: utf8("f"), endKey: utf8("m") }));
    expect(fixture.created).toEqual([]);
  });

  test("makes none in a range that a snapshot is about to take", () => {
    fixture.pendingSnapshots.set(8, regionOf(8, 3, "p", "q"));
    fixture.router.route(fixture.wire(vote(), child));
    expect(fixture.created).toEqual([]);
  });

  test("makes none that a split under way is about to make (6.4.3)", () => {
    fixture.reservations.add(7);
    fixture.router.route(fixture.wire(heartbeat(), child));
    expect(fixture.created).toEqual([]);
  });

  test("that came before the split is delivered behind it (2.5) [test_split_lost_request_vote]", () => {
    const early = { ...child, startKey: utf8("f"), endKey: utf8("m") };
    fixture.router.route(fixture.wire(vote(), early));
    const made = new Node(fixture.group.env, 1, { ...regionOf(7, 3, "m", "z") }, fixture.group.config).peer;
    fixture.router.deliverPending(made);
    expect(made.silentMs(22, fixture.group.env.nowMs)).toBe(0);
    fixture.group.env.advance(5);
    fixture.router.deliverPending(made);
    expect(made.silentMs(22, fixture.group.env.nowMs)).toBe(5);
  });

  test("is kept only if it is a split leader's first, and only a bounded number of them (2.6.7)", () => {
    const early = { ...child, startKey: utf8("f"), endKey: utf8("m") };
    const take = (message: Message): boolean => {
      fixture.router.route(fixture.wire(message, early));
      const made = new Node(fixture.group.env, 1, regionOf(7, 3, "m", "z"), fixture.group.config).peer;
      fixture.router.deliverPending(made);
      return made.silentMs(22, fixture.group.env.nowMs) === 0;
    };
    expect([take(vote(6)), take(append(6)), take(vote(7)), take(append(7)), take(heartbeat())]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    for (let id = 100; id < 300; id++) fixture.router.route(fixture.wire(vote(), { ...early, regionId: id }));
    const oldest = new Node(fixture.group.env, 1, regionOf(100, 3, "m", "z"), fixture.group.config).peer;
    fixture.router.deliverPending(oldest);
    expect(oldest.silentMs(22, fixture.group.env.nowMs)).toBeUndefined();
  });
});

describe("a message for a region that was here", () => {
  const gone: Region = { ...regionOf(7, 3, "m", "z"), epoch: { confVer: 5, version: 8 } };
  const late = (epoch: { confVer: number; version: number }, sender: PeerMeta, own = 71): object => ({
    regionId: 7,
    ...from(sender),
    ...to(peerOf(own, 1)),
    regionEpoch: epoch,
    startKey: utf8("m"),
    endKey: utf8("z"),
  });
  const before = { confVer: 4, version: 8 };
  const now = { confVer: 5, version: 8 };

  beforeEach(() => fixture.onDisk(7, "tombstone", { ...gone, peers: gone.peers.slice(1) }));

  test("from a stranger of an older epoch gets a tombstone (2.5)", () => {
    fixture.router.route(fixture.wire(vote(), late(before, peerOf(78, 8))));
    expect(fixture.sent).toMatchObject([{ isTombstone: true, regionId: 7, toPeer: { id: 78 } }]);
    expect(fixture.created).toEqual([]);
  });

  test("from a member of an older epoch is dropped (2.5)", () => {
    fixture.router.route(fixture.wire(vote(), late(before, peerOf(72, 2))));
    expect([fixture.sent, fixture.created]).toEqual([[], []]);
  });

  test("of the epoch that removed us makes the peer that was added again (2.5)", () => {
    fixture.router.route(fixture.wire(vote(), late({ confVer: 6, version: 8 }, peerOf(72, 2), 79)));
    expect(fixture.created).toEqual([79]);
  });

  test("to a peer destroyed before it knew of its removal is told by its id, not by the epoch (2.5)", () => {
    fixture.onDisk(7, "tombstone", gone);
    fixture.router.route(fixture.wire(vote(), late(now, peerOf(72, 2), 71)));
    fixture.router.route(fixture.wire(vote(), late({ confVer: 9, version: 9 }, peerOf(72, 2), 70)));
    expect(fixture.created).toEqual([]);
    fixture.router.route(fixture.wire(vote(), late(now, peerOf(72, 2), 75)));
    expect(fixture.created).toEqual([75]);
  });

  test("whose state on disk is normal waits for the split to make its peer (2.5)", () => {
    fixture.onDisk(7, "normal", gone);
    fixture.router.route(fixture.wire(heartbeat(), late(now, peerOf(72, 2))));
    expect(fixture.created).toEqual([]);
  });
});

describe("a snapshot", () => {
  const snapshotOf = (region: Region): Message =>
    makeMessage({
      type: "MsgSnap",
      from: 22,
      to: 21,
      term: 9 as never,
      snapshot: {
        data: new Uint8Array(
          raft_serverpb.RaftSnapshotData.encode({ region: regionToProto(region) }).finish(),
        ),
        metadata: {
          index: 40,
          term: 8,
          confState: {
            voters: region.peers.map((peer) => peer.id),
            votersOutgoing: [],
            learners: [],
            learnersNext: [],
            autoLeave: false,
          },
        } as never,
      },
    });

  test("is taken and its range held until it is loaded (8.8)", () => {
    fixture.router.route(fixture.wire(snapshotOf(fixture.region)));
    expect(fixture.node.peer.node.hasPendingSnapshot).toBe(true);
    expect([...fixture.pendingSnapshots.keys()]).toEqual([2]);
  });

  test("over another region here is refused [test_node_split_overlap_snapshot]", () => {
    fixture.peers.add(new Node(fixture.group.env, 1, regionOf(8, 3, "m", "z"), fixture.group.config).peer);
    fixture.router.route(fixture.wire(snapshotOf({ ...fixture.region, endKey: utf8("p") })));
    expect(fixture.pendingSnapshots.size).toBe(0);
    expect(fixture.node.peer.node.hasPendingSnapshot).toBe(false);
  });

  test("over a range that another snapshot is about to take is refused", () => {
    fixture.pendingSnapshots.set(8, regionOf(8, 3, "p", "q"));
    fixture.router.route(fixture.wire(snapshotOf({ ...fixture.region, endKey: utf8("z") })));
    expect([fixture.pendingSnapshots.has(2), fixture.node.peer.node.hasPendingSnapshot]).toEqual([
      false,
      false,
    ]);
  });

  test("of a region that this peer is not part of is refused", () => {
    const without = { ...fixture.region, peers: fixture.region.peers.slice(1) };
    fixture.router.route(fixture.wire(snapshotOf(without)));
    expect([fixture.pendingSnapshots.has(2), fixture.node.peer.node.hasPendingSnapshot]).toEqual([
      false,
      false,
    ]);
  });

  test("that Raft does not want holds no range", () => {
    const old = { ...snapshotOf(fixture.region), term: 1 as never };
    fixture.router.route(fixture.wire(old));
    expect(fixture.pendingSnapshots.size).toBe(0);
  });
});
