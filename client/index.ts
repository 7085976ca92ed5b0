/** The client: raw keys and values over any network that carries the protocol. */
export {
  type CallOptions,
  type Pair,
  type PutOptions,
  RawClient,
  type RawClientOptions,
  type ScanOptions,
  type SwapResult,
} from "./raw-client.js";
export { type KeyMode, keyModeOf } from "./key-mode.js";
