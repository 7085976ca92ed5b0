/**
 * The shape of PD's answers: each request once put to a real PD is put to ours in a like state; status, names and
 * types of what comes back must be those. (test/http-shapes.tsv: facts of recorded exchanges, `*` for any id, `?` for
 * a name that not every element had.)
 */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { must, toHex, utf8 } from "../base/index.js";
import { storeMessage } from "./test/harness.js";
import { World } from "./test/world.js";

type Shape = string | readonly Shape[] | { readonly [name: string]: Shape };

const ROWS = readFileSync(new URL("test/http-shapes.tsv", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .slice(1)
  .map(
    (line) => line.split("\t") as [method: string, path: string, body: string, status: string, shape: string],
  );

const typeOf = (value: unknown): string => (value === null ? "null" : typeof value);

/** What is missing or of another type; more names than PD's are for the tests of each route. */
function differences(shape: Shape, value: unknown, at: string): string[] {
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
const fill = (text: string): string =>
  Object.entries(FILL).reduce((filled, [name, value]) => filled.replaceAll(name, value), text);

/** Some answers take time: regions are cut, operators run. */
const WAIT_MS = 600_000;

describe("answers over HTTP have the status, the names and the types of a real PD's", () => {
  let world: World;
  beforeAll(() => {
    world = new World({ stores: 6 });
    world.addRegions([
      [1, 2, 3],
      [1, 2, 3],
      [2, 3, 1],
      [3, 4, 5],
    ]);
    world.advance(20_000);
    for (let id = 1; id <= 6; id++) {
      const more = { peerAddress: `127.0.0.1:${20160 + id}`, gitHash: "abc", startTimestamp: 1_750_000_000 };
      world.harness.putStore(storeMessage(id, more));
      const slowTrend = { causeValue: 1, causeRate: 0, resultValue: 0, resultRate: 0 };
      world.harness.heartbeatStore(id, { usedSize: 2 ** 29, slowScore: 1, slowTrend });
    }
    moveLeader();
    cancel();
  });

  const moveLeader = (): unknown =>
    world.harness.http("POST", "/pd/api/v1/operators", {
      name: "transfer-leader",
      region_id: 101,
      to_store_id: 2,
    });
  const cancel = (): void => {
    for (const id of [101, 102]) world.harness.http("DELETE", `/pd/api/v1/operators/${id}`);
  };

  function ask(method: string, target: string, body: string) {
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

  test.each(ROWS)("%s %s %s", (method, path, body, status, shape) => {
    // As in the recording: one that runs where operators are shown, none where one is made.
    if (method === "GET" && path.startsWith("/operators/{")) moveLeader();
    else if (path !== "/operators/records") cancel();
    const filled = fill(body);
    const sent = filled.startsWith('"') ? (JSON.parse(filled) as string) : filled;
    const answer = ask(method, fill(path), sent);
    const found = differences(JSON.parse(shape || '"any"') as Shape, answer.json, "");
    if (String(answer.status) !== status) found.push(answer.text);
    const hasShape = shape !== "" && answer.json !== undefined;
    expect([answer.status, ...(hasShape ? found : [])]).toEqual([Number(status)]);
  });
});
