import { runInNewContext } from "node:vm";
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

describe("the report, opened", () => {
  interface Drawn {
    readonly labels: string[];
    readonly data: number[][];
    readonly box: { readonly id: string };
  }

  /** What its own script hands to uPlot, in a page of which only the boxes are there. */
  function opened(html: string): Drawn[] {
    const drawn: Drawn[] = [];
    // To be called with `new`, as uPlot is.
    function Plot(options: { series: { label: string }[] }, data: number[][], box: { id: string }): void {
      drawn.push({ labels: options.series.map(({ label }) => label), data, box });
    }
    const ids = new Set([...html.matchAll(/<div id="(chart\d+)">/g)].map(([, id]) => id));
    const getElementById = (id: string): unknown => (ids.has(id) ? { id, clientWidth: 500 } : null);
    const scripts = [...html.matchAll(/<script>([^]*?)<\/script>/g)].map(([, text]) => text as string);
    runInNewContext(scripts[1] as string, {
      uPlot: Plot,
      document: { getElementById },
      addEventListener: () => {},
    });
    return drawn;
  }

  test("draws load, latency, CPU and memory of each process, fsyncs and regions, a value for each second", () => {
    const second = (at: number, fsyncsPerSecond: number): Report["seconds"][number] => {
      const process = { cores: 0.5 * at, residentMib: 90 + at };
      const { seconds: _, cluster: __, ...rest } = report.seconds[0] as Report["seconds"][number];
      return {
        ...rest,
        seconds: at,
        cluster: { processes: [process, process], fsyncsPerSecond, regions: 4 },
      };
    };
    const full = { ...report, processes: ["pd", "store 1"], seconds: [second(1, 40), second(2, 50)] };
    const drawn = opened(reportHtml(full));
    expect(drawn.map(({ labels }) => labels.slice(1))).toEqual([
      ["operations", "errors"],
      ["p50", "p99", "p99.9"],
      ["pd", "store 1"],
      ["pd", "store 1"],
      ["fsyncs"],
      ["regions"],
    ]);
    expect(new Set(drawn.map(({ box }) => box.id)).size).toBe(6);
    for (const { labels, data } of drawn)
      expect(data.map((list) => list.length)).toEqual(labels.map(() => 2));
    expect(drawn[2]?.data).toEqual([
      [1, 2],
      [0.5, 1],
      [0.5, 1],
    ]);
    expect(drawn[4]?.data[1]).toEqual([40, 50]);
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
