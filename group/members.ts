/**
 * Who belongs to the group: the replicated list of members, which changes with the configuration. Addresses travel in
 * the context of the configuration change that adds or moves a member.
 */
import type { ConfState } from "../raft/index.js";
import { SessionTable } from "./sessions.js";
import { ByteReader, ByteWriter, corrupt } from "./wire.js";

/**
 * `voter`: counts for majorities. `learner`: catches up and is promoted then. `observer`: has the data, is never
 * promoted by itself.
 */
export type MemberRole = "voter" | "learner" | "observer";
const ROLES: readonly MemberRole[] = ["voter", "learner", "observer"];
const MEMBERS_MAX = 10_000;

export interface Member {
  readonly id: number;
  /** Where the others reach it. */
  readonly address: string;
  readonly role: MemberRole;
  /** Empty for founders. */
  readonly storageId: string;
}

export function encodeContext(members: readonly Member[]): Uint8Array {
  const writer = new ByteWriter().byte(1).varint(members.length);
  for (const member of members) writeMember(writer, member);
  return writer.finish();
}

export function decodeContext(bytes: Uint8Array): readonly Member[] {
  if (bytes.length === 0) return [];
  const reader = new ByteReader(bytes, "context of a configuration change");
  if (reader.byte() !== 1) throw corrupt("context of a configuration change: unknown version");
  const members = reader.list(MEMBERS_MAX, () => readMember(reader));
  reader.end();
  return members;
}

function writeMember(writer: ByteWriter, { id, address, role, storageId }: Member): void {
  writer.varint(id).text(address).byte(ROLES.indexOf(role)).text(storageId);
}

function readMember(reader: ByteReader): Member {
  const [id, address, role, storageId] = [
    reader.varint(),
    reader.text(),
    ROLES[reader.byte()],
    reader.text(),
  ];
  if (role === undefined) throw corrupt("a member of unknown role");
  return { id, address, role, storageId };
}

/** The state of a group that is not the application's: members and sessions. Begins every snapshot. */
export class GroupState {
  readonly members: Map<number, Member>;
  /** Ids below are given; none is ever given twice. */
  nextId: number;
  readonly sessions: SessionTable;

  constructor(members: readonly Member[], nextId: number, sessions = new SessionTable()) {
    this.members = new Map(members.map((member) => [member.id, member]));
    this.nextId = nextId;
    this.sessions = sessions;
  }

  static founded(founders: readonly Member[]): GroupState {
    return new GroupState(founders, Math.max(...founders.map(({ id }) => id)) + 1);
  }

  /** A configuration change was applied. Returns who came, changed or went. */
  apply(context: readonly Member[], confState: ConfState): MemberChange[] {
    const changes: MemberChange[] = [];
    const voters = new Set([...confState.voters, ...confState.votersOutgoing]);
    const all = new Set([...voters, ...confState.learners, ...confState.learnersNext]);
    for (const member of context) {
      this.nextId = Math.max(this.nextId, member.id + 1);
      if (all.has(member.id) && !this.members.has(member.id)) {
        this.members.set(member.id, member);
        changes.push({ kind: "added", member });
      }
    }
    for (const member of [...this.members.values()]) {
      if (!all.has(member.id)) {
        this.members.delete(member.id);
        changes.push({ kind: "removed", member });
        continue;
      }
      const said = context.find(({ id }) => id === member.id);
      const learner = said?.role === "observer" || said?.role === "learner" ? said.role : member.role;
      const role = confState.voters.includes(member.id)
        ? "voter"
        : learner === "voter"
          ? "observer"
          : learner;
      const changed = { ...member, address: said?.address || member.address, role } as const;
      this.members.set(member.id, changed);
      if (role !== member.role || changed.address !== member.address) {
        if (!changes.some((change) => change.member.id === member.id)) {
          changes.push({ kind: "changed", member: changed });
        }
      }
    }
    return changes;
  }

  /** An id of the past: its owner left, and nobody will have it again. */
  isGone(id: number): boolean {
    return id > 0 && id < this.nextId && !this.members.has(id);
  }

  encode(): Uint8Array {
    const writer = new ByteWriter(1024).byte(1).varint(this.nextId).varint(this.members.size);
    for (const member of this.members.values()) writeMember(writer, member);
    this.sessions.write(writer);
    return writer.finish();
  }

  static decode(bytes: Uint8Array): GroupState {
    const reader = new ByteReader(bytes, "group state of a snapshot");
    if (reader.byte() !== 1) throw corrupt("group state of a snapshot: a newer version wrote it");
    const nextId = reader.varint();
    const members = reader.list(MEMBERS_MAX, () => readMember(reader));
    const sessions = SessionTable.read(reader);
    reader.end();
    return new GroupState(members, nextId, sessions);
  }
}

export interface MemberChange {
  readonly kind: "added" | "changed" | "removed";
  readonly member: Member;
}
