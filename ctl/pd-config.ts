/**
 * PD's settings from TOML with PD's names. The scheduling sections are checked by PD itself, which knows them.
 */
import { z } from "zod";
import { RaftwerkError } from "../base/index.js";
import { PdConfig } from "../pd/index.js";
import { checkConfig, readTomlFile } from "./config-file.js";

const text = z.string().optional();
const section = z.record(z.string(), z.unknown()).optional();
const SCHEMA = z.strictObject({
  name: text,
  "data-dir": text,
  "client-urls": text,
  "advertise-client-urls": text,
  "peer-urls": text,
  "advertise-peer-urls": text,
  engine: z.enum(["auto", "rocksdb", "leveldb"]).optional(),
  log: z
    .strictObject({ level: text, format: text, file: z.strictObject({ filename: text }).optional() })
    .optional(),
  security: z.strictObject({ "redact-info-log": z.boolean().optional() }).optional(),
  etcd: z
    .strictObject({
      endpoints: z.array(z.string()).optional(),
      "cacert-path": text,
      "cert-path": text,
      "key-path": text,
      user: text,
      lease: z.number().optional(),
    })
    .optional(),
  schedule: section,
  replication: section,
  "pd-server": section,
});

export type PdFileConfig = z.infer<typeof SCHEMA>;

export function loadPdConfig(path: string | undefined): PdFileConfig {
  return path === undefined ? {} : checkConfig(path, SCHEMA, readTomlFile(path));
}

/** The sections that PD checks. */
export function pdSections(file: PdFileConfig): Record<string, Record<string, unknown>> {
  const sections: Record<string, Record<string, unknown>> = {};
  for (const name of ["schedule", "replication", "pd-server"] as const) {
    const items = file[name];
    if (items !== undefined) sections[name] = items;
  }
  return sections;
}

/** The sections that PD checks, with its defaults, as TOML can say them. */
export function effectiveSections(file: PdFileConfig): Record<string, Record<string, unknown>> {
  const config = new PdConfig();
  const shown: Record<string, Record<string, unknown>> = {};
  for (const section of ["schedule", "replication", "pd-server"] as const) {
    for (const [item, value] of Object.entries(file[section] ?? {})) {
      const change = config.set(section, item, value);
      if (change.kind === "ok") continue;
      throw new RaftwerkError("invalidConfig", `${section}.${item}: ${change.reason}`, { retry: "never" });
    }
    shown[section] = {};
    for (const [item, value] of Object.entries(config.section(section))) {
      // Lists that PD keeps itself, changed by calls of their own.
      if (item === "schedulers-v2" || item === "store-limit") continue;
      shown[section][item] = value === "true" || value === "false" ? value === "true" : value;
    }
  }
  return shown;
}
