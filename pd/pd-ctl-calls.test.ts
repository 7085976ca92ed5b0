/**
 * PD's own pd-ctl cannot be built here (its module is not served), so its calls are put to ours one after the other as
 * it sends them: method, path, query and body, and what it needs to find in the answers. (test/pd-ctl-calls.tsv: `=`
 * for the shape that a real PD answered to this path, `=/path` to another, else a shape or a text of its own)
 */
import { beforeAll, describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import {
  ask,
  differences,
  fill,
  readTable,
  recordedWorld,
  type Shape,
  SHAPES,
  tellAll,
} from "./test/shapes.js";
import type { World } from "./test/world.js";

const TYPES = ["string", "number", "boolean", "null", "any"];

/** What a real PD answered to a GET of the path, with whatever query. */
function recorded(path: string): Shape {
  const found = SHAPES.find(
    ([method, known, , status, shape]) =>
      method === "GET" && known === path && status === "200" && shape !== "",
  );
  if (found !== undefined) return JSON.parse(found[4] as string) as Shape;
  const known = SHAPES.some(([method, other]) => method === "GET" && other === path);
  return must(known ? "any" : undefined, () => `no recorded answer to ${path}`);
}

function problems(expected: string, path: string, found: unknown): string[] {
  if (expected === "") return [];
  if (!expected.startsWith("=")) {
    const wanted = JSON.parse(expected) as Shape;
    const isText = wanted === null || (typeof wanted === "string" && !TYPES.includes(wanted));
    if (isText) return found === wanted ? [] : [`${JSON.stringify(found)}, not ${expected}`];
    return differences(wanted, found, "");
  }
  const shape = recorded(expected === "=" ? path : expected.slice(1));
  return shape === "any" ? [] : differences(shape, found, "");
}

describe("what pd-ctl asks is answered as PD does", () => {
  let world: World;
  beforeAll(() => {
    world = recordedWorld();
    // Schedulers have looked once, so that there is something to describe.
    world.harness.http("POST", "/pd/api/v1/config", { "halt-scheduling": "false" });
    world.advance(10_000);
    world.harness.http("POST", "/pd/api/v1/config", { "halt-scheduling": "true" });
    world.harness.http("DELETE", "/pd/api/v1/operators");
    tellAll(world);
    world.harness.http("POST", "/pd/api/v1/store/1/label", { zone: "z1" });
  });

  test.each(readTable("pd-ctl-calls.tsv"))("%s", (...row) => {
    const [, method, path, body, status, shape = ""] = row as [
      string,
      string,
      string,
      string,
      string,
      string?,
    ];
    const answer = ask(world, method, fill(path), fill(body));
    expect(`${answer.status} ${status === "200" ? answer.text : ""}`).toMatch(new RegExp(`^${status}`));
    expect(problems(shape, path, answer.json)).toEqual([]);
  });
});
