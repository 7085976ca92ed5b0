#!/usr/bin/env node
/**
 * Last step of `npm run build`: the command in few files. Loading some six hundred small modules costs each process
 * half a second of processor time, and a local cluster is four processes. Programs that import the package get the
 * plain modules of dist/; only bin/raftwerk.js runs the bundle. Native engines and etcd3 stay outside: they load files
 * from their own directories.
 */
import { renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const dist = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const bundle = join(dist, "bundle");
// Beside the old one: commands that start meanwhile find that.
const outdir = join(dist, "bundle-new");
rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: [join(dist, "ctl", "main.js")],
  outdir,
  bundle: true,
  splitting: true,
  platform: "node",
  format: "esm",
  target: "node20",
  external: ["@nxtedition/rocksdb", "classic-level", "etcd3"],
  legalComments: "linked",
  logLevel: "warning",
  // CommonJS packages call require, which modules lack.
  banner: {
    js: 'import { createRequire as bundleRequire } from "node:module"; const require = bundleRequire(import.meta.url);',
  },
});
rmSync(bundle, { recursive: true, force: true });
renameSync(outdir, bundle);
