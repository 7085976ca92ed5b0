import { deflateSync, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { RPC_CODE } from "../proto/rpc.js";
import { frameMessage, MessageReader, percentEncoded, timeoutMsOf } from "./grpc-frames.js";

const TEXTS = ["", "a", "hello", "x".repeat(300)];
const STREAM = Buffer.concat(TEXTS.map((text) => frameMessage(Buffer.from(text))));

function readAll(reader: MessageReader, chunks: readonly Buffer[]): string[] {
  const found: string[] = [];
  for (const chunk of chunks) {
    expect(reader.read(chunk, (message) => found.push(message.toString()))).toBeUndefined();
  }
  return found;
}

test("messages are found whole wherever the stream is cut", () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const reader = new MessageReader(1_000);
    expect(readAll(reader, [STREAM.subarray(0, cut), STREAM.subarray(cut)])).toEqual(TEXTS);
    expect(reader.isInside).toBe(false);
  }
});

test("messages are found in a stream that comes byte by byte", () => {
  const bytes = [...STREAM].map((byte) => Buffer.from([byte]));
  expect(readAll(new MessageReader(1_000), bytes)).toEqual(TEXTS);
});

test("a message that has begun is known to be under way", () => {
  const reader = new MessageReader(1_000);
  readAll(reader, [STREAM.subarray(0, STREAM.length - 1)]);
  expect(reader.isInside).toBe(true);
});

test("a message above the limit is refused by its length alone", () => {
  const reader = new MessageReader(10);
  const frame = frameMessage(Buffer.alloc(11));
  expect(reader.read(frame.subarray(0, 5), () => expect.unreachable())).toMatchObject({
    code: RPC_CODE.resourceExhausted,
  });
});

const compressed = (bytes: Buffer): Buffer => {
  const frame = frameMessage(bytes);
  frame[0] = 1;
  return frame;
};

test("compressed messages are read as their stream says", () => {
  const text = Buffer.from("squeezed ".repeat(20));
  expect(readAll(new MessageReader(1_000, "gzip"), [compressed(gzipSync(text))])).toEqual([text.toString()]);
  expect(readAll(new MessageReader(1_000, "deflate"), [compressed(deflateSync(text))])).toEqual([
    text.toString(),
  ]);
});

test("a small message that grows beyond the limit is refused", () => {
  const reader = new MessageReader(1_000, "gzip");
  const bomb = compressed(gzipSync(Buffer.alloc(100_000)));
  expect(reader.read(bomb, () => expect.unreachable())).toMatchObject({ code: RPC_CODE.resourceExhausted });
});

test("a flag that nobody knows, and compression that was not announced, are refused", () => {
  const strange = frameMessage(Buffer.from("x"));
  strange[0] = 7;
  const fault = { code: RPC_CODE.internal };
  expect(new MessageReader(100).read(strange, () => expect.unreachable())).toMatchObject(fault);
  const silent = compressed(gzipSync(Buffer.from("x")));
  expect(new MessageReader(100).read(silent, () => expect.unreachable())).toMatchObject(fault);
  const noise = compressed(Buffer.from("noise"));
  expect(new MessageReader(100, "gzip").read(noise, () => expect.unreachable())).toMatchObject(fault);
});

test("time-outs are read in all their units", () => {
  expect(["5S", "20m", "3u", "1M", "2H", "1000000n"].map(timeoutMsOf)).toEqual([
    5_000, 20, 0.003, 60_000, 7_200_000, 1,
  ]);
  expect([undefined, "", "5", "S", "-1S", "123456789S", "5s"].map(timeoutMsOf)).toEqual(
    Array.from({ length: 7 }, () => undefined),
  );
});

test("texts of statuses are percent-encoded but for printable ASCII", () => {
  expect(percentEncoded("plain text, 1 + 1")).toBe("plain text, 1 + 1");
  expect(percentEncoded("100 % é\n")).toBe("100 %25 %C3%A9%0A");
});
