/**
 * gRPC's frames and texts over HTTP/2, for both sides: a message is one byte that says whether it is compressed, its
 * length in four, and its bytes; messages and DATA frames begin and end where they like. (gRPC over HTTP/2)
 */
import { gunzipSync, inflateSync } from "node:zlib";
import { RPC_CODE, type RpcStatus } from "../proto/rpc.js";

const PREFIX_BYTES = 5;

/** What `grpc-encoding` may say of compressed messages. */
export const ENCODINGS = "identity,deflate,gzip";

/** The message with its prefix, in one piece. */
export function frameMessage(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

/** Cuts a stream of bytes into messages. Bytes of whole messages are not copied. */
export class MessageReader {
  readonly #bytesMax: number;
  readonly #encoding: string;
  /** The beginning of a message whose end has not come; #restBytes = sum of their lengths. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  /** Bytes that must be there before it is worth looking again. */
  #wanted = PREFIX_BYTES;

  constructor(bytesMax: number, encoding = "identity") {
    this.#bytesMax = bytesMax;
    this.#encoding = encoding;
  }

  /** A message has begun and not ended. */
  get isInside(): boolean {
    return this.#restBytes > 0;
  }

  /** Hands out each message that ends in `chunk`; a status when the bytes are none that could be read. */
  read(chunk: Buffer, onMessage: (message: Buffer) => void): RpcStatus | undefined {
    let bytes = chunk;
    if (this.#restBytes > 0) {
      this.#rest.push(chunk);
      this.#restBytes += chunk.length;
      if (this.#restBytes < this.#wanted) return undefined;
      bytes = Buffer.concat(this.#rest, this.#restBytes);
      this.#rest = [];
      this.#restBytes = 0;
    }
    let at = 0;
    this.#wanted = PREFIX_BYTES;
    while (bytes.length - at >= PREFIX_BYTES) {
      const length = bytes.readUInt32BE(at + 1);
      if (length > this.#bytesMax) return tooLarge(length, this.#bytesMax);
      const end = at + PREFIX_BYTES + length;
      if (bytes.length < end) {
        this.#wanted = PREFIX_BYTES + length;
        break;
      }
      const flag = bytes[at];
      let message = bytes.subarray(at + PREFIX_BYTES, end);
      at = end;
      if (flag !== 0) {
        const plain = this.#inflate(message, flag as number);
        if ("code" in plain) return plain;
        message = plain;
      }
      onMessage(message);
    }
    if (at < bytes.length) {
      this.#rest.push(at === 0 ? bytes : bytes.subarray(at));
      this.#restBytes = bytes.length - at;
    }
    return undefined;
  }

  #inflate(message: Buffer, flag: number): Buffer | RpcStatus {
    if (flag !== 1) return { code: RPC_CODE.internal, message: `a message begins with the flag ${flag}` };
    const limit = { maxOutputLength: this.#bytesMax };
    try {
      if (this.#encoding === "gzip") return gunzipSync(message, limit);
      if (this.#encoding === "deflate") return inflateSync(message, limit);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ERR_BUFFER_TOO_LARGE") return tooLarge("more", this.#bytesMax);
      return { code: RPC_CODE.internal, message: `a message cannot be decompressed: ${String(error)}` };
    }
    return { code: RPC_CODE.internal, message: "a compressed message without grpc-encoding" };
  }
}

const tooLarge = (bytes: number | string, bytesMax: number): RpcStatus => ({
  code: RPC_CODE.resourceExhausted,
  message: `received message larger than max (${bytes} vs. ${bytesMax})`,
});

const TIMEOUT_UNIT_MS: Readonly<Record<string, number>> = {
  n: 1e-6,
  u: 1e-3,
  m: 1,
  S: 1_000,
  M: 60_000,
  H: 3_600_000,
};

/** `grpc-timeout` in milliseconds; undefined when it says none or nothing that can be read. */
export function timeoutMsOf(header: string | undefined): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(header ?? "");
  if (match === null) return undefined;
  return Number(match[1]) * (TIMEOUT_UNIT_MS[match[2] as string] as number);
}

/** A text as it may stand in `grpc-message`: percent-encoded but for printable ASCII. */
export function percentEncoded(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  let encoded = "";
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}
