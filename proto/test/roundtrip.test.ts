/** Random messages of every type through the generated codecs, and through protobufjs's reflection as a referee. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryMessage, normal } from "./arbitrary.js";
import { camel, classOf, messages, nameOf } from "./reflection.js";

const all = messages();

describe("every message", () => {
  test("comes back from its own codec as it was sent", () => {
    for (const type of all) {
      const generated = classOf(nameOf(type));
      fc.assert(
        fc.property(arbitraryMessage(type, 2), (message) => {
          const decoded = generated.decode(generated.encode(message).finish());
          expect(normal(type, decoded)).toEqual(normal(type, message));
        }),
        { numRuns: 6 },
      );
    }
  });

  test("reads the same through reflection, and what reflection writes reads the same here", () => {
    for (const type of all) {
      const generated = classOf(nameOf(type));
      const referee = camel.lookupType(nameOf(type));
      fc.assert(
        fc.property(arbitraryMessage(type, 2), (message) => {
          const bytes = generated.encode(message).finish();
          const read = referee.decode(bytes);
          expect(normal(type, read as unknown as Record<string, unknown>)).toEqual(normal(type, message));
          const written = referee.encode(read).finish();
          expect(normal(type, generated.decode(written))).toEqual(normal(type, message));
        }),
        { numRuns: 3 },
      );
    }
  });

  test("does not depend on the order of fields and lets the last of a repeated scalar win", () => {
    const peer = classOf("metapb.Peer");
    const twice = new Uint8Array([0x10, 7, 0x08, 1, 0x10, 9]);
    expect(peer.decode(twice)).toMatchObject({ id: 1, storeId: 9 });
  });

  test("skips fields it does not know", () => {
    for (const type of all) {
      const generated = classOf(nameOf(type));
      // Field 18000 as varint, 64-bit, bytes and 32-bit.
      const unknown = [0x80, 0xe5, 0x08, 5, 0x81, 0xe5, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x82, 0xe5, 0x08, 1, 9];
      const decoded = generated.decode(new Uint8Array([...unknown, 0x85, 0xe5, 0x08, 1, 2, 3, 4]));
      expect(normal(type, decoded)).toEqual(normal(type, {}));
    }
  });
});
