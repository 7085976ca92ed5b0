/**
 * Bad input to every call of PD's gRPC services: another cluster's id, and messages whose fields hold whatever the
 * wire allows. Each is answered or refused, none throws, and where the cluster id is another's nothing is changed.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { SeededRandom, randomBelow } from "../base/index.js";
import type { BoundMethod } from "../proto/index.js";
import { World } from "./test/world.js";

const ROUNDS = 40;
const NUMBERS = [0n, 1n, 2n, 3n, 101n, 2n ** 31n, 2n ** 53n + 1n, 2n ** 64n - 1n];
/** Calls that no other PD's client makes, and those that belong to any cluster. */
const WITHOUT_CLUSTER = /GetMembers|GetClusterInfo|IsSnapshotRecovering|GlobalConfig|SyncMaxTS|DCLocation/;

/** Any fields with any values, messages within messages: what protobuf decodes. */
function anyMessage(random: SeededRandom, depth: number): number[] {
  const bytes: number[] = [];
  const below = (most: number): number => randomBelow(random, most);
  for (let fields = below(6); fields > 0; fields--) {
    const field = 2 + below(12);
    if (below(2) === 0) {
      bytes.push(...varint(BigInt(field << 3)), ...varint(NUMBERS[below(NUMBERS.length)] as bigint));
      continue;
    }
    const text = Array.from({ length: below(5) }, () => below(256));
    const inner = depth > 0 && below(2) === 0 ? anyMessage(random, depth - 1) : text;
    bytes.push(...varint(BigInt((field << 3) | 2)), ...varint(BigInt(inner.length)), ...inner);
  }
  return bytes;
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const more = rest >= 128n;
    bytes.push(Number(rest & 127n) | (more ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes;
}

/** Field 1 of every request. */
const header = (clusterId: bigint): number[] => {
  const id = [8, ...varint(clusterId)];
  return [10, id.length, ...id];
};

describe("bad input over gRPC", () => {
  let world: World;
  let methods: readonly BoundMethod[];
  beforeAll(() => {
    world = new World({ stores: 3 });
    world.addRegions([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    methods = world.harness.pd.methods();
  });

  /** True when the bytes were a message and something came back. */
  function put(method: BoundMethod, bytes: readonly number[]): boolean {
    const { definition } = method;
    let request: unknown;
    try {
      request = definition.request.decode(Uint8Array.from(bytes));
    } catch {
      // The port refuses it before any handler.
      return false;
    }
    let answers = 0;
    const listener = method.handler({
      metadata: {},
      peer: "stranger",
      pendingBytes: 0,
      send(message) {
        definition.response.encode(message);
        answers += 1;
      },
      end() {
        answers += 1;
      },
    });
    listener.onMessage(request);
    world.harness.env.settle();
    listener.onHalfClose();
    world.harness.env.settle();
    listener.onCancel();
    return answers > 0;
  }

  const state = (): string =>
    ["/config", "/config/rules", "/stores", "/regions", "/operators", "/gc/safepoint"]
      .map((path) => world.harness.http("GET", `/pd/api/v1${path}`).text.replaceAll(/"uptime":.*/g, ""))
      .join("\n");

  test("another cluster's id is refused by every call that has one, and changes nothing", () => {
    const before = state();
    const random = new SeededRandom(7);
    for (const method of methods) {
      if (WITHOUT_CLUSTER.test(method.definition.path)) continue;
      for (let round = 0; round < ROUNDS; round++)
        put(method, [...header(world.harness.pd.clusterId + 1n), ...anyMessage(random, 2)]);
    }
    expect(state()).toBe(before);
    expect(world.harness.fatal).toBeUndefined();
  });

  test("no message makes a call throw or ends PD", () => {
    const random = new SeededRandom(11);
    const silent: string[] = [];
    // Those of other services have no such header.
    for (const method of methods.filter(({ definition }) => definition.path.startsWith("/pdpb."))) {
      let answered = 0;
      for (let round = 0; round < ROUNDS; round++) {
        try {
          if (put(method, [...header(world.harness.pd.clusterId), ...anyMessage(random, 3)])) answered += 1;
        } catch (error) {
          throw new Error(`${method.definition.path}: ${String(error)}`, { cause: error });
        }
      }
      if (answered === 0) silent.push(method.definition.path);
    }
    expect(silent).toEqual([]);
    expect(world.harness.fatal).toBeUndefined();
    expect(world.harness.http("GET", "/pd/api/v1/regions").status).toBe(200);
  });
});
