/**
 * Messages as TiKV's own Go code encodes them (test/clients/golden-bytes.json, written by test/clients/go-golden): we
 * read the same contents out of the bytes, and write the same bytes from the contents.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../base/bytes.js";
import * as fast from "../gen/fast.js";
import type { Codec } from "../rpc.js";
import { normal } from "./arbitrary.js";
import { camel, classOf, kind64 } from "./reflection.js";

interface Golden {
  readonly name: string;
  readonly type: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly hex: string;
}

const file = join(dirname(fileURLToPath(import.meta.url)), "../../test/clients/golden-bytes.json");
const list = JSON.parse(readFileSync(file, "utf8")) as Golden[];

const fastCodecs = fast as unknown as Record<string, Codec<Record<string, unknown>, object> | undefined>;

function one(field: protobuf.Field, given: unknown): unknown {
  if (field.resolvedType instanceof protobuf.Type) return message(field.resolvedType, given as object);
  if (field.type === "bytes") return fromHex(given as string);
  const kind = kind64(field);
  if (kind === undefined) return given;
  return kind === "bigint" ? BigInt(given as string) : Number(given);
}

/** The message that the file describes, as our code would make it. */
function message(type: protobuf.Type, given: object): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [name, each] of Object.entries(given)) {
    const field = type.fields[name];
    if (field === undefined) throw new Error(`${type.fullName} has no field ${name}`);
    if (field instanceof protobuf.MapField) {
      const entries = Object.entries(each as object).map(([key, value]) => [key, one(field, value)]);
      result[name] = Object.fromEntries(entries);
    } else {
      result[name] = field.repeated ? (each as unknown[]).map((item) => one(field, item)) : one(field, each);
    }
  }
  return result;
}

describe("the bytes of TiKV's Go code", () => {
  test("are there for a hundred messages and more", () => {
    expect(list.length).toBeGreaterThan(100);
  });

  test.each(list.map((golden) => [golden.name, golden] as const))("%s", (_name, golden) => {
    const type = camel.lookupType(golden.type);
    const generated = classOf(golden.type);
    const expected = message(type, golden.fields);
    const bytes = fromHex(golden.hex) as Uint8Array;
    expect(normal(type, generated.decode(bytes))).toEqual(normal(type, expected));
    expect(toHex(generated.encode(expected).finish())).toBe(golden.hex);
    const codec = fastCodecs[golden.type.replace(".", "_")];
    if (codec !== undefined) {
      expect(normal(type, codec.decode(bytes))).toEqual(normal(type, expected));
      expect(toHex(codec.encode(expected))).toBe(golden.hex);
    }
  });
});
