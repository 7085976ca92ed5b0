/**
 * The shape of PD's answers: each request once put to a real PD is put to ours in a like state; status, names and
 * types of what comes back must be those. (test/http-shapes.tsv: facts of recorded exchanges, `*` for any id, `?` for
 * a name that not every element had.)
 */
import { beforeAll, describe, expect, test } from "vitest";
import { ask, differences, fill, recordedWorld, type Shape, SHAPES } from "./test/shapes.js";
import type { World } from "./test/world.js";

describe("answers over HTTP have the status, the names and the types of a real PD's", () => {
  let world: World;
  beforeAll(() => {
    world = recordedWorld();
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

  test.each(SHAPES)("%s %s %s", (...row) => {
    const [method, path, body, status, shape] = row as [string, string, string, string, string];
    // As in the recording: one that runs where operators are shown, none where one is made.
    if (method === "GET" && path.startsWith("/operators/{")) moveLeader();
    else if (path !== "/operators/records") cancel();
    const filled = fill(body);
    const sent = filled.startsWith('"') ? (JSON.parse(filled) as string) : filled;
    const answer = ask(world, method, fill(path), sent);
    const found = differences(JSON.parse(shape || '"any"') as Shape, answer.json, "");
    if (String(answer.status) !== status) found.push(answer.text);
    const hasShape = shape !== "" && answer.json !== undefined;
    expect([answer.status, ...(hasShape ? found : [])]).toEqual([Number(status)]);
  });
});
