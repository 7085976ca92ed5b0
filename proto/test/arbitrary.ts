/**
 * Random messages of any type, from reflection, for the property tests; and one normal form in which messages of the
 * generated classes and of protobufjs's reflection can be compared: all fields present, every integer a bigint.
 */
import fc from "fast-check";
import protobuf from "protobufjs";
import { toHex } from "../../base/bytes.js";
import { kind64 } from "./reflection.js";

const MAX_64 = (1n << 64n) - 1n;
const MAX_SAFE = Number.MAX_SAFE_INTEGER;

function scalar(field: protobuf.Field): fc.Arbitrary<unknown> {
  switch (field.type) {
    case "uint64":
      if (kind64(field) === "bigint") return fc.bigInt({ min: 0n, max: MAX_64 });
      return fc.oneof(fc.nat(300), fc.integer({ min: 0, max: MAX_SAFE }), fc.constant(MAX_SAFE));
    case "int64":
      if (kind64(field) === "bigint") return fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
      return fc.oneof(fc.integer({ min: -300, max: 300 }), fc.integer({ min: -MAX_SAFE, max: MAX_SAFE }));
    case "int32":
      return fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    case "uint32":
      return fc.integer({ min: 0, max: 2 ** 32 - 1 });
    case "bool":
      return fc.boolean();
    case "double":
      return fc.double({ noNaN: true });
    case "string":
      return fc.string({ maxLength: 150, unit: "grapheme" });
    case "bytes":
      return fc.uint8Array({ maxLength: 150 });
    default:
      throw new Error(`no arbitrary for ${field.type}`);
  }
}

function single(field: protobuf.Field, depth: number): fc.Arbitrary<unknown> {
  const type = field.resolvedType;
  if (type instanceof protobuf.Enum) return fc.constantFrom(...Object.values(type.values));
  if (type instanceof protobuf.Type) return arbitraryMessage(type, depth - 1);
  return scalar(field);
}

function value(field: protobuf.Field, depth: number): fc.Arbitrary<unknown> {
  if (field instanceof protobuf.MapField) {
    const key =
      field.keyType === "string"
        ? fc.string({ maxLength: 8 }).filter((text) => text !== "__proto__")
        : fc.integer({ min: 0, max: MAX_SAFE }).map(String);
    return fc.dictionary(key, single(field, depth), { maxKeys: 3, noNullPrototype: true });
  }
  return field.repeated ? fc.array(single(field, depth), { maxLength: 3 }) : single(field, depth);
}

/** A message with up to eight random fields, at most one of each oneof; sub-messages down to `depth`. */
export function arbitraryMessage(type: protobuf.Type, depth: number): fc.Arbitrary<Record<string, unknown>> {
  const fields = type.fieldsArray.filter(
    (field) => depth > 0 || !(field.resolvedType instanceof protobuf.Type),
  );
  if (fields.length === 0) return fc.constant({});
  return fc.subarray(fields, { maxLength: Math.min(8, fields.length) }).chain((chosen) => {
    const taken = new Set<protobuf.OneOf>();
    const members: Record<string, fc.Arbitrary<unknown>> = {};
    for (const field of chosen) {
      if (field.partOf !== null && taken.has(field.partOf)) continue;
      if (field.partOf !== null) taken.add(field.partOf);
      members[field.name] = value(field, depth);
    }
    return fc.record(members);
  });
}

function integer(given: unknown): unknown {
  if (typeof given === "object" && given !== null) return BigInt(String(given));
  return typeof given === "bigint" ? given : BigInt(given as number);
}

function normalOne(field: protobuf.Field, given: unknown): unknown {
  const type = field.resolvedType;
  if (type instanceof protobuf.Type) return normal(type, given as Record<string, unknown>);
  if (given instanceof Uint8Array) return toHex(given);
  // Reflection's default for bytes is an empty list.
  if (field.type === "bytes") return "";
  if (kind64(field) !== undefined || type instanceof protobuf.Enum) return integer(given);
  return given;
}

function defaultOf(field: protobuf.Field): unknown {
  if (field.resolvedType instanceof protobuf.Enum) return 0n;
  if (field.type === "bytes" || field.type === "string") return "";
  if (field.type === "bool") return false;
  return kind64(field) === undefined ? 0 : 0n;
}

/** Reflection keys maps of 64-bit integers by eight characters; safe integers never look like eight digits there. */
function decimalKey(key: string): string {
  return /^\d+$/.test(key) ? key : String(protobuf.util.longFromHash(key, true));
}

/** The normal form: bytes as hex, 64-bit integers and enums as bigint, absent scalars as their default. */
export function normal(type: protobuf.Type, message: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    // Reflection has a default on the prototype even for members of a oneof.
    const absent = field.partOf !== null && !Object.hasOwn(message, field.name);
    const given = absent ? undefined : message[field.name];
    if (field instanceof protobuf.MapField) {
      const entries = Object.entries((given ?? {}) as Record<string, unknown>);
      const keyOf = (key: string) => (field.keyType === "string" ? key : decimalKey(key));
      result[field.name] = Object.fromEntries(
        entries.map(([key, each]) => [keyOf(key), normalOne(field, each)]),
      );
    } else if (field.repeated) {
      result[field.name] = ((given ?? []) as unknown[]).map((each) => normalOne(field, each));
    } else if (given === undefined || given === null) {
      const nullable = field.partOf !== null || field.resolvedType instanceof protobuf.Type;
      result[field.name] = nullable ? null : defaultOf(field);
    } else {
      result[field.name] = normalOne(field, given);
    }
  }
  return result;
}
