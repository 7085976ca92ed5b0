#!/usr/bin/env node
/**
 * What npm runs after an install: the build, unless what is there is newer than its sources. npm runs this too at the
 * first `npx raftwerk` inside of a checkout; to build again would take that call half a minute, and take the command
 * away meanwhile from others that start.
 */
import { execSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const LEFT_OUT = new Set(["node_modules", "dist", "docs", "test"]);
const SOURCE = /\.(ts|mjs|js|json)$/;

function newestMs(folder) {
  let newest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith(".") || LEFT_OUT.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) newest = Math.max(newest, newestMs(path));
    else if (SOURCE.test(entry.name)) newest = Math.max(newest, statSync(path).mtimeMs);
  }
  return newest;
}

const builtMs = statSync(join(root, "dist", "bundle", "main.js"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
if (builtMs <= newestMs(root)) execSync("npm run build", { cwd: root, stdio: "inherit" });
