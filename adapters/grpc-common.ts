/** What both sides of gRPC share. */

/** The largest message taken or sent: eight times the largest Raft entry, since messages carry several. */
export const MESSAGE_BYTES_MAX = 64 << 20;

/** The same bytes as a Buffer, which grpc-js wants; not a copy. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
