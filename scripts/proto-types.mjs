/**
 * Type declarations and the service table from the reflection of the .proto files. Two types a message: the class `M`,
 * what decoding gives (every field present, sub-messages and members of a oneof nullable), and `IM`, what encoding
 * takes (everything may be left out). Enums are ambient, so they cost no runtime of their own.
 */
import protobuf from "protobufjs";

const SCALARS = {
  double: "number",
  float: "number",
  int32: "number",
  uint32: "number",
  bool: "boolean",
  string: "string",
  bytes: "Uint8Array",
};

const fullName = (type) => type.fullName.replace(/^\./, "");

/** `pkg.Outer.IInner` for the type with everything optional. */
function initName(type) {
  const parts = fullName(type).split(".");
  parts[parts.length - 1] = `I${parts[parts.length - 1]}`;
  return parts.join(".");
}

/** [type when decoded, type when encoded] of one value of a field. */
function valueTypes(field, kind) {
  if (field.type === "uint64" || field.type === "int64") return [kind, kind];
  const scalar = SCALARS[field.type];
  if (scalar !== undefined) return [scalar, scalar];
  const type = field.resolvedType;
  if (type instanceof protobuf.Enum) return [fullName(type), fullName(type)];
  return [fullName(type), initName(type)];
}

function fieldTypes(field, kind) {
  const [decoded, init] = valueTypes(field, kind);
  if (field.map) return [`{ [key: string]: ${decoded} }`, `{ [key: string]: ${init} }`];
  if (field.repeated) return [`${decoded}[]`, `readonly ${init}[]`];
  if (field.partOf || field.resolvedType instanceof protobuf.Type) return [`${decoded} | null`, init];
  return [decoded, init];
}

function declareMessage(type, described, pad) {
  const byId = described.get(fullName(type));
  const init = [`${pad}interface I${type.name} {`];
  const decoded = [`${pad}class ${type.name} {`];
  const own = fullName(type);
  decoded.push(`${pad}  constructor(properties?: $Partial<${own}> | null);`);
  for (const field of type.fieldsArray) {
    const [out, into] = fieldTypes(field, byId.get(field.id).kind);
    init.push(`${pad}  ${field.name}?: ${into} | null | undefined;`);
    decoded.push(`${pad}  ${field.name}: ${out};`);
  }
  for (const oneof of type.oneofsArray) {
    const names = oneof.fieldsArray.map((field) => JSON.stringify(field.name)).join(" | ");
    decoded.push(`${pad}  readonly ${oneof.name}?: ${names} | undefined;`);
  }
  init.push(`${pad}}`);
  decoded.push(`${pad}  static create(properties?: $Partial<${own}> | null): ${own};`);
  decoded.push(`${pad}  static encode(message: ${initName(type)}, writer?: $Writer): $Writer;`);
  decoded.push(`${pad}  static decode(reader: $Reader | Uint8Array, length?: number): ${own};`);
  decoded.push(`${pad}}`);
  return [...init, ...decoded];
}

function declareSpace(space, described, depth) {
  const lines = [];
  const pad = "  ".repeat(depth);
  for (const child of space.nestedArray ?? []) {
    if (child instanceof protobuf.Enum) {
      const values = Object.entries(child.values).map(([name, value]) => `${pad}  ${name} = ${value},`);
      lines.push(`${pad}enum ${child.name} {`, ...values, `${pad}}`);
    } else if (child instanceof protobuf.Type) {
      lines.push(...declareMessage(child, described, pad));
      const inner = declareSpace(child, described, depth + 1);
      if (inner.length > 0) lines.push(`${pad}namespace ${child.name} {`, ...inner, `${pad}}`);
    } else if (!(child instanceof protobuf.Service)) {
      const inner = declareSpace(child, described, depth + 1);
      const prefix = depth === 0 ? "export " : "";
      if (inner.length > 0) lines.push(`${pad}${prefix}namespace ${child.name} {`, ...inner, `${pad}}`);
    }
  }
  return lines;
}

export function typeDeclarations(reflection, described) {
  const head = [
    'import type { Reader as $Reader, Writer as $Writer } from "protobufjs/minimal.js";',
    "",
    "/** Fields of a decoded message, any of which may be left out; what is given is as decoding would give it. */",
    "type $Partial<T> = { [K in keyof T]?: T[K] | null | undefined };",
    "",
  ];
  return `${[...head, ...declareSpace(reflection, described, 0)].join("\n")}\n`;
}

/** How the services are called in TypeScript. */
const SERVICE_NAMES = {
  "tikvpb.Tikv": "TikvService",
  "tikvpb.VersionedKv": "VersionedKvService",
  "pdpb.PD": "PdService",
  "keyspacepb.Keyspace": "KeyspaceService",
  "keyspacepb.Namespace": "NamespaceService",
  "meta_storagepb.MetaStorage": "MetaStorageService",
  "deadlock.Deadlock": "DeadlockService",
  "debugpb.Debug": "DebugService",
  "grpc.health.v1.Health": "HealthService",
  "etcdserverpb.KV": "EtcdKvService",
  "etcdserverpb.Cluster": "EtcdClusterService",
};

function services(space, found = []) {
  for (const child of space.nestedArray ?? []) {
    if (child instanceof protobuf.Service) found.push(child);
    else services(child, found);
  }
  return found;
}

function kindOf(method) {
  if (method.requestStream) return method.responseStream ? "bidi" : "clientStream";
  return method.responseStream ? "serverStream" : "unary";
}

/** Codecs of these messages are written by hand (proto/fast/): they carry nearly all traffic. */
const FAST = {
  "tikvpb.BatchCommandsRequest": "batchCommandsRequestCodec",
  "tikvpb.BatchCommandsResponse": "batchCommandsResponseCodec",
  "tikvpb.BatchRaftMessage": "batchRaftMessageCodec",
  "pdpb.RegionHeartbeatRequest": "regionHeartbeatRequestCodec",
  "raft_serverpb.RaftMessage": "raftMessageCodec",
};

function codecOf(type, used) {
  const name = fullName(type);
  const fast = FAST[name];
  if (fast !== undefined) {
    used.add(fast);
    return fast;
  }
  return `codec<${name}, ${initName(type)}>(${name})`;
}

export function serviceTable(reflection) {
  const body = [];
  const used = new Set();
  const packages = new Set();
  for (const service of services(reflection)) {
    const name = SERVICE_NAMES[fullName(service)];
    if (name === undefined)
      throw new Error(`name the service ${fullName(service)} in scripts/proto-types.mjs`);
    body.push("", `export const ${name} = {`);
    for (const method of service.methodsArray) {
      const [request, response] = [method.resolvedRequestType, method.resolvedResponseType];
      for (const type of [request, response]) {
        if (FAST[fullName(type)] === undefined) packages.add(fullName(type).split(".")[0]);
      }
      const path = `/${fullName(service)}/${method.name}`;
      body.push(
        `  ${method.name}: method(`,
        `    "${path}",`,
        `    "${kindOf(method)}",`,
        `    ${codecOf(request, used)},`,
        `    ${codecOf(response, used)},`,
        "  ),",
      );
    }
    body.push("} as const;");
  }
  const imports = [`import { codec, method } from "../codec.js";`];
  if (used.size > 0) imports.push(`import { ${[...used].sort().join(", ")} } from "../fast/index.js";`);
  imports.push(`import { ${[...packages].sort().join(", ")} } from "./kvproto.js";`);
  return `${[...imports, ...body].join("\n")}\n`;
}
