/** Programs of the tests as plain JavaScript, so that a process starts in a fraction of a second. */
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/**
 * Bundles a TypeScript file of this folder; returns the path of the result, inside the repository for its packages.
 */
export function bundle(name: string): string {
  const source = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const directory = fileURLToPath(new URL("../../dist/group-test", import.meta.url));
  mkdirSync(directory, { recursive: true });
  const outfile = `${directory}/${name}-${process.pid}.mjs`;
  const common = { bundle: true, platform: "node", format: "esm", packages: "external" } as const;
  buildSync({ ...common, entryPoints: [source], outfile, logLevel: "error" });
  return outfile;
}
