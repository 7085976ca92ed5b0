/**
 * Questions of joiners and operators, in JSON: what a member answers, and how one that does not lead is followed to
 * the one that does. Anything may be asked of any member.
 */
import { type Env, type ErrorCode, fromUtf8, RaftwerkError, type RetryClass, utf8 } from "../base/index.js";
import type { GroupCore } from "./core.js";
import { unavailable } from "./errors.js";
import type { GroupStatus } from "./events.js";
import type { MembershipChange } from "./membership.js";
import { statusOf } from "./status.js";
import type { GroupTransport } from "./transport.js";

export type GroupCall =
  | { readonly kind: "status" }
  | { readonly kind: "change"; readonly groupId?: string; readonly changes: readonly MembershipChange[] }
  | { readonly kind: "transfer"; readonly to: number }
  /** Makes a snapshot on the member that is asked. */
  | { readonly kind: "snapshot" };

export interface GroupCallResult {
  readonly status?: GroupStatus;
  readonly ids?: readonly number[];
  readonly groupId?: string;
  readonly members?: readonly (readonly [id: number, address: string])[];
  readonly snapshotIndex?: number;
}

interface CallAnswer {
  readonly result?: GroupCallResult;
  readonly error?: { readonly code: ErrorCode; readonly retry: RetryClass; readonly message: string };
  /** Whom to ask instead. */
  readonly leaderAddress?: string;
}

type Reply = (answer: CallAnswer) => void;

const wrong = (error: RaftwerkError): CallAnswer => ({
  error: { code: error.code, retry: error.retry, message: error.message },
});

/** Serves one question. */
export function answerCall(
  core: GroupCore,
  request: Uint8Array,
  reply: (response: Uint8Array) => void,
): void {
  const send: Reply = (answer) => reply(utf8(JSON.stringify(answer)));
  let call: GroupCall;
  try {
    call = JSON.parse(fromUtf8(request)) as GroupCall;
  } catch {
    return send(wrong(new RaftwerkError("invalidArgument", "the question is not JSON", { retry: "never" })));
  }
  switch (call.kind) {
    case "status":
      return send({ result: { status: statusOf(core) } });
    case "snapshot":
      return core.keeper.request((error, info) => {
        if (info === undefined) send(wrong(unavailable(error?.message ?? "no snapshot")));
        else send({ result: { snapshotIndex: info.index } });
      });
    case "change":
      if (!isOurGroup(core, call.groupId, send) || !isLeading(core, send)) return;
      return change(core, call.changes, send);
    case "transfer":
      if (!isLeading(core, send)) return;
      return transfer(core, call.to, send);
    default:
      return send(
        wrong(new RaftwerkError("invalidArgument", "a question of unknown kind", { retry: "never" })),
      );
  }
}

function isOurGroup(core: GroupCore, groupId: string | undefined, send: Reply): boolean {
  if (groupId === undefined || groupId === "" || groupId === core.groupId) return true;
  const text = `the member at ${core.parts.transport.address} belongs to group ${core.groupId}, not to ${groupId}`;
  send(wrong(new RaftwerkError("clusterIdMismatch", `${text}: check the address`, { retry: "never" })));
  return false;
}

function isLeading(core: GroupCore, send: Reply): boolean {
  if (core.isLeader) return true;
  const leaderAddress = core.state.members.get(core.leaderId)?.address;
  const answer = wrong(unavailable("this member does not lead the group"));
  send(leaderAddress === undefined ? answer : { ...answer, leaderAddress });
  return false;
}

function change(core: GroupCore, changes: readonly MembershipChange[], send: Reply): void {
  core.membership.change(changes, (error, ids) => {
    if (error !== undefined || ids === undefined) return send(wrong(error ?? unavailable("no change")));
    const members = [...core.state.members.values()].map(({ id, address }) => [id, address] as const);
    send({ result: { ids, groupId: core.groupId, members } });
  });
}

/** Answers when the other leads, or says that it does not. */
function transfer(core: GroupCore, to: number, send: Reply): void {
  if (to === core.id) return send({ result: { ids: [to] } });
  const { confState } = core.applier;
  if (!confState.voters.includes(to)) {
    const text = `member ${to} is no voter: promote it first`;
    return send(wrong(new RaftwerkError("invalidArgument", text, { retry: "never" })));
  }
  core.raw?.transferLeader(to);
  core.wake();
  const { tickMs, electionTicks } = core.parts.config;
  let ticksLeft = electionTicks * 2;
  const look = (): void => {
    if (core.leaderId === to) return send({ result: { ids: [to] } });
    if (--ticksLeft <= 0) {
      return send(wrong(unavailable(`member ${to} did not take over: it may be down or behind`)));
    }
    core.env.timers.set(tickMs, look);
  };
  look();
}

const AGAIN_MS = 200;

/**
 * Asks until a leader answered, or time is up; begins with `seeds`. What is asked must bear being asked twice: an
 * answer may be lost.
 */
export function askLeader(
  env: Env,
  transport: Pick<GroupTransport, "call">,
  seeds: readonly string[],
  call: GroupCall,
  timeoutMs: number,
  callback: (error: RaftwerkError | undefined, result?: GroupCallResult) => void,
): void {
  const deadlineMs = env.clock.monotonicMs() + timeoutMs;
  const request = utf8(JSON.stringify(call));
  let next = 0;
  let last: RaftwerkError = unavailable(`nobody answers at ${seeds.join(", ")}`);
  const again = (): void => {
    env.timers.set(AGAIN_MS, () => ask(seeds[next++ % seeds.length] as string, 0));
  };
  const ask = (address: string, hops: number): void => {
    const leftMs = deadlineMs - env.clock.monotonicMs();
    if (leftMs <= 0) return callback(last);
    transport.call(address, request, leftMs, (error, response) => {
      if (error !== undefined || response === undefined) {
        last = unavailable(`${address}: ${error?.message ?? "no answer"}`);
        return again();
      }
      const answer = parseAnswer(response);
      if (answer.result !== undefined) return callback(undefined, answer.result);
      const { code, retry, message } = answer.error ?? wrong(unavailable("an empty answer")).error ?? last;
      last = new RaftwerkError(code, message, { retry });
      if (retry !== "safe") return callback(last);
      if (answer.leaderAddress !== undefined && hops < 3) ask(answer.leaderAddress, hops + 1);
      else again();
    });
  };
  if (seeds.length === 0) return callback(last);
  ask(seeds[next++] as string, 0);
}

function parseAnswer(response: Uint8Array): CallAnswer {
  try {
    return JSON.parse(fromUtf8(response)) as CallAnswer;
  } catch {
    return wrong(unavailable("the answer is not JSON"));
  }
}
