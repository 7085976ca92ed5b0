/**
 * The door to the network. Members are reached by their addresses. Implementations: gRPC with TLS in `adapters/`, and
 * `InProcessNetwork` for tests.
 */
export interface TransportHandlers {
  onPacket(packet: Uint8Array): void;
  /** A question of a joiner or an operator. `reply` is called once, maybe later. */
  onCall(request: Uint8Array, reply: (response: Uint8Array) => void): void;
}

export interface GroupTransport {
  /** Where the others reach this member. */
  readonly address: string;
  /** From here on the handlers are called. */
  listen(handlers: TransportHandlers): void;
  /** Delivers the packet or does not; in order where it can. Never throws for what the network does. */
  send(address: string, packet: Uint8Array): void;
  /**
   * False: nothing that is sent there now is known to arrive. Proposals, whose loss would leave their outcome open,
   * wait for a connection. Left out: always true.
   */
  isConnected?(address: string): boolean;
  /** Bytes to this address that the network has not taken: backlogs are bounded by it. */
  pendingBytes(address: string): number;
  /** One question, one answer. Calls back once, with an error if there was no answer within `timeoutMs`. */
  call(
    address: string,
    request: Uint8Array,
    timeoutMs: number,
    callback: (error: Error | undefined, response?: Uint8Array) => void,
  ): void;
  close(done: () => void): void;
}
