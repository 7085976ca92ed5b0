/**
 * The region heartbeat stream: reports of leaders up, operator steps down. Opened again with back-off when it breaks,
 * against whoever leads PD then; what was sent on a broken stream is lost, so each beginning asks for all
 * reports again.
 */
import type { Env } from "../base/index.js";
import { type ClientCall, PdService, type pdpb, type RpcNetwork } from "../proto/index.js";

/** What the stream needs of the PD client. */
export interface PdLeaderSource {
  readonly clusterId: bigint;
  readonly leaderAddress: string;
  readonly isClosed: boolean;
  refreshMembers(callback: (error: Error | undefined) => void): void;
  /** Asks the others who leads, the leader being silent. */
  doubtLeader(callback: () => void): void;
  onLeaderChanged(listener: () => void): void;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 1_000;

export class RegionHeartbeats {
  readonly #env: Env;
  readonly #pd: PdLeaderSource;
  readonly #network: RpcNetwork;
  readonly #onResponse: (response: pdpb.RegionHeartbeatResponse) => void;
  readonly #onReconnect: () => void;
  #call: ClientCall<pdpb.IRegionHeartbeatRequest> | undefined;
  #address = "";
  #retryMs = RETRY_MS_MIN;
  #closed = false;

  constructor(
    env: Env,
    pd: PdLeaderSource,
    network: RpcNetwork,
    onResponse: (response: pdpb.RegionHeartbeatResponse) => void,
    onReconnect: () => void,
  ) {
    this.#env = env;
    this.#pd = pd;
    this.#network = network;
    this.#onResponse = onResponse;
    this.#onReconnect = onReconnect;
    // A PD that is stopped keeps its connections: the stream to it does not break by itself.
    pd.onLeaderChanged(() => {
      const call = this.#call;
      if (call === undefined || this.#address === pd.leaderAddress) return;
      this.#call = undefined;
      call.cancel();
      this.#open();
    });
    this.#open();
  }

  /** Lost when the stream is down: the next beginning reports everything. */
  send(request: pdpb.IRegionHeartbeatRequest): void {
    this.#call?.send(request);
  }

  close(): void {
    this.#closed = true;
    this.#call?.cancel();
    this.#call = undefined;
  }

  #open(): void {
    if (this.#closed || this.#pd.isClosed) return;
    this.#address = this.#pd.leaderAddress;
    const call = this.#network.channel(this.#address).open(PdService.RegionHeartbeat, {
      onMessage: (response) => {
        this.#retryMs = RETRY_MS_MIN;
        this.#onResponse(response);
      },
      onEnd: (status) => {
        if (this.#call !== call || this.#closed) return;
        this.#call = undefined;
        this.#env.log.debug("region heartbeat stream ended", { reason: status.message });
        const retryMs = this.#retryMs;
        this.#retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
        this.#env.timers.set(retryMs, () => this.#pd.refreshMembers(() => this.#open()));
      },
    });
    this.#call = call;
    this.#env.timers.nextTurn(() => {
      if (this.#call === call && !this.#closed) this.#onReconnect();
    });
  }
}
