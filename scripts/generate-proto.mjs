#!/usr/bin/env node
/**
 * `npm run gen`: proto/kvproto/*.proto to proto/gen/{kvproto.js,kvproto.d.ts,services.ts}, which are committed.
 * pbjs writes the encoders and decoders; what it cannot express is put right here, each rule checked to have matched:
 * 64-bit fields become `number` or `bigint` (scripts/proto-64bit.mjs), wrong wire types are errors instead of unknown
 * fields, unknown fields are dropped, no `Long`, no Node `Buffer`, no registry shared between copies of the module.
 * The type declarations and the service table are written here from the same reflection (scripts/proto-types.mjs).
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { kindOf64 } from "./proto-64bit.mjs";
import { fastCodecs, fastDeclarations } from "./proto-fast.mjs";
import { PRELUDE } from "./proto-prelude.mjs";
import { serviceTable, typeDeclarations } from "./proto-types.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const sources = join(root, "proto", "kvproto");
const output = join(root, "proto", "gen");
const files = readdirSync(sources)
  .filter((name) => name.endsWith(".proto"))
  .sort();

/** Reflection with field names as in the .proto files (for the 64-bit rules) and camelCase ones (as generated). */
function load(keepCase) {
  const reflection = new protobuf.Root();
  reflection.resolvePath = (_origin, target) => (target.includes("/") ? target : join(sources, target));
  return reflection
    .loadSync(
      files.map((name) => join(sources, name)),
      { keepCase },
    )
    .resolveAll();
}
const snake = load(true);
const camel = load(false);

function runPbjs() {
  const folder = mkdtempSync(join(tmpdir(), "kvproto-"));
  try {
    const target = join(folder, "kvproto.js");
    const options = ["-t", "static-module", "-w", "esm", "--no-verify", "--no-convert", "--no-delimited"];
    options.push("--no-service", "--no-typeurl", "--force-number", "-p", sources, "-o", target);
    const pbjs = join(root, "node_modules", "protobufjs-cli", "bin", "pbjs");
    execFileSync(process.execPath, [pbjs, ...options, ...files.map((name) => join(sources, name))]);
    return readFileSync(target, "utf8");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const fullName = (type) => type.fullName.replace(/^\./, "");

/** All facts that the line rewriter needs about a field, by message name and field number. */
function describeFields() {
  const found = new Map();
  const visit = (space) => {
    if (space instanceof protobuf.Type) {
      const byId = new Map();
      for (const field of space.fieldsArray) {
        const is64 = field.type === "uint64" || field.type === "int64";
        const key64 = field.map && (field.keyType === "uint64" || field.keyType === "int64");
        const name = `${fullName(space)}.${field.name}`;
        const kind = is64 || key64 ? kindOf64(name) : undefined;
        byId.set(field.id, { name, field, is64, kind, signed: field.type === "int64" });
      }
      found.set(fullName(space), byId);
    }
    for (const child of space.nestedArray ?? []) visit(child);
  };
  visit(snake);
  return found;
}
const described = describeFields();

const counts = { defaults: 0, encoded: 0, decoded: 0, oneofs: 0, wireTypes: 0 };

/** Names of the runtime's functions for a 64-bit field. */
function codecNames(info) {
  const sign = info.signed ? "Int" : "Uint";
  const name = info.kind === "bigint" ? `Big${sign}64` : `Safe${sign}64`;
  return {
    read: `$read${name}`,
    write: `$write${name}`,
    readAll: `$read${name}s`,
    writeAll: `$write${name}s`,
  };
}

function rewriteDefault(line) {
  const match = /^(\s*\w+\.prototype(?:\.(\w+)|\["(\w+)"\]) = )(.*);$/.exec(line);
  if (match === null) return line;
  if (match[4] === "$util.newBuffer([])") return `${match[1]}$empty;`;
  return line;
}

function rewriteEncode(line, message) {
  let text = line.replace(/ && \$Object\.hasOwnProperty\.call\(message, "\w+"\)/, "");
  const id = /writer\.uint32\(\/\* id (\d+), wireType \d =\*\//.exec(text);
  if (id === null || /\.encode\(/.test(text)) return text;
  const info = described.get(message).get(Number(id[1]));
  if (info?.kind === undefined) return text;
  const names = codecNames(info);
  const label = JSON.stringify(info.name);
  counts.encoded += 1;
  if (info.field.map) return rewriteMapEncode(text, info, names, label);
  const call = /^(\s*)(writer\.uint32\(.*?\))\.(u?int64s?)\((.*)\);$/.exec(text);
  if (call === null) throw new Error(`cannot rewrite: ${line}`);
  const write = call[3].endsWith("s") ? names.writeAll : names.write;
  text = `${call[1]}${write}(${call[2]}, ${call[4]}, ${label});`;
  return text;
}

function rewriteMapEncode(line, info, names, label) {
  const key = "$mapKey(keys[i])";
  if (info.is64) {
    const both =
      /^(\s*)(writer\.uint32\(.*?\)\.fork\(\)\.uint32\(.*?\))\.uint64\(.*?\)\.uint32\((.*?)\)\.uint64\((.*)\)\.ldelim\(\);$/;
    const match = both.exec(line);
    if (match === null) throw new Error(`cannot rewrite: ${line}`);
    const keyed = `$writeSafeUint64(${match[2]}, ${key}, ${label})`;
    return `${match[1]}${names.write}(${keyed}.uint32(${match[3]}), ${match[4]}, ${label}).ldelim();`;
  }
  const match = /^(\s*)(writer\.uint32\(.*?\)\.fork\(\)\.uint32\(.*?\))\.uint64\(.*?\);$/.exec(line);
  if (match === null) throw new Error(`cannot rewrite: ${line}`);
  return `${match[1]}$writeSafeUint64(${match[2]}, ${key}, ${label});`;
}

/** The zero test of an optional 64-bit field in the encoder; the line before its write. */
function rewriteEncodeTest(line, nextLine, message) {
  const id = /writer\.uint32\(\/\* id (\d+), wireType \d =\*\//.exec(nextLine ?? "");
  const test = / && \(typeof (\S+) === "object" \? \S+ \|\| \S+ : \S+ !== 0\)\)$/.exec(line);
  if (test === null || id === null) return line;
  const info = described.get(message).get(Number(id[1]));
  return line.replace(test[0], ` && ${test[1]} !== ${info.kind === "bigint" ? "0n" : "0"})`);
}

function rewriteDecode(line, info) {
  let text = line;
  if (info === undefined) return text;
  if (/^\s*if \(wireType !== \d\)$/.test(text)) return text;
  if (!/reader\.u?int64s?\(|\$util\.Long/.test(text)) return text;
  const names = codecNames(info);
  const label = JSON.stringify(info.name);
  counts.decoded += 1;
  text = text
    .replace(
      /typeof \(value = reader\.u?int64\(\)\) === "object" \? .*? : value !== 0\)$/,
      `(value = ${names.read}(reader, ${label})) !== ${info.kind === "bigint" ? "0n" : "0"})`,
    )
    .replace(/key = reader\.uint64\(\)/, `key = $readSafeUint64(reader, ${label})`)
    .replace(/\$util\.Long \? \$util\.Long\.fromNumber\(0, \w+\) : 0/, info.kind === "bigint" ? "0n" : "0")
    .replace(/reader\.u?int64s\((.*?)\)/, `${names.readAll}(reader, $1, ${label})`)
    .replace(/reader\.u?int64\(\)/, `${names.read}(reader, ${label})`);
  return text;
}

/** The body of `X.encode` or `X.decode` is where the 64-bit calls are; pbjs names the message in the comment above. */
function rewrite(source) {
  const lines = source.split("\n");
  const result = [];
  let message = "";
  let mode = "none";
  let info;
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    const member = /^\s*\* @memberof (\S+)$/.exec(line);
    if (member !== null) message = member[1];
    if (/^\s*\w+\.encode = function/.test(line)) mode = "encode";
    else if (/^\s*\w+\.decode = function/.test(line)) mode = "decode";
    else if (/^\s*\w+\.prototype/.test(line)) mode = "prototype";
    if (mode === "encode") {
      if (/message\.\$unknowns/.test(line)) {
        i += 2;
        continue;
      }
      result.push(rewriteEncode(rewriteEncodeTest(line, lines[i + 1], message), message));
    } else if (mode === "decode") {
      const at = /^\s*case (\d+): \{$/.exec(line);
      if (at !== null) info = described.get(message).get(Number(at[1]));
      if (/if \(wireType !== \d\)$/.test(line) && /^\s*break;$/.test(lines[i + 1])) {
        counts.wireTypes += 1;
        result.push(
          line,
          lines[i + 1].replace("break;", `throw $wrongWireType(wireType, ${JSON.stringify(info.name)});`),
        );
        i += 1;
      } else if (/^\s*if \(!reader\.discardUnknown\)/.test(line)) {
        i += 3;
      } else if (/^\s*let start = reader\.pos;$/.test(line)) {
        continue;
      } else if (/longToHash/.test(line)) {
        result.push(line.replace(/typeof key === "object" \? \$util\.longToHash\(key\) : key/, "key"));
      } else {
        result.push(rewriteDecode(line, info));
      }
    } else if (/\$util\.Long \? \$util\.Long\.fromBits/.test(line)) {
      const name = /prototype(?:\.(\w+)|\["(\w+)"\])/.exec(line);
      const field = camelField(message, name[1] ?? name[2]);
      counts.defaults += 1;
      const zero = described.get(message).get(field.id).kind === "bigint" ? "0n" : "0";
      result.push(line.replace(/\$util\.Long \? .*;$/, `${zero};`));
    } else if (/Object\.defineProperty\(/.test(line)) {
      counts.oneofs += 1;
      const names = /\[.*\]/.exec(lines[i + 1])[0];
      result.push(`${line.trimEnd().replace(/\{$/, "")}$oneOf(${names}));`);
      i += 3;
    } else {
      result.push(rewriteDefault(line));
    }
  }
  return result.join("\n");
}

function camelField(message, name) {
  const type = camel.lookupType(message);
  const field = type.fields[name];
  if (field === undefined) throw new Error(`no field ${name} in ${message}`);
  return field;
}

/** Comments repeat the declarations, and the registry would be shared by two copies of the module. */
function strip(source) {
  return source
    .replace(/^[ \t]*\/\*\*[\s\S]*?\*\/\n/gm, "")
    .replace(/^\s*\/\/ .*\n/gm, "")
    .replace(/\/\* id \d+, wireType \d =\*\//g, "")
    .replace(/^\s*let \$oneOfFields;\n/gm, "")
    .replace(/const \$root = .*;/, "const $root = {};")
    .replace(/^\/\*eslint-disable.*\*\/\n/, "")
    .replace(/export \{[\s\S]*?\};\s*$/, "")
    .replace(/\n(\s*\n)+/g, "\n")
    .replace(/^( {4})+/gm, (spaces) => "  ".repeat(spaces.length / 4));
}

const rewritten = strip(rewrite(runPbjs()));
const marker = "const $root = {};\n";
const at = rewritten.indexOf(marker) + marker.length;
const HEAD =
  "/* oxlint-disable */\n" +
  "// Generated by scripts/generate-proto.mjs from proto/kvproto/*.proto. Do not edit; run `npm run gen`.\n";
const code = `${HEAD}${rewritten.slice(0, at)}${PRELUDE}${rewritten.slice(at)}`;

const leftover =
  /\$util\.Long|reader\.u?int64|newBuffer|\$unknowns|discardUnknown|oneOfGetter|typeof \(?value/.exec(
    code.slice(at + PRELUDE.length),
  );
if (leftover !== null) {
  throw new Error(
    `pbjs wrote something the rewriter does not know: ${code.slice(0).slice(leftover.index, leftover.index + 200)}`,
  );
}
writeFileSync(join(output, "kvproto.js"), code);
execFileSync(process.execPath, ["--check", join(output, "kvproto.js")]);
writeFileSync(join(output, "kvproto.d.ts"), HEAD + typeDeclarations(camel, described));
writeFileSync(join(output, "fast.js"), HEAD + fastCodecs(camel, described));
execFileSync(process.execPath, ["--check", join(output, "fast.js")]);
writeFileSync(join(output, "fast.d.ts"), HEAD + fastDeclarations());
writeFileSync(join(output, "services.ts"), HEAD + serviceTable(camel));
console.log(`${files.length} files, ${described.size} messages`, JSON.stringify(counts));
