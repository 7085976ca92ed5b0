/**
 * Who the PDs are and which one leads. A single PD is its own leader and the list has one entry; several keep what
 * they tell of themselves in the meta store, and each follows that by a watch. (pd-rules 1.13, 1.23)
 */
import { copyBytes, type Env, fromUtf8, utf8 } from "../base/index.js";
import { codec, pdpb } from "../proto/index.js";
import { readPrefix } from "./context.js";
import type { MetaKeys } from "./keys.js";
import type { Leadership } from "./leadership.js";
import type { MetaOperation, MetaStore, MetaWatch } from "./meta-store.js";
import { PD_GIT_HASH, PD_VERSION } from "./version.js";

export interface MemberIdentity {
  readonly name: string;
  /** Random in 64 bits, never 0; stable over restarts. */
  readonly memberId: bigint;
  /** With scheme: clients dial what they are told here. */
  readonly clientUrls: readonly string[];
  readonly peerUrls: readonly string[];
}

const memberCodec = codec<pdpb.Member, pdpb.IMember>(pdpb.Member);

/** Without version and paths: the form in which the leader key and answers name a member. */
const short = ({ name, memberId, clientUrls, peerUrls }: MemberIdentity): pdpb.IMember => ({
  name,
  memberId,
  clientUrls: [...clientUrls],
  peerUrls: [...peerUrls],
});

export const encodeMember = (member: MemberIdentity): Uint8Array => memberCodec.encode(short(member));

/** Undefined: the bytes are no member. Others can write into an etcd, and that must not end a PD. */
export function decodeMember(bytes: Uint8Array): pdpb.Member | undefined {
  try {
    return memberCodec.decode(copyBytes(bytes));
  } catch {
    return undefined;
  }
}

/** The members by what they told of themselves. */
export class MemberRegistry {
  readonly #env: Env;
  readonly #metaStore: MetaStore;
  readonly #keys: MetaKeys;
  readonly #self: MemberIdentity;
  readonly #members = new Map<bigint, pdpb.IMember>();
  readonly #priorities = new Map<bigint, number>();
  #watch: MetaWatch | undefined;
  #stopped = false;

  constructor(env: Env, metaStore: MetaStore, keys: MetaKeys, self: MemberIdentity) {
    this.#env = env;
    this.#metaStore = metaStore;
    this.#keys = keys;
    this.#self = self;
  }

  /** Tells of this PD and learns of the others; tries again until the meta store answers. */
  start(callback: () => void): void {
    const { memberId } = this.#self;
    const put = (item: Parameters<MetaKeys["member"]>[1], value: Uint8Array): MetaOperation => ({
      kind: "put",
      key: this.#keys.member(memberId, item),
      value,
    });
    const onSuccess = [
      put("member", encodeMember(this.#self)),
      put("binary_version", utf8(`v${PD_VERSION}`)),
      put("git_hash", utf8(PD_GIT_HASH)),
      put("deploy_path", utf8("")),
    ];
    this.#metaStore.transact({ compares: [], onSuccess }, (error) => {
      if (this.#stopped) return;
      if (error === undefined) return this.#follow(callback);
      this.#env.log.warn("the meta store does not take this member so far", { error: error.message });
      this.#env.timers.set(500, () => this.start(callback));
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#watch?.cancel();
  }

  list(): pdpb.IMember[] {
    const known = [...this.#members.values()];
    if (!this.#members.has(this.#self.memberId)) known.push(short(this.#self));
    const version = { binaryVersion: `v${PD_VERSION}`, gitHash: PD_GIT_HASH };
    return known
      .map((member) => ({
        ...member,
        ...version,
        leaderPriority: this.#priorities.get(member.memberId ?? 0n) ?? 0,
      }))
      .sort((left, right) => ((left.name ?? "") < (right.name ?? "") ? -1 : 1));
  }

  priority(memberId: bigint): number {
    return this.#priorities.get(memberId) ?? 0;
  }

  hasBetter(): boolean {
    const mine = this.priority(this.#self.memberId);
    for (const [id, priority] of this.#priorities) {
      if (priority > mine && id !== this.#self.memberId && this.#members.has(id)) return true;
    }
    return false;
  }

  #follow(callback: () => void): void {
    const { members } = this.#keys;
    const end = members.slice();
    end[end.length - 1] = (end.at(-1) as number) + 1;
    this.#watch = this.#metaStore.watch(members, end, 0, {
      onEvents: (events) => {
        for (const event of events) {
          if (event.kind === "put") this.#take(event.entry.key, event.entry.value);
          else this.#take(event.key, undefined);
        }
      },
      onCompacted: () => {
        if (!this.#stopped) this.#follow(() => {});
      },
    });
    const load = (): void => {
      readPrefix(
        this.#metaStore,
        members,
        (key, value) => this.#take(key, value),
        (error) => {
          if (error === undefined) callback();
          else if (!this.#stopped) this.#env.timers.set(500, load);
        },
      );
    };
    load();
  }

  #take(key: Uint8Array, value: Uint8Array | undefined): void {
    const [idText = "", item] = fromUtf8(key.subarray(this.#keys.members.length)).split("/");
    if (!/^[0-9]+$/.test(idText)) return;
    const id = BigInt(idText);
    if (item === "member") {
      const member = value === undefined ? undefined : decodeMember(value);
      if (value !== undefined && member === undefined)
        this.#env.log.error("the key of a member holds no member", { member: `${id}` });
      if (member === undefined) this.#members.delete(id);
      else this.#members.set(id, member);
    } else if (item === "leader_priority") {
      if (value === undefined) this.#priorities.delete(id);
      else this.#priorities.set(id, Number(fromUtf8(value)) || 0);
    }
  }
}

export class Members {
  readonly self: MemberIdentity;
  readonly #leadership: Leadership;
  readonly #registry: MemberRegistry | undefined;
  /** The PD that leads, when it is another one. */
  readonly #otherLeader: () => pdpb.IMember | undefined;

  constructor(
    self: MemberIdentity,
    leadership: Leadership,
    registry?: MemberRegistry,
    otherLeader: () => pdpb.IMember | undefined = () => undefined,
  ) {
    this.self = self;
    this.#leadership = leadership;
    this.#registry = registry;
    this.#otherLeader = otherLeader;
  }

  list(): pdpb.IMember[] {
    if (this.#registry !== undefined) return this.#registry.list();
    return [{ ...short(this.self), binaryVersion: `v${PD_VERSION}`, gitHash: PD_GIT_HASH }];
  }

  /** The list's entry where there is one, so that its URLs are those it is configured with now. */
  leader(): pdpb.IMember | undefined {
    if (this.#leadership.isServing()) return short(this.self);
    const leader = this.#otherLeader();
    return this.#registry?.list().find((member) => member.memberId === leader?.memberId) ?? leader;
  }

  byName(name: string): pdpb.IMember | undefined {
    return this.list().find((member) => member.name === name);
  }
}
