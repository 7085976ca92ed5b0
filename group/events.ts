/** What a member tells of itself: events as they happen, a status when asked. */
import type { RaftwerkError } from "../base/index.js";
import type { Member, MemberRole } from "./members.js";

export interface GroupEvents {
  /** `id` 0: there is none at the moment. */
  readonly leader: { readonly id: number; readonly term: number; readonly isSelf: boolean };
  readonly member: { readonly kind: "added" | "changed" | "removed"; readonly member: Member };
  readonly snapshot: {
    readonly kind: "created" | "sent" | "installed" | "failed";
    readonly index: number;
    readonly bytes: number;
    /** Receiver of a sent one. */
    readonly to?: number;
  };
  /** This member takes part: it has its id and its state. */
  readonly started: { readonly id: number };
  /** The group removed this member. It serves nothing any more. */
  readonly removed: { readonly id: number };
  /** This member ended: by `close` (no error), or because it could not go on. */
  readonly stopped: { readonly error: RaftwerkError | undefined };
}

export type GroupEventName = keyof GroupEvents;
export type GroupListener = <Name extends GroupEventName>(name: Name, event: GroupEvents[Name]) => void;

export type GroupPhase = "opening" | "founding" | "joining" | "running" | "removed" | "stopped";

export interface MemberStatus extends Member {
  /** Leader only: entries that it has acknowledged. */
  readonly match?: number;
  readonly isActive?: boolean;
  readonly state?: string;
}

export interface GroupStatus {
  readonly phase: GroupPhase;
  readonly groupId: string;
  readonly id: number;
  readonly address: string;
  readonly role: MemberRole | "none";
  readonly raftState: string;
  readonly leader: number;
  readonly leaderAddress: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly logBytes: number;
  readonly snapshot: { readonly index: number; readonly term: number; readonly bytes: number } | undefined;
  readonly members: readonly MemberStatus[];
  readonly isJoint: boolean;
  readonly sessions: number;
  readonly counters: GroupCounters;
}

/** Totals since the start, and gauges, for metrics. */
export interface GroupCounters {
  readonly proposals: number;
  readonly entriesProposed: number;
  readonly commandsApplied: number;
  readonly proposalsWaiting: number;
  readonly readsWaiting: number;
  readonly readRounds: number;
  readonly readsLeased: number;
  readonly turns: number;
  readonly syncedWrites: number;
  readonly unsyncedWrites: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly packetsRefused: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly elections: number;
  readonly snapshotsCreated: number;
  readonly snapshotsInstalled: number;
  readonly snapshotBytesSent: number;
  readonly snapshotBytesReceived: number;
}
