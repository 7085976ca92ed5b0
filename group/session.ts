/**
 * A client whose commands take effect exactly once. It numbers its commands, tells which answers it has, and so may
 * repeat a command whose outcome is unknown: the group applies it once and remembers the answer.
 */
import { type Env, RaftwerkError } from "../base/index.js";
import { SERIALS_MAX } from "./sessions.js";
import type { ProposeOptions, WaitOptions } from "./node.js";

export interface SessionOwner<Command, Response> {
  propose(command: Command, options?: ProposeOptions): Promise<Response>;
  closeSession(clientId: string, options?: WaitOptions): Promise<void>;
}

const AGAIN_MS = 100;
/** How long one try may take, so that a lost packet does not cost the caller's whole time. */
const TRY_MS = 3_000;

export class GroupSession<Command, Response> {
  readonly clientId: string;
  readonly #owner: SessionOwner<Command, Response>;
  readonly #env: Env;
  #nextSerial: number;
  /** Serials without an answer. */
  readonly #open = new Set<number>();
  readonly #done = new Set<number>();
  #acknowledged: number;

  constructor(owner: SessionOwner<Command, Response>, env: Env, clientId: string, highest: number) {
    this.#owner = owner;
    this.#env = env;
    this.clientId = clientId;
    this.#nextSerial = highest + 1;
    this.#acknowledged = highest;
  }

  /**
   * As `propose` of the node, but a failure that leaves the outcome open is followed by another try with the same
   * serial until `timeoutMs` (30 s by default) is over or `signal` says stop. At most 256 commands of a session at a
   * time.
   */
  async propose(command: Command, options: WaitOptions = {}): Promise<Response> {
    if (this.#open.size >= SERIALS_MAX) {
      const text = `more than ${SERIALS_MAX} commands of one session at a time: wait, or open another session`;
      throw new RaftwerkError("serverIsBusy", text, { retry: "safe" });
    }
    const serial = this.#nextSerial++;
    this.#open.add(serial);
    const deadlineMs = this.#env.clock.monotonicMs() + (options.timeoutMs ?? 30_000);
    let mayHaveHappened = false;
    for (;;) {
      const leftMs = deadlineMs - this.#env.clock.monotonicMs();
      try {
        const response = await this.#owner.propose(command, {
          ...options,
          clientId: this.clientId,
          serial,
          acknowledged: this.#acknowledged,
          timeoutMs: Math.max(1, Math.min(leftMs, TRY_MS)),
        });
        this.#answered(serial);
        return response;
      } catch (error) {
        if (!(error instanceof RaftwerkError)) throw error;
        if (error.retry === "unknown") mayHaveHappened = true;
        const isOver = error.retry === "never" || error.code === "closed" || error.code === "cancelled";
        if (isOver || leftMs <= AGAIN_MS) {
          if (error.retry === "never") this.#answered(serial);
          throw mayHaveHappened && error.retry === "safe" ? stillUnknown(error) : error;
        }
        await new Promise<void>((resolve) => {
          this.#env.timers.set(AGAIN_MS, () => resolve());
        });
      }
    }
  }

  #answered(serial: number): void {
    this.#open.delete(serial);
    this.#done.add(serial);
    while (this.#done.delete(this.#acknowledged + 1)) this.#acknowledged++;
  }

  /** The group forgets the session. */
  close(options: WaitOptions = {}): Promise<void> {
    return this.#owner.closeSession(this.clientId, options);
  }
}

const stillUnknown = (error: RaftwerkError): RaftwerkError =>
  new RaftwerkError(
    "undeterminedResult",
    `an earlier try may have taken effect; the last one failed: ${error.message}`,
    { retry: "unknown", cause: error },
  );
