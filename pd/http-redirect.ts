/**
 * What a PD that does not lead does with HTTP requests: some it answers itself, the others it passes on to the
 * leader, for which it waits a little when there is none. (pd-rules 1.16)
 */
import type { Env } from "../base/index.js";
import { API } from "./http-route.js";
import type { HttpRequest } from "./http.js";

const WAIT_MS_MIN = 100;
const WAIT_MS_MAX = 3_000;

/** Answered by every PD: what is about this process, and who the members are, as each knows it by itself. */
const LOCAL_PREFIXES = ["admin/log", "status", "ping", "version", "debug/pprof", "members"].map(
  (path) => `${API}/${path}`,
);

export function isAnsweredLocally({ method, path, headers }: HttpRequest): boolean {
  if ((headers["pd-allow-follower-handle"] ?? "") !== "") return true;
  if (path === "/health" || path === "/pd/ping") return true;
  if (method === "GET" && path === `${API}/config`) return true;
  const isChange = method !== "GET" && method !== "HEAD";
  if (isChange && path.startsWith(`${API}/members`)) return false;
  return LOCAL_PREFIXES.some((prefix) => path === prefix || path.startsWith(`${prefix}/`));
}

/**
 * The leader's URLs once they are known, an empty list when this PD leads; undefined when nobody does in time.
 */
export function waitForLeader(
  env: Env,
  leaderUrls: () => readonly string[] | undefined,
  callback: (urls: readonly string[] | undefined) => void,
): void {
  let waitedMs = 0;
  const look = (waitMs: number): void => {
    const urls = leaderUrls();
    if (urls !== undefined || waitedMs >= WAIT_MS_MAX) return callback(urls);
    env.timers.set(waitMs, () => {
      waitedMs += waitMs;
      look(Math.min(waitMs * 2, WAIT_MS_MAX - waitedMs));
    });
  };
  look(WAIT_MS_MIN);
}
