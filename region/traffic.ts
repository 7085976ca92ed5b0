/**
 * What went into a region and out of it since somebody took note: PD, with each report, and whoever watches the size.
 * Most regions are idle: a peer has one from the first byte on, and lets it go when it sleeps and this is empty.
 */
import type { RegionFlow } from "./figures.js";

export const NO_FLOW: RegionFlow = Object.freeze({
  bytesWritten: 0,
  keysWritten: 0,
  bytesRead: 0,
  keysRead: 0,
});

export class Traffic {
  // Since the last report to PD.
  bytesWritten = 0;
  keysWritten = 0;
  bytesRead = 0;
  keysRead = 0;
  // Since the last check of the size.
  bytesWrittenSinceCheck = 0;
  keysWrittenSinceCheck = 0;

  get isEmpty(): boolean {
    return (
      this.bytesWritten + this.keysWritten + this.bytesRead + this.keysRead === 0 &&
      this.bytesWrittenSinceCheck + this.keysWrittenSinceCheck === 0
    );
  }

  wrote(bytes: number, keys: number): void {
    this.bytesWritten += bytes;
    this.keysWritten += keys;
    this.bytesWrittenSinceCheck += bytes;
    this.keysWrittenSinceCheck += keys;
  }

  /** Pairs were given to a reader; bytes as they are stored, keys included. */
  read(bytes: number, keys: number): void {
    this.bytesRead += bytes;
    this.keysRead += keys;
  }

  /** For a report to PD: the next one begins at nothing. */
  takeFlow(): RegionFlow {
    const { bytesWritten, keysWritten, bytesRead, keysRead } = this;
    this.bytesWritten = 0;
    this.keysWritten = 0;
    this.bytesRead = 0;
    this.keysRead = 0;
    return { bytesWritten, keysWritten, bytesRead, keysRead };
  }

  /** The size was looked at: what was written before counts no more. */
  sizeChecked(): void {
    this.bytesWrittenSinceCheck = 0;
    this.keysWrittenSinceCheck = 0;
  }
}
