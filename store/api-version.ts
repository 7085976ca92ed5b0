/**
 * Which mode of the API a request is written for. A store of this version keeps raw values with times to live (TiKV's
 * "V1ttl") and takes requests of V1 and V1ttl. In V2 keys carry a mode and a keyspace: such a request would read and
 * write keys that mean something else here, so it is refused, with TiKV's own words (golden/grpc.jsonl).
 */
import { kvrpcpb } from "../proto/index.js";

const V2 = kvrpcpb.APIVersion.V2;

/** Why the request is refused, or undefined; `command` is TiKV's name for it. */
export function wrongApiVersion(
  context: kvrpcpb.IContext | null | undefined,
  command: string,
): string | undefined {
  if (context?.apiVersion !== V2) return undefined;
  return `Api version in request does not match with TiKV storage, cmd: ${command}, storage: V1ttl, request: V2`;
}

/** The refusal of commands whose answers have no error but in their pairs. */
export function wrongApiVersionPairs(
  context: kvrpcpb.IContext | null | undefined,
  command: string,
): kvrpcpb.IKvPair[] | undefined {
  const abort = wrongApiVersion(context, command);
  return abort === undefined ? undefined : [{ error: { abort } }];
}
