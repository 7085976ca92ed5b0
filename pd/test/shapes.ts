/** What a real PD answered, as names and types, and how ours is compared with it. (http-shapes.tsv) */
import { readFileSync } from "node:fs";
import { must, toHex, utf8 } from "../../base/index.js";
import { storeMessage } from "./harness.js";
import { World } from "./world.js";

export type Shape = string | readonly Shape[] | { readonly [name: string]: Shape };

/** Method, path, body, status, and the shape of the answer as JSON text: empty where it was not looked at. */
export const SHAPES: readonly (readonly string[])[] = readTable("http-shapes.tsv");

export function readTable(name: string): string[][] {
  return readFileSync(new URL(name, import.meta.url), "utf8")
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split("\t"));
}

const typeOf = (value: unknown): string => (value === null ? "null" : typeof value);

/** What is missing or of another type; more names than PD's are for the tests of each route. */
export function differences(shape: Shape, value: unknown, at: string): string[] {
  if (typeof shape === "string")
    return typeOf(value) === shape ? [] : [`${at}: ${typeOf(value)}, not ${shape}`];
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) return [`${at}: ${typeOf(value)}, not a list`];
    const [item] = shape as readonly Shape[];
    return item === undefined
      ? []
      : value.slice(0, 3).flatMap((one, i) => differences(item, one, `${at}[${i}]`));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return [`${at}: ${typeOf(value)}, not an object`];
  const object = value as Record<string, unknown>;
  return Object.entries(shape).flatMap(([name, inner]) => {
    if (name === "*")
      return Object.entries(object).flatMap(([id, one]) => differences(inner, one, `${at}.${id}`));
    const key = name.replace(/\?$/, "");
    if (!(key in object)) return name.endsWith("?") ? [] : [`${at}.${key} is missing`];
    return differences(inner, object[key], `${at}.${key}`);
  });
}

const FILL: Readonly<Record<string, string>> = {
  "{region}": "101",
  "{region2}": "102",
  "{store}": "3",
  "{other}": "1",
  "{free}": "6",
  "{key}": toHex(utf8("k000015")).toUpperCase(),
};
export const fill = (text: string): string =>
  Object.entries(FILL).reduce((filled, [name, value]) => filled.replaceAll(name, value), text);

/** Some answers take time: regions are cut, operators run. */
const WAIT_MS = 600_000;

/** Six stores and four regions that tell of themselves all that stores of TiKV tell. */
export function recordedWorld(): World {
  const world = new World({ stores: 6 });
  world.addRegions([
    [1, 2, 3],
    [1, 2, 3],
    [2, 3, 1],
    [3, 4, 5],
  ]);
  world.advance(20_000);
  tellAll(world);
  return world;
}

/** The stores say again what no plain heartbeat has. */
export function tellAll(world: World): void {
  for (let id = 1; id <= 6; id++) {
    const more = { peerAddress: `127.0.0.1:${20160 + id}`, gitHash: "abc", startTimestamp: 1_750_000_000 };
    world.harness.putStore(storeMessage(id, more));
    const slowTrend = { causeValue: 1, causeRate: 0, resultValue: 0, resultRate: 0 };
    world.harness.heartbeatStore(id, { usedSize: 2 ** 29, slowScore: 1, slowTrend });
  }
}

/** Puts the request to the PD of the world and lets time pass until there is an answer. */
export function ask(
  world: World,
  method: string,
  target: string,
  body: string,
): { status: number; json: unknown; text: string } {
  const [path, search = ""] = target.split("?") as [string, string?];
  const query: Record<string, string[]> = {};
  for (const [name, value] of new URLSearchParams(search)) query[name] = [value];
  let answer: { status: number; json: unknown; text: string } | undefined;
  const request = { method, path: `/pd/api/v1${path}`, query, headers: {}, body: utf8(body) };
  world.harness.pd.handleHttp(request, (status, type, text) => {
    const isJson = type.includes("json") || type.includes("octet");
    answer = { status, json: isJson ? JSON.parse(text) : undefined, text };
  });
  for (let waited = 0; answer === undefined && waited < WAIT_MS; waited += 500)
    world.harness.env.advance(500);
  return must(answer, () => `${method} ${target}: no answer`);
}
