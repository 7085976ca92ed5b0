/** Bad input to every route of PD's HTTP API: an answer that says what is wrong, and nothing is changed by it. */
import { beforeAll, describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { ROUTES } from "./http.js";
import { World } from "./test/world.js";

const PARAMETERS = [
  "x",
  "-1",
  "0",
  "1e3",
  "18446744073709551616",
  "%zz",
  "..%2f..%2fetc",
  "%00",
  "__proto__",
  "",
];
const BODIES = [
  "",
  "{",
  "null",
  "[]",
  "7",
  '"text"',
  '{"x":',
  '{"__proto__":{"x":1}}',
  "[".repeat(20_000),
  `"${"x".repeat(1 << 20)}"`,
  '{"id":{},"name":[],"region_id":"x","store_id":-1,"rate":"fast","tso":{},"group_id":1,"rules":7}',
];
const QUERIES: Readonly<Record<string, readonly string[]>>[] = [
  {},
  {
    limit: ["x"],
    key: ["%"],
    format: ["hex"],
    state: ["Nowhere"],
    bound: ["-"],
    store_id: ["x"],
    ttlSecond: ["x"],
  },
];
/** Those whose bad body is none: they need no body at all, and do what they are for. */
const ACTS = /\/leader\/resign|\/admin\/cache\/regions$|remove-tombstone|\/admin\/(cache|storage)\/region\//;

describe("bad input over HTTP", () => {
  let world: World;
  /** Nothing below may change it. */
  let before: string;
  beforeAll(() => {
    world = new World({ stores: 3 });
    world.addRegions([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    before = state();
  });

  function ask(
    method: string,
    path: string,
    query: Readonly<Record<string, readonly string[]>>,
    body: string,
  ) {
    let answer: { status: number; text: string } | undefined;
    const request = { method, path, query, headers: {}, body: utf8(body) };
    world.harness.pd.handleHttp(request, (status, _type, text) => {
      answer = { status, text };
    });
    world.harness.env.settle();
    return answer;
  }

  const state = (): string =>
    [
      "/config",
      "/config/rules",
      "/stores",
      "/regions",
      "/schedulers",
      "/operators",
      "/config/region-label/rules",
    ]
      .map((path) => world.harness.http("GET", `/pd/api/v1${path}`).text.replaceAll(/"uptime":.*/g, ""))
      .join("\n");

  test.each(ROUTES.filter(({ path }) => !ACTS.test(path)).map(({ method, path }) => [method, path]))(
    "to %s %s is answered in words, and changes nothing",
    (method, pattern) => {
      const problems: string[] = [];
      let answered = 0;
      const verb = method === "ANY" ? "GET" : method;
      const parameters = pattern.includes("{") ? PARAMETERS : ["x"];
      for (const parameter of parameters) {
        const path = pattern.replaceAll(/\{[^}]*\}/g, parameter);
        for (const [i, body] of (verb === "GET" ? ["", "{"] : BODIES).entries()) {
          for (const query of i < 2 ? QUERIES : [{}]) {
            const answer = ask(verb, path, query, body);
            const told = `${path} ${body.slice(0, 20)}: ${answer?.status} ${answer?.text.slice(0, 100)}`;
            if (answer === undefined) continue;
            answered += 1;
            const isInternal = /TypeError|RangeError|undefined|\[object|at .*\.(ts|js):/.test(answer.text);
            if (
              isInternal ||
              answer.status > 599 ||
              (answer.status >= 400 && answer.text === "" && answer.status !== 405)
            )
              problems.push(told);
          }
        }
      }
      expect(problems).toEqual([]);
      expect(answered).toBeGreaterThan(0);
      expect(state()).toBe(before);
    },
  );

  test("numbers and durations beyond all bounds are refused, not stored as nothing", () => {
    const bodies: readonly (readonly [string, string])[] = [
      ["/store/1/limit", '{"rate": 1e999}'],
      ["/stores/limit", '{"rate": 1E+400, "type": "add-peer"}'],
      ["/store/1/weight", `{"leader": 1, "region": 1${"0".repeat(320)}}`],
      ["/schedulers/balance-leader-scheduler", '{"delay": 1e999}'],
      ["/scheduler-config/evict-slow-store-scheduler/config", '{"recovery-duration": 1e999}'],
      ["/config", '{"max-store-down-time": "9999999999h"}'],
      ["/config", '{"tolerant-size-ratio": 1e999}'],
    ];
    for (const [path, body] of bodies) {
      expect(ask("POST", `/pd/api/v1${path}`, {}, body)?.status, `${path} ${body}`).toBe(400);
    }
    expect(state()).toBe(before);
    // A text that looks like one is none, nor is a number that still is one.
    const fits = '{"name": "1e999", "max-store-down-time": "31m0s", "low-space-ratio": 8.0e-001}';
    expect(ask("POST", "/pd/api/v1/config", {}, fits)?.text).toMatch(/config item name not found/);
  });

  test("by unknown methods to any path is refused with 405, and changes nothing", () => {
    const paths = [...new Set(ROUTES.map(({ path }) => path))];
    const problems: string[] = [];
    for (const path of paths) {
      const known = ROUTES.filter((route) => route.path === path).map(({ method }) => method);
      if (known.includes("ANY")) continue;
      for (const method of ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "BREW", ""]) {
        if ((known as string[]).includes(method)) continue;
        const concrete = path.replaceAll(/\{[^}]*\}/g, "2");
        const answer = ask(method, concrete, {}, '{"x":1}');
        if (answer?.status !== 405 || answer.text === "")
          problems.push(`${method} ${concrete}: ${answer?.status}`);
      }
    }
    expect(problems).toEqual([]);
    expect(state()).toBe(before);
  });

  test("by paths that only look like routes is 404, and changes nothing", () => {
    const problems: string[] = [];
    const long = "x".repeat(100_000);
    const tricks: ((path: string) => string)[] = [
      (path) => `/${path}`,
      (path) => path.replace("/api/", "/api//"),
      (path) => path.replace("/pd/api/v1/", "/pd%2fapi%2fv1%2f"),
      (path) => path.replace("/api/", "/API/"),
      (path) => `${path}/..`,
      (path) => `${path}/../../..`,
      (path) => `${path}/%2e%2e`,
      (path) => `${path}//`,
      (path) => `${path}/${long}`,
      (path) => `${path}\u0000`,
      (path) => path.slice(1),
      (path) => path.replace("/pd/", "/./pd/"),
    ];
    for (const { method, path } of ROUTES) {
      const concrete = path.replaceAll(/\{[^}]*\}/g, "2");
      for (const trick of tricks) {
        const tricked = trick(concrete);
        if (tricked === concrete) continue;
        const answer = ask(method === "ANY" ? "GET" : method, tricked, {}, "{}");
        const status = answer?.status ?? 0;
        // What follows the last slash may be a name or a key: any text is one, though nothing has it.
        const isName =
          /\{(key|group|id|name|service|member)\}$/.test(path) || path.endsWith("/placement-rule");
        if ((status < 400 && !isName) || status === 0 || (status >= 500 && !isName) || answer?.text === "")
          problems.push(`${method} ${tricked.slice(0, 80)}: ${status} ${answer?.text.slice(0, 60)}`);
      }
    }
    expect(problems).toEqual([]);
    expect(state()).toBe(before);
  });

  test("in parameters of any length is answered in words", () => {
    const problems: string[] = [];
    for (const { method, path } of ROUTES.filter(({ path }) => path.includes("{") && !ACTS.test(path))) {
      for (const parameter of ["x".repeat(100_000), "9".repeat(400), "%2f".repeat(1000), "%F0%9F%92%A9"]) {
        const answer = ask(
          method === "ANY" ? "GET" : method,
          path.replaceAll(/\{[^}]*\}/g, parameter),
          {},
          "{",
        );
        if (answer === undefined || answer.text === "") problems.push(`${method} ${path}: ${answer?.status}`);
      }
    }
    expect(problems).toEqual([]);
    expect(state()).toBe(before);
  });
});
