/**
 * The runtime that scripts/generate-proto.mjs puts at the head of proto/gen/kvproto.js: 64-bit integers without
 * `Long`. Numbers are checked to be safe integers on both ways; bigints to fit their 64 bits when written.
 * Lengths of varints are bounded to ten bytes. The names begin with `$` so that they cannot meet a message's.
 */
export const PRELUDE = `
const $empty = new Uint8Array(0);
let $low = 0;
let $high = 0;

function $readHalves(reader) {
  const buf = reader.buf;
  const end = reader.len;
  let pos = reader.pos;
  let low = 0;
  let high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (pos >= end) throw new $RangeError("truncated varint at offset " + pos);
    const byte = buf[pos++];
    if (shift < 28) low |= (byte & 127) << shift;
    else if (shift === 28) {
      low |= (byte & 127) << 28;
      high = (byte & 127) >> 4;
    } else high |= (byte & 127) << (shift - 32);
    if (byte < 128) {
      reader.pos = pos;
      $low = low >>> 0;
      $high = high >>> 0;
      return;
    }
  }
  throw new $Error("varint longer than 10 bytes at offset " + pos);
}

function $unsafe(name) {
  return new $RangeError("field " + name + " is not a safe integer");
}

function $wrongWireType(wireType, name) {
  return new $Error("wrong wire type " + wireType + " for field " + name);
}

function $readSafeUint64(reader, name) {
  const pos = reader.pos;
  if (pos < reader.len && reader.buf[pos] < 128) {
    reader.pos = pos + 1;
    return reader.buf[pos];
  }
  $readHalves(reader);
  // A product would be a number in 16 bytes of its own wherever it is kept.
  if ($high === 0) return $low;
  if ($high > 0x1fffff) throw $unsafe(name);
  return $high * 4294967296 + $low;
}

function $readSafeInt64(reader, name) {
  $readHalves(reader);
  if ($high === 0) return $low;
  const high = $high | 0;
  const value = high * 4294967296 + $low;
  if (value > 9007199254740991 || value < -9007199254740991) throw $unsafe(name);
  return value;
}

function $readBigUint64(reader) {
  $readHalves(reader);
  return $high === 0 ? BigInt($low) : (BigInt($high) << 32n) | BigInt($low);
}

function $readBigInt64(reader) {
  $readHalves(reader);
  return $high === 0 ? BigInt($low) : (BigInt($high | 0) << 32n) | BigInt($low);
}

function $readPacked(reader, values, name, read) {
  const length = reader.size();
  const end = reader.pos + length;
  const outer = reader.len;
  if (end > outer) throw new $RangeError("truncated field " + name);
  reader.len = end;
  while (reader.pos < end) values.push(read(reader, name));
  reader.len = outer;
  return values;
}
const $readSafeUint64s = (reader, values, name) => $readPacked(reader, values, name, $readSafeUint64);
const $readSafeInt64s = (reader, values, name) => $readPacked(reader, values, name, $readSafeInt64);
const $readBigUint64s = (reader, values, name) => $readPacked(reader, values, name, $readBigUint64);
const $readBigInt64s = (reader, values, name) => $readPacked(reader, values, name, $readBigInt64);

const $halves = { low: 0, high: 0 };

function $writeSafeUint64(writer, value, name) {
  if (value >= 0 && value < 4294967296 && value === Math.floor(value)) return writer.uint32(value);
  if (!Number.isSafeInteger(value) || value < 0) throw $unsafe(name);
  $halves.low = value >>> 0;
  $halves.high = (value - $halves.low) / 4294967296;
  return writer.uint64($halves);
}

function $writeSafeInt64(writer, value, name) {
  if (value >= 0) return $writeSafeUint64(writer, value, name);
  if (!Number.isSafeInteger(value)) throw $unsafe(name);
  $halves.low = value >>> 0;
  $halves.high = Math.floor(value / 4294967296) >>> 0;
  return writer.uint64($halves);
}

function $writeBig(writer, value, name, signed) {
  if (typeof value !== "bigint") throw new TypeError("field " + name + " takes a bigint");
  const wrapped = signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value);
  if (wrapped !== value) throw new $RangeError("field " + name + " does not fit 64 bits");
  $halves.low = Number(value & 0xffffffffn);
  $halves.high = Number((value >> 32n) & 0xffffffffn);
  return writer.uint64($halves);
}
const $writeBigUint64 = (writer, value, name) => $writeBig(writer, value, name, false);
const $writeBigInt64 = (writer, value, name) => $writeBig(writer, value, name, true);

function $writePacked(writer, values, name, write) {
  writer.fork();
  for (let i = 0; i < values.length; ++i) write(writer, values[i], name);
  return writer.ldelim();
}
const $writeSafeUint64s = (writer, values, name) => $writePacked(writer, values, name, $writeSafeUint64);
const $writeSafeInt64s = (writer, values, name) => $writePacked(writer, values, name, $writeSafeInt64);
const $writeBigUint64s = (writer, values, name) => $writePacked(writer, values, name, $writeBigUint64);
const $writeBigInt64s = (writer, values, name) => $writePacked(writer, values, name, $writeBigInt64);

function $mapKey(text) {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new $RangeError("map key " + text + " is not a safe integer");
  return value;
}

function $oneOf(names) {
  const members = new Set(names);
  return {
    get() {
      const keys = Object.keys(this);
      for (let i = keys.length - 1; i >= 0; --i) {
        if (members.has(keys[i]) && this[keys[i]] !== undefined && this[keys[i]] !== null) return keys[i];
      }
      return undefined;
    },
    set(name) {
      for (const key of Object.keys(this)) if (key !== name && members.has(key)) delete this[key];
    },
  };
}
`;
