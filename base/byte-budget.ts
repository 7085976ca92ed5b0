/** Bytes held for one purpose, wherever they lie, against one bound. Invariant: bytes >= 0. */
export class ByteBudget {
  readonly bytesMax: number;
  #bytes = 0;
  #returnedBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Nothing more should be taken on for this purpose. */
  get isSpent(): boolean {
    return this.#bytes > this.bytesMax;
  }

  /** Of all time. */
  get returnedBytes(): number {
    return this.#returnedBytes;
  }

  /** Negative when bytes are given back. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (bytes < 0) this.#returnedBytes -= bytes;
  }
}
