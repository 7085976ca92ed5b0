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
  {
    name: "an answer to an older heartbeat confirms newer reads",
    file: "replication.ts",
    find: "const position = readPosition(message.context);",
    replace: "const position = Math.max(readPosition(message.context), raft.readOnly?.position() ?? 0);",
  },
  {
    name: "lease reads go on when another was told to campaign",
    file: "reads.ts",
    find: 'if (raft.config.readOnlyOption === "leaseBased" && !raft.timeoutNowSent) {',
    replace: 'if (raft.config.readOnlyOption === "leaseBased") {',
  },
  {
    name: "a leader commits by the incoming half of a joint configuration alone",
    file: "tracker/tracker.ts",
    find: "return jointCommitted(committedOf(this.#incoming), committedOf(this.#outgoing));",
    replace: "return committedOf(this.#incoming);",
  },
  {
    name: "an election is won by the incoming half of a joint configuration alone",
    file: "tracker/tracker.ts",
    find: "return jointVote(votesOf(this.#incoming), votesOf(this.#outgoing));",
    replace: "return votesOf(this.#incoming);",
  },
  {
    name: "reads are confirmed by the incoming half of a joint configuration alone",
    file: "tracker/tracker.ts",
    find: "return jointCommitted(readsOf(this.#incoming), readsOf(this.#outgoing));",
    replace: "return readsOf(this.#incoming);",
  },
  {
    name: "learners count as voters",
    file: "tracker/tracker.ts",
    find: "this.#incoming = among(members, config.voters);",
    replace: "this.#incoming = members;",
  },
  {
    name: "acknowledged appends stay in flight",
    file: "tracker/inflights.ts",
    find: "while (ring.count > 0 && (ring.indexes[ring.start] as number) <= index) {",
    replace: "while (ring.count < 0) {",
  },
  {
    name: "bytes stay in flight when a window is emptied",
    file: "tracker/inflights.ts",
    find: "    ring.count = 0;\n    ring.bytes = 0;\n",
    replace: "    ring.count = 0;\n",
  },
  {
    name: "a question before the election moves the term",
    file: "step.ts",
    find: "return !ignoredInLease(raft, message);",
    replace: "if (ignoredInLease(raft, message)) return false;\n      break;",
  },
  {
    name: "a snapshot does not bring its configuration",
    file: "follower.ts",
    find: "  switchToConfig(raft, result.config, result.members);\n",
    replace: "",
  },
  {
    name: "the quota of proposals is never given back",
    file: "rawnode.ts",
    find: "    reduceUncommitted(this.#raft, entries);\n",
    replace: "",
  },
  {
    name: "entries are applied before they are durable",
    file: "log.ts",
    find: "const durable = this.unstable.offset - 1 + this.unpersistedMax;",
    replace: "const durable = this.committed + this.unpersistedMax;",
  },
  {
    name: "leadership goes to a follower that lags",
    file: "step.ts",
    find: "if (target.match === raft.log.lastIndex()) sendTimeoutNow",
    replace: "if (target.match >= 0) sendTimeoutNow",
  },
  {
    name: "a transfer is never given up",
    file: "ticks.ts",
    find: 'if (raft.state === "StateLeader" && raft.leadTransferee !== NONE) abortTransfer(raft);',
    replace: "",
  },
  {
    name: "a follower forgets a leader whose lease is trusted",
    file: "step.ts",
    find: 'if (raft.config.readOnlyOption !== "leaseBased") raft.lead',
    replace: "if (raft.term >= 0) raft.lead",
  },
  {
    name: "an acknowledgement takes back a later one",
    file: "tracker/progress.ts",
    find: "if (index <= this.match) return false;",
    replace: "if (index === this.match) return false;",
  },
  {
    name: "an append cuts off what it does not mention",
    file: "follower.ts",
    find: "const conflict = log.findConflict(entries);",
    replace: "const conflict = entries.length > 0 ? message.index + 1 : 0;",
  },
  {
    name: "votes of an earlier election count",
    file: "tracker/progress.ts",
    find: '    this.vote = "none";\n',
    replace: "",
  },
  {
    name: "confirmations of an earlier leadership count",
    file: "tracker/progress.ts",
    find: "    this.readAck = 0;\n",
    replace: "",
  },
  {
    name: "reads outlive the leadership that took them",
    file: "roles.ts",
    find: "  raft.readOnly = undefined;\n",
    replace: "",
  },
  {
    name: "hearing the leader does not put off an election",
    file: "step.ts",
    find: "      raft.electionElapsed = 0;\n      raft.lead = message.from;",
    replace: "      raft.lead = message.from;",
  },
  {
    name: "members once heard count as heard for ever",
    file: "step.ts",
    find: "if (member.id !== raft.id) member.recentActive = false;",
    replace: "if (member.id < 0) member.recentActive = false;",
  },
  {
    name: "a vote is not synced",
    file: "rawnode.ts",
    find: "raft.term !== told.term || raft.vote !== told.vote;\n    if",
    replace: "raft.term !== told.term;\n    if",
  },
  {
    name: "demoted voters are forgotten when a joint configuration is left",
    file: "confchange/changer.ts",
    find: "    draft.learners.add(id);\n",
    replace: "",
  },
  {
    name: "a joint change may alter a voter of both halves at once to a learner",
    file: "confchange/changer.ts",
    find: "if (this.outgoing.has(id)) {\n      this.learnersNext",
    replace: "if (this.outgoing.size < 0) {\n      this.learnersNext",
  },
  {
    name: "changes of the newer form do not hold up a campaign",
    file: "message.ts",
    find: 'entry.type !== "EntryNormal";',
    replace: 'entry.type === "EntryConfChange";',
  },
  {
    name: "a leader of an earlier term gets no answer",
    file: "step.ts",
    find: '    raft.send(draftMessage("MsgAppResp", message.from));\n',
    replace: "",
  },
  {
    name: "a heartbeat's answer does not wake a probe",
    file: "replication.ts",
    find: "  progress.paused = false;\n  // Who waits",
    replace: "  // Who waits",
  },
  {
    name: "appends are merged over a gap",
    file: "replication.ts",
    find: "if (first !== undefined && first.index !== end + 1) return false;",
    replace: "if (first !== undefined && first.index < end) return false;",
  },
  {
    name: "a voter for another grants once more after a restart",
    file: "rawnode.ts",
    find: "    this.#raft.vote = hardState.vote;\n",
    replace: "",
  },
  {
    name: "a removed member is still sent to and counted",
    file: "membership.ts",
    find: "tracker.install(config, members);",
    replace: "tracker.install(config, tracker.members.length > members.length ? tracker.members : members);",
  },
  {
    name: "a read is answered at what is applied",
    file: "reads.ts",
    find: "respond(raft, read.request, read.index);",
    replace: "respond(raft, read.request, Math.min(read.index, raft.log.applied));",
  },
  {
    name: "reads are answered to the first who asked",
    file: "reads.ts",
    find: "for (const read of raft.readOnly.advance(raft.tracker.readsConfirmed())) {\n    respond(raft, read.request, read.index);",
    replace:
      "const all = raft.readOnly.advance(raft.tracker.readsConfirmed());\n  for (const read of all) {\n    respond(raft, { ...read.request, from: (all[0] ?? read).request.from }, read.index);",
  },
  {
    name: "a snapshot that is older than the commit index is taken",
    file: "follower.ts",
    find: "if (index < log.committed || (index === log.committed && !requested)) return false;",
    replace: "if (index === 0) return false;",
  },
];
