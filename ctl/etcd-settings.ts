/** How PD reaches etcd: from flags, or a config file's `[etcd]`. */
import { readFileSync } from "node:fs";
import type { EtcdOptions } from "../adapters/etcd-client.js";
import { RaftwerkError } from "../base/index.js";
import type { PdFileConfig } from "./pd-config.js";

export interface EtcdFlags {
  readonly etcd?: string;
  readonly etcdCacert?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdUser?: string;
  readonly lease?: string;
}

export interface EtcdSettings {
  readonly connection: EtcdOptions;
  readonly leaseSeconds: number;
}

const LEASE_SECONDS_MIN = 2;
const LEASE_SECONDS_MAX = 60;
const PASSWORD_VARIABLE = "RAFTWERK_ETCD_PASSWORD";

function refuse(message: string): never {
  throw new RaftwerkError("invalidConfig", message, { retry: "never" });
}

/** Undefined when no etcd is asked for: PD then keeps its metadata itself. */
export function etcdSettings(flags: EtcdFlags, file: PdFileConfig): EtcdSettings | undefined {
  const section = file.etcd ?? {};
  const urls = flags.etcd ?? section.endpoints?.join(",");
  const certificate = flags.etcdCert ?? section["cert-path"];
  const key = flags.etcdKey ?? section["key-path"];
  const authority = flags.etcdCacert ?? section["cacert-path"];
  const user = flags.etcdUser ?? section.user;
  if (urls === undefined) {
    const others = [certificate, key, authority, user, flags.lease].some((given) => given !== undefined);
    return others ? refuse("options of etcd need --etcd with the addresses of its nodes") : undefined;
  }
  const endpoints = endpointsOf(urls);
  const isSecure = (endpoints[0] ?? "").startsWith("https://");
  if (isSecure && authority === undefined) refuse("--etcd with https:// needs --etcd-cacert");
  if (!isSecure && authority !== undefined) refuse("--etcd-cacert is given, but --etcd uses http://");
  if ((certificate === undefined) !== (key === undefined)) refuse("--etcd-cert and --etcd-key go together");
  const tls =
    authority === undefined
      ? {}
      : {
          tls: {
            rootCertificate: readPem("--etcd-cacert", authority),
            ...(key === undefined ? {} : { privateKey: readPem("--etcd-key", key) }),
            ...(certificate === undefined ? {} : { certificateChain: readPem("--etcd-cert", certificate) }),
          },
        };
  const connection: EtcdOptions = {
    endpoints,
    ...tls,
    ...(user === undefined ? {} : { auth: authOf(user) }),
  };
  return { connection, leaseSeconds: leaseOf(flags.lease ?? section.lease?.toString()) };
}

function endpointsOf(urls: string): string[] {
  const endpoints = urls
    .split(",")
    .map((url) => url.trim())
    .filter((url) => url !== "")
    .map((url) => (/^https?:\/\//.test(url) ? url : `http://${url}`));
  for (const url of endpoints) {
    if (!URL.canParse(url) || new URL(url).port === "")
      refuse(`--etcd: "${url}" is no address like http://host:2379`);
  }
  if (endpoints.length === 0) refuse("--etcd names no address");
  const secure = endpoints.filter((url) => url.startsWith("https://")).length;
  if (secure !== 0 && secure !== endpoints.length) refuse("--etcd: use https:// for all nodes or for none");
  return endpoints;
}

function readPem(option: string, path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    return refuse(
      `${option}: cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** The password is not taken from the command line, where every user of the machine would see it. */
function authOf(username: string): { username: string; password: string } {
  const password = process.env[PASSWORD_VARIABLE];
  if (password === undefined)
    refuse(`--etcd-user needs the password in the environment as ${PASSWORD_VARIABLE}`);
  return { username, password };
}

function leaseOf(text: string | undefined): number {
  if (text === undefined) return LEASE_SECONDS_MIN;
  const seconds = Number(text);
  if (!Number.isInteger(seconds) || seconds < LEASE_SECONDS_MIN || seconds > LEASE_SECONDS_MAX) {
    refuse(
      `--lease must be a whole number of seconds from ${LEASE_SECONDS_MIN} to ${LEASE_SECONDS_MAX}, not "${text}"`,
    );
  }
  return seconds;
}
