/**
 * Errors with a code and a retry class. `safe`: the operation had no effect and never will, repeat it at will;
 * `unknown`: it may or may not have taken effect; `never`: repeating it cannot help.
 */
export type RetryClass = "safe" | "unknown" | "never";

/** Each code is documented in docs/errors.md; a test keeps the two equal. */
export type ErrorCode =
  | "invalidArgument"
  | "invalidConfig"
  | "portInUse"
  | "dataDirectoryInUse"
  | "dataDirectoryMismatch"
  | "dataDirectoryNotEmpty"
  | "engineUnavailable"
  | "engineFailed"
  | "engineClosed"
  | "clusterIdMismatch"
  | "pdUnavailable"
  | "regionUnavailable"
  | "serverIsBusy"
  | "diskFull"
  | "rpcFailed"
  | "deadlineExceeded"
  | "cancelled"
  | "undeterminedResult"
  | "corruptData"
  | "groupUnavailable"
  | "commandRefused"
  | "stateMachineFailed"
  | "sessionExpired"
  | "responseLost"
  | "memberRemoved"
  | "memberLostItsDisk"
  | "dataLossNotAccepted"
  | "assertionFailed"
  | "closed";

export interface RaftwerkErrorOptions {
  readonly retry: RetryClass;
  readonly cause?: unknown;
}

export class RaftwerkError extends Error {
  override readonly name = "RaftwerkError";
  readonly code: ErrorCode;
  readonly retry: RetryClass;

  constructor(code: ErrorCode, message: string, options: RaftwerkErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retry = options.retry;
  }
}
