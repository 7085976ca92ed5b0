/** Errors of a group, and their way over the wire: what one member refuses, another one reports as it was. */
import { type ErrorCode, RaftwerkError, type RetryClass } from "../base/index.js";
import type { Outcome } from "./packet.js";

type Failure = Extract<Outcome, { kind: "failed" }>;

export const failure = (code: ErrorCode, retry: RetryClass, message: string): Failure => ({
  kind: "failed",
  code,
  retry,
  message,
});

export const failureOf = (error: unknown): Failure =>
  error instanceof RaftwerkError
    ? failure(error.code, error.retry, error.message)
    : failure("undeterminedResult", "unknown", error instanceof Error ? error.message : String(error));

export const errorOf = ({ code, retry, message }: Failure): RaftwerkError =>
  new RaftwerkError(code as ErrorCode, message, { retry });

export const unavailable = (message: string): RaftwerkError =>
  new RaftwerkError("groupUnavailable", message, { retry: "safe" });
