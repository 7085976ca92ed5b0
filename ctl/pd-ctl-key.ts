/**
 * TiKV's memory-comparable encoding of byte strings, in which transactional keys appear in regions: groups of 8 bytes,
 * the last one padded with zeros, each followed by 0xff less the number of padding bytes.
 */
const GROUP = 8;

export function encodeBytes(key: Uint8Array): Buffer {
  const groups = Math.floor(key.length / GROUP) + 1;
  const encoded = Buffer.alloc(groups * (GROUP + 1));
  for (let group = 0; group < groups; group += 1) {
    const part = key.subarray(group * GROUP, (group + 1) * GROUP);
    const at = group * (GROUP + 1);
    encoded.set(part, at);
    encoded[at + GROUP] = 0xff - (GROUP - part.length);
  }
  return encoded;
}
