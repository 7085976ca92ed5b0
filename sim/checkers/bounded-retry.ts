/**
 * 24 Bounded retry: no call of a client outlives its time, plus a little for its own turns and pauses.
 *
 *   ended - began <= timeout + slack + time that the client stood still
 */
import { MS, Violation } from "../world.js";

const SLACK_US = 500 * MS;

export function checkBoundedRetry(what: string, tookUs: number, pausedUs: number, timeoutMs: number): void {
  // Clocks of machines run up to 4.5 % too slow or too fast.
  const boundUs = timeoutMs * MS * 1.05 + SLACK_US + pausedUs;
  if (tookUs <= boundUs) return;
  throw new Violation("24 bounded retry", `${what} took ${tookUs / MS} ms, and its time was ${timeoutMs} ms`);
}
