/** The .proto files, the generated classes and the service tables against the committed tables of the protocol. */
import protobuf from "protobufjs";
import { describe, expect, test } from "vitest";
import * as proto from "../index.js";
import type { MethodDefinition } from "../rpc.js";
import { classOf, generatedAt, nameOf, snake, table } from "./reflection.js";

const rows = table("fields.tsv");
const fieldRows = rows.filter((row) => row["number"] !== "");

function typeText(field: protobuf.Field): string {
  const name = field.resolvedType === null ? field.type : nameOf(field.resolvedType);
  return field instanceof protobuf.MapField ? `map<${field.keyType},${name}>` : name;
}

describe("the .proto files", () => {
  test("have every field of the tables with its number, label, type and oneof", () => {
    expect(fieldRows.length).toBeGreaterThan(1900);
    const wrong: string[] = [];
    for (const row of fieldRows) {
      const field = snake.lookupType(row["message"] as string).fields[row["name"] as string];
      const label = field instanceof protobuf.MapField ? "map" : field?.repeated ? "repeated" : "";
      const found =
        field === undefined
          ? "absent"
          : [field.id, label, typeText(field), field.partOf?.name ?? ""].join(" ");
      const expected = [row["number"], row["label"], row["type"], row["oneof"]].join(" ");
      if (found !== expected) wrong.push(`${row["message"]}.${row["name"]}: ${found} instead of ${expected}`);
    }
    expect(wrong).toEqual([]);
  });

  test("have no field that the tables do not have", () => {
    const known = new Set(fieldRows.map((row) => `${row["message"]}.${row["name"]}`));
    const unknown: string[] = [];
    for (const name of new Set(rows.map((row) => row["message"] as string))) {
      for (const field of snake.lookupType(name).fieldsArray) {
        if (!known.has(`${name}.${field.name}`)) unknown.push(`${name}.${field.name}`);
      }
    }
    expect(unknown).toEqual([]);
  });

  test("have every message of the first two milestones, and it is generated", () => {
    const needed = rows.filter((row) => row["milestone"] !== "-").map((row) => row["message"] as string);
    expect(new Set(needed).size).toBeGreaterThan(400);
    for (const name of new Set(needed)) expect(typeof classOf(name).decode, name).toBe("function");
  });

  test("have every enum value, in the generated module too", () => {
    const values = table("enums.tsv");
    expect(values.length).toBeGreaterThan(150);
    for (const row of values) {
      const name = row["enum"] as string;
      const number = Number(row["number"]);
      expect(snake.lookupEnum(name).values[row["name"] as string], name).toBe(number);
      expect((generatedAt(name) as Record<string, number>)[row["name"] as string], name).toBe(number);
    }
  });

  test("keep commands of a batch predictable: the member's name is the one in the .proto file", () => {
    const request = snake.lookupType("tikvpb.BatchCommandsRequest.Request");
    const made = new (classOf("tikvpb.BatchCommandsRequest.Request"))();
    for (const field of request.fieldsArray) {
      const expected = field.name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
      expect(expected in made, field.name).toBe(true);
    }
  });
});

describe("the service tables", () => {
  const tables = Object.entries(proto).filter(([name]) => name.endsWith("Service"));
  const methods = new Map<string, MethodDefinition<unknown, unknown>>();
  for (const [, service] of tables) {
    for (const method of Object.values(service as Record<string, MethodDefinition<unknown, unknown>>)) {
      methods.set(method.path, method);
    }
  }
  const kinds: Record<string, string> = {
    "00": "unary",
    "10": "clientStream",
    "01": "serverStream",
    "11": "bidi",
  };

  test("have every method under its exact path with its kind", () => {
    for (const row of table("services.tsv")) {
      const kind = kinds[`${row["clientStream"]}${row["serverStream"]}`];
      expect(methods.get(row["path"] as string)?.kind, row["path"] as string).toBe(kind);
    }
  });

  test("give messages of the request's and the response's class", () => {
    for (const row of table("services.tsv")) {
      const method = methods.get(row["path"] as string) as MethodDefinition<unknown, unknown>;
      const empty = new Uint8Array(0);
      expect(method.request.decode(empty), row["path"] as string).toBeInstanceOf(
        classOf(row["request"] as string),
      );
      expect(method.response.decode(empty), row["path"] as string).toBeInstanceOf(
        classOf(row["response"] as string),
      );
    }
  });

  test("name the raw calls as clients send them", () => {
    expect(proto.TikvService.RawGet.path).toBe("/tikvpb.Tikv/RawGet");
    expect(proto.TikvService.KVPessimisticRollback.path).toBe("/tikvpb.Tikv/KVPessimisticRollback");
    expect(proto.PdService.GetRegionByID.path).toBe("/pdpb.PD/GetRegionByID");
    expect(proto.HealthService.Check.path).toBe("/grpc.health.v1.Health/Check");
    expect(proto.EtcdClusterService.MemberList.path).toBe("/etcdserverpb.Cluster/MemberList");
  });
});
