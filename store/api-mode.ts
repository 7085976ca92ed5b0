/**
 * Which keys a store holds: `storage.api-version` and `storage.enable-ttl`, with TiKV's words and refusals
 * (golden/grpc.jsonl).
 *
 * - V1, V1ttl: keys are the user's. Values with times to live need `enable-ttl`.
 * - V2: a key begins with its mode (`r` for raw) and the three bytes of its keyspace, and lies in the engine in
 *   memcomparable form, in which region borders are told to PD and to clients too: groups of eight bytes, each
 *   followed by 255 minus the number of bytes that fill it up.
 *
 * On disk a value has the same form in all of them (region/raw-value.ts).
 */
import { compareBytes, decodeMemcomparable, EMPTY_BYTES, encodeMemcomparable } from "../base/index.js";
import { kvrpcpb } from "../proto/index.js";
import { displayKey } from "../region/keys.js";

const { V1, V1TTL, V2 } = kvrpcpb.APIVersion;
type Context = kvrpcpb.IContext | null | undefined;
interface KeyRange {
  readonly startKey?: Uint8Array | null | undefined;
  readonly endKey?: Uint8Array | null | undefined;
}

const RAW = 0x72; // 'r'
const RAW_END = Uint8Array.of(RAW + 1);

export class ApiMode {
  readonly version: 1 | 2;
  readonly enableTtl: boolean;
  /** TiKV's name. */
  readonly name: "V1" | "V1ttl" | "V2";

  constructor(config: { readonly apiVersion: 1 | 2; readonly enableTtl: boolean }) {
    this.version = config.apiVersion;
    this.enableTtl = config.enableTtl;
    this.name = config.apiVersion === 2 ? "V2" : config.enableTtl ? "V1ttl" : "V1";
  }

  get wire(): kvrpcpb.APIVersion {
    return this.version === 2 ? V2 : this.enableTtl ? V1TTL : V1;
  }

  /** Why a request for this key is refused, or undefined; `command` is TiKV's name for it. */
  refuseKey(context: Context, command: string, key: Uint8Array | null | undefined): string | undefined {
    const refusal = this.#refuseVersion(context, command);
    if (refusal !== undefined || this.version === 1 || key?.[0] === RAW) return refusal;
    return `${this.#mismatch(command)}, key: ${displayKey(key ?? EMPTY_BYTES)}`;
  }

  refuseKeys(context: Context, command: string, keys: readonly Uint8Array[]): string | undefined {
    const refusal = this.#refuseVersion(context, command);
    if (refusal !== undefined || this.version === 1) return refusal;
    const wrong = keys.find((key) => key[0] !== RAW);
    return wrong === undefined ? undefined : `${this.#mismatch(command)}, key: ${displayKey(wrong)}`;
  }

  /** The same of ranges; both of their ends must be of the mode. */
  refuseRanges(
    context: Context,
    command: string,
    ranges: readonly KeyRange[],
    reverse = false,
  ): string | undefined {
    const refusal = this.#refuseVersion(context, command);
    if (refusal !== undefined || this.version === 1) return refusal;
    for (const range of ranges) {
      const low = (reverse ? range.endKey : range.startKey) ?? EMPTY_BYTES;
      const high = (reverse ? range.startKey : range.endKey) ?? EMPTY_BYTES;
      if (low[0] === RAW && (high[0] === RAW || compareBytes(high, RAW_END) === 0)) continue;
      return `${this.#mismatch(command)}, range: (${displayKey(low)}, ${displayKey(high)})`;
    }
    return undefined;
  }

  /** Why a write with this time to live is refused, or undefined. */
  refuseTtl(command: string, ...ttls: readonly (number | null | undefined)[]): string | undefined {
    if (this.enableTtl || ttls.every((ttl) => ttl == null || ttl === 0)) return undefined;
    return `ttl is not enabled (storage.enable-ttl), but got ${command} request with ttl`;
  }

  /** As the store keeps it, and as region borders are. */
  encode(key: Uint8Array): Uint8Array {
    return this.version === 1 ? key : encodeMemcomparable(key);
  }

  /** The same of a range's end, where the empty key means infinity. */
  encodeBound(key: Uint8Array): Uint8Array {
    return this.version === 1 || key.length === 0 ? key : encodeMemcomparable(key);
  }

  decode(key: Uint8Array): Uint8Array {
    return this.version === 1 ? key : decodeMemcomparable(key);
  }

  #refuseVersion(context: Context, command: string): string | undefined {
    const requested = context?.apiVersion ?? V1;
    if (this.version === 2 ? requested === V2 : requested === V1 || requested === V1TTL) return undefined;
    const name =
      requested === V1 ? "V1" : requested === V1TTL ? "V1ttl" : requested === V2 ? "V2" : String(requested);
    return (
      `Api version in request does not match with TiKV storage, cmd: ${command}, ` +
      `storage: ${this.name}, request: ${name}`
    );
  }

  #mismatch(command: string): string {
    return `Key mode mismatched with the request mode, cmd: ${command}, storage: ${this.name}`;
  }
}

/** The form of answers that have no error but in their pairs. */
export const pairsOf = (error: string): kvrpcpb.IKvPair[] => [{ error: { abort: error } }];
