/**
 * A snapshot as a stream of bytes: a header, the group's own state, then the application's chunks with their lengths,
 * then an end mark, so that a stream that was cut off is told from a whole one.
 *
 *   header: "RWGS" version flags | u32 length, group state | (u32 length, chunk)* | u32 0xffffffff
 */
import { EMPTY_BYTES, utf8 } from "../base/index.js";
import { ByteReader, ByteWriter, corrupt } from "./wire.js";

const MAGIC = "RWGS";
const VERSION = 1;
const END_MARK = 0xffff_ffff;
/** Longest chunk of an application, longest group state. */
export const FRAME_BYTES_MAX = 64 << 20;
const HEADER_BYTES = 6;

/** Cuts the stream into pieces of `pieceBytes`. */
export class StreamCutter {
  readonly #pieceBytes: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(pieceBytes: number) {
    this.#pieceBytes = pieceBytes;
  }

  begin(groupState: Uint8Array, isInitial: boolean): void {
    this.#push(
      new ByteWriter(8)
        .raw(utf8(MAGIC))
        .byte(VERSION)
        .byte(isInitial ? 1 : 0)
        .finish(),
    );
    this.frame(groupState);
  }

  frame(chunk: Uint8Array): void {
    if (chunk.length > FRAME_BYTES_MAX) {
      throw corrupt(`snapshot() yielded a chunk of ${chunk.length} bytes, more than ${FRAME_BYTES_MAX}`);
    }
    this.#push(new ByteWriter(4).u32(chunk.length).finish());
    this.#push(chunk);
  }

  end(): void {
    this.#push(new ByteWriter(4).u32(END_MARK).finish());
  }

  #push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
  }

  /** The next whole piece; with `isLast` also a shorter one. Undefined when there is none. */
  take(isLast: boolean): Uint8Array | undefined {
    if (this.#bytes === 0 || (this.#bytes < this.#pieceBytes && !isLast)) return undefined;
    const piece = new Uint8Array(Math.min(this.#pieceBytes, this.#bytes));
    let at = 0;
    while (at < piece.length) {
      const part = this.#parts[0] as Uint8Array;
      const used = part.subarray(0, piece.length - at);
      piece.set(used, at);
      at += used.length;
      if (used.length === part.length) this.#parts.shift();
      else this.#parts[0] = part.subarray(used.length);
    }
    this.#bytes -= piece.length;
    return piece;
  }
}

/** Puts the stream together again, from pieces of any size. */
export class StreamReader {
  readonly #next: () => Uint8Array | undefined;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  isInitial = false;

  /** `next` gives the pieces in order, undefined at the end. */
  constructor(next: () => Uint8Array | undefined) {
    this.#next = next;
  }

  #take(length: number): Uint8Array {
    while (this.#bytes < length) {
      const piece = this.#next();
      if (piece === undefined) throw corrupt("the snapshot ends too early");
      this.#parts.push(piece);
      this.#bytes += piece.length;
    }
    this.#bytes -= length;
    const first = this.#parts[0];
    if (first === undefined || length === 0) return EMPTY_BYTES;
    if (first.length > length) {
      this.#parts[0] = first.subarray(length);
      return first.subarray(0, length);
    }
    const taken = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const part = this.#parts[0] as Uint8Array;
      const used = part.subarray(0, length - at);
      taken.set(used, at);
      at += used.length;
      if (used.length === part.length) this.#parts.shift();
      else this.#parts[0] = part.subarray(used.length);
    }
    return taken;
  }

  /** The header and the group state: first of all. */
  begin(): Uint8Array {
    const header = this.#take(HEADER_BYTES);
    const magic = header.subarray(0, MAGIC.length);
    if (magic.some((byte, i) => byte !== MAGIC.charCodeAt(i))) throw corrupt("these bytes are no snapshot");
    if (header[MAGIC.length] !== VERSION) throw corrupt("the snapshot is of a newer version");
    this.isInitial = header[MAGIC.length + 1] === 1;
    const state = this.frame();
    if (state === undefined) throw corrupt("the snapshot holds no group state");
    return state;
  }

  /** The next chunk of the application; undefined after the last, when the end mark was seen. */
  frame(): Uint8Array | undefined {
    const length = new ByteReader(this.#take(4), "length in a snapshot").u32();
    if (length === END_MARK) {
      if (this.#bytes > 0 || this.#next() !== undefined)
        throw corrupt("bytes follow the end of the snapshot");
      return undefined;
    }
    if (length > FRAME_BYTES_MAX) throw corrupt(`the snapshot holds a chunk of ${length} bytes`);
    return this.#take(length);
  }
}
