#!/usr/bin/env node
/**
 * Writes proto/kvproto/*.proto and the test tables in proto/test/ from tables of the protocol's facts (message, field,
 * number, type), one row a field. Run by hand when the tables change:
 *     node scripts/import-kvproto.mjs DIRECTORY
 * DIRECTORY holds kvproto-fields.tsv, kvproto-enums.tsv, kvproto-services.tsv and kvproto-milestones.tsv. Written are
 * the packages in FULL_PACKAGES whole, every message that a milestone needs, and whatever these refer to. The files
 * health.proto and etcdserver.proto are not from the tables and are kept by hand.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FULL_PACKAGES = new Set([
  "pdpb",
  "metapb",
  "kvrpcpb",
  "tikvpb",
  "errorpb",
  "raft_cmdpb",
  "raft_serverpb",
  "eraftpb",
  "keyspacepb",
  "meta_storagepb",
  "deadlock",
  "debugpb",
]);
const SCALARS = new Set(["uint64", "int64", "uint32", "int32", "bool", "string", "bytes", "double", "float"]);

const source = process.argv[2];
if (source === undefined) {
  console.error("usage: node scripts/import-kvproto.mjs DIRECTORY (the directory with kvproto-fields.tsv)");
  process.exit(2);
}
const proto = join(import.meta.dirname ?? ".", "..", "proto");

function readTable(name) {
  const [head, ...lines] = readFileSync(join(source, name), "utf8").trimEnd().split("\n");
  const columns = head.split("\t");
  return lines.map((line) => {
    const cells = line.split("\t");
    return Object.fromEntries(columns.map((column, i) => [column, cells[i] ?? ""]));
  });
}

const fields = readTable("kvproto-fields.tsv");
const enums = readTable("kvproto-enums.tsv");
const services = readTable("kvproto-services.tsv");
const milestones = readTable("kvproto-milestones.tsv");

/** `package.Outer` for a row: nested types come and go with the outermost one. */
const outermost = (pkg, name) => `${pkg}.${name.split(".")[0]}`;
const packages = new Set(fields.map((row) => row.package));
for (const row of enums) packages.add(row.package);

const rowsOf = new Map();
for (const row of fields) push(rowsOf, outermost(row.package, row.message), row);
function push(map, key, value) {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function referenced(type) {
  const inner = /^map<(.*)>$/.exec(type);
  return (inner ? inner[1].split(",") : [type])
    .map((name) => name.trim())
    .filter((name) => name !== "" && !SCALARS.has(name))
    .map((name) => name.split(".").slice(0, 2).join("."));
}

const chosen = new Set();
function choose(name) {
  if (chosen.has(name)) return;
  chosen.add(name);
  for (const row of rowsOf.get(name) ?? []) for (const type of referenced(row.type)) choose(type);
}
for (const row of fields) if (FULL_PACKAGES.has(row.package)) choose(outermost(row.package, row.message));
for (const row of enums) if (FULL_PACKAGES.has(row.package)) choose(outermost(row.package, row.enum));
for (const row of milestones) choose(outermost(row.package, row.message));
const chosenServices = services.filter((row) => FULL_PACKAGES.has(row.service.split(".")[0]));
for (const row of chosenServices) {
  for (const type of [row.request, row.response]) choose(type.split(".").slice(0, 2).join("."));
}

const keep = (row, name) => chosen.has(outermost(row.package, name));
const keptFields = fields.filter((row) => keep(row, row.message));
const keptEnums = enums.filter((row) => keep(row, row.enum));

/** A tree of types per package: { children, fields, values }. */
const roots = new Map();
function node(pkg, name) {
  let at = roots.get(pkg);
  if (at === undefined) roots.set(pkg, (at = { children: new Map(), fields: [], values: [] }));
  for (const part of name.split(".")) {
    let next = at.children.get(part);
    if (next === undefined) at.children.set(part, (next = { children: new Map(), fields: [], values: [] }));
    at = next;
  }
  return at;
}
for (const row of keptFields) node(row.package, row.message).fields.push(row);
for (const row of keptEnums) node(row.package, row.enum).values.push(row);

function shortType(pkg, type) {
  const strip = (name) => (name.startsWith(`${pkg}.`) ? name.slice(pkg.length + 1) : name);
  const inner = /^map<(.*),(.*)>$/.exec(type);
  return inner ? `map<${strip(inner[1].trim())}, ${strip(inner[2].trim())}>` : strip(type);
}

function writeNode(name, at, indent, pkg) {
  const pad = "  ".repeat(indent);
  if (at.values.length > 0) {
    const values = at.values.map((row) => `${pad}  ${row.name} = ${row.number};`);
    return [`${pad}enum ${name} {`, ...values, `${pad}}`];
  }
  const lines = [`${pad}message ${name} {`];
  for (const [childName, child] of at.children) lines.push(...writeNode(childName, child, indent + 1, pkg));
  let oneof = "";
  const closeOneof = () => {
    if (oneof !== "") lines.push(`${pad}  }`);
    oneof = "";
  };
  const rows = at.fields.filter((row) => row.label !== "reserved" && row.name !== "(empty message)");
  const emitted = new Set();
  for (const row of rows) {
    if (row.oneof !== "" && emitted.has(row.oneof)) continue;
    const group = row.oneof === "" ? [row] : rows.filter((other) => other.oneof === row.oneof);
    if (row.oneof !== "") {
      emitted.add(row.oneof);
      oneof = row.oneof;
      lines.push(`${pad}  oneof ${oneof} {`);
    }
    for (const field of group) {
      const label = field.label === "repeated" ? "repeated " : "";
      const deprecated = field.flags.includes("deprecated") ? " [deprecated = true]" : "";
      const inner = oneof === "" ? "" : "  ";
      lines.push(
        `${pad}  ${inner}${label}${shortType(pkg, field.type)} ${field.name} = ${field.number}${deprecated};`,
      );
    }
    closeOneof();
  }
  for (const row of at.fields.filter((each) => each.label === "reserved")) {
    lines.push(
      row.name !== ""
        ? `${pad}  reserved "${row.name}";`
        : `${pad}  reserved ${row.number.replace("-", " to ")};`,
    );
  }
  lines.push(`${pad}}`);
  return lines;
}

function writeService(name, rows, pkg) {
  const lines = [`service ${name} {`];
  for (const row of rows) {
    const request = `${row.client_stream === "1" ? "stream " : ""}${shortType(pkg, row.request)}`;
    const response = `${row.server_stream === "1" ? "stream " : ""}${shortType(pkg, row.response)}`;
    lines.push(`  rpc ${row.method}(${request}) returns (${response});`);
  }
  lines.push("}");
  return lines;
}

for (const [pkg, root] of roots) {
  const body = [];
  for (const [name, at] of root.children) body.push("", ...writeNode(name, at, 0, pkg));
  const own = chosenServices.filter((row) => row.service.startsWith(`${pkg}.`));
  for (const service of new Set(own.map((row) => row.service))) {
    const rows = own.filter((row) => row.service === service);
    body.push("", ...writeService(service.slice(pkg.length + 1), rows, pkg));
  }
  const used = new Set();
  for (const row of keptFields.filter((each) => each.package === pkg)) {
    for (const type of referenced(row.type)) used.add(type.split(".")[0]);
  }
  for (const row of own) for (const type of [row.request, row.response]) used.add(type.split(".")[0]);
  used.delete(pkg);
  const head = [
    "// Written by scripts/import-kvproto.mjs: the names and numbers of TiKV's wire protocol. Not edited by hand.",
    'syntax = "proto3";',
    `package ${pkg};`,
    ...(used.size > 0 ? [""] : []),
    ...[...used].sort().map((name) => `import "${name}.proto";`),
  ];
  writeFileSync(join(proto, "kvproto", `${pkg}.proto`), `${[...head, ...body].join("\n")}\n`);
}

const milestoneOf = new Map(milestones.map((row) => [`${row.package}.${row.message}`, row.milestone]));
const table = (head, rows) => `${[head, ...rows.map((cells) => cells.join("\t"))].join("\n")}\n`;
writeFileSync(
  join(proto, "test", "fields.tsv"),
  table(
    "milestone\tmessage\tnumber\tlabel\ttype\tname\toneof",
    keptFields
      .filter((row) => row.label !== "reserved")
      .map((row) => [
        milestoneOf.get(`${row.package}.${row.message}`) ?? "-",
        `${row.package}.${row.message}`,
        row.number,
        row.label,
        row.type,
        row.name === "(empty message)" ? "" : row.name,
        row.oneof,
      ]),
  ),
);
writeFileSync(
  join(proto, "test", "enums.tsv"),
  table(
    "enum\tnumber\tname",
    keptEnums.map((row) => [`${row.package}.${row.enum}`, row.number, row.name]),
  ),
);
writeFileSync(
  join(proto, "test", "services.tsv"),
  table(
    "path\trequest\tresponse\tclientStream\tserverStream",
    chosenServices.map((row) => [
      row.grpc_path,
      row.request,
      row.response,
      row.client_stream,
      row.server_stream,
    ]),
  ),
);
console.log(`${chosen.size} outermost types, ${keptFields.length} field rows, ${roots.size} packages`);
