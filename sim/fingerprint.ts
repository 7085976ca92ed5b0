/** Fingerprints of bytes, for observers that compare much and keep little. */

export const FINGERPRINT_START = 0x811c9dc5;

/** FNV-1a, in which of a long text all bytes count; the length comes on top. */
export function fingerprint(bytes: Uint8Array, from = FINGERPRINT_START): number {
  let hash = from | 0;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return (hash >>> 0) + bytes.length * 2 ** 32;
}
