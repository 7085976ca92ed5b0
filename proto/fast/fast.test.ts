/** The fast codecs against the generated ones: same bytes, same messages, same refusals. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PdService, raft_serverpb, TikvService, tikvpb } from "../index.js";
import type { Codec } from "../rpc.js";
import { arbitraryMessage, normal } from "../test/arbitrary.js";
import { camel, classOf } from "../test/reflection.js";
import {
  batchCommandsRequestCodec,
  batchCommandsResponseCodec,
  batchRaftMessageCodec,
  raftMessageCodec,
  regionHeartbeatRequestCodec,
} from "./index.js";

type AnyCodec = Codec<Record<string, unknown>, object>;
const cases: [string, AnyCodec][] = [
  ["tikvpb.BatchCommandsRequest", batchCommandsRequestCodec as unknown as AnyCodec],
  ["tikvpb.BatchCommandsResponse", batchCommandsResponseCodec as unknown as AnyCodec],
  ["tikvpb.BatchRaftMessage", batchRaftMessageCodec as unknown as AnyCodec],
  ["raft_serverpb.RaftMessage", raftMessageCodec as unknown as AnyCodec],
  ["pdpb.RegionHeartbeatRequest", regionHeartbeatRequestCodec as unknown as AnyCodec],
];

/** Normal form of what decoding gives, or the fact that it threw. */
function outcome(decode: () => Record<string, unknown>, name: string): unknown {
  let message: Record<string, unknown>;
  try {
    message = decode();
  } catch {
    return "error";
  }
  return normal(camel.lookupType(name), message);
}

describe.each(cases)("%s", (name, codec) => {
  const type = camel.lookupType(name);
  const generated = classOf(name);

  test("encodes to the bytes of the generated codec", () => {
    fc.assert(
      fc.property(arbitraryMessage(type, 5), (message) => {
        expect(Array.from(codec.encode(message))).toEqual(Array.from(generated.encode(message).finish()));
      }),
      { numRuns: 300 },
    );
  });

  test("encodes what either codec decoded to the same bytes", () => {
    fc.assert(
      fc.property(arbitraryMessage(type, 5), (message) => {
        const bytes = Array.from(generated.encode(message).finish());
        const input = new Uint8Array(bytes);
        expect(Array.from(codec.encode(codec.decode(input)))).toEqual(bytes);
        expect(Array.from(codec.encode(generated.decode(input)))).toEqual(bytes);
        expect(Array.from(generated.encode(codec.decode(input)).finish())).toEqual(bytes);
      }),
      { numRuns: 200 },
    );
  });

  test("decodes to the generated class with equal contents", () => {
    fc.assert(
      fc.property(arbitraryMessage(type, 5), (message) => {
        const bytes = generated.encode(message).finish();
        const decoded = codec.decode(bytes);
        expect(decoded).toBeInstanceOf(generated);
        expect(normal(type, decoded)).toEqual(normal(type, message));
      }),
      { numRuns: 300 },
    );
  });

  test("agrees with the generated codec on damaged bytes", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(arbitraryMessage(type, 4), damage, fc.nat(), (message, changes, cut) => {
        const bytes = Uint8Array.from(generated.encode(message).finish());
        if (bytes.length === 0) return;
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        const damaged = cut % 3 === 0 ? bytes.slice(0, cut % bytes.length) : bytes;
        expect(outcome(() => codec.decode(damaged), name)).toEqual(
          outcome(() => generated.decode(damaged), name),
        );
      }),
      { numRuns: 1500 },
    );
  });

  test("agrees with the generated codec on messages written twice, which merge", () => {
    fc.assert(
      fc.property(arbitraryMessage(type, 4), arbitraryMessage(type, 4), (first, second) => {
        const bytes = Uint8Array.from([
          ...generated.encode(first).finish(),
          ...generated.encode(second).finish(),
        ]);
        expect(outcome(() => codec.decode(bytes), name)).toEqual(
          outcome(() => generated.decode(bytes), name),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("ends on any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(outcome(() => codec.decode(bytes), name)).toBeDefined();
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the fast codecs", () => {
  const put = (value: Uint8Array) => ({ requests: [{ RawPut: { key: value, value } }], requestIds: [1] });

  test("are the ones of the service table", () => {
    expect(TikvService.BatchCommands.request).toBe(batchCommandsRequestCodec);
    expect(TikvService.BatchCommands.response).toBe(batchCommandsResponseCodec);
    expect(TikvService.BatchRaft.request).toBe(batchRaftMessageCodec);
    expect(TikvService.Raft.request).toBe(raftMessageCodec);
    expect(PdService.RegionHeartbeat.request).toBe(regionHeartbeatRequestCodec);
  });

  test("grow for large messages and shrink again", () => {
    for (const length of [127, 128, 16_300, 16_384, 70_000, 3_000_000, 5]) {
      const message = put(new Uint8Array(length).fill(7));
      const bytes = batchCommandsRequestCodec.encode(message);
      const expected = tikvpb.BatchCommandsRequest.encode(message).finish();
      expect(Buffer.compare(bytes, expected)).toBe(0);
      expect(batchCommandsRequestCodec.decode(bytes).requests[0]?.RawPut?.value.length).toBe(length);
    }
  });

  test("give fresh memory for each message", () => {
    const first = batchCommandsRequestCodec.encode(put(new Uint8Array([1])));
    const copy = first.slice();
    const second = batchCommandsRequestCodec.encode(put(new Uint8Array([2])));
    expect(first).toEqual(copy);
    expect(first.buffer).not.toBe(second.buffer);
    expect(first.buffer.byteLength).toBe(first.length);
  });

  test("work again after a message that could not be encoded", () => {
    const bad = { requests: [{ RawGet: { context: { regionId: -1 } } }], requestIds: [1] };
    expect(() => batchCommandsRequestCodec.encode(bad)).toThrow(
      "field kvrpcpb.Context.region_id is not a safe integer",
    );
    const rare = { requests: [{ GC: { safePoint: 1 as never } }] };
    expect(() => batchCommandsRequestCodec.encode(rare)).toThrow("takes a bigint");
    const message = put(new Uint8Array([3]));
    const expected = tikvpb.BatchCommandsRequest.encode(message).finish();
    expect(Array.from(batchCommandsRequestCodec.encode(message))).toEqual(Array.from(expected));
  });

  test("refuse ids that are no safe integers and name the field", () => {
    const header = [0x0a, 0x0d, 0x6a, 0x0b, 0x0a, 0x09, 0x08];
    const bytes = new Uint8Array([...header, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
    expect(() => batchCommandsRequestCodec.decode(bytes)).toThrow(
      "field kvrpcpb.Context.region_id is not a safe integer",
    );
    expect(() => tikvpb.BatchCommandsRequest.decode(bytes)).toThrow(
      "field kvrpcpb.Context.region_id is not a safe integer",
    );
  });

  test("skip fields they do not know, groups too", () => {
    const known = raftMessageCodec.encode({ regionId: 5, message: { term: 6, entries: [{ index: 7 }] } });
    const group = [0x9b, 0x06, 0x08, 1, 0x12, 2, 9, 9, 0x9b, 0x06, 0x9c, 0x06, 0x9c, 0x06];
    const decoded = raftMessageCodec.decode(new Uint8Array([...group, ...known, ...group]));
    expect(decoded).toMatchObject({ regionId: 5, message: { term: 6, entries: [{ index: 7 }] } });
    expect(decoded).toBeInstanceOf(raft_serverpb.RaftMessage);
    expect(() => raftMessageCodec.decode(new Uint8Array(group.slice(0, -1)))).toThrow();
  });

  test("say which command a request is, the last one when there are several", () => {
    const get = [0x0a, 0x05, 0x6a, 0x03, 0x12, 0x01, 0x41];
    const both = [0x0a, 0x0a, 0x6a, 0x03, 0x12, 0x01, 0x41, 0x7a, 0x03, 0x12, 0x01, 0x42];
    const decoded = batchCommandsRequestCodec.decode(new Uint8Array([...get, ...both]));
    expect(decoded.requests.map((request) => request.cmd)).toEqual(["RawGet", "RawPut"]);
    expect(decoded.requests[1]?.RawGet).toBeNull();
  });

  test("give plain byte arrays from Node's buffers, aliasing them", () => {
    const bytes = Buffer.from(batchCommandsRequestCodec.encode(put(new Uint8Array([1, 2, 3]))));
    const decoded = batchCommandsRequestCodec.decode(bytes).requests[0]?.RawPut;
    expect(decoded?.value.constructor).toBe(Uint8Array);
    expect(Array.from(decoded?.value ?? [])).toEqual([1, 2, 3]);
    expect(decoded?.value.buffer).toBe(bytes.buffer);
  });
});
