/** What every long-running command does: log, stop once on a signal, end with a sentence when it cannot go on. */
import { RaftwerkError } from "../base/index.js";
import type { Logger } from "../base/index.js";

export type ExitCode = 0 | 1;

/** Prints the error for a person and ends the process. */
export function exitWithError(error: unknown): never {
  if (error instanceof RaftwerkError) process.stderr.write(`error: ${error.message} [${error.code}]\n`);
  else
    process.stderr.write(
      `error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
  process.exit(1);
}

/** After a fatal error nothing more is promised: log and leave at once, so that no further answer gets out. */
export function fatalExit(log: Logger, error: Error): never {
  log.error("stopping: the process cannot go on", { error: error.stack ?? error.message });
  process.stderr.write(`fatal: ${error.message}\n`);
  process.exit(1);
}

export interface StopOptions {
  readonly log: Logger;
  /** Also stop when standard input closes: a child whose parent died. */
  readonly onStdinEnd: boolean;
  readonly stop: () => Promise<void>;
}

const STOP_TIMEOUT_MS = 5_000;

/** SIGINT and SIGTERM stop cleanly; a second signal, or a stop that hangs, ends the process anyway. */
export function stopOnSignal({ log, onStdinEnd, stop }: StopOptions): void {
  let stopping = false;
  const begin = (reason: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info("stopping", { reason });
    setTimeout(() => {
      log.warn("the clean stop took too long; leaving", { timeoutMs: STOP_TIMEOUT_MS });
      process.exit(1);
    }, STOP_TIMEOUT_MS).unref();
    stop().then(
      () => process.exit(0),
      (error: Error) => fatalExit(log, error),
    );
  };
  process.on("SIGINT", () => begin("SIGINT"));
  process.on("SIGTERM", () => begin("SIGTERM"));
  if (onStdinEnd) {
    process.stdin.on("end", () => begin("the parent process is gone"));
    process.stdin.on("error", () => begin("the parent process is gone"));
    process.stdin.resume();
  }
}

/** A callback-last function as a promise. */
export function promised<T>(
  run: (callback: (error: Error | undefined, result?: T) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    run((error, result) => {
      if (error === undefined) resolve(result as T);
      else reject(error);
    });
  });
}
