/**
 * Writes proto/gen/fast.js: codecs for the few messages that carry nearly all traffic, specialised from the same
 * reflection as everything else. What makes them faster than pbjs's: no reader object call per field, one switch over
 * whole tags, no virtual setter of a oneof, and encoding from the end backwards, so that every length is known when
 * it is written and nothing is moved. Messages outside FAST_MESSAGES (errors, transactions, snapshots) go through
 * their generated class as sub-messages. Same classes, same bytes, same errors: proto/fast/*.test.ts compares them.
 */
import protobuf from "protobufjs";
import { FAST_PRELUDE } from "./proto-fast-prelude.mjs";

/** Messages with a codec of their own; the first of each line are the entry points. */
export const FAST_ROOTS = [
  "tikvpb.BatchCommandsRequest",
  "tikvpb.BatchCommandsResponse",
  "tikvpb.BatchRaftMessage",
  "raft_serverpb.RaftMessage",
  "pdpb.RegionHeartbeatRequest",
];
const FAST_MESSAGES = new Set([
  ...FAST_ROOTS,
  "tikvpb.BatchCommandsRequest.Request",
  "tikvpb.BatchCommandsResponse.Response",
  "kvrpcpb.RawGetRequest",
  "kvrpcpb.RawGetResponse",
  "kvrpcpb.RawBatchGetRequest",
  "kvrpcpb.RawBatchGetResponse",
  "kvrpcpb.RawPutRequest",
  "kvrpcpb.RawPutResponse",
  "kvrpcpb.RawBatchPutRequest",
  "kvrpcpb.RawBatchPutResponse",
  "kvrpcpb.RawDeleteRequest",
  "kvrpcpb.RawDeleteResponse",
  "kvrpcpb.RawBatchDeleteRequest",
  "kvrpcpb.RawBatchDeleteResponse",
  "kvrpcpb.RawScanRequest",
  "kvrpcpb.RawScanResponse",
  "kvrpcpb.KvPair",
  "kvrpcpb.Context",
  "kvrpcpb.ResourceControlContext",
  "metapb.RegionEpoch",
  "metapb.Peer",
  "metapb.Region",
  "pdpb.RequestHeader",
  "pdpb.TimeInterval",
  "eraftpb.Message",
  "eraftpb.Entry",
]);

/**
 * Fields that the constructor sets, so that all instances share one hidden class. Default: all of the message's;
 * of a context only what clients send with every request, of a choice of commands none.
 */
const PRESET = {
  "kvrpcpb.Context": new Set(["regionId", "regionEpoch", "peer", "maxExecutionDurationMs", "requestSource"]),
  "tikvpb.BatchCommandsRequest.Request": new Set(),
  "tikvpb.BatchCommandsResponse.Response": new Set(),
};

const WIRE_TYPE = { uint64: 0, int64: 0, uint32: 0, int32: 0, bool: 0, string: 2, bytes: 2 };

const fullName = (type) => type.fullName.replace(/^\./, "");
const symbol = (name) => name.replace(/\./g, "_");
const isFast = (type) => FAST_MESSAGES.has(fullName(type));

function wireType(field) {
  if (field.resolvedType instanceof protobuf.Enum) return 0;
  if (field.resolvedType instanceof protobuf.Type) return 2;
  const known = WIRE_TYPE[field.type];
  if (known === undefined) throw new Error(`the fast codecs do not know ${field.type} (${field.fullName})`);
  return known;
}

const packable = (field) => field.repeated && wireType(field) === 0;
const tagOf = (field, type) => ((field.id << 3) | type) >>> 0;

function tagBytes(tag) {
  const bytes = [];
  let rest = tag;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return [...bytes, rest];
}

/** What a scalar is by type: how it is read, what its default is, how it is written backwards. */
function scalarOf(field, info) {
  const label = JSON.stringify(info.name);
  if (field.resolvedType instanceof protobuf.Enum || field.type === "int32") {
    return {
      kind: "int32",
      zero: "0",
      slow: `(readHalves(r, p), low | 0)`,
      write: (v) => `writeInt32(w, ${v})`,
    };
  }
  switch (field.type) {
    case "uint32":
      return {
        kind: "uint32",
        zero: "0",
        slow: `(readHalves(r, p), low)`,
        write: (v) => `writeUint32(w, ${v} >>> 0)`,
      };
    case "bool":
      return {
        kind: "bool",
        zero: "false",
        slow: `readBool(r, p)`,
        write: (v) => `writeByte(w, ${v} ? 1 : 0)`,
      };
    case "string":
      return { kind: "string", zero: `""`, write: (v) => `writeString(w, ${v})` };
    case "bytes":
      return { kind: "bytes", zero: "", write: (v) => `writeBytes(w, ${v})` };
    case "uint64":
      return info.kind === "bigint"
        ? {
            kind: "big",
            zero: "0n",
            slow: `readBigUint(r, p)`,
            write: (v) => `writeBig(w, ${v}, ${label}, false)`,
          }
        : {
            kind: "uint64",
            zero: "0",
            slow: `readSafeUint(r, p, ${label})`,
            write: (v) => `writeSafe(w, ${v}, ${label})`,
          };
    case "int64":
      return info.kind === "bigint"
        ? {
            kind: "big",
            zero: "0n",
            slow: `readBigInt(r, p)`,
            write: (v) => `writeBig(w, ${v}, ${label}, true)`,
          }
        : {
            kind: "int64",
            zero: "0",
            slow: `readSafeInt(r, p, ${label})`,
            write: (v) => `writeSafeSigned(w, ${v}, ${label})`,
          };
    default:
      throw new Error(`the fast codecs do not know ${field.type}`);
  }
}

/** Statements that read one varint of the field into `v`, one byte inline. */
function readVarint(scalar, pad) {
  const one = scalar.kind === "bool" ? "v === 1" : scalar.kind === "big" ? "BigInt(v)" : "v";
  const convert = scalar.kind === "bool" || scalar.kind === "big";
  return [
    `${pad}v = buf[p];`,
    ...(convert
      ? [`${pad}if (v < ${scalar.kind === "bool" ? 2 : 128}) {`, `${pad}  v = ${one};`, `${pad}  p += 1;`]
      : [`${pad}if (v < 128) p += 1;`]),
    ...(convert ? [`${pad}} else {`] : [`${pad}else {`]),
    `${pad}  v = ${scalar.slow};`,
    `${pad}  p = r.p;`,
    `${pad}}`,
  ];
}

const READ_LENGTH = [
  "n = buf[p++];",
  "if (n > 127) {",
  "  n = readLength(r, p - 1);",
  "  p = r.p;",
  "}",
  "if (p + n > end) throw truncated(p);",
];

const isPreset = (type, field) => PRESET[fullName(type)]?.has(field.name) ?? true;

/** The value of a field that is not in the message. */
function defaultValue(field, info) {
  if (field.repeated) return "[]";
  if (field.partOf || field.resolvedType instanceof protobuf.Type) return "null";
  return scalarOf(field, info).zero || "EMPTY";
}

/** A constructor of the generated class's instances that sets every field at once. */
function maker(type, described) {
  const name = fullName(type);
  const lines = [`function New_${symbol(name)}() {`];
  for (const field of type.fieldsArray) {
    const info = described.get(name).get(field.id);
    if (isPreset(type, field)) lines.push(`  this.${field.name} = ${defaultValue(field, info)};`);
    else if (field.repeated) lines.push(`  this.${field.name} = [];`);
  }
  return [...lines, "}", `New_${symbol(name)}.prototype = ${name}.prototype;`];
}

function decodeField(field, info) {
  const name = field.name;
  const lines = [];
  const into = `m.${name}`;
  const oneof = field.partOf === null || field.partOf === undefined ? undefined : field.partOf;
  if (wireType(field) === 2) {
    lines.push(...READ_LENGTH);
    lines.push(...decodeDelimited(field, into));
  } else if (packable(field)) {
    const scalar = scalarOf(field, info);
    lines.push(...readVarint(scalar, ""), `if (${into}.length === 0) ${into} = [];`, `${into}.push(v);`);
  } else {
    const scalar = scalarOf(field, info);
    lines.push(...readVarint(scalar, ""));
    if (oneof || isPreset(field.parent, field)) lines.push(`${into} = v;`);
    else lines.push(`if (v !== ${scalar.zero}) ${into} = v;`, `else delete ${into};`);
  }
  if (oneof)
    lines.push(
      `if (chosen !== ${JSON.stringify(name)}) chosen = choose(m, chosen, ${JSON.stringify(name)});`,
    );
  return lines;
}

function decodeDelimited(field, into) {
  const type = field.resolvedType;
  if (type instanceof protobuf.Type) {
    const call = (target) =>
      isFast(type)
        ? `decode_${symbol(fullName(type))}(r, p, p + n, ${target})`
        : `${fullName(type)}.decode(buf.subarray(p, p + n), undefined, undefined, 0, ${target})`;
    const read = field.repeated
      ? [`if (${into}.length === 0) ${into} = [];`, `${into}.push(${call("undefined")});`]
      : [`${into} = ${call(`${into} ?? undefined`)};`];
    return [...read, "p += n;"];
  }
  const string = field.type === "string";
  const value = string
    ? "readString(buf, p, n)"
    : "n === 0 ? EMPTY : new Uint8Array(buf.buffer, base + p, n)";
  if (field.repeated) {
    return [
      `if (${into}.length === 0) ${into} = [];`,
      `${into}.push(${string ? value : `(${value})`});`,
      "p += n;",
    ];
  }
  if (field.partOf || isPreset(field.parent, field)) return [`${into} = ${value};`, "p += n;"];
  return [
    `if (n !== 0) ${into} = ${string ? value : "new Uint8Array(buf.buffer, base + p, n)"};`,
    `else delete ${into};`,
    "p += n;",
  ];
}

function decodePacked(field, info) {
  const scalar = scalarOf(field, info);
  const into = `m.${field.name}`;
  return [
    ...READ_LENGTH,
    `if (${into}.length === 0) ${into} = [];`,
    "{",
    `  const values = ${into};`,
    "  const stop = p + n;",
    "  while (p < stop) {",
    ...readVarint(scalar, "    "),
    "    values.push(v);",
    "  }",
    "  if (p !== stop) throw truncated(p);",
    "}",
  ];
}

function decoder(type, described) {
  const name = fullName(type);
  const byId = described.get(name);
  const oneof = type.oneofsArray[0];
  if (type.oneofsArray.length > 1) throw new Error(`${name}: more than one oneof`);
  const hasBytes = type.fieldsArray.some((field) => field.type === "bytes");
  const lines = [
    `function decode_${symbol(name)}(r, from, end, target) {`,
    `  const m = target === undefined ? new New_${symbol(name)}() : target;`,
    "  const buf = r.buf;",
    ...(hasBytes ? ["  const base = r.base;"] : []),
    "  let p = from;",
    "  let tag, v, n;",
    ...(oneof ? [`  let chosen = target === undefined ? "" : (target.${oneof.name} ?? "");`] : []),
    "  while (p < end) {",
    "    tag = buf[p++];",
    "    if (tag > 127) {",
    "      tag = readTag(r, p - 1);",
    "      p = r.p;",
    "    }",
    "    switch (tag) {",
  ];
  for (const field of type.fieldsArray) {
    const info = byId.get(field.id);
    const add = (tag, body) =>
      lines.push(
        `      case ${tag}: {`,
        ...body.map((line) => `        ${line}`),
        "        continue;",
        "      }",
      );
    add(tagOf(field, wireType(field)), decodeField(field, info));
    if (packable(field)) add(tagOf(field, 2), decodePacked(field, info));
  }
  const ids = type.fieldsArray.map((field) => `${field.id}: ${JSON.stringify(byId.get(field.id).name)}`);
  lines.push(
    "    }",
    `    p = skipField(r, p, end, tag, ${symbol(name)}_fields);`,
    "  }",
    "  if (p !== end) throw truncated(p);",
    "  return m;",
    "}",
  );
  return [...maker(type, described), `const ${symbol(name)}_fields = { ${ids.join(", ")} };`, ...lines];
}

/** Writing goes backwards, so a tag of several bytes is written last byte first. */
function writeTag(tag) {
  return tagBytes(tag)
    .reverse()
    .map((byte) => `writeByte(w, ${byte});`);
}

function writeOne(field, info, value) {
  const type = field.resolvedType;
  if (type instanceof protobuf.Type) {
    if (!isFast(type)) return [`writeGenerated(w, ${fullName(type)}, ${value});`];
    return [
      "{",
      "  const before = w.buf.length - w.p;",
      `  encode_${symbol(fullName(type))}(w, ${value});`,
      "  writeLength(w, w.buf.length - w.p - before);",
      "}",
    ];
  }
  return [`${scalarOf(field, info).write(value)};`];
}

function encodeField(field, info) {
  const value = `m.${field.name}`;
  const tag = writeTag(tagOf(field, packable(field) ? 2 : wireType(field)));
  const indent = (lines, by = "  ") => lines.map((line) => by + line);
  if (field.repeated) {
    const test = [`v = ${value};`, "if (v !== undefined && v !== null && v.length !== 0) {"];
    if (packable(field)) {
      const body = [
        "const before = w.buf.length - w.p;",
        "for (let i = v.length - 1; i >= 0; i--) {",
        ...indent(writeOne(field, info, "v[i]")),
        "}",
        "writeLength(w, w.buf.length - w.p - before);",
        ...tag,
      ];
      return [...test, ...indent(body), "}"];
    }
    const body = [
      "for (let i = v.length - 1; i >= 0; i--) {",
      ...indent([...writeOne(field, info, "v[i]"), ...tag]),
      "}",
    ];
    return [...test, ...indent(body), "}"];
  }
  let test = "v !== undefined && v !== null";
  const scalar = field.resolvedType instanceof protobuf.Type ? undefined : scalarOf(field, info);
  if (!field.partOf && scalar !== undefined) {
    test += scalar.kind === "bytes" ? " && v.length !== 0" : ` && v !== ${scalar.zero}`;
  }
  return [`v = ${value};`, `if (${test}) {`, ...indent([...writeOne(field, info, "v"), ...tag]), "}"];
}

/** Encoders of a message that is one oneof of many commands look at what is set instead of asking for each. */
function encodeChoice(type, described) {
  const name = symbol(fullName(type));
  const byId = described.get(fullName(type));
  const lines = [`function encode_${name}(w, m) {`, "  const keys = Object.keys(m);"];
  lines.push("  if (keys.length !== 1) return encodeAll_" + name + "(w, m);", "  const v = m[keys[0]];");
  lines.push("  if (v === undefined || v === null) return;", "  switch (keys[0]) {");
  for (const field of type.fieldsArray) {
    const body = [...writeOne(field, byId.get(field.id), "v"), ...writeTag(tagOf(field, wireType(field)))];
    lines.push(
      `    case ${JSON.stringify(field.name)}:`,
      ...body.map((line) => `      ${line}`),
      "      return;",
    );
  }
  lines.push("  }", "}");
  return lines;
}

function encoder(type, described) {
  const byId = described.get(fullName(type));
  const all = type.oneofsArray[0]?.fieldsArray.length === type.fieldsArray.length;
  const name = symbol(fullName(type));
  const lines = [`function ${all ? "encodeAll" : "encode"}_${name}(w, m) {`, "  let v;"];
  const fields = [...type.fieldsArray].sort((left, right) => right.id - left.id);
  for (const field of fields)
    lines.push(...encodeField(field, byId.get(field.id)).map((line) => `  ${line}`));
  lines.push("}");
  return all ? [...encodeChoice(type, described), ...lines] : lines;
}

export function fastCodecs(reflection, described) {
  const body = [];
  const packages = new Set();
  const types = [...FAST_MESSAGES].map((name) => reflection.lookupType(name));
  for (const type of types) {
    packages.add(fullName(type).split(".")[0]);
    for (const field of type.fieldsArray) {
      if (field.resolvedType instanceof protobuf.Type)
        packages.add(fullName(field.resolvedType).split(".")[0]);
    }
    body.push(...decoder(type, described), ...encoder(type, described));
  }
  const roots = FAST_ROOTS.map((name) => {
    const at = symbol(name);
    return `export const ${at} = makeCodec(encode_${at}, decode_${at});`;
  });
  const imports = [
    'import $protobuf from "protobufjs/minimal.js";',
    `import { ${[...packages].sort().join(", ")} } from "./kvproto.js";`,
  ];
  return `${[...imports, FAST_PRELUDE.trim(), ...body, ...roots].join("\n")}\n`;
}

export function fastDeclarations() {
  const packages = new Set(FAST_ROOTS.map((name) => name.split(".")[0]));
  const lines = [
    'import type { Codec } from "../rpc.js";',
    `import type { ${[...packages].sort().join(", ")} } from "./kvproto.js";`,
  ];
  for (const name of FAST_ROOTS) {
    const [pkg, message] = name.split(".");
    lines.push(`export const ${symbol(name)}: Codec<${name}, ${pkg}.I${message}>;`);
  }
  return `${lines.join("\n")}\n`;
}
