/**
 * The fingerprint of a run. Every event goes into it, so that two runs with the same fingerprint did the same
 * things in the same order; a difference means that something outside the world was looked at. (FNV-1a over 32
 * bit words, two lanes.)
 */
export class TraceHash {
  #low = 0x811c9dc5;
  #high = 0x01000193;
  #count = 0;
  readonly #texts = new Map<string, number>();

  number(value: number): void {
    this.#low = Math.imul(this.#low ^ (value | 0), 0x01000193);
    this.#high = Math.imul(
      this.#high ^ ((value / 2 ** 32) | 0) ^ (value | 0) ^ (this.#low >>> 13),
      0x85ebca6b,
    );
    this.#count++;
  }

  /** The length, and of long buffers the beginning and the end. */
  bytes(bytes: Uint8Array): void {
    this.number(bytes.length);
    const head = Math.min(bytes.length, 64);
    for (let i = 0; i < head; i++) this.#low = Math.imul(this.#low ^ (bytes[i] as number), 0x01000193);
    for (let i = Math.max(head, bytes.length - 16); i < bytes.length; i++) {
      this.#low = Math.imul(this.#low ^ (bytes[i] as number), 0x01000193);
    }
  }

  /** By a number that is the same in every run: texts are few and come again and again. */
  text(text: string): void {
    let number = this.#texts.get(text);
    if (number === undefined) {
      number = 0;
      for (let i = 0; i < text.length; i++) number = Math.imul(number ^ text.charCodeAt(i), 0x01000193);
      this.#texts.set(text, number);
    }
    this.#low = Math.imul(this.#low ^ number, 0x01000193);
  }

  get value(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return `${hex(this.#high)}${hex(this.#low)}-${this.#count}`;
  }
}
