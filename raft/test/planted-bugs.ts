/**
 * Bugs to plant in a copy of the library, each a replacement that must match exactly once: what the fuzzer must
 * find.
 */
export interface PlantedBug {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: "a vote leaves before it is durable",
    file: "raft.ts",
    find: "if (waitsForAppend(draft.type)) {",
    replace: 'if (waitsForAppend(draft.type) && (draft.to === this.id || draft.type === "MsgAppResp")) {',
  },
  {
    name: "an append is acknowledged before it is durable",
    file: "raft.ts",
    find: "if (waitsForAppend(draft.type)) {",
    replace: 'if (waitsForAppend(draft.type) && (draft.to === this.id || draft.type !== "MsgAppResp")) {',
  },
  {
    name: "a second vote in the same term",
    file: "election.ts",
    find: "(raft.vote === NONE && raft.lead === NONE) ||",
    replace: "raft.lead === NONE ||",
  },
  {
    name: "a vote for a candidate with an older log",
    file: "election.ts",
    find: "canVote && raft.log.isUpToDate(message.index, message.logTerm) &&",
    replace: "canVote &&",
  },
  {
    name: "the vote is forgotten",
    file: "election.ts",
    find: "      raft.vote = message.from;\n",
    replace: "",
  },
  {
    name: "an entry of an older term commits by counting",
    file: "log.ts",
    find: "if (term === 0 || index <= this.committed || !this.matchTerm(index, term)) return false;",
    replace: "if (term === 0 || index <= this.committed || index > this.lastIndex()) return false;",
  },
  {
    name: "an append is accepted without looking at the entry before",
    file: "follower.ts",
    find: "if (log.matchTerm(message.index, message.logTerm)) {",
    replace: "if (message.index <= log.lastIndex()) {",
  },
  {
    name: "conflicting entries are kept",
    file: "log.ts",
    find: "if (!this.matchTerm(entry.index, entry.term)) return entry.index;",
    replace: 'if (typeof this.term(entry.index) !== "number") return entry.index;',
  },
  {
    name: "an election is won one vote short of a majority",
    file: "quorum/majority.ts",
    find: "const needed = (total >> 1) + 1;",
    replace: "const needed = Math.max(1, total >> 1);",
  },
  {
    name: "an entry commits one replica short of a majority",
    file: "quorum/majority.ts",
    find: "return values[count - ((count >> 1) + 1)] as number;",
    replace: "return values[count - Math.max(1, count >> 1)] as number;",
  },
  {
    name: "a heartbeat commits beyond what the peer is known to hold",
    file: "heartbeat.ts",
    find: "Math.min(progress.match, raft.log.committed)",
    replace: "raft.log.committed",
  },
  {
    name: "a new leader keeps what it knew of its peers",
    file: "roles.ts",
    find: "member.reset(member.id === raft.id ? last : 0, last + 1);",
    replace: "member.reset(last, last + 1);",
  },
  {
    name: "a higher term does not reset the vote",
    file: "roles.ts",
    find: "    raft.vote = NONE;\n  }\n  raft.lead = NONE;",
    replace: "  }\n  raft.lead = NONE;",
  },
  {
    name: "a second configuration change before the first is applied",
    file: "proposals.ts",
    find: "if (raft.pendingConfIndex > raft.log.applied) {",
    replace: "if (raft.pendingConfIndex < 0) {",
  },
  {
    name: "a new leader does not wait for changes in its log",
    file: "roles.ts",
    find: "raft.pendingConfIndex = raft.log.lastIndex();",
    replace: "raft.pendingConfIndex = 0;",
  },
  {
    name: "a campaign with a committed change that is not applied",
    file: "election.ts",
    find: "if (hasUnappliedConfChange(raft)) {",
    replace: 'if (kind === "preElection" && hasUnappliedConfChange(raft)) {',
  },
  {
    name: "reads are confirmed without asking anybody",
    file: "reads.ts",
    find: "raft.readOnly.advance(raft.tracker.readsConfirmed())",
    replace: "raft.readOnly.advance(raft.readOnly.position())",
  },
  {
    name: "a read before the first commit of the term",
    file: "reads.ts",
    find: "if (!committedInTerm(raft)) {",
    replace: "if (raft.log.committed < 0) {",
  },
  {
    name: "probing goes back below what is known to match",
    file: "tracker/progress.ts",
    find: "this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);",
    replace: "this.next = Math.min(rejected, hint + 1);",
  },
  {
    name: "a configuration change takes effect when it is appended",
    file: "proposals.ts",
    find: 'import { traceConfChange } from "./trace.js";',
    replace:
      'import { applyConfChange } from "./membership.js";\n' +
      "const traceConfChange = (raft: Raft, change: ConfChangeV2) => applyConfChange(raft, change);",
  },
  {
    name: "a request for votes counts though the leader is heard",
    file: "election.ts",
    find: "if (!raft.config.checkQuorum || raft.lead === NONE) return false;",
    replace: "if (raft.term >= 0) return false;",
  },
  {
    name: "a leader that hears from no quorum leads on",
    file: "step.ts",
    find: "if (!raft.tracker.quorumActive(raft.id)) {",
    replace: "if (raft.term < 0) {",
  },
  {
    name: "entries that were overwritten on their way to the disk are not written again",
    file: "unstable.ts",
    find: "if (this.offsetInProgress > from) this.offsetInProgress = from;",
    replace: "",
  },
];
