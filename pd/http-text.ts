/**
 * JSON as PD's HTTP API writes and reads it. Written: two spaces of indent, or none for lists of regions, and 64-bit
 * numbers in full, which JSON.stringify cannot do with a bigint. Read: errors carry the text and the offset that
 * clients of PD know from its JSON reader. (pd-rules 11.1, 11.2)
 */

/** Members whose value is undefined are left out, as `omitempty` does. */
export function toJsonText(value: unknown, indent: string): string {
  const parts: string[] = [];
  write(parts, value, indent, "\n");
  return parts.join("");
}

function write(parts: string[], value: unknown, indent: string, newline: string): void {
  if (typeof value !== "object" || value === null) {
    parts.push(typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? "null"));
    return;
  }
  const inner = newline + indent;
  const before = indent === "" ? "" : inner;
  if (Array.isArray(value)) {
    if (value.length === 0) return void parts.push("[]");
    value.forEach((item, i) => {
      parts.push(i === 0 ? "[" : ",", before);
      write(parts, item, indent, inner);
    });
    return void parts.push(indent === "" ? "]" : `${newline}]`);
  }
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  if (entries.length === 0) return void parts.push("{}");
  entries.forEach(([name, item], i) => {
    parts.push(i === 0 ? "{" : ",", before, JSON.stringify(name), indent === "" ? ":" : ": ");
    write(parts, item, indent, inner);
  });
  parts.push(indent === "" ? "}" : `${newline}}`);
}

export type JsonBody =
  | { readonly kind: "ok"; readonly value: unknown }
  | { readonly kind: "bad"; readonly message: string; readonly offset: number };

export function parseJsonBody(text: string): JsonBody {
  try {
    const tooLarge = MAY_OVERFLOW.test(text) ? overflow(text) : undefined;
    if (tooLarge === undefined) return { kind: "ok", value: JSON.parse(text) };
    const message = "json: cannot unmarshal number into Go value of type float64: value out of range";
    return { kind: "bad", message, offset: tooLarge };
  } catch {
    return locate(text);
  }
}

/** Would be read as infinity, which passes for a number and cannot be stored. */
const MAY_OVERFLOW = /[0-9][eE][+]?[0-9]{3}|[0-9]{300}/;

/** Where the first number starts that is too large, if there is one. */
function overflow(text: string): number | undefined {
  let isTooLarge = false;
  JSON.parse(text, (_name, value: unknown) => {
    if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY) isTooLarge = true;
    return value;
  });
  return isTooLarge ? MAY_OVERFLOW.exec(text)?.index : undefined;
}

const END = "unexpected end of JSON input";

/**
 * Where and why a text that is not JSON stops being it. Walks the tokens with a stack of what is open; texts that
 * only this walk would accept are reported at their end.
 */
function locate(text: string): JsonBody {
  const token = /[\s]*("(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|[^])/y;
  const open: ("{" | "[")[] = [];
  let expect: "value" | "firstKey" | "key" | "colon" | "after" | "done" = "value";
  for (;;) {
    const match = token.exec(text);
    const found = match?.[1];
    if (match === null || found === undefined || /^\s$/.test(found)) {
      return { kind: "bad", message: END, offset: text.length };
    }
    const offset = token.lastIndex - found.length + 1;
    const unexpected = (where: string): JsonBody => ({
      kind: "bad",
      message: `invalid character '${found[0]}' ${where}`,
      offset,
    });
    const closes = (open.at(-1) === "{" ? "}" : "]") === found && open.length > 0;
    const isValue = found.length > 1 || /[0-9]/.test(found);
    if (closes && (expect === "after" || expect === "firstKey" || expect === "value")) {
      open.pop();
      expect = open.length === 0 ? "done" : "after";
    } else if (expect === "value") {
      if (found === "{" || found === "[") {
        open.push(found);
        expect = found === "{" ? "firstKey" : "value";
      } else if (!isValue) return found === '"' ? unterminated(text) : unexpected(VALUE);
      else expect = open.length === 0 ? "done" : "after";
    } else if (expect === "firstKey" || expect === "key") {
      if (found[0] !== '"') return unexpected("looking for beginning of object key string");
      if (found.length === 1) return unterminated(text);
      expect = "colon";
    } else if (expect === "colon") {
      if (found !== ":") return unexpected("after object key");
      expect = "value";
    } else if (expect === "after") {
      if (found !== ",") {
        return unexpected(open.at(-1) === "{" ? "after object key:value pair" : "after array element");
      }
      expect = open.at(-1) === "{" ? "key" : "value";
    } else return unexpected("after top-level value");
  }
}

const VALUE = "looking for beginning of value";
const unterminated = (text: string): JsonBody => ({ kind: "bad", message: END, offset: text.length });

/** Percent signs and plus of a path or query, to bytes: keys need not be text. */
export function unescapeToBytes(text: string, plusIsSpace: boolean): Uint8Array | undefined {
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i] as string;
    if (char === "%") {
      const digits = text.slice(i + 1, i + 3);
      if (!/^[0-9A-Fa-f]{2}$/.test(digits)) return undefined;
      bytes.push(Number.parseInt(digits, 16));
      i += 2;
    } else if (char === "+" && plusIsSpace) bytes.push(32);
    else bytes.push(...new TextEncoder().encode(text.codePointAt(i) === undefined ? "" : char));
  }
  return Uint8Array.from(bytes);
}
