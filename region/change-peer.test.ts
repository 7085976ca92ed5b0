/** What a change of peers does to a region, and what it refuses on every replica alike. */
import { describe, expect, test } from "vitest";
import { peerId, regionId, storeId, utf8 } from "../base/index.js";
import type { PeerChange, PeerChangeKind } from "./admin.js";
import { applyChangePeer } from "./change-peer.js";
import { confStateOf, type PeerMeta, type PeerRole, type Region } from "./region.js";

const peer = (id: number, store: number, role: PeerRole = "voter"): PeerMeta => ({
  id: peerId(id),
  storeId: storeId(store),
  role,
});
const change = (kind: PeerChangeKind, of: PeerMeta): PeerChange => ({ kind, peer: of });
const regionOf = (...peers: PeerMeta[]): Region => ({
  id: regionId(1),
  startKey: utf8("a"),
  endKey: utf8("z"),
  epoch: { confVer: 5, version: 7 },
  peers,
});

const three = regionOf(peer(11, 1), peer(12, 2), peer(13, 3));

function changed(region: Region, ...changes: PeerChange[]): Region {
  const result = applyChangePeer(region, changes);
  if (result.kind === "refused") throw new Error(result.reason);
  return result.region;
}
function refused(region: Region, ...changes: PeerChange[]): string {
  const result = applyChangePeer(region, changes);
  return result.kind === "refused" ? result.reason : "changed";
}
const roles = (region: Region): string[] => region.peers.map((each) => `${each.id}:${each.role}`);

describe("a simple change of peers", () => {
  test("adds, promotes, demotes, removes; conf_ver grows by one [test_server_simple_conf_change]", () => {
    const cases: [PeerChange, string[]][] = [
      [change("addVoter", peer(14, 4)), ["11:voter", "12:voter", "13:voter", "14:voter"]],
      [change("addLearner", peer(14, 4, "learner")), ["11:voter", "12:voter", "13:voter", "14:learner"]],
      [change("addLearner", peer(13, 3, "learner")), ["11:voter", "12:voter", "13:learner"]],
      [change("remove", peer(12, 2)), ["11:voter", "13:voter"]],
    ];
    for (const [each, want] of cases) {
      const after = changed(three, each);
      expect(roles(after)).toEqual(want);
      expect(after.epoch).toEqual({ confVer: 6, version: 7 });
      expect([after.id, after.startKey, after.endKey]).toEqual([three.id, three.startKey, three.endKey]);
    }
    const promoted = changed(regionOf(peer(11, 1), peer(12, 2, "learner")), change("addVoter", peer(12, 2)));
    expect(roles(promoted)).toEqual(["11:voter", "12:voter"]);
  });

  test("takes the role from the kind of change, not from the message", () => {
    expect(roles(changed(three, change("addLearner", peer(14, 4, "voter"))))).toContain("14:learner");
  });

  test("is refused for a second peer on one store", () => {
    expect(refused(three, change("addVoter", peer(99, 2)))).toContain("holds peer 12");
    expect(refused(three, change("addLearner", peer(99, 2)))).toContain("holds peer 12");
  });

  test("is refused when nothing would change", () => {
    expect(refused(three, change("addVoter", peer(12, 2)))).toContain("voter already");
    const withLearner = regionOf(peer(11, 1), peer(12, 2, "learner"));
    expect(refused(withLearner, change("addLearner", peer(12, 2)))).toContain("learner already");
  });

  test("is refused for a peer that is not there, by store or by id", () => {
    expect(refused(three, change("remove", peer(14, 4)))).toContain("not in the region");
    expect(refused(three, change("remove", peer(99, 2)))).toContain("not in the region");
  });

  test("does not remove the last peer", () => {
    expect(refused(regionOf(peer(11, 1)), change("remove", peer(11, 1)))).toContain("last peer");
  });

  test("leaves the region it was given as it was", () => {
    const before = JSON.stringify(three);
    changed(three, change("remove", peer(12, 2)));
    expect(JSON.stringify(three)).toBe(before);
  });
});

describe("a joint change of peers", () => {
  const entering = [change("addVoter", peer(14, 4)), change("addLearner", peer(13, 3, "learner"))];

  test("enters; conf_ver grows by the number of changes [test_joint_consensus_conf_change]", () => {
    const joint = changed(three, ...entering);
    expect(roles(joint)).toEqual(["11:voter", "12:voter", "13:demotingVoter", "14:incomingVoter"]);
    expect(joint.epoch).toEqual({ confVer: 7, version: 7 });
    expect(confStateOf(joint)).toEqual({
      voters: [11, 12, 14],
      votersOutgoing: [11, 12, 13],
      learners: [],
      learnersNext: [13],
      autoLeave: false,
    });
  });

  test("leaves: incoming become voters, demoting learners; conf_ver grows by the roles that changed", () => {
    const after = changed(changed(three, ...entering));
    expect(roles(after)).toEqual(["11:voter", "12:voter", "13:learner", "14:voter"]);
    expect(after.epoch).toEqual({ confVer: 9, version: 7 });
    expect(confStateOf(after).votersOutgoing).toEqual([]);
  });

  test("adds and removes learners at once beside a change of voters", () => {
    const region = regionOf(peer(11, 1), peer(12, 2), peer(13, 3, "learner"));
    const joint = changed(
      region,
      change("remove", peer(13, 3)),
      change("addVoter", peer(14, 4)),
      change("addLearner", peer(12, 2, "learner")),
    );
    expect(roles(joint)).toEqual(["11:voter", "12:demotingVoter", "14:incomingVoter"]);
    expect(joint.epoch.confVer).toBe(8);
  });

  test("is refused inside a joint configuration, and so is leaving outside of one", () => {
    const joint = changed(three, ...entering);
    expect(refused(joint, change("remove", peer(12, 2)))).toContain("joint configuration already");
    expect(refused(joint, ...entering)).toContain("joint configuration already");
    expect(refused(three)).toContain("not in a joint configuration");
  });

  test("does not remove a voter without demoting it first", () => {
    expect(refused(three, change("remove", peer(12, 2)), change("addVoter", peer(14, 4)))).toContain(
      "demoted",
    );
  });

  test("does not take two changes for one peer, nor a second peer on a store", () => {
    const added = change("addVoter", peer(14, 4));
    expect(refused(three, added, added)).toContain("two changes");
    expect(refused(three, change("addVoter", peer(99, 2)), added)).toContain("holds peer 12");
  });

  test("of learners only is refused: nothing on disk would say that it is joint", () => {
    const learners = [change("addLearner", peer(14, 4)), change("addLearner", peer(15, 5))];
    expect(refused(three, ...learners)).toContain("voter");
    const removing = regionOf(peer(11, 1), peer(12, 2, "learner"), peer(13, 3, "learner"));
    expect(refused(removing, change("remove", peer(12, 2)), change("remove", peer(13, 3)))).toContain(
      "voter",
    );
  });
});
