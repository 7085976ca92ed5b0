import { describe, expect, test } from "vitest";
import { parseMetrics, splitKeys } from "./local.js";
import { spread } from "./peers.js";
import { charts, type Report, reportHtml } from "./report.js";
import { SCALE_DEFAULT, scalePoints } from "./scale.js";

const report: Report = {
  title: "a </script><b>",
  facts: [["in flight", "8 & more"]],
  processes: ["store </script> 1"],
  seconds: [
    {
      seconds: 1,
      perSecond: 10,
      p50Ms: 1,
      p99Ms: 2,
      p999Ms: null,
      errors: 0,
      cluster: { processes: [{ cores: 0.5, residentMib: 90 }], fsyncsPerSecond: null, regions: 4 },
    },
  ],
  result: {
    seconds: 1,
    operations: 10,
    perSecond: 10,
    scannedRows: 0,
    errors: 0,
    firstError: undefined,
    kinds: {},
  },
};

describe("the report", () => {
  test("leaves out charts of which nothing is known", () => {
    const titles = charts(report).map(({ title }) => title);
    expect(titles).toContain("Regions");
    expect(titles).not.toContain("Writes with fsync, all stores");
  });

  test("lets no name end a script or begin an element", () => {
    const html = reportHtml(report);
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html).not.toContain("<b>");
  });
});

describe("figures", () => {
  test("the median of an even number lies between the middle two", () => {
    expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
  });

  test("metrics of one name are summed over their labels", () => {
    expect(parseMetrics('# HELP a b\na{x="1"} 2\na{x="2"} 3e1\nb_c 4\n').get("a")).toBe(32);
  });

  test("regions are cut at ascending keys, one fewer than there are regions", () => {
    const keys = splitKeys(16).map((key) => Buffer.from(key).toString());
    expect(keys).toHaveLength(15);
    expect([...keys].sort()).toEqual(keys);
  });

  test("a point of scale that two lists share is measured once", () => {
    const points = scalePoints({
      regions: [16, 1],
      stores: [3],
      valueBytes: [100],
      records: [50_000],
      inFlight: 1,
      seconds: 1,
      say: () => {},
    });
    expect(points).toEqual([SCALE_DEFAULT, { ...SCALE_DEFAULT, regions: 1 }]);
  });
});
