/**
 * Changes of the membership, on the leader: adding, promoting, demoting, moving and removing members, one or several
 * at a time (then through a joint configuration). One change is under way at a time; the library turns a second one
 * into an empty entry, and who asked for it is told to ask again.
 */
import type { RaftwerkError } from "../base/index.js";
import { RaftwerkError as GroupError } from "../base/index.js";
import {
  type ConfChangeSingle,
  type ConfChangeV2,
  type ConfState,
  type Entry,
  makeConfChange,
  type ProgressVisitor,
} from "../raft/index.js";
import type { GroupConfig } from "./config.js";
import { unavailable } from "./errors.js";
import { encodeContext, type GroupState, type Member, type MemberRole } from "./members.js";

/** What may be asked for. `add` gets its id from the group. */
export type MembershipChange =
  | {
      readonly kind: "add";
      readonly address: string;
      readonly storageId: string;
      /** `learner`: promoted once it has caught up. */
      readonly role: "learner" | "observer";
    }
  | { readonly kind: "remove"; readonly id: number }
  | { readonly kind: "promote"; readonly id: number }
  /** A voter becomes an observer, or again a learner that is promoted when it has caught up. */
  | { readonly kind: "demote"; readonly id: number; readonly role?: "learner" | "observer" }
  | { readonly kind: "move"; readonly id: number; readonly address: string };

export interface MembershipHost {
  readonly config: GroupConfig;
  readonly id: number;
  state(): GroupState;
  confState(): ConfState;
  isLeader(): boolean;
  commitIndex(): number;
  /** Was heard within an election timeout, or is this member. */
  isUp(id: number): boolean;
  withProgress(visitor: ProgressVisitor): void;
  /** The index of the entry; undefined when the log takes none now. */
  propose(change: ConfChangeV2): { readonly index: number; readonly term: number } | undefined;
  transfer(to: number): void;
}

type Reply = (error: RaftwerkError | undefined, ids?: readonly number[]) => void;

interface Pending {
  readonly index: number;
  readonly term: number;
  readonly ids: readonly number[];
  readonly reply: Reply;
  wasApplied: boolean;
  ticksLeft: number;
}

const refusal = (message: string): RaftwerkError =>
  new GroupError("invalidArgument", message, { retry: "never" });

export class Membership {
  readonly #host: MembershipHost;
  #pending: Pending | undefined;

  constructor(host: MembershipHost) {
    this.#host = host;
  }

  get isBusy(): boolean {
    const { votersOutgoing } = this.#host.confState();
    return this.#pending !== undefined || votersOutgoing.length > 0;
  }

  /** Answers with the ids of the members touched, once the change is in force. Leader only. */
  change(changes: readonly MembershipChange[], reply: Reply): void {
    if (this.isBusy) return reply(unavailable("another change of the membership is under way: ask again"));
    const built = this.#build(changes);
    if (built instanceof GroupError) return reply(built);
    const { singles, context, ids } = built;
    if (singles.length === 0) return reply(undefined, ids);
    if (singles.some(({ type, nodeId }) => type === "ConfChangeRemoveNode" && nodeId === this.#host.id)) {
      const heir = this.#heir(ids);
      if (heir !== undefined) {
        // The next leader removes this one: a leader that removes itself leaves the others without the news.
        this.#host.transfer(heir);
        return reply(unavailable("the leader hands over before it is removed: ask again"));
      }
    }
    const place = this.#host.propose(
      makeConfChange(singles, "ConfChangeTransitionAuto", encodeContext(context)),
    );
    if (place === undefined) return reply(unavailable("the log takes no change at the moment: ask again"));
    const ticksLeft = Math.ceil(this.#host.config.timeoutMs / this.#host.config.tickMs);
    this.#pending = { ...place, ids, reply, wasApplied: false, ticksLeft };
  }

  /** The voter that is furthest ahead and stays. */
  #heir(leaving: readonly number[]): number | undefined {
    let best: { readonly id: number; readonly match: number } | undefined;
    const { voters } = this.#host.confState();
    this.#host.withProgress((id, { match, recentActive }) => {
      if (id === this.#host.id || leaving.includes(id) || !voters.includes(id) || !recentActive) return;
      if (best === undefined || match > best.match) best = { id, match };
    });
    return best?.id;
  }

  #build(changes: readonly MembershipChange[]):
    | {
        readonly singles: readonly ConfChangeSingle[];
        readonly context: readonly Member[];
        readonly ids: readonly number[];
      }
    | RaftwerkError {
    const state = this.#host.state();
    const singles: ConfChangeSingle[] = [];
    const context: Member[] = [];
    const ids: number[] = [];
    let { nextId } = state;
    for (const change of changes) {
      if (change.kind === "add") {
        const known = [...state.members.values()].find(
          ({ storageId }) => storageId !== "" && storageId === change.storageId,
        );
        // A joiner that did not hear the answer asks again.
        if (known !== undefined) {
          ids.push(known.id);
          continue;
        }
        if ([...state.members.values()].some(({ address }) => address === change.address)) {
          return refusal(
            `a member at ${change.address} exists: remove it first, if this one is to take its place`,
          );
        }
        const id = nextId++;
        ids.push(id);
        const { address, role, storageId } = change;
        singles.push({ type: "ConfChangeAddLearnerNode", nodeId: id });
        context.push({ id, address, role, storageId });
        continue;
      }
      const member = state.members.get(change.id);
      if (member === undefined && change.kind === "remove" && state.isGone(change.id)) {
        ids.push(change.id);
        continue;
      }
      if (member === undefined) return refusal(`there is no member ${change.id}: see raftwerk group members`);
      if (ids.includes(change.id)) return refusal(`member ${change.id} is named twice`);
      ids.push(change.id);
      const step = stepOf(change, member);
      if (step === undefined) continue;
      if (change.kind === "promote" && !this.#hasCaughtUp(change.id)) {
        return unavailable(`member ${change.id} has not caught up yet, or is down: ask again when it has`);
      }
      singles.push(step.single);
      context.push(step.member);
    }
    const voters = new Set(this.#host.confState().voters);
    for (const { type, nodeId } of singles) {
      if (type === "ConfChangeAddNode") voters.add(nodeId);
      else if (type !== "ConfChangeUpdateNode") voters.delete(nodeId);
    }
    if (voters.size === 0) return refusal("that would leave the group without a voter");
    if (singles.length > 0) {
      const up = [...voters].filter((id) => this.#host.isUp(id)).length;
      if (up * 2 <= voters.size) {
        return unavailable(
          `of the ${voters.size} voters after that change only ${up} are up, which is no majority: bring members up, ` +
            "or remove those that are down first",
        );
      }
    }
    return { singles, context, ids };
  }

  #hasCaughtUp(id: number): boolean {
    const { promoteEntries } = this.#host.config;
    let isNear = false;
    this.#host.withProgress((member, { match }) => {
      if (member === id) isNear = match > 0 && match + promoteEntries >= this.#host.commitIndex();
    });
    return isNear && this.#host.isUp(id);
  }

  /** An entry that might be the change, or stand in its place, was applied. */
  applied(entry: Entry): void {
    const pending = this.#pending;
    if (pending === undefined || entry.index < pending.index) return;
    if (entry.index === pending.index) {
      const isOurs = entry.term === pending.term && entry.type !== "EntryNormal";
      if (!isOurs) {
        this.#pending = undefined;
        return pending.reply(unavailable("another change was under way, or another leader came: ask again"));
      }
      pending.wasApplied = true;
    }
    if (!pending.wasApplied || this.#host.confState().votersOutgoing.length > 0) return;
    this.#pending = undefined;
    pending.reply(undefined, pending.ids);
  }

  tick(): void {
    const pending = this.#pending;
    if (pending !== undefined) {
      if (--pending.ticksLeft > 0) return;
      this.#pending = undefined;
      const text = "the change was not committed in time: see raftwerk group members whether it was made";
      return pending.reply(new GroupError("undeterminedResult", text, { retry: "unknown" }));
    }
    if (this.#host.isLeader() && !this.isBusy) this.#promoteReady();
  }

  #promoteReady(): void {
    const ready: MembershipChange[] = [];
    const { members } = this.#host.state();
    this.#host.withProgress((id, { isLearner }) => {
      if (isLearner && members.get(id)?.role === "learner" && this.#hasCaughtUp(id)) {
        ready.push({ kind: "promote", id });
      }
    });
    if (ready.length > 0) this.change(ready, () => {});
  }

  stop(error: RaftwerkError): void {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.reply(error);
  }
}

function stepOf(
  change: Exclude<MembershipChange, { kind: "add" }>,
  member: Member,
): { readonly single: ConfChangeSingle; readonly member: Member } | undefined {
  const nodeId = member.id;
  const as = (role: MemberRole): Member => ({ ...member, role });
  switch (change.kind) {
    case "remove":
      return { single: { type: "ConfChangeRemoveNode", nodeId }, member };
    case "promote":
      if (member.role === "voter") return undefined;
      return { single: { type: "ConfChangeAddNode", nodeId }, member: as("voter") };
    case "demote": {
      const role = change.role ?? "observer";
      if (member.role === role) return undefined;
      return { single: { type: "ConfChangeAddLearnerNode", nodeId }, member: as(role) };
    }
    case "move":
      if (member.address === change.address) return undefined;
      return {
        single: { type: "ConfChangeUpdateNode", nodeId },
        member: { ...member, address: change.address },
      };
  }
}
