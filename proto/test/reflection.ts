/**
 * What the tests know of the protocol: the committed tables of facts, the .proto files by reflection, and for each
 * message the generated class. Shared by the tests of this folder; uses Node's file access, which the module itself
 * never does.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import protobuf from "protobufjs";
import * as generated from "../gen/kvproto.js";

const here = dirname(fileURLToPath(import.meta.url));
const sources = join(here, "..", "kvproto");

export type Row = Readonly<Record<string, string>>;

/** Rows of a tab-separated table in this folder, by column name. */
export function table(name: string): Row[] {
  const [head, ...lines] = readFileSync(join(here, name), "utf8").trimEnd().split("\n");
  const columns = (head as string).split("\t");
  return lines.map((line) => {
    const cells = line.split("\t");
    return Object.fromEntries(columns.map((column, i) => [column, cells[i] ?? ""]));
  });
}

function load(keepCase: boolean): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => (target.includes("/") ? target : join(sources, target));
  const files = readdirSync(sources).map((name) => join(sources, name));
  root.loadSync(files, { keepCase }).resolveAll();
  return root;
}

/** Field names as in the .proto files. */
export const snake = load(true);
/** Field names as generated. */
export const camel = load(false);

export interface GeneratedMessage {
  new (): Record<string, unknown>;
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Record<string, unknown>;
}

export const nameOf = (type: protobuf.ReflectionObject): string => type.fullName.replace(/^\./, "");

/** The generated class (or enum object) of a full name such as `pdpb.Member`. */
export function generatedAt(name: string): unknown {
  let at: unknown = generated;
  for (const part of name.split(".")) at = (at as Record<string, unknown>)[part];
  return at;
}

export const classOf = (name: string): GeneratedMessage => generatedAt(name) as GeneratedMessage;

/** All messages, nested ones too. */
export function messages(space: protobuf.NamespaceBase = camel): protobuf.Type[] {
  const found: protobuf.Type[] = space instanceof protobuf.Type ? [space] : [];
  for (const child of space.nestedArray) {
    if (child instanceof protobuf.Namespace) found.push(...messages(child));
  }
  return found;
}

const rules = (await import(pathToFileURL(join(here, "../../scripts/proto-64bit.mjs")).href)) as {
  kindOf64(name: string): "number" | "bigint";
};

const kinds = new Map<protobuf.Field, "number" | "bigint" | undefined>();

/** How a 64-bit field appears in TypeScript; undefined for other fields. */
export function kind64(field: protobuf.Field): "number" | "bigint" | undefined {
  if (field.type !== "uint64" && field.type !== "int64") return undefined;
  if (!kinds.has(field)) {
    const message = nameOf(field.parent as protobuf.Type);
    const inFile = Object.values(snake.lookupType(message).fields).find((other) => other.id === field.id);
    kinds.set(field, rules.kindOf64(`${message}.${(inFile as protobuf.Field).name}`));
  }
  return kinds.get(field);
}
