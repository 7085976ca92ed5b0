/**
 * Calls that a client sends through a follower because it cannot reach the leader itself: metadata names the
 * leader, and messages pass both ways, frame by frame. Only the known leader may be named: PD is no open proxy.
 * (pd-rules 1.14)
 */
import {
  type BoundMethod,
  type ClientCall,
  RPC_CODE,
  type RpcNetwork,
  type ServerCall,
  type ServerCallListener,
} from "../proto/index.js";

export const FORWARD_METADATA = "pd-forwarded-host";
/** Streams forwarded at the same time; TiKV's clients open a few each. */
const FORWARDED_MAX = 5_000;

export interface ForwardSource {
  readonly network: RpcNetwork;
  readonly ownUrls: readonly string[];
  leaderUrls(): readonly string[] | undefined;
}

const withoutScheme = (url: string): string => url.replace(/^[a-z]+:\/\//, "");

export class Forwarder {
  readonly #source: ForwardSource;
  #open = 0;

  constructor(source: ForwardSource) {
    this.#source = source;
  }

  /** Undefined when the call is for this PD. */
  take(
    method: BoundMethod["definition"],
    call: ServerCall<unknown>,
  ): ServerCallListener<unknown> | undefined {
    const host = withoutScheme(call.metadata[FORWARD_METADATA] ?? "");
    if (host === "" || this.#source.ownUrls.some((url) => withoutScheme(url) === host)) return undefined;
    const leader = this.#source.leaderUrls();
    if (leader === undefined) return refuse(call, RPC_CODE.unavailable, "not leader");
    if (!leader.some((url) => withoutScheme(url) === host)) {
      const text = `forwarded host ${JSON.stringify(host)} is not a client URL of the PD leader`;
      return refuse(call, RPC_CODE.invalidArgument, `${text}: pd is not leader of cluster`);
    }
    if (this.#open >= FORWARDED_MAX) {
      return refuse(call, RPC_CODE.resourceExhausted, `more than ${FORWARDED_MAX} calls are being forwarded`);
    }
    return this.#pipe(method, call, host);
  }

  #pipe(
    method: BoundMethod["definition"],
    call: ServerCall<unknown>,
    host: string,
  ): ServerCallListener<unknown> {
    this.#open += 1;
    let over = false;
    const finish = (): void => {
      if (over) return;
      over = true;
      this.#open -= 1;
    };
    // The name of the host is dropped: the leader answers by itself.
    const metadata = Object.fromEntries(
      Object.entries(call.metadata).filter(([key]) => key.startsWith("pd-") && key !== FORWARD_METADATA),
    );
    const onward: ClientCall<unknown> = this.#source.network.channel(host).open(
      method,
      {
        onMessage: (message) => {
          if (!over) call.send(message);
        },
        onEnd: (status) => {
          if (over) return;
          finish();
          call.end(status);
        },
      },
      { metadata },
    );
    return {
      onMessage: (message) => onward.send(message),
      onHalfClose: () => onward.halfClose(),
      onCancel: () => {
        finish();
        onward.cancel();
      },
    };
  }
}

function refuse(call: ServerCall<unknown>, code: 3 | 8 | 14, message: string): ServerCallListener<unknown> {
  call.end({ code, message });
  return { onMessage() {}, onHalfClose() {}, onCancel() {} };
}
