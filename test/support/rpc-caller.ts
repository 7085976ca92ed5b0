/** gRPC calls as promises, typed by the method: what a client sends and what it gets. */
import { GrpcNetwork } from "../../adapters/grpc-network.js";
import { type MethodDefinition, type RpcMetadata, RPC_CODE, RpcStatusError } from "../../proto/index.js";

const TIMEOUT_MS = 20_000;

export class RpcCaller {
  readonly #network = new GrpcNetwork();

  close(): void {
    this.#network.close();
  }

  /** One message out, the first that comes back; a status other than OK is thrown. */
  ask<Q, R, QI, RI>(
    address: string,
    method: MethodDefinition<Q, R, QI, RI>,
    request: QI,
    metadata: RpcMetadata = {},
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      let isDone = false;
      const call = this.#network.channel(address).open(
        method,
        {
          onMessage(message) {
            if (isDone) return;
            isDone = true;
            resolve(message);
            if (method.kind === "bidi" || method.kind === "serverStream") call.cancel();
          },
          onEnd(status) {
            const code = status.code === RPC_CODE.ok ? RPC_CODE.unknown : status.code;
            const message = status.code === RPC_CODE.ok ? "ended without a message" : status.message;
            if (!isDone) reject(new RpcStatusError({ code, message }));
          },
        },
        { timeoutMs: TIMEOUT_MS, metadata },
      );
      call.send(request);
      // A stream that both sides speak on stays open until its answer is there.
      if (method.kind !== "bidi") call.halfClose();
    });
  }

  /** The status that the call ends with. */
  async refusal<Q, R, QI, RI>(
    address: string,
    method: MethodDefinition<Q, R, QI, RI>,
    request: QI,
    metadata: RpcMetadata = {},
  ): Promise<{ readonly code: number; readonly message: string }> {
    try {
      await this.ask(address, method, request, metadata);
    } catch (error) {
      if (error instanceof RpcStatusError) return error.status;
      throw error;
    }
    throw new Error(`${method.path} was answered`);
  }
}
