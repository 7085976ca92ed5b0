/** Reads a TOML file; an unreadable file, wrong syntax, or a key nobody knows stops the start with the place named. */
import { readFileSync } from "node:fs";
import { parse, stringify } from "smol-toml";
import type { z } from "zod";
import { RaftwerkError } from "../base/index.js";

const refuse = (message: string): never => {
  throw new RaftwerkError("invalidConfig", message, { retry: "never" });
};

export function readTomlFile(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    return refuse(`cannot read config file ${path}: ${(error as Error).message}`);
  }
  try {
    return parse(text);
  } catch (error) {
    return refuse(`config file ${path}: ${(error as Error).message}`);
  }
}

/** For `--print-config`: what is printed may be given to `--config`. Entries without a value are left out. */
export function toToml(config: Readonly<Record<string, unknown>>): string {
  return `${stringify(config).trimEnd()}\n`;
}

/** Validates against a strict schema; all mistakes are told at once, with the path of each. */
export function checkConfig<T>(path: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => {
    const at = issue.path.join(".");
    if (issue.code !== "unrecognized_keys") return `${at}: ${issue.message}`;
    const keys = issue.keys.map((key) => (at === "" ? key : `${at}.${key}`));
    return `unknown key ${keys.join(", ")}: remove it or correct its name`;
  });
  return refuse(`config file ${path}: ${lines.join("; ")}`);
}
