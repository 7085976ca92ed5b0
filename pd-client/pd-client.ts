/**
 * The client of PD that stores and our own client share. It finds the leader among the endpoints by GetMembers,
 * keeps to
 * it, and looks again whenever a call says that it is not the leader or cannot be reached: errors of the transport
 * mean "ask another PD", errors in the header mean "this PD answered". The cluster id is checked on every answer.
 */
import { type Env, misbehaves, RaftwerkError, type RetryClass, type TimerHandle } from "../base/index.js";
import {
  callUnary,
  type MethodDefinition,
  type metapb,
  PdService,
  pdpb,
  RPC_CODE,
  type RpcNetwork,
  RpcStatusError,
} from "../proto/index.js";
import { RegionHeartbeats } from "./region-heartbeats.js";
import { TsoStream } from "./tso-stream.js";

export type PdCallback<T> = (error: Error | undefined, result: T | undefined) => void;

export interface PdClientOptions {
  /** `host:port` or URLs with scheme. */
  readonly endpoints: readonly string[];
  /** One attempt of a call. Default 3 s. */
  readonly callTimeoutMs?: number;
  /** How long a call is tried again before it fails. Default 30 s. */
  readonly giveUpMs?: number;
}

interface WithHeader {
  readonly header: pdpb.ResponseHeader | null;
}

/** A leader that has not answered for this long is doubted: the other PDs are asked who leads. */
const DOUBT_MS = 700;
/** Once doubted it is asked about more often, until it answers or another leads. */
const DOUBT_AGAIN_MS = 250;
/** While streams are open another PD is asked this often whether the leader is still the leader. */
const LEADER_CHECK_MS = 1_000;
const MEMBERS_TIMEOUT_MS = 1_000;
const RETRY_MS_MIN = 50;
/** Short: most of what a client waits after the loss of a leader is the lease, and this comes on top. */
const RETRY_MS_MAX = 300;

const hostOf = (url: string): string => url.replace(/^[a-z]+:\/\//, "").replace(/\/.*$/, "");

export class PdClient {
  readonly #env: Env;
  readonly #network: RpcNetwork;
  readonly #callTimeoutMs: number;
  readonly #membersTimeoutMs: number;
  readonly #giveUpMs: number;
  #endpoints: string[];
  #leader: string;
  #clusterId = 0n;
  #closed = false;
  readonly #closers = new Set<() => void>();
  readonly #leaderListeners = new Set<() => void>();
  #isChecking = false;
  #nextToCheck = 0;

  constructor(env: Env, network: RpcNetwork, options: PdClientOptions) {
    this.#env = env;
    this.#network = network;
    this.#endpoints = options.endpoints.map(hostOf);
    this.#leader = this.#endpoints[0] ?? "";
    this.#callTimeoutMs = options.callTimeoutMs ?? 3_000;
    this.#membersTimeoutMs = Math.min(this.#callTimeoutMs, MEMBERS_TIMEOUT_MS);
    this.#giveUpMs = options.giveUpMs ?? 30_000;
  }

  get clusterId(): bigint {
    return this.#clusterId;
  }

  /** Address of the PD that calls go to. */
  get leaderAddress(): string {
    return this.#leader;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Learns the cluster id and the leader; tries until one endpoint answers or `giveUpMs` is over. */
  connect(callback: (error: Error | undefined) => void): void {
    const deadlineMs = this.#env.clock.monotonicMs() + this.#giveUpMs;
    const attempt = (number: number): void => {
      if (this.#closed) return callback(closedError());
      this.refreshMembers((error) => {
        if (error === undefined) return callback(undefined);
        if (error instanceof RaftwerkError && error.retry === "never") return callback(error);
        if (this.#env.clock.monotonicMs() >= deadlineMs) return callback(this.#unavailable(error));
        this.#env.timers.set(backoffMs(number), () => attempt(number + 1));
      });
    };
    attempt(0);
  }

  close(): void {
    this.#closed = true;
    for (const close of [...this.#closers]) close();
    this.#closers.clear();
  }

  allocId(callback: PdCallback<number>): void {
    this.#call(PdService.AllocID, {}, (error, response) => callback(error, response?.id));
  }

  isBootstrapped(callback: PdCallback<boolean>): void {
    this.#call(PdService.IsBootstrapped, {}, (error, response) => callback(error, response?.bootstrapped));
  }

  bootstrap(
    store: metapb.IStore,
    region: metapb.IRegion,
    callback: PdCallback<"bootstrapped" | "alreadyBootstrapped">,
  ): void {
    this.#callRaw(PdService.Bootstrap, { store, region }, (error, response) => {
      if (error !== undefined || response === undefined) return callback(error, undefined);
      const type = response.header?.error?.type ?? pdpb.ErrorType.OK;
      if (type === pdpb.ErrorType.OK) return callback(undefined, "bootstrapped");
      if (type === pdpb.ErrorType.ALREADY_BOOTSTRAPPED) return callback(undefined, "alreadyBootstrapped");
      callback(headerError(response.header), undefined);
    });
  }

  putStore(store: metapb.IStore, callback: PdCallback<void>): void {
    this.#call(PdService.PutStore, { store }, (error) => callback(error, undefined));
  }

  getStore(storeId: number, callback: PdCallback<metapb.Store>): void {
    this.#call(PdService.GetStore, { storeId }, (error, response) =>
      callback(error, response?.store ?? undefined),
    );
  }

  getAllStores(callback: PdCallback<metapb.Store[]>): void {
    const request = { excludeTombstoneStores: true };
    this.#call(PdService.GetAllStores, request, (error, response) => callback(error, response?.stores));
  }

  /** With leader, down and pending peers; `region` null when PD knows none. */
  lookupRegion(key: Uint8Array, callback: PdCallback<pdpb.GetRegionResponse>): void {
    this.#call(PdService.GetRegion, { regionKey: key }, callback);
  }

  lookupPreviousRegion(key: Uint8Array, callback: PdCallback<pdpb.GetRegionResponse>): void {
    this.#call(PdService.GetPrevRegion, { regionKey: key }, callback);
  }

  lookupRegionById(regionId: number, callback: PdCallback<pdpb.GetRegionResponse>): void {
    this.#call(PdService.GetRegionByID, { regionId }, callback);
  }

  getRegion(key: Uint8Array, callback: PdCallback<metapb.Region | null>): void {
    this.lookupRegion(key, (error, response) => callback(error, response?.region ?? null));
  }

  getRegionById(regionId: number, callback: PdCallback<metapb.Region | null>): void {
    this.lookupRegionById(regionId, (error, response) => callback(error, response?.region ?? null));
  }

  scanRegions(
    startKey: Uint8Array,
    endKey: Uint8Array,
    limit: number,
    callback: PdCallback<pdpb.ScanRegionsResponse>,
  ): void {
    this.#call(PdService.ScanRegions, { startKey, endKey, limit }, callback);
  }

  askBatchSplit(region: metapb.IRegion, count: number, callback: PdCallback<pdpb.SplitID[]>): void {
    this.#call(PdService.AskBatchSplit, { region, splitCount: count }, (error, response) =>
      callback(error, response?.ids),
    );
  }

  reportBatchSplit(regions: metapb.IRegion[], callback: PdCallback<void>): void {
    this.#call(PdService.ReportBatchSplit, { regions }, (error) => callback(error, undefined));
  }

  storeHeartbeat(stats: pdpb.IStoreStats, callback: PdCallback<pdpb.StoreHeartbeatResponse>): void {
    this.#call(PdService.StoreHeartbeat, { stats }, callback);
  }

  getClusterConfig(callback: PdCallback<metapb.Cluster>): void {
    this.#call(PdService.GetClusterConfig, {}, (error, response) =>
      callback(error, response?.cluster ?? undefined),
    );
  }

  /** A stream that reconnects by itself; `onReconnect` at every new beginning, the first included. */
  openRegionHeartbeat(
    onResponse: (response: pdpb.RegionHeartbeatResponse) => void,
    onReconnect: () => void,
  ): RegionHeartbeats {
    const stream = new RegionHeartbeats(this.#env, this, this.#network, onResponse, onReconnect);
    this.#checkLeaderLater();
    this.#closers.add(() => stream.close());
    return stream;
  }

  /** Timestamps; requests of one turn travel together. */
  openTso(): TsoStream {
    const stream = new TsoStream(this.#env, this, this.#network);
    this.#checkLeaderLater();
    this.#closers.add(() => stream.close());
    return stream;
  }

  /** Told when calls go to another PD from now on. */
  onLeaderChanged(listener: () => void): void {
    this.#leaderListeners.add(listener);
  }

  /** Asks the known endpoints in turn who they are and who leads. */
  refreshMembers(callback: (error: Error | undefined) => void): void {
    const delayed = misbehaves(this.#env, "PD's members are asked in another order");
    if (delayed) this.#endpoints.reverse();
    const order = [this.#leader, ...this.#endpoints.filter((endpoint) => endpoint !== this.#leader)];
    const ask = (at: number, last: Error | undefined): void => {
      const endpoint = order[at];
      if (endpoint === undefined || endpoint === "")
        return callback(last ?? new Error("no PD endpoint was given"));
      this.#askMembers(endpoint, (error, isFinal) => {
        if (error === undefined || isFinal) callback(error);
        else ask(at + 1, error);
      });
    };
    ask(0, undefined);
  }

  /**
   * The leader is silent: asks all others at once, so that a PD that is stopped holds nobody up. Calls back once,
   * when another leader is known or all have answered.
   */
  doubtLeader(callback: () => void): void {
    const doubted = this.#leader;
    const others = this.#endpoints.filter((endpoint) => endpoint !== doubted);
    let left = others.length;
    let called = false;
    const done = (): void => {
      if (called) return;
      called = true;
      callback();
    };
    if (left === 0) return done();
    for (const endpoint of others) {
      this.#askMembers(endpoint, () => {
        left -= 1;
        if (left === 0 || this.#leader !== doubted) done();
      });
    }
  }

  #askMembers(endpoint: string, callback: (error: Error | undefined, isFinal: boolean) => void): void {
    const channel = this.#network.channel(endpoint);
    callUnary(channel, PdService.GetMembers, {}, { timeoutMs: this.#membersTimeoutMs }, (error, response) => {
      if (error !== undefined || response === undefined) return callback(error, false);
      const wrong = this.#learnCluster(response.header);
      if (wrong !== undefined) return callback(wrong, true);
      const urls = response.members.flatMap((member) => member.clientUrls.map(hostOf));
      this.#endpoints = [...new Set([...this.#endpoints, ...urls])];
      const leader = response.leader?.clientUrls[0];
      if (leader === undefined) return callback(new Error(`${endpoint} knows no PD leader`), false);
      this.#setLeader(hostOf(leader));
      callback(undefined, true);
    });
  }

  #setLeader(leader: string): void {
    if (leader === this.#leader) return;
    this.#leader = leader;
    for (const listener of [...this.#leaderListeners]) listener();
  }

  /** A stream that is silent says nothing about its PD: another one is asked now and then. */
  #checkLeaderLater(): void {
    if (this.#isChecking) return;
    this.#isChecking = true;
    const check = (): void => {
      this.#env.timers.set(LEADER_CHECK_MS, () => {
        if (this.#closed) return;
        const others = this.#endpoints.filter((endpoint) => endpoint !== this.#leader);
        const endpoint = others[this.#nextToCheck++ % Math.max(1, others.length)];
        if (endpoint !== undefined) this.#askMembers(endpoint, () => {});
        check();
      });
    };
    check();
  }

  #learnCluster(header: pdpb.ResponseHeader | null): Error | undefined {
    const clusterId = header?.clusterId ?? 0n;
    if (clusterId === 0n) return new Error("PD does not know its cluster id yet");
    if (this.#clusterId === 0n) this.#clusterId = clusterId;
    if (this.#clusterId === clusterId) return undefined;
    const text = `PD serves cluster ${clusterId}, but this process belongs to cluster ${this.#clusterId}`;
    return new RaftwerkError("clusterIdMismatch", text, { retry: "never" });
  }

  /** As `#callRaw`, with errors in the header turned into errors. */
  #call<Q, R extends WithHeader, QI, RI>(
    method: MethodDefinition<Q, R, QI, RI>,
    request: QI,
    callback: PdCallback<R>,
  ): void {
    this.#callRaw(method, request, (error, response) => {
      if (error !== undefined || response === undefined) return callback(error, undefined);
      const type = response.header?.error?.type ?? pdpb.ErrorType.OK;
      if (type === pdpb.ErrorType.OK) callback(undefined, response);
      else callback(headerError(response.header), undefined);
    });
  }

  #callRaw<Q, R extends WithHeader, QI, RI>(
    method: MethodDefinition<Q, R, QI, RI>,
    request: QI,
    callback: PdCallback<R>,
  ): void {
    const deadlineMs = this.#env.clock.monotonicMs() + this.#giveUpMs;
    const attempt = (number: number): void => {
      if (this.#closed) return callback(closedError(), undefined);
      const full = { ...request, header: { clusterId: this.#clusterId } };
      this.#callOnce(method, full, (error, response) => {
        if (error === undefined) return callback(undefined, response);
        if (!isAboutLeader(error)) return callback(error, undefined);
        if (this.#env.clock.monotonicMs() >= deadlineMs) return callback(this.#unavailable(error), undefined);
        this.#env.timers.set(backoffMs(number), () => {
          if (this.#closed) return callback(closedError(), undefined);
          this.refreshMembers((failed) => {
            // Nobody knows a leader: lookups are answered by any PD, so the next attempt goes to the next one.
            if (failed !== undefined) this.#tryNext();
            attempt(number + 1);
          });
        });
      });
    };
    attempt(0);
  }

  /** One attempt; given up early when it is silent and another PD turns out to lead. */
  #callOnce<Q, R, QI, RI>(
    method: MethodDefinition<Q, R, QI, RI>,
    request: QI,
    callback: (error: RpcStatusError | undefined, response: R | undefined) => void,
  ): void {
    const leader = this.#leader;
    let finished = false;
    const options = { timeoutMs: this.#callTimeoutMs };
    const call = callUnary(this.#network.channel(leader), method, request, options, (error, response) => {
      if (finished) return;
      finished = true;
      if (timer !== undefined) this.#env.timers.clear(timer);
      callback(error, response);
    });
    const doubt = (): void => {
      if (finished || this.#closed) return;
      if (this.#leader === leader) {
        timer = this.#env.timers.set(DOUBT_AGAIN_MS, doubt);
        return this.doubtLeader(() => {
          if (this.#leader !== leader) doubt();
        });
      }
      finished = true;
      if (timer !== undefined) this.#env.timers.clear(timer);
      call.cancel();
      const message = `PD at ${leader} is silent and leads no more`;
      callback(new RpcStatusError({ code: RPC_CODE.unavailable, message }), undefined);
    };
    let timer: TimerHandle | undefined;
    if (this.#endpoints.length > 1) timer = this.#env.timers.set(DOUBT_MS, doubt);
  }

  #tryNext(): void {
    const at = this.#endpoints.indexOf(this.#leader);
    const next = this.#endpoints[(at + 1) % Math.max(1, this.#endpoints.length)];
    if (next !== undefined) this.#setLeader(next);
  }

  #unavailable(cause: Error): RaftwerkError {
    const text = `PD cannot be reached at ${this.#endpoints.join(", ")}: ${cause.message}`;
    return new RaftwerkError("pdUnavailable", text, { retry: "safe", cause });
  }
}

const closedError = (): RaftwerkError =>
  new RaftwerkError("closed", "the PD client is closed", { retry: "never" });

const backoffMs = (attempt: number): number => Math.min(RETRY_MS_MIN * 2 ** attempt, RETRY_MS_MAX);

/** The call never reached the PD that leads, or it does not lead any more. */
const isAboutLeader = (error: RpcStatusError): boolean =>
  error.status.code === RPC_CODE.unavailable ||
  error.status.code === RPC_CODE.deadlineExceeded ||
  /not leader|no leader/.test(error.status.message);

const RETRY_OF_HEADER: RetryClass = "safe";

function headerError(header: pdpb.ResponseHeader | null): RaftwerkError {
  const text = header?.error?.message ?? "PD answered with an error without text";
  return new RaftwerkError("rpcFailed", text, { retry: RETRY_OF_HEADER });
}
