/** The PDs, which one leads, and passing the leadership on, over HTTP. (pd-rules 1.11, 1.13, 11.43, 11.44) */
import { fromUtf8, utf8 } from "../base/index.js";
import type { pdpb } from "../proto/index.js";
import { parseDurationMs } from "./duration.js";
import type { HttpCall } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import { unescapeToBytes } from "./http-text.js";
import type { MetaKeys } from "./keys.js";

const DAY_MS = 86_400_000;

export const MEMBER_ROUTES: readonly Route[] = [
  route("GET", "/members", members, "any"),
  route("DELETE", "/members/name/{name}", (call) => remove(call, memberByName(call)), "leader"),
  route("DELETE", "/members/id/{id}", (call) => remove(call, memberById(call)), "leader"),
  route("POST", "/members/name/{name}", setPriority, "leader"),
  route("GET", "/leader", leader, "any"),
  route("POST", "/leader/resign", (call) => transfer(call, undefined, "resign"), "leader"),
  route(
    "POST",
    "/leader/transfer/{name}",
    (call) => {
      const name = unescapeToText(call.param(0));
      if (name === undefined) return call.fail(400, "the name of the member is malformed");
      transfer(call, name, "transfer");
    },
    "leader",
  ),
  route("GET", "/health", health, "any"),
  route("POST", "/admin/reset-ts", resetTimestamp, "leader"),
];

function unescapeToText(text: string): string | undefined {
  const bytes = unescapeToBytes(text, false);
  return bytes === undefined ? undefined : fromUtf8(bytes);
}

const memberJson = (member: pdpb.IMember): Record<string, unknown> & { readonly name: string } => ({
  name: member.name ?? "",
  member_id: member.memberId,
  peer_urls: member.peerUrls,
  client_urls: member.clientUrls,
});

function members(call: HttpCall): void {
  const { context, members: all } = call.parts;
  const list = all.list().map((member) => ({
    ...memberJson(member),
    leader_priority: (member.leaderPriority ?? 0) === 0 ? undefined : member.leaderPriority,
    deploy_path: "",
    binary_version: member.binaryVersion,
    git_hash: member.gitHash,
  }));
  const serving = all.leader();
  const leading = serving === undefined ? undefined : list.find(({ name }) => name === serving.name);
  call.json({
    header: { cluster_id: context.clusterId },
    members: list,
    leader: leading,
    etcd_leader: leading,
  });
}

function leader(call: HttpCall): void {
  const serving = call.parts.members.leader();
  if (serving === undefined) return call.fail(503, "no leader");
  call.json(memberJson(serving));
}

/** A member is healthy when it leads, or follows with all regions. */
function health(call: HttpCall): void {
  const { members: all, sync, leadership } = call.parts;
  const warm = sync.warmMembers();
  const list = all.list().map((member) => ({
    name: member.name,
    member_id: member.memberId,
    client_urls: member.clientUrls,
    health:
      member.memberId === all.self.memberId
        ? leadership.lookupRole() !== "none"
        : warm.includes(member.memberId ?? 0n),
  }));
  call.json(list);
}

function transfer(call: HttpCall, name: string | undefined, word: "resign" | "transfer"): void {
  const done = (error: Error | undefined): void => {
    if (error !== undefined) return call.fail(500, error.message);
    call.json(`The ${word} command is submitted.`);
  };
  const { transfer: handOver, members: all } = call.parts;
  if (handOver !== undefined) return handOver(name, done);
  if (name === all.self.name) return done(undefined);
  done(new Error("no valid pd to transfer etcd leader"));
}

/** Moves timestamps forward, after a restore of data that is newer than PD's. (2.16) */
function resetTimestamp(call: HttpCall): void {
  const body = call.bodyObject();
  if (body === undefined) return;
  const { tso, "force-use-larger": force = false } = body;
  if (typeof tso !== "string" || !/^[0-9]{1,20}$/.test(tso) || BigInt(tso) >= 2n ** 64n) {
    return call.fail(400, "invalid tso value");
  }
  if (typeof force !== "boolean") return call.fail(400, "invalid force-use-larger value");
  const { timestamps, config } = call.parts;
  const gap = parseDurationMs(String(config.section("pd-server")["max-gap-reset-ts"])) ?? DAY_MS;
  timestamps.resetTo(BigInt(tso), { forceUseLarger: force, maxGapMs: gap }, (error) => {
    if (error === undefined) call.json("Reset ts successfully.");
    else call.fail(403, error.message);
  });
}

/** Undefined when there is none: then the answer has been sent. */
function memberByName(call: HttpCall): pdpb.IMember | undefined {
  const name = unescapeToText(call.param(0));
  const found = name === undefined ? undefined : call.parts.members.byName(name);
  if (found === undefined) call.fail(404, `not found, pd: ${name ?? call.param(0)}`);
  return found;
}

function memberById(call: HttpCall): pdpb.IMember | undefined {
  const text = call.param(0);
  const found = call.parts.members.list().find(({ memberId }) => String(memberId) === text);
  if (found === undefined) call.fail(404, `not found, pd: ${text}`);
  return found;
}

const MEMBER_ITEMS: readonly Parameters<MetaKeys["member"]>[1][] = [
  "leader_priority",
  "deploy_path",
  "binary_version",
  "git_hash",
  "member",
];

/** Forgets a member that is gone for good; one that still runs tells of itself again at its next start. */
function remove(call: HttpCall, member: pdpb.IMember | undefined): void {
  if (member === undefined) return;
  const { context, members: all, leadership } = call.parts;
  if (member.memberId === all.self.memberId) {
    return call.fail(500, `${member.name} leads: transfer the leadership to another member first`);
  }
  const onSuccess = MEMBER_ITEMS.map(
    (item) => ({ kind: "delete", key: context.keys.member(member.memberId ?? 0n, item) }) as const,
  );
  leadership.transact({ compares: [], onSuccess }, (error) => {
    if (error !== undefined) return call.fail(500, error.message);
    call.json(`removed, pd: ${member.name}`);
  });
}

function setPriority(call: HttpCall): void {
  const member = memberByName(call);
  if (member === undefined) return;
  const body = call.bodyObject();
  if (body === undefined) return;
  const priority = body["leader-priority"];
  if (priority === undefined) return call.json("success");
  if (typeof priority !== "number" || !Number.isSafeInteger(priority)) {
    return call.fail(400, `bad format leader priority: ${JSON.stringify(priority)}`);
  }
  const { context, leadership } = call.parts;
  const key = context.keys.member(member.memberId ?? 0n, "leader_priority");
  const onSuccess = [{ kind: "put", key, value: utf8(String(priority)) } as const];
  leadership.transact({ compares: [], onSuccess }, (error) => {
    if (error !== undefined) return call.fail(500, error.message);
    call.json("success");
  });
}
