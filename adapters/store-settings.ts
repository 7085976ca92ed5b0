/** Asks a store's status port for its settings, for PD. */
import { request as httpRequest } from "node:http";

const TIMEOUT_MS = 4_000;
const ANSWER_BYTES_MAX = 1 << 20;

/** `statusAddress` as the store registered it: `host:port`, perhaps with `http://` before it. Calls back once. */
export function fetchStoreConfig(
  statusAddress: string,
  callback: (error: Error | undefined, body: string) => void,
): void {
  let isDone = false;
  const end = (error: Error | undefined, body = ""): void => {
    if (isDone) return;
    isDone = true;
    clearTimeout(timeout);
    callback(error, body);
    outgoing?.destroy();
  };
  const timeout = setTimeout(
    () => end(new Error(`${statusAddress} did not answer in ${TIMEOUT_MS / 1000} s`)),
    TIMEOUT_MS,
  );
  let outgoing: ReturnType<typeof httpRequest> | undefined;
  try {
    const url = new URL("/config", statusAddress.includes("://") ? statusAddress : `http://${statusAddress}`);
    outgoing = httpRequest(url, { agent: false, headers: { accept: "application/json" } }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) end(new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", (error) => end(error));
      response.on("end", () => {
        if (response.statusCode !== 200)
          return end(new Error(`the answer has status ${response.statusCode}`));
        end(undefined, Buffer.concat(chunks).toString());
      });
    });
    outgoing.on("error", (error) => end(error));
    outgoing.end();
  } catch (error) {
    // An address that is none, or with a scheme that this does not speak.
    end(error as Error);
  }
}
