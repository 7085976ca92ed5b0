/**
 * The form in which keys of API V2 lie in the engine and region borders are told: groups of eight bytes, each followed
 * by 255 minus the number of bytes that fill it up. It keeps the order of keys, and no encoded key is the beginning of
 * another.
 */
const GROUP = 8;

export function encodeMemcomparable(key: Uint8Array): Uint8Array {
  const groups = Math.floor(key.length / GROUP) + 1;
  const encoded = new Uint8Array(groups * (GROUP + 1));
  for (let group = 0; group < groups; group++) {
    const at = group * (GROUP + 1);
    const part = key.subarray(group * GROUP, (group + 1) * GROUP);
    encoded.set(part, at);
    encoded[at + GROUP] = 255 - (GROUP - part.length);
  }
  return encoded;
}

/** Of what `encodeMemcomparable` made; anything else comes back as it is. */
export function decodeMemcomparable(encoded: Uint8Array): Uint8Array {
  const filled = 255 - (encoded[encoded.length - 1] ?? 0);
  if (encoded.length === 0 || encoded.length % (GROUP + 1) !== 0 || filled > GROUP) return encoded;
  const groups = encoded.length / (GROUP + 1);
  const key = new Uint8Array(groups * GROUP - filled);
  for (let group = 0; group < groups; group++) {
    const at = group * (GROUP + 1);
    const length = Math.min(GROUP, key.length - group * GROUP);
    key.set(encoded.subarray(at, at + length), group * GROUP);
  }
  return key;
}

/** Whether the bytes begin with an encoded key, whole and well formed; what follows it does not matter. */
export function startsMemcomparable(bytes: Uint8Array): boolean {
  for (let at = 0; at + GROUP < bytes.length; at += GROUP + 1) {
    const filled = 255 - (bytes[at + GROUP] as number);
    if (filled === 0) continue;
    return filled <= GROUP && bytes.subarray(at + GROUP - filled, at + GROUP).every((byte) => byte === 0);
  }
  return false;
}
