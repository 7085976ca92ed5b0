import { expect, test } from "vitest";
import { RaftwerkError, utf8 } from "../base/index.js";
import { asText, loggerTo, parseLogFormat, parseLogLevel } from "./logger.js";

/** What a logger with these options writes for one call. */
function written(format: "json" | "text", redactKeys: boolean): string {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line) };
  const log = loggerTo(format === "text" ? asText(sink) : sink, { level: "info", redactKeys });
  log.debug("not at this level");
  log.warn("region split", { region: 7, splitKey: utf8("ab"), reason: 'too "big"' });
  return lines.join("");
}

test("JSON lines carry level, time, message and fields, with bytes as hex", () => {
  const { time, ...rest } = JSON.parse(written("json", false)) as Record<string, unknown>;
  expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  expect(rest).toEqual({
    level: "warn",
    msg: "region split",
    region: 7,
    splitKey: "6162",
    reason: 'too "big"',
  });
});

test("text lines are for people", () => {
  expect(written("text", false)).toMatch(
    /^\d{4}\S+Z WARN {2}region split {2}region=7 splitKey=6162 reason="too \\"big\\""\n$/,
  );
});

test("keys are redacted on option in both formats, and nothing else is", () => {
  expect(written("json", true)).toContain('"splitKey":"?"');
  expect(written("text", true)).toContain("region=7 splitKey=? reason=");
  expect(written("text", true)).not.toContain("6162");
});

test("unknown levels and formats are refused with what there is", () => {
  expect(parseLogLevel("warning")).toBe("warn");
  expect(() => parseLogLevel("loud")).toThrow("none of debug, info, warn, error");
  expect(() => parseLogFormat("xml")).toThrow(RaftwerkError);
});
