/**
 * Durations and sizes as TiKV writes them in TOML: `100ms`, `1m30s`, `96MiB`, `1GB` (units are powers of
 * 1024).
 */
import { RaftwerkError } from "../base/index.js";

const DURATION_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const refuse = (name: string, reason: string): never => {
  throw new RaftwerkError("invalidConfig", `${name}: ${reason}`, { retry: "never" });
};

export function durationMs(name: string, text: string): number {
  if (!/^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$/.test(text)) {
    return refuse(name, `"${text}" is no duration; write it like "100ms", "10s" or "1h30m"`);
  }
  let total = 0;
  for (const [, amount, , unit] of text.matchAll(/([0-9]+(\.[0-9]+)?)(ms|s|m|h|d)/g)) {
    total += Number(amount) * (DURATION_MS[unit as string] as number);
  }
  return total;
}

const SIZE_SHIFT: Readonly<Record<string, number>> = { "": 0, K: 1, M: 2, G: 3, T: 4, P: 5 };

export function sizeBytes(name: string, text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*([KMGTP]?)(?:i?B)?$/.exec(text);
  if (match === null) return refuse(name, `"${text}" is no size; write it like "96MiB" or "1GB"`);
  return Math.floor(Number(match[1]) * 1024 ** (SIZE_SHIFT[match[2] as string] as number));
}

export const durationText = (ms: number): string =>
  ms % 60_000 === 0 && ms > 0 ? `${ms / 60_000}m` : ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;

export function sizeText(bytes: number): string {
  for (const [unit, shift] of [
    ["GiB", 30],
    ["MiB", 20],
    ["KiB", 10],
  ] as const) {
    if (bytes >= 2 ** shift && bytes % 2 ** shift === 0) return `${bytes / 2 ** shift}${unit}`;
  }
  return `${bytes}B`;
}

/** `host:port` with both parts; `name` is the option to mention. */
export function parseAddress(name: string, text: string): { readonly host: string; readonly port: number } {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:/\s]+):([0-9]{1,5})$/.exec(text.replace(/^https?:\/\//, ""));
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) return refuse(name, `"${text}" is no address; write it as host:port`);
  return { host: (match[1] as string).replace(/^\[|\]$/g, ""), port };
}

export const addressText = (host: string, port: number): string =>
  `${host.includes(":") ? `[${host}]` : host}:${port}`;

/** Under which others reach what listens on all addresses of a machine: the host by which they know it otherwise. */
export function reachableAddress(name: string, listened: string, knownAs: string): string {
  const { host, port } = parseAddress(name, listened);
  return isEverywhere(host) ? addressText(parseAddress(name, knownAs).host, port) : listened;
}

const isEverywhere = (host: string): boolean => host === "0.0.0.0" || /^[0:]+$/.test(host);

/** What others are told: on each machine 0.0.0.0 would be another, its own. */
export function advertisedAddress(name: string, text: string): string {
  if (!isEverywhere(parseAddress(name, text).host)) return text;
  return refuse(name, `others cannot reach "${text}"; give the address by which they know this machine`);
}

/** `zone=a,host=b` */
export function parseLabels(name: string, text: string): { key: string; value: string }[] {
  return text
    .split(",")
    .filter((part) => part !== "")
    .map((part) => {
      const [key, value, ...rest] = part.split("=");
      if (!key || !value || rest.length > 0 || !/^[\w./-]+$/.test(key) || !/^[\w./-]+$/.test(value)) {
        return refuse(name, `"${part}" is no label; write labels as zone=a,host=b`);
      }
      return { key, value };
    });
}

/** A whole number within bounds, or an error that names the option. */
export function wholeNumber(name: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < minimum || value > maximum) {
    const message = `${name} must be a whole number from ${minimum} to ${maximum}, not "${text}"`;
    throw new RaftwerkError("invalidConfig", message, { retry: "never" });
  }
  return value;
}
