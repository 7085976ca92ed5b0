/** Who the PDs are. A single PD is its own leader; the list has one entry. (pd-rules 1.23) */
import type { pdpb } from "../proto/index.js";
import type { Leadership } from "./leadership.js";
import { PD_GIT_HASH, PD_VERSION } from "./version.js";

export interface MemberIdentity {
  readonly name: string;
  /** Random in 64 bits, never 0; stable over restarts. */
  readonly memberId: bigint;
  /** With scheme: clients dial what they are told here. */
  readonly clientUrls: readonly string[];
  readonly peerUrls: readonly string[];
}

export class Members {
  readonly #self: MemberIdentity;
  readonly #leadership: Leadership;

  constructor(self: MemberIdentity, leadership: Leadership) {
    this.#self = self;
    this.#leadership = leadership;
  }

  get self(): MemberIdentity {
    return this.#self;
  }

  list(): pdpb.IMember[] {
    const { name, memberId, clientUrls, peerUrls } = this.#self;
    return [{ name, memberId, clientUrls, peerUrls, binaryVersion: `v${PD_VERSION}`, gitHash: PD_GIT_HASH }];
  }

  leader(): pdpb.IMember | undefined {
    if (!this.#leadership.isServing()) return undefined;
    const { name, memberId, clientUrls, peerUrls } = this.#self;
    return { name, memberId, clientUrls, peerUrls };
  }
}
