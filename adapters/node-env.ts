/** `Env` on a real machine: the only place with real time, timers and chance. */
import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { type Env, type Logger, SeededRandom, type TimerHandle } from "../base/index.js";

/** Seeded from the system's entropy; never the same for two processes. */
export function nodeEnv(log: Logger): Env {
  const seed = randomBytes(8);
  return {
    clock: {
      monotonicMs: () => performance.now(),
      wallMs: () => Date.now(),
    },
    timers: {
      set: (delayMs, callback) => setTimeout(callback, delayMs) as unknown as TimerHandle,
      clear: (handle) => clearTimeout(handle as unknown as NodeJS.Timeout),
      nextTurn: (callback) => {
        setImmediate(callback);
      },
    },
    random: new SeededRandom(seed.readUIntBE(0, 6), seed.readUInt16BE(6)),
    log,
    // Not in the first releases of Node 20.
    ...(typeof crc32 === "function" ? { crc32: (bytes: Uint8Array) => crc32(bytes) } : {}),
  };
}
