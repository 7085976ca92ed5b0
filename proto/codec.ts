/**
 * `Codec`s over the generated classes. Encoding writes into one scratch buffer that is reused, and returns a fresh
 * exact copy: a message never shares memory with another. Decoding always sees a plain `Uint8Array`, so that
 * byte fields
 * are plain too, whatever a transport delivers; they alias the input. Encoding is synchronous and cannot nest, which
 * is what makes the shared scratch buffer safe.
 */
import protobuf from "protobufjs/minimal.js";
import type { Codec, MethodDefinition, MethodKind } from "./rpc.js";

/** The scratch buffer is given up when one message made it larger than this. */
const SCRATCH_BYTES_MAX = 1 << 20;

type Writer = InstanceType<typeof protobuf.Writer>;

interface GeneratedClass<T, Init> {
  encode(message: Init, writer?: Writer): Writer;
  decode(bytes: Uint8Array): T;
}

let scratch: Writer = new protobuf.Writer();

/** The same bytes as a plain `Uint8Array`: subclasses (Node's) would otherwise leak into every byte field. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.constructor === Uint8Array) return bytes;
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A codec of a generated class. */
export function codec<T, Init>(generated: GeneratedClass<T, Init>): Codec<T, Init> {
  return {
    encode(message) {
      const writer = scratch.reset();
      let bytes: Uint8Array;
      try {
        bytes = generated.encode(message, writer).finish(true).slice();
      } catch (error) {
        // The writer is left inside a sub-message; `reset` would only go back to where that began.
        scratch = new protobuf.Writer();
        throw error;
      }
      if (bytes.length > SCRATCH_BYTES_MAX) scratch = new protobuf.Writer();
      return bytes;
    },
    decode(bytes) {
      return generated.decode(plainBytes(bytes));
    },
  };
}

/** One entry of a service table. */
export function method<Request, Response, RequestInit, ResponseInit>(
  path: string,
  kind: MethodKind,
  request: Codec<Request, RequestInit>,
  response: Codec<Response, ResponseInit>,
): MethodDefinition<Request, Response, RequestInit, ResponseInit> {
  return { path, kind, request, response };
}
