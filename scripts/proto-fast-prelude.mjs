/**
 * The runtime at the head of proto/gen/fast.js. Reading: the state `r` is the buffer and, after a slow read, the
 * position; decoders keep the position in a local variable. A read past the end gives `undefined`, never a hang, and
 * every message checks at its end that it stopped exactly there. Writing: `w.p` is the lowest byte written so far.
 */
export const FAST_PRELUDE = `
const EMPTY = new Uint8Array(0);
const utf8 = $protobuf.util.utf8;
const DEPTH_MAX = 100;
const SCRATCH_BYTES_MAX = 1 << 20;
let low = 0;
let high = 0;

function truncated(at) {
  return new RangeError("truncated message at offset " + at);
}

function unsafe(name) {
  return new RangeError("field " + name + " is not a safe integer");
}

/** Reads a varint of up to ten bytes into low and high. */
function readHalves(r, from) {
  const buf = r.buf;
  const end = buf.length;
  let p = from;
  let lo = 0;
  let hi = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (p >= end) throw truncated(p);
    const byte = buf[p++];
    if (shift < 28) lo |= (byte & 127) << shift;
    else if (shift === 28) {
      lo |= (byte & 127) << 28;
      hi = (byte & 127) >> 4;
    } else hi |= (byte & 127) << (shift - 32);
    if (byte < 128) {
      r.p = p;
      low = lo >>> 0;
      high = hi >>> 0;
      return;
    }
  }
  throw new Error("varint longer than 10 bytes at offset " + p);
}

function readTag(r, from) {
  const buf = r.buf;
  const second = buf[from + 1];
  if (second < 128) {
    r.p = from + 2;
    return (buf[from] & 127) | (second << 7);
  }
  readHalves(r, from);
  if (high !== 0 || r.p - from > 5) throw new Error("invalid tag at offset " + from);
  return low;
}

function readLength(r, from) {
  const buf = r.buf;
  const second = buf[from + 1];
  if (second < 128) {
    r.p = from + 2;
    return (buf[from] & 127) | (second << 7);
  }
  readHalves(r, from);
  if (high !== 0 || low > 0x7fffffff) throw new Error("invalid length at offset " + from);
  return low;
}

function readSafeUint(r, from, name) {
  readHalves(r, from);
  if (high === 0) return low;
  if (high > 0x1fffff) throw unsafe(name);
  return high * 4294967296 + low;
}

function readSafeInt(r, from, name) {
  readHalves(r, from);
  const value = (high | 0) * 4294967296 + low;
  if (value > 9007199254740991 || value < -9007199254740991) throw unsafe(name);
  return value;
}

function readBigUint(r, from) {
  readHalves(r, from);
  return high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low);
}

function readBigInt(r, from) {
  readHalves(r, from);
  return high === 0 ? BigInt(low) : (BigInt(high | 0) << 32n) | BigInt(low);
}

function readBool(r, from) {
  readHalves(r, from);
  return low !== 0 || high !== 0;
}

/** Short ASCII, which nearly all are, is put together here; the rest is checked to be UTF-8. */
function readString(buf, p, n) {
  if (n > 24) return utf8.readStrict(buf, p, p + n);
  let text = "";
  for (let i = p; i < p + n; i++) {
    const byte = buf[i];
    if (byte > 127) return utf8.readStrict(buf, p, p + n);
    text += String.fromCharCode(byte);
  }
  return text;
}

function skipField(r, from, end, tag, fields) {
  const id = tag >>> 3;
  if (id === 0) throw new Error("illegal tag: field number 0");
  if (fields[id] !== undefined) throw new Error("wrong wire type " + (tag & 7) + " for field " + fields[id]);
  return skipValue(r, from, end, tag, 0);
}

function skipValue(r, from, end, tag, depth) {
  let p = from;
  switch (tag & 7) {
    case 0:
      do {
        if (p >= end) throw truncated(p);
      } while (r.buf[p++] > 127);
      return p;
    case 1:
      p += 8;
      break;
    case 2:
      readHalves(r, p);
      if (high !== 0 || low > 0x7fffffff) throw new Error("invalid length at offset " + p);
      p = r.p + low;
      break;
    case 3:
      return skipGroup(r, p, end, tag >>> 3, depth + 1);
    case 5:
      p += 4;
      break;
    default:
      throw new Error("invalid wire type " + (tag & 7) + " at offset " + from);
  }
  if (p > end) throw truncated(p);
  return p;
}

function skipGroup(r, from, end, id, depth) {
  if (depth > DEPTH_MAX) throw new Error("max depth exceeded");
  let p = from;
  while (p < end) {
    readHalves(r, p);
    if (high !== 0 || r.p - p > 5) throw new Error("invalid tag at offset " + p);
    const tag = low;
    p = r.p;
    if (tag >>> 3 === 0) throw new Error("illegal tag: field number 0");
    if ((tag & 7) === 4) {
      if (tag >>> 3 !== id) throw new Error("invalid end group tag");
      return p;
    }
    p = skipValue(r, p, end, tag, depth);
  }
  throw truncated(p);
}

/** The member of a oneof that came last wins. */
function choose(m, before, now) {
  if (before !== "") delete m[before];
  return now;
}

function grow(w, need) {
  const used = w.buf.length - w.p;
  let size = w.buf.length * 2;
  while (size - used < need) size *= 2;
  const buf = new Uint8Array(size);
  buf.set(w.buf.subarray(w.p), size - used);
  w.buf = buf;
  w.p = size - used;
}

function writeByte(w, byte) {
  if (w.p === 0) grow(w, 1);
  w.buf[--w.p] = byte;
}

function writeUint32(w, value) {
  if (value < 128) return writeByte(w, value);
  if (w.p < 5) grow(w, 5);
  const size = value < 16384 ? 2 : value < 2097152 ? 3 : value < 268435456 ? 4 : 5;
  let p = (w.p -= size);
  const buf = w.buf;
  let rest = value;
  while (rest > 127) {
    buf[p++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  buf[p] = rest;
}
const writeLength = writeUint32;

function writeHalves(w, lo, hi) {
  if (w.p < 10) grow(w, 10);
  const bytes = w.scratch;
  let n = 0;
  let l = lo;
  let h = hi;
  while (h !== 0 || l > 127) {
    bytes[n++] = (l & 127) | 128;
    l = ((l >>> 7) | (h << 25)) >>> 0;
    h >>>= 7;
  }
  bytes[n++] = l;
  const p = (w.p -= n);
  for (let i = 0; i < n; i++) w.buf[p + i] = bytes[i];
}

function writeInt32(w, value) {
  const whole = value | 0;
  if (whole >= 0) writeUint32(w, whole);
  else writeHalves(w, whole >>> 0, 0xffffffff);
}

function writeSafe(w, value, name) {
  if (value >= 0 && value < 4294967296 && value === Math.floor(value)) return writeUint32(w, value);
  if (!Number.isSafeInteger(value) || value < 0) throw unsafe(name);
  writeHalves(w, value >>> 0, Math.floor(value / 4294967296) >>> 0);
}

function writeSafeSigned(w, value, name) {
  if (value >= 0) return writeSafe(w, value, name);
  if (!Number.isSafeInteger(value)) throw unsafe(name);
  writeHalves(w, value >>> 0, Math.floor(value / 4294967296) >>> 0);
}

function writeBig(w, value, name, signed) {
  if (typeof value !== "bigint") throw new TypeError("field " + name + " takes a bigint");
  if ((signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) !== value) {
    throw new RangeError("field " + name + " does not fit 64 bits");
  }
  writeHalves(w, Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn));
}

function writeBytes(w, value) {
  const n = value.length;
  if (w.p < n) grow(w, n);
  const p = (w.p -= n);
  const buf = w.buf;
  if (n > 24) buf.set(value, p);
  else for (let i = 0; i < n; i++) buf[p + i] = value[i];
  writeUint32(w, n);
}

function writeString(w, value) {
  const length = value.length;
  if (length <= 24) {
    if (w.p < length) grow(w, length);
    const p = w.p - length;
    let i = 0;
    for (; i < length; i++) {
      const unit = value.charCodeAt(i);
      if (unit > 127) break;
      w.buf[p + i] = unit;
    }
    if (i === length) {
      w.p = p;
      writeUint32(w, length);
      return;
    }
  }
  const n = utf8.length(value);
  if (w.p < n) grow(w, n);
  w.p -= n;
  utf8.write(value, w.buf, w.p);
  writeUint32(w, n);
}

function writeGenerated(w, type, value) {
  writeBytes(w, type.encode(value, w.writer.reset()).finish(true));
}

const newWriter = () => {
  const buf = new Uint8Array(16384);
  return { buf, p: buf.length, scratch: new Uint8Array(10), writer: new $protobuf.Writer() };
};
let shared = newWriter();

function makeCodec(encode, decode) {
  return {
    encode(message) {
      const w = shared;
      w.p = w.buf.length;
      try {
        encode(w, message);
        const bytes = new Uint8Array(w.buf.length - w.p);
        bytes.set(w.buf.subarray(w.p));
        if (w.buf.length > SCRATCH_BYTES_MAX) shared = newWriter();
        return bytes;
      } catch (error) {
        shared = newWriter();
        throw error;
      }
    },
    decode(bytes) {
      const buf =
        bytes.constructor === Uint8Array
          ? bytes
          : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return decode({ buf, base: buf.byteOffset, p: 0 }, 0, buf.length, undefined);
    },
  };
}
`;
