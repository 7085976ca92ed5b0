/** Which version this is, and which version of TiKV clients may take it for. */
import { readFileSync } from "node:fs";

const packageFile = new URL("../package.json", import.meta.url);
const builtPackageFile = new URL("../../package.json", import.meta.url);

function readVersion(): string {
  for (const url of [packageFile, builtPackageFile]) {
    try {
      const { name, version } = JSON.parse(readFileSync(url, "utf8")) as { name: string; version: string };
      if (name === "raftwerk") return version;
    } catch {
      // The other place has it.
    }
  }
  return "unknown";
}

export const RAFTWERK_VERSION: string = readVersion();
/** Clients compare it with the versions in which features came; it says whose behaviour we follow. */
export const TIKV_VERSION = "8.5.0";
