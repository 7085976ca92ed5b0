#!/usr/bin/env node
// Starts the compiled command; says what to do when there is none.
import { existsSync } from "node:fs";

const compiled = new URL("../dist/bundle/main.js", import.meta.url);
if (!existsSync(compiled)) {
  process.stderr.write("raftwerk is not compiled: run `npm run build` first\n");
  process.exit(1);
}
const { main, entryPath } = await import(compiled.href);
await main(process.argv, entryPath(import.meta.url));
