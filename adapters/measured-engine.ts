/** An engine that measures its writes; everything else goes straight through. */
import type { Engine, EngineBatch } from "../base/index.js";

/** `synced`: with fsync. */
export type WriteObserver = (milliseconds: number, synced: boolean) => void;

export function measuredEngine(engine: Engine, observe: WriteObserver): Engine {
  return {
    kind: engine.kind,
    get: (space, key) => engine.get(space, key),
    multiGet: (space, keys) => engine.multiGet(space, keys),
    scan: (space, options, callback) => engine.scan(space, options, callback),
    batch: () => engine.batch(),
    write(batch: EngineBatch, options, callback) {
      const startMs = performance.now();
      engine.write(batch, options, (error) => {
        observe(performance.now() - startMs, options.sync);
        callback(error);
      });
    },
    snapshot: () => engine.snapshot(),
    deleteRange: (space, start, end, callback) => engine.deleteRange(space, start, end, callback),
    approximateBytes: (space, start, end) => engine.approximateBytes(space, start, end),
    property: (name) => engine.property(name),
    close: (callback) => engine.close(callback),
  };
}
