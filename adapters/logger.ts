/** Logs as JSON lines through pino, to standard error or a file; for people through pino's own format, short. */
import { pino, stdTimeFunctions, type Logger as PinoLogger } from "pino";
import { type Logger, RaftwerkError } from "../base/index.js";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Empty: standard error. */
  readonly file: string;
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
  const sink = pino(
    {
      level: options.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return wrap(sink);
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
  if ((LOG_LEVELS as readonly string[]).includes(level)) return level as LogLevel;
  throw new RaftwerkError("invalidConfig", `log level "${text}" is none of ${LOG_LEVELS.join(", ")}`, {
    retry: "never",
  });
}
