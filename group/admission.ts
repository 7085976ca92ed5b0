/**
 * Which packets are taken: those of this group, for this member, from a member whose disk is the one it had. Also what
 * is known of the others beside the replicated state: where they said they are, and when they were heard last.
 */
import { must, RaftwerkError } from "../base/index.js";
import type { GroupCore } from "./core.js";
import { memberLostItsDisk } from "./founding.js";
import { decodePacket, type Envelope, type Item, type Packet, type RefusalCode } from "./packet.js";

export class Admission {
  readonly #core: GroupCore;
  readonly #process: (from: number, items: readonly Item[]) => void;
  /** Where members said they are, if the state does not know it yet: joiners, and members that moved. */
  readonly learned = new Map<number, string>();
  /** By member, when a packet of it was last taken. */
  readonly #heardMs = new Map<number, number>();
  /** While the group is being founded: a founder showed another disk than it had. */
  onFounderLost: ((id: number) => void) | undefined;
  packets = 0;
  refused = 0;
  bytes = 0;

  constructor(core: GroupCore, process: (from: number, items: readonly Item[]) => void) {
    this.#core = core;
    this.#process = process;
  }

  addressOf(id: number): string | undefined {
    return this.learned.get(id) ?? this.#core.state.members.get(id)?.address;
  }

  /** Was heard within an election timeout, or is this member. */
  isUp(id: number): boolean {
    const { env, parts } = this.#core;
    const { electionTicks, tickMs } = parts.config;
    const silentMs = env.clock.monotonicMs() - (this.#heardMs.get(id) ?? Number.NEGATIVE_INFINITY);
    return id === this.#core.id || silentMs <= electionTicks * tickMs;
  }

  /** The group knows its address now. */
  settled(id: number): void {
    this.learned.delete(id);
  }

  /** It left. */
  forget(id: number): void {
    this.learned.delete(id);
    this.#heardMs.delete(id);
  }

  receive(bytes: Uint8Array): void {
    const core = this.#core;
    if (core.phase === "stopped" || core.pins === undefined) return;
    this.packets++;
    this.bytes += bytes.length;
    let packet: Packet;
    try {
      packet = decodePacket(bytes);
    } catch (error) {
      this.refused++;
      core.env.log.warn("a packet is damaged", { error: (error as Error).message });
      return;
    }
    try {
      this.#admit(packet);
    } catch (error) {
      core.fail(error as Error);
    }
  }

  #admit({ envelope, items }: Packet): void {
    const core = this.#core;
    const { from, storageId, groupId, to } = envelope;
    const pins = must(core.pins, "no identity yet");
    for (const item of items) {
      if (item.kind === "refused") return this.#wasRefused(envelope, item.code, item.message);
    }
    if (pins.identity.groupId === "" || from === 0) return;
    if (groupId !== pins.identity.groupId) {
      const text = `the member at ${core.parts.transport.address} belongs to group ${pins.identity.groupId}, not to ${groupId}`;
      return this.#refuse(envelope, "clusterIdMismatch", `${text}: check addresses and members`);
    }
    if (to !== core.id) return;
    const isKnown = pins.check(from, storageId);
    if (isKnown === false) {
      this.#refuse(envelope, "memberLostItsDisk", memberLostItsDisk(from));
      return this.onFounderLost?.(from);
    }
    if (core.phase === "running" && core.state.isGone(from)) {
      return this.#refuse(envelope, "memberRemoved", `member ${from} was removed from the group`);
    }
    if (isKnown === true) return this.#take(envelope, items);
    pins.pin(from, storageId, () => this.#take(envelope, items));
  }

  #take({ from, fromAddress }: Envelope, items: readonly Item[]): void {
    this.#heardMs.set(from, this.#core.env.clock.monotonicMs());
    if (this.#core.state.members.get(from)?.address === fromAddress) this.learned.delete(from);
    else this.learned.set(from, fromAddress);
    this.#process(from, items);
  }

  #refuse(envelope: Envelope, code: RefusalCode, message: string): void {
    const core = this.#core;
    this.refused++;
    core.env.log.warn("a packet was refused", { from: envelope.from, code });
    core.outbox.sendTo(envelope.fromAddress, core.envelope(envelope.from), [
      { kind: "refused", code, message },
    ]);
  }

  #wasRefused(envelope: Envelope, code: RefusalCode, message: string): void {
    const core = this.#core;
    if (envelope.to !== core.id) return;
    core.env.log.warn("another member refuses this one", { by: envelope.fromAddress, code, message });
    if (code === "memberRemoved" && envelope.groupId === core.groupId) return core.wasRemoved();
    const isFatal =
      (code === "memberLostItsDisk" && envelope.groupId === core.groupId) ||
      (code === "clusterIdMismatch" && core.phase === "founding");
    if (isFatal) core.fail(new RaftwerkError(code, message, { retry: "never" }));
  }
}
