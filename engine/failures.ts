/** The errors that the disk engines share: what failed, where, and what can be done about it. */
import { RaftwerkError } from "../base/index.js";

export type EngineName = "RocksDB" | "LevelDB";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** A failed read or write: final, for what is on disk is not known any more. */
export const engineFailed = (engine: EngineName, what: string, error: unknown): RaftwerkError =>
  new RaftwerkError("engineFailed", `${what} failed in ${engine}: ${messageOf(error)}`, {
    retry: "never",
    cause: error,
  });

export const engineClosed = (): RaftwerkError =>
  new RaftwerkError("engineClosed", "the engine is closed", { retry: "never" });

export function openFailed(
  engine: EngineName,
  directory: string,
  isLocked: boolean,
  error: unknown,
): RaftwerkError {
  if (isLocked) {
    const text = `${directory} is in use by another process: stop it, or take another directory`;
    return new RaftwerkError("dataDirectoryInUse", text, { retry: "never", cause: error });
  }
  const text = `${engine} cannot open ${directory}: ${messageOf(error)}`;
  return new RaftwerkError("engineUnavailable", text, { retry: "never", cause: error });
}
