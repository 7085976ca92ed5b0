#!/usr/bin/env node
/** Part of `npm run build`: tsc does not copy the generated JavaScript and its declarations, so this does. */
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const from = join(root, "proto", "gen");
const to = join(root, "dist", "proto", "gen");
mkdirSync(to, { recursive: true });
for (const name of readdirSync(from)) {
  if (name.endsWith(".js") || name.endsWith(".d.ts")) copyFileSync(join(from, name), join(to, name));
}
