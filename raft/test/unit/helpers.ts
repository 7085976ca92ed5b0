/** Short forms for scenarios of one node: a member over a given log, its answers, what it knows of a peer. */
import { must } from "../../../base/assert.js";
import { utf8 } from "../../../base/bytes.js";
import type { MessageInit } from "../../message.js";
import { makeEntry, makeHardState, makeMessage } from "../../message.js";
import type { ProgressStatus } from "../../status.js";
import { MemStorage } from "../../storage.js";
import type { ConfState, Message, MessageType, NodeId } from "../../types.js";
import type { Member, Settings } from "../network.js";
import { drain, makeMember } from "../network.js";

export interface Before {
  /** Terms of the entries from index 1 on. */
  readonly log?: readonly number[];
  readonly term?: number;
  readonly vote?: NodeId;
  readonly commit?: number;
  readonly learners?: readonly NodeId[];
}

/** A member of a group of voters that starts with such a log and hard state. */
export function memberWith(
  id: NodeId,
  voters: readonly NodeId[],
  before: Before = {},
  settings: Settings = {},
): Member {
  const confState: Partial<ConfState> = { voters, learners: before.learners ?? [] };
  const storage = MemStorage.withConfState(confState);
  const log = before.log ?? [];
  storage.append(log.map((term, at) => makeEntry(term, at + 1)));
  const term = before.term ?? log.at(-1) ?? 0;
  storage.setHardState(makeHardState(term, before.vote ?? 0, before.commit ?? 0));
  return makeMember(id, voters, { ...settings, storage });
}

/** Steps a message into a member; what it wants sent then. */
export function say(member: Member, init: MessageInit): Message[] {
  member.raw.step(makeMessage({ to: member.id, ...init }));
  return drain(member);
}

export const ofType = (messages: readonly Message[], ...types: MessageType[]): Message[] =>
  messages.filter((message) => types.includes(message.type));

export function progressOf(member: Member, id: NodeId): ProgressStatus {
  return must(
    member.raw.status().progress.find((each) => each.id === id),
    `no progress of ${id}`,
  );
}

/** Campaigns and gets the votes (pre-votes too) of the voters named. Returns what it sent last. */
export function elect(member: Member, ...by: NodeId[]): Message[] {
  member.raw.campaign();
  let sent = drain(member);
  for (let round = 0; round < 2 && member.raw.basicStatus().state !== "StateLeader"; round++) {
    const request = ofType(sent, "MsgVote", "MsgPreVote")[0];
    if (request === undefined) break;
    const type = request.type === "MsgVote" ? "MsgVoteResp" : "MsgPreVoteResp";
    const { state } = member.raw.basicStatus();
    for (const from of by) {
      if (member.raw.basicStatus().state !== state) break;
      sent = say(member, { type, from, term: request.term });
    }
  }
  return sent;
}

export const propose = (member: Member, data = "somedata"): string => {
  const result = member.raw.propose(utf8(data));
  return result.kind === "dropped" ? result.reason : result.kind;
};

export const stateOf = (member: Member): string => member.raw.basicStatus().state;
export const termOf = (member: Member): number => member.raw.basicStatus().term;
export const commitOf = (member: Member): number => member.raw.basicStatus().commit;

/** Terms of the durable log from `from` on. */
export const terms = (member: Member, from = 1): number[] =>
  member.storage.tail(from as never).map((entry) => entry.term);

export function tick(member: Member, count: number): Message[] {
  const sent: Message[] = [];
  for (let i = 0; i < count; i++) {
    member.raw.tick();
    sent.push(...drain(member));
  }
  return sent;
}
