/** For clusters of real processes on this machine. */
import { type AddressInfo, createServer } from "node:net";

/** The first of `count` ports in a row that nobody listens on now. */
export async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = await listenOnce(0);
    if (first + count > 65_535) continue;
    const rest = Array.from({ length: count - 1 }, (_, i) => listenOnce(first + 1 + i));
    if ((await Promise.allSettled(rest)).every((each) => each.status === "fulfilled")) return first;
  }
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const { port: bound } = server.address() as AddressInfo;
      server.close(() => resolve(bound));
    });
  });
}
