/**
 * The engine as the store writes to it: the first write or deletion that fails is told at once, whoever asked for it,
 * and nothing is written after it. What a failed fsync left on disk is not known, and a second try that succeeds would
 * prove nothing about the first. So no caller needs to look at an error for the store's sake, only for its own.
 */
import type { Engine } from "../base/index.js";

/** For writes whose failure concerns nobody but the store. */
export const toldByEngine = (_error: Error | undefined): void => {};

type Done = (error: Error | undefined) => void;

/** `onSynced` is told how long each synced write took. */
export function guardedEngine(
  engine: Engine,
  nowMs: () => number,
  onSynced: (durationMs: number) => void,
  onFailed: (error: Error) => void,
): Engine {
  let failure: Error | undefined;
  const told =
    (callback: Done): Done =>
    (error) => {
      if (error !== undefined && failure === undefined) {
        failure = error;
        onFailed(error);
      }
      callback(failure);
    };
  return {
    kind: engine.kind,
    get: (space, key) => engine.get(space, key),
    multiGet: (space, keys) => engine.multiGet(space, keys),
    scan: (space, options, callback) => engine.scan(space, options, callback),
    batch: () => engine.batch(),
    write(batch, options, callback) {
      if (failure !== undefined) return callback(failure);
      if (!options.sync) return engine.write(batch, options, told(callback));
      const startMs = nowMs();
      engine.write(batch, options, (error) => {
        onSynced(nowMs() - startMs);
        told(callback)(error);
      });
    },
    snapshot: () => engine.snapshot(),
    deleteRange(space, start, end, callback) {
      if (failure === undefined) engine.deleteRange(space, start, end, told(callback));
      else callback(failure);
    },
    approximateBytes: (space, start, end) => engine.approximateBytes(space, start, end),
    property: (name) => engine.property(name),
    close: (callback) => engine.close(callback),
  };
}
