/**
 * Asks before anything is started whether the ports are free: an old cluster on them would answer in place of the
 * new.
 */
import { createServer } from "node:net";
import { RaftwerkError } from "../base/index.js";

export interface WantedPort {
  readonly port: number;
  /** The option that chooses it. */
  readonly option: string;
}

export async function requireFreePorts(host: string, wanted: readonly WantedPort[]): Promise<void> {
  for (const { port, option } of wanted) {
    const failure = await tryListen(host, port);
    if (failure === undefined) continue;
    const text =
      failure === "EADDRINUSE"
        ? `${host}:${port} is in use, perhaps by a cluster that still runs: stop it, or choose another ${option}`
        : `cannot listen on ${host}:${port} (${failure}): choose another ${option}`;
    throw new RaftwerkError("portInUse", text, { retry: "never" });
  }
}

function tryListen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
}
