/** Decoding bytes from the network that are not messages: it always ends, with a message or an error. */
import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, test } from "vitest";
import { EtcdKvService, kvrpcpb, metapb, PdService, raft_serverpb, TikvService, tikvpb } from "../index.js";
import { arbitraryMessage } from "./arbitrary.js";
import { camel, classOf, messages, nameOf } from "./reflection.js";

const hot = [
  TikvService.BatchCommands.request,
  TikvService.BatchCommands.response,
  TikvService.BatchRaft.request,
  TikvService.RawPut.request,
  PdService.RegionHeartbeat.request,
  PdService.StoreHeartbeat.request,
  EtcdKvService.Range.request,
];

describe("decoding hostile bytes", () => {
  test("of any kind ends, with a message or an error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const codec of hot) {
          try {
            codec.decode(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(Error);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("cut anywhere inside a field throws", () => {
    const bytes = TikvService.RawPut.request.encode({
      context: { regionId: 70_000, peer: { id: 1, storeId: 300 } },
      key: new Uint8Array(300),
      value: new Uint8Array(5),
    });
    let failures = 0;
    for (let length = 0; length < bytes.length; length++) {
      try {
        TikvService.RawPut.request.decode(bytes.subarray(0, length));
      } catch {
        failures += 1;
      }
    }
    // Only the ends of the three outer fields are whole messages.
    expect(failures).toBe(bytes.length - 3);
  });

  test("with flipped bits ends", () => {
    const type = camel.lookupType("tikvpb.BatchCommandsRequest");
    fc.assert(
      fc.property(arbitraryMessage(type, 3), fc.nat(), fc.nat(7), (message, at, bit) => {
        const bytes = TikvService.BatchCommands.request.encode(message);
        if (bytes.length === 0) return;
        const place = at % bytes.length;
        bytes[place] = (bytes[place] as number) ^ (1 << bit);
        try {
          TikvService.BatchCommands.request.decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("with the wrong wire type throws and names the field", () => {
    expect(() => metapb.Peer.decode(new Uint8Array([0x0a, 1, 1]))).toThrow("metapb.Peer.id");
    for (const type of messages()) {
      for (const field of type.fieldsArray) {
        const packable = field.repeated && field.type in protobuf.types.packed;
        const fixed32 = ((field.id << 3) | 5) >>> 0;
        const tag: number[] = [];
        for (let rest = fixed32; ; rest >>>= 7) {
          tag.push(rest > 127 ? (rest & 127) | 128 : rest);
          if (rest <= 127) break;
        }
        const bytes = new Uint8Array([...tag, 0, 0, 0, 0]);
        expect(
          () => classOf(nameOf(type)).decode(bytes),
          `${nameOf(type)}.${field.name} ${packable}`,
        ).toThrow("wrong wire type");
      }
    }
  });

  test("nested too deep throws instead of overflowing the stack", () => {
    // Groups within groups of an unknown field, and a length that points beyond the end.
    const groups = new Uint8Array(100_000).fill(0x9b);
    for (let i = 1; i < groups.length; i += 2) groups[i] = 0x06;
    expect(() => metapb.Peer.decode(groups)).toThrow("max depth exceeded");
    expect(() =>
      kvrpcpb.RawGetRequest.decode(new Uint8Array([0x12, 0xff, 0xff, 0xff, 0xff, 0x07])),
    ).toThrow();
    expect(() =>
      raft_serverpb.RaftMessage.decode(new Uint8Array([0x22, 0x80, 0x80, 0x80, 0x80, 0x01])),
    ).toThrow();
  });

  test("with a varint of more than ten bytes throws", () => {
    const endless = new Uint8Array(20).fill(0xff);
    endless[0] = 0x08;
    expect(() => metapb.Peer.decode(endless)).toThrow("varint longer than 10 bytes");
    expect(() => tikvpb.BatchCommandsEmptyRequest.decode(endless)).toThrow("varint longer than 10 bytes");
  });
});
