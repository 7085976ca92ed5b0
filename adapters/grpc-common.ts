/** What both sides of gRPC share. */
import type { ChannelOptions } from "@grpc/grpc-js";

/** The largest message taken or sent: eight times the largest Raft entry, since messages carry several. */
export const MESSAGE_BYTES_MAX = 64 << 20;

/**
 * Of every channel between processes of ours. One connection each; reconnecting backs off from 100 ms to 1 s, so that a
 * restarted peer is found again within an election.
 */
export const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 3_000,
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
  // What a server may send ahead: the default of 64 KiB is less than the answers of one turn's scans.
  "grpc-node.flow_control_window": 4 << 20,
  "grpc.enable_retries": 0,
  "grpc.enable_channelz": 0,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.service_config_disable_resolution": 1,
};

/** The same bytes as a Buffer, which grpc-js wants; not a copy. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
