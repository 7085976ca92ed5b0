/**
 * Administrative commands and their wire form, `raft_cmdpb.AdminRequest`. Which parts of the epoch each checks and
 * moves is TiKV's frozen table (raftstore rules 3.2).
 */
import {
  assert,
  EMPTY_BYTES,
  logIndex,
  type LogIndex,
  packBytes,
  type PeerId,
  peerId,
  type RegionId,
  regionId,
  type Term,
  term,
} from "../base/index.js";
import { raft_cmdpb } from "../proto/index.js";
import type { ConfChangeSingle, ConfChangeV2 } from "../raft/types.js";
import { encodeAdmin } from "./command.js";
import {
  epochFromProto,
  epochToProto,
  type PeerMeta,
  peerFromProto,
  peerToProto,
  type RegionEpoch,
} from "./region.js";

export type PeerChangeKind = "addVoter" | "addLearner" | "remove";

export interface PeerChange {
  readonly kind: PeerChangeKind;
  readonly peer: PeerMeta;
}

export interface SplitRequest {
  readonly splitKey: Uint8Array;
  readonly newRegionId: RegionId;
  /** One for each peer of the parent, in the parent's order. */
  readonly newPeerIds: readonly PeerId[];
}

export type AdminCommand =
  /** No changes: leave the joint configuration; one: simple; more: enter a joint configuration. */
  | { readonly kind: "changePeer"; readonly changes: readonly PeerChange[] }
  | { readonly kind: "split"; readonly splits: readonly SplitRequest[]; readonly rightDerive: boolean }
  | { readonly kind: "compactLog"; readonly index: LogIndex; readonly term: Term };

export interface EpochCheck {
  readonly version: boolean;
  readonly confVer: boolean;
}

export function epochCheckOf(command: AdminCommand): EpochCheck {
  switch (command.kind) {
    case "changePeer":
      return { version: false, confVer: true };
    case "split":
      return { version: true, confVer: true };
    case "compactLog":
      return { version: false, confVer: false };
  }
}

/** Equality is required on the checked parts, also when the request is newer than this peer. */
export const epochMatches = (check: EpochCheck, requested: RegionEpoch, current: RegionEpoch): boolean =>
  (!check.version || requested.version === current.version) &&
  (!check.confVer || requested.confVer === current.confVer);

const { AdminCmdType } = raft_cmdpb;
/** eraftpb.ConfChangeType on the wire: other numbers than etcd's. */
const CHANGE_KINDS: readonly PeerChangeKind[] = ["addVoter", "remove", "addLearner"];

function toAdminRequest(command: AdminCommand): raft_cmdpb.IAdminRequest {
  switch (command.kind) {
    case "changePeer":
      return {
        cmdType: AdminCmdType.ChangePeerV2,
        changePeerV2: {
          changes: command.changes.map((change) => ({
            changeType: CHANGE_KINDS.indexOf(change.kind),
            peer: peerToProto(change.peer),
          })),
        },
      };
    case "split":
      return {
        cmdType: AdminCmdType.BatchSplit,
        splits: {
          rightDerive: command.rightDerive,
          requests: command.splits.map((split) => ({
            splitKey: split.splitKey,
            newRegionId: split.newRegionId,
            newPeerIds: [...split.newPeerIds],
          })),
        },
      };
    case "compactLog":
      return {
        cmdType: AdminCmdType.CompactLog,
        compactLog: { compactIndex: command.index, compactTerm: command.term },
      };
  }
}

const envelope = (epoch: RegionEpoch, command: AdminCommand): raft_cmdpb.IRaftCmdRequest => ({
  header: { regionEpoch: epochToProto(epoch) },
  adminRequest: toAdminRequest(command),
});

/** Data of the log entry that carries the command. */
export const encodeAdminEntry = (epoch: RegionEpoch, command: AdminCommand): Uint8Array =>
  encodeAdmin(envelope(epoch, command));

export interface DecodedAdmin {
  readonly epoch: RegionEpoch;
  readonly command: AdminCommand;
}

export function decodeAdmin(request: raft_cmdpb.RaftCmdRequest): DecodedAdmin {
  const admin = request.adminRequest;
  assert(admin, "an administrative entry without its command");
  return { epoch: epochFromProto(request.header?.regionEpoch), command: decodeAdminRequest(admin) };
}

function decodeAdminRequest(admin: raft_cmdpb.IAdminRequest): AdminCommand {
  switch (admin.cmdType) {
    case AdminCmdType.ChangePeerV2:
      return {
        kind: "changePeer",
        changes: (admin.changePeerV2?.changes ?? []).map((change) => ({
          kind: CHANGE_KINDS[change.changeType ?? 0] ?? "addVoter",
          peer: peerFromProto(change.peer ?? {}),
        })),
      };
    case AdminCmdType.BatchSplit:
      return {
        kind: "split",
        rightDerive: admin.splits?.rightDerive ?? false,
        splits: (admin.splits?.requests ?? []).map((split) => ({
          // Becomes a border of regions.
          splitKey: packBytes(split.splitKey ?? EMPTY_BYTES),
          newRegionId: regionId(split.newRegionId ?? 0),
          newPeerIds: (split.newPeerIds ?? []).map(peerId),
        })),
      };
    case AdminCmdType.CompactLog:
      return {
        kind: "compactLog",
        index: logIndex(admin.compactLog?.compactIndex ?? 0),
        term: term(admin.compactLog?.compactTerm ?? 0),
      };
    default:
      return assert(false, () => `unknown administrative command ${admin.cmdType} in the log`) as never;
  }
}

const RAFT_CHANGE = {
  addVoter: "ConfChangeAddNode",
  addLearner: "ConfChangeAddLearnerNode",
  remove: "ConfChangeRemoveNode",
} as const;

/** Raft's form of a change of peers; the context carries the whole command, which apply needs. */
export function toConfChange(epoch: RegionEpoch, changes: readonly PeerChange[]): ConfChangeV2 {
  const singles: ConfChangeSingle[] = changes.map((change) => ({
    type: RAFT_CHANGE[change.kind],
    nodeId: change.peer.id,
  }));
  return {
    // A joint configuration is left by PD's explicit command, as TiKV does: PD sees both steps.
    transition: changes.length > 1 ? "ConfChangeTransitionJointExplicit" : "ConfChangeTransitionAuto",
    changes: singles,
    context: raft_cmdpb.RaftCmdRequest.encode(envelope(epoch, { kind: "changePeer", changes })).finish(),
  };
}

export const decodeConfChangeContext = (context: Uint8Array): DecodedAdmin =>
  decodeAdmin(raft_cmdpb.RaftCmdRequest.decode(context));
