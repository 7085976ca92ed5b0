/**
 * Labels of ranges of keys: `schedule=deny` keeps schedulers away, `merge_option=deny` keeps regions apart. A
 * region has the labels of the segment it lies in as a whole; across a border it has none until it is split.
 * (pd-rules 12.22 to 12.26)
 */
import { compareBytes, fromHex, fromUtf8, utf8 } from "../base/index.js";
import { type PdContext, readPrefix, writeGuarded } from "./context.js";
import { Serial } from "./serial.js";
import { formatInstant, parseDurationMs, parseInstant } from "./duration.js";
import type { MetaOperation } from "./meta-store.js";
import type { RegionMeta } from "./region-info.js";

export interface RegionLabel {
  readonly key: string;
  readonly value: string;
  /** As given, a duration like "1h"; empty for ever. */
  readonly ttl: string;
  readonly startAt: string;
  /** By the wall clock; Infinity without ttl. */
  readonly expiresWallMs: number;
}

export interface LabelRange {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  /** As written. */
  readonly startHex: string;
  readonly endHex: string;
}

export interface RegionLabelRule {
  readonly id: string;
  readonly index: number;
  readonly labels: readonly RegionLabel[];
  readonly ranges: readonly LabelRange[];
}

export type LabelChange =
  | { readonly kind: "ok" }
  | { readonly kind: "refused"; readonly reason: string; readonly byContent: boolean };

interface Segment {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  readonly rules: readonly RegionLabelRule[];
}

const contentError = (reason: string): string =>
  `[PD:region:ErrRegionRuleContent]invalid region rule content, ${reason}`;

/** Text is the reason why it is no rule. */
export function labelRuleFromJson(value: unknown, nowWallMs: number): RegionLabelRule | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return contentError("a rule is an object");
  }
  const { id, index, labels, rule_type: type, data } = value as Record<string, unknown>;
  if (typeof id !== "string" || id === "") return contentError("empty rule id");
  if (!Array.isArray(labels) || labels.length === 0) return contentError("no region labels");
  const parsed: RegionLabel[] = [];
  for (const label of labels as unknown[]) {
    const made = labelFromJson(label, nowWallMs);
    if (typeof made === "string") return contentError(made);
    parsed.push(made);
  }
  if (parsed.every((label) => label.expiresWallMs <= nowWallMs)) {
    return contentError("region label has already expired");
  }
  if (type !== "key-range") return contentError(`invalid rule type: ${String(type)}`);
  if (!Array.isArray(data) || data.length === 0) return contentError("no key ranges");
  const ranges: LabelRange[] = [];
  for (const range of data as unknown[]) {
    const made = rangeFromJson(range);
    if (typeof made === "string") return made;
    ranges.push(made);
  }
  return { id, index: typeof index === "number" ? index : 0, labels: parsed, ranges };
}

function labelFromJson(value: unknown, nowWallMs: number): RegionLabel | string {
  const { key, value: text, ttl = "", start_at: startAt = "" } = (value ?? {}) as Record<string, unknown>;
  if (typeof key !== "string" || key === "") return "empty region label key";
  if (typeof text !== "string" || text === "") return "empty region label value";
  if (ttl === "") {
    return { key, value: text, ttl: "", startAt: "", expiresWallMs: Number.POSITIVE_INFINITY };
  }
  const ttlMs = typeof ttl === "string" ? parseDurationMs(ttl) : undefined;
  const started = startAt === "" ? nowWallMs : parseInstant(String(startAt));
  if (ttlMs === undefined || started === undefined) {
    return `region label with invalid ttl info: ttl ${String(ttl)}, start_at ${String(startAt)}`;
  }
  return {
    key,
    value: text,
    ttl: String(ttl),
    startAt: startAt === "" ? formatInstant(Math.floor(nowWallMs)) : String(startAt),
    expiresWallMs: started + ttlMs,
  };
}

function rangeFromJson(value: unknown): LabelRange | string {
  const { start_key: start, end_key: end } = (value ?? {}) as Record<string, unknown>;
  if (typeof start !== "string" || typeof end !== "string") {
    return contentError("a key range has start_key and end_key");
  }
  const startKey = fromHex(start);
  const endKey = fromHex(end);
  if (startKey === undefined) return `[PD:hex:ErrHexDecodingString]decode string ${start} error`;
  if (endKey === undefined) return `[PD:hex:ErrHexDecodingString]decode string ${end} error`;
  if (endKey.length > 0 && compareBytes(endKey, startKey) <= 0) {
    return contentError("endKey should be greater than startKey");
  }
  return { startKey, endKey, startHex: start, endHex: end };
}

export const labelRuleToJson = (rule: RegionLabelRule): Record<string, unknown> => ({
  id: rule.id,
  index: rule.index,
  labels: rule.labels.map(({ key, value, ttl, startAt }) => ({
    key,
    value,
    ttl: ttl === "" ? undefined : ttl,
    start_at: startAt === "" ? undefined : startAt,
  })),
  rule_type: "key-range",
  data: rule.ranges.map(({ startHex, endHex }) => ({ start_key: startHex, end_key: endHex })),
});

export class RegionLabeler {
  readonly #context: PdContext;
  readonly #changes = new Serial();
  #rules = new Map<string, RegionLabelRule>();
  #segments: readonly Segment[] = [];
  /** Ranges whose labels changed must be looked at soon. (8.6) */
  onChanged: (ranges: readonly LabelRange[]) => void = () => {};

  constructor(context: PdContext) {
    this.#context = context;
  }

  load(callback: (error: Error | undefined) => void): void {
    const { metaStore, keys, env } = this.#context;
    const rules = new Map<string, RegionLabelRule>();
    const bad: MetaOperation[] = [];
    const visit = (key: Uint8Array, value: Uint8Array): void => {
      let made: RegionLabelRule | string;
      try {
        made = labelRuleFromJson(JSON.parse(fromUtf8(value)), env.clock.wallMs());
      } catch (error) {
        made = String(error);
      }
      if (typeof made !== "string") rules.set(made.id, made);
      else {
        env.log.warn("a stored region label rule is dropped", { key: fromUtf8(key), reason: made });
        bad.push({ kind: "delete", key });
      }
    };
    readPrefix(metaStore, keys.regionLabels, visit, (error) => {
      if (error !== undefined) return callback(error);
      this.#install(rules);
      if (bad.length === 0) return callback(undefined);
      writeGuarded(this.#context, bad, callback);
    });
  }

  #install(rules: Map<string, RegionLabelRule>): void {
    this.#rules = rules;
    this.#segments = segmentsOf([...rules.values()]);
  }

  /** With the labels that still hold. */
  rules(): RegionLabelRule[] {
    return [...this.#rules.values()].map((rule) => this.#alive(rule)).filter((rule) => rule !== undefined);
  }

  rule(id: string): RegionLabelRule | undefined {
    const rule = this.#rules.get(id);
    return rule === undefined ? undefined : this.#alive(rule);
  }

  #alive(rule: RegionLabelRule): RegionLabelRule | undefined {
    const nowMs = this.#context.env.clock.wallMs();
    if (rule.labels.every((label) => label.expiresWallMs > nowMs)) return rule;
    const labels = rule.labels.filter((label) => label.expiresWallMs > nowMs);
    return labels.length === 0 ? undefined : { ...rule, labels };
  }

  /** Whether any key lies between different labels. */
  get hasBorders(): boolean {
    return this.#segments.length > 1;
  }

  /** Labels of the rules that cover the region as a whole; of several with the same key the highest index wins. */
  labelsOf(meta: RegionMeta): RegionLabel[] {
    if (!this.hasBorders) return [];
    const segment = segmentAt(this.#segments, meta.startKey);
    const { endKey } = segment;
    const inside = endKey.length === 0 || (meta.endKey.length > 0 && compareBytes(meta.endKey, endKey) <= 0);
    if (!inside || segment.rules.length === 0) return [];
    const nowMs = this.#context.env.clock.wallMs();
    const found = new Map<string, RegionLabel>();
    for (const rule of segment.rules) {
      for (const label of rule.labels) if (label.expiresWallMs > nowMs) found.set(label.key, label);
    }
    return [...found.values()];
  }

  label(meta: RegionMeta, key: string): string {
    if (!this.hasBorders) return "";
    return this.labelsOf(meta).find((label) => label.key === key)?.value ?? "";
  }

  /** Schedulers keep away; repairs go on. */
  deniesSchedule(meta: RegionMeta): boolean {
    return this.label(meta, "schedule").toLowerCase() === "deny";
  }

  deniesMerge(meta: RegionMeta): boolean {
    return this.label(meta, "merge_option").toLowerCase() === "deny";
  }

  /** Borders strictly inside (start, end). */
  splitKeys(start: Uint8Array, end: Uint8Array): Uint8Array[] {
    if (this.#segments.length <= 1) return [];
    return this.#segments
      .map((segment) => segment.startKey)
      .filter((key) => compareBytes(key, start) > 0 && (end.length === 0 || compareBytes(key, end) < 0));
  }

  /** Sets win over deletes of the same id. */
  change(
    sets: readonly RegionLabelRule[],
    deletes: readonly string[],
    callback: (change: LabelChange) => void,
  ): void {
    this.#change(() => ({ sets, deletes }), callback);
  }

  /** What is to change is asked for when those before it are done. */
  #change(
    prepare: () => { readonly sets: readonly RegionLabelRule[]; readonly deletes: readonly string[] },
    callback: (change: LabelChange) => void,
  ): void {
    this.#changes.run((done) => {
      const { sets, deletes } = prepare();
      const { keys } = this.#context;
      const rules = new Map(this.#rules);
      const changed: LabelRange[] = [];
      const operations: MetaOperation[] = [];
      for (const id of deletes) {
        const old = rules.get(id);
        if (old === undefined) continue;
        changed.push(...old.ranges);
        rules.delete(id);
        if (!sets.some((rule) => rule.id === id))
          operations.push({ kind: "delete", key: keys.regionLabel(id) });
      }
      for (const rule of sets) {
        changed.push(...rule.ranges, ...(rules.get(rule.id)?.ranges ?? []));
        rules.set(rule.id, rule);
        const value = utf8(JSON.stringify(labelRuleToJson(rule)));
        operations.push({ kind: "put", key: keys.regionLabel(rule.id), value });
      }
      const finish = (): void => {
        this.#install(rules);
        if (changed.length > 0) this.onChanged(changed);
        done();
        callback({ kind: "ok" });
      };
      if (operations.length === 0) return finish();
      writeGuarded(this.#context, operations, (error) => {
        if (error === undefined) return finish();
        done();
        callback({ kind: "refused", reason: error.message, byContent: false });
      });
    });
  }

  /** Takes expired labels out of what is stored, and rules of which none is left; now and then. (12.24) */
  forgetExpired(): void {
    this.#change(
      () => {
        const sets: RegionLabelRule[] = [];
        const deletes: string[] = [];
        for (const rule of this.#rules.values()) {
          const alive = this.#alive(rule);
          if (alive === undefined) deletes.push(rule.id);
          else if (alive !== rule) sets.push(alive);
        }
        return { sets, deletes };
      },
      () => {},
    );
  }
}

function segmentsOf(rules: readonly RegionLabelRule[]): Segment[] {
  const borders: Uint8Array[] = [new Uint8Array(0)];
  for (const rule of rules) {
    for (const { startKey, endKey } of rule.ranges) {
      borders.push(startKey);
      if (endKey.length > 0) borders.push(endKey);
    }
  }
  borders.sort(compareBytes);
  const unique = borders.filter((key, i) => i === 0 || compareBytes(key, borders[i - 1] as Uint8Array) !== 0);
  const segments: Segment[] = unique.map((startKey, i) => ({
    startKey,
    endKey: unique[i + 1] ?? new Uint8Array(0),
    rules: [],
  }));
  const byIndex = [...rules].sort((left, right) => left.index - right.index);
  for (const rule of byIndex) {
    for (const range of rule.ranges) {
      for (const segment of segments) {
        if (coversSegment(range, segment)) (segment.rules as RegionLabelRule[]).push(rule);
      }
    }
  }
  // One segment alone has no rules unless a rule covers the whole key space: then it must not look empty.
  if (segments.length === 1 && (segments[0] as Segment).rules.length > 0)
    segments.push(segments[0] as Segment);
  return segments;
}

function coversSegment(range: LabelRange, segment: Segment): boolean {
  if (compareBytes(range.startKey, segment.startKey) > 0) return false;
  if (range.endKey.length === 0) return true;
  return segment.endKey.length > 0 && compareBytes(range.endKey, segment.endKey) >= 0;
}

function segmentAt(segments: readonly Segment[], key: Uint8Array): Segment {
  let low = 0;
  let high = segments.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (compareBytes((segments[middle] as Segment).startKey, key) <= 0) low = middle;
    else high = middle;
  }
  return segments[low] as Segment;
}
