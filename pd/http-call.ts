/**
 * One request of the HTTP API on its way: what came in, and the forms in which PD answers. A text is sent as a JSON
 * string; bad input found by the JSON reader is an object with code and message. (pd-rules 11.1 to 11.4)
 */
import { fromHex, fromUtf8 } from "../base/index.js";
import type { Cluster } from "./cluster.js";
import type { PdConfig } from "./config.js";
import type { PdContext } from "./context.js";
import type { GcState } from "./gc-state.js";
import type { HeartbeatStreams } from "./heartbeat-streams.js";
import { parseJsonBody, toJsonText, unescapeToBytes } from "./http-text.js";
import type { Leadership } from "./leadership.js";
import type { MinResolvedTimestamp } from "./min-resolved-timestamp.js";
import type { Members } from "./members.js";
import type { RegionSyncServer } from "./region-sync-server.js";
import type { Scheduling } from "./scheduling.js";
import type { SettingsOutcome, Settings } from "./settings.js";
import type { StoreAdmin } from "./store-admin.js";
import type { TemporaryConfig } from "./temporary-config.js";
import type { TimestampOracle } from "./timestamp-oracle.js";

export interface HttpRequest {
  readonly method: string;
  /** Without the query, still percent-encoded. */
  readonly path: string;
  readonly query: Readonly<Record<string, readonly string[]>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}
export type HttpReply = (status: number, contentType: string, body: string) => void;

export interface HttpParts {
  readonly context: PdContext;
  readonly leadership: Leadership;
  readonly timestamps: TimestampOracle;
  readonly cluster: Cluster;
  readonly streams: HeartbeatStreams;
  readonly members: Members;
  readonly sync: RegionSyncServer;
  readonly gc: GcState;
  readonly minResolved: MinResolvedTimestamp;
  readonly scheduling: Scheduling;
  readonly stores: StoreAdmin;
  readonly temporary: TemporaryConfig;
  readonly startedWallMs: number;
  readonly config: PdConfig;
  readonly settings: Settings;
  /** Where there are several PDs: gives the leadership to the member named, or to any other. */
  readonly transfer?: (name: string | undefined, callback: (error: Error | undefined) => void) => void;
  /** Where the log's level can change while PD runs. */
  readonly setLogLevel?: (level: PdLogLevel) => void;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type PdLogLevel = (typeof LOG_LEVELS)[number];

const JSON_TYPE = "application/json; charset=UTF-8";
const REGIONS_TYPE = "application/octet-stream";
const TEXT_TYPE = "text/plain; charset=utf-8";

export const NOT_BOOTSTRAPPED =
  "[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first";

export class HttpCall {
  readonly parts: HttpParts;
  readonly request: HttpRequest;
  /** The variable segments of the path, still percent-encoded. */
  readonly params: readonly string[];
  readonly #reply: HttpReply;

  constructor(parts: HttpParts, request: HttpRequest, params: readonly string[], reply: HttpReply) {
    this.parts = parts;
    this.request = request;
    this.params = params;
    this.#reply = reply;
  }

  param(index: number): string {
    return this.params[index] ?? "";
  }

  /** A name in the path, unescaped; undefined when malformed: then the answer has been sent. */
  nameParam(index: number): string | undefined {
    const bytes = unescapeToBytes(this.param(index), false);
    if (bytes !== undefined) return fromUtf8(bytes);
    this.fail(400, `invalid URL escape in ${JSON.stringify(this.param(index))}`);
    return undefined;
  }

  query(name: string): string | undefined {
    return this.request.query[name]?.[0];
  }

  queries(name: string): readonly string[] {
    return this.request.query[name] ?? [];
  }

  json(value: unknown, status = 200): void {
    this.#reply(status, JSON_TYPE, `${toJsonText(value, "  ")}\n`);
  }

  /** Lists of regions are long: without indent. */
  regions(value: unknown): void {
    this.#reply(200, REGIONS_TYPE, toJsonText(value, ""));
  }

  text(status: number, text: string): void {
    this.#reply(status, TEXT_TYPE, text);
  }

  fail(status: number, reason: string): void {
    this.json(reason, status);
  }

  /** Bad input in the form of the JSON reader. */
  badInput(message: string, data: unknown = {}): void {
    this.json({ code: "input", msg: message, data }, 400);
  }

  /** The answer to a change of settings: `done`, or why nothing changed. */
  changed(done: unknown, refuse: (reason: string) => void): (outcome: SettingsOutcome) => void {
    return (outcome) => {
      if (outcome.kind === "ok") this.json(done);
      else if (outcome.kind === "refused") refuse(outcome.reason);
      else this.fail(500, outcome.error.message);
    };
  }

  /** Undefined when the body is no object; then the answer has been sent. */
  bodyObject(): Record<string, unknown> | undefined {
    const value = this.body();
    if (value === undefined) return undefined;
    if (typeof value.parsed === "object" && value.parsed !== null && !Array.isArray(value.parsed)) {
      return value.parsed as Record<string, unknown>;
    }
    this.badInput(
      `json: cannot unmarshal ${jsonKind(value.parsed)} into Go value of type map[string]interface {}`,
    );
    return undefined;
  }

  body(): { readonly parsed: unknown } | undefined {
    const body = parseJsonBody(fromUtf8(this.request.body));
    if (body.kind === "ok") return { parsed: body.value };
    this.badInput(body.message, { Offset: body.offset });
    return undefined;
  }

  /** A whole number of a path; undefined when it is none: then the answer has been sent. */
  idParam(
    index: number,
    bad: (message: string) => void = (message) => this.fail(400, message),
  ): number | undefined {
    const text = this.param(index);
    const id = Number(text);
    if (/^[0-9]+$/.test(text) && Number.isSafeInteger(id)) return id;
    bad(`strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
    return undefined;
  }

  /**
   * `?limit=`; undefined when it is no number: then the answer has been sent. 0 or less is no limit, as in PD.
   */
  limit(initial: number, max: number): number | undefined {
    const text = this.query("limit");
    if (text === undefined || text === "") return initial;
    if (!/^[-+]?[0-9]+$/.test(text)) {
      this.fail(400, `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
      return undefined;
    }
    return Math.min(Number(text), max);
  }
}

export function jsonKind(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** Keys in requests are hex; undefined when this is none. */
export function keyFromHex(text: string): Uint8Array | undefined {
  return /^([0-9A-Fa-f]{2})*$/.test(text) ? fromHex(text) : undefined;
}
