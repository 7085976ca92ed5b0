/** Logs through pino, to standard error or a file: JSON lines for programs, or short lines for people. */
import { type DestinationStream, type Logger as PinoLogger, pino, stdTimeFunctions } from "pino";
import { type Logger, RaftwerkError, toHex } from "../base/index.js";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["json", "text"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Empty: standard error. */
  readonly file: string;
  /** Default `json`. */
  readonly format?: LogFormat;
  /** Users' keys become `?`. Values are never logged. Default false. */
  readonly redactKeys?: boolean;
}

/** A logger whose level may change while the process runs. */
export interface LeveledLogger extends Logger {
  level: LogLevel;
}

export function createLogger(options: LoggerOptions): LeveledLogger {
  // Synchronous, so that the last words of a dying process are on disk.
  const destination = pino.destination({
    dest: options.file === "" ? 2 : options.file,
    sync: true,
    mkdir: true,
  });
  return loggerTo(options.format === "text" ? asText(destination) : destination, options);
}

/** For tests: the same over any stream. */
export function loggerTo(
  destination: DestinationStream,
  options: Pick<LoggerOptions, "level" | "redactKeys">,
): LeveledLogger {
  const redact = options.redactKeys === true;
  const sink = pino(
    {
      level: options.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => shown(fields, redact),
      },
    },
    destination,
  );
  return wrap(sink);
}

/** Bytes in fields are users' keys, shown in hex; so are the fields whose names say so. */
function shown(fields: Record<string, unknown>, redact: boolean): Record<string, unknown> {
  let changed: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(fields)) {
    const isBytes = value instanceof Uint8Array;
    if (!isBytes && !(redact && /key$|keys$/i.test(name))) continue;
    changed ??= { ...fields };
    changed[name] = redact ? "?" : toHex(value as Uint8Array).toUpperCase();
  }
  return changed ?? fields;
}

/** `2026-11-27T10:00:00.000Z INFO  store serves  store=1 addr=127.0.0.1:20160` */
export function asText(destination: DestinationStream): DestinationStream {
  return {
    write(line: string): void {
      const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const rest = Object.entries(fields).map(([name, value]) => `${name}=${fieldText(value)}`);
      const head = `${String(time)} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}`;
      destination.write(`${rest.length === 0 ? head : `${head}  ${rest.join(" ")}`}\n`);
    },
  };
}

function fieldText(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return typeof value === "string" && /[\s"=]/.test(text) ? JSON.stringify(text) : text;
}

function wrap(sink: PinoLogger): LeveledLogger {
  return {
    get level(): LogLevel {
      return sink.level as LogLevel;
    },
    set level(level: LogLevel) {
      sink.level = level;
    },
    debug: (message, fields) => sink.debug(fields ?? {}, message),
    info: (message, fields) => sink.info(fields ?? {}, message),
    warn: (message, fields) => sink.warn(fields ?? {}, message),
    error: (message, fields) => sink.error(fields ?? {}, message),
  };
}

export function parseLogLevel(text: string): LogLevel {
  // TiKV writes `warning`; both are taken.
  const level = text === "warning" ? "warn" : text;
  return oneOf("log level", LOG_LEVELS, level);
}

export const parseLogFormat = (text: string): LogFormat => oneOf("log format", LOG_FORMATS, text);

function oneOf<T extends string>(what: string, all: readonly T[], text: string): T {
  const found = all.find((one) => one === text);
  if (found !== undefined) return found;
  throw new RaftwerkError("invalidConfig", `${what} "${text}" is none of ${all.join(", ")}`, {
    retry: "never",
  });
}
