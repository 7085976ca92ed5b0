/** `raftwerk store --count N`: several stores on one machine, a process each, started and stopped as one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freePort, ProcessCluster } from "../support/process-cluster.js";

interface Labeled {
  readonly store: {
    readonly id: number;
    readonly address: string;
    readonly labels?: readonly { readonly key: string; readonly value: string }[];
  };
}

/** Free ports side by side: rarely taken, and tried anew when they are. */
async function portsFor(count: number): Promise<number> {
  for (;;) {
    const first = await freePort();
    const rest = await Promise.all(Array.from({ length: count - 1 }, () => freePort()));
    if (rest.every((port) => port < first || port >= first + count)) return first;
  }
}

async function until(condition: () => Promise<boolean> | boolean, otherwise: string): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(otherwise);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("stores of one machine take ports and directories in order, share the label host, and end together", {
  timeout: 120_000,
}, async () => {
  await using cluster = await ProcessCluster.start({ stores: 1 });
  const [port, statusPort] = [await portsFor(3), await portsFor(3)];
  const directory = join(cluster.directory, "fleet");
  const args = [
    ...["store", "--count", "3", "--pd", cluster.pdAddress, "--labels", "zone=a", "--data-dir", directory],
    ...["--addr", `127.0.0.1:${port}`, "--status-addr", `127.0.0.1:${statusPort}`],
  ];
  const addresses = [0, 1, 2].map((i) => `127.0.0.1:${port + i}`);
  const start = (): { child: ReturnType<ProcessCluster["spawn"]>; gone: Promise<number | null> } => {
    const child = cluster.spawn(args);
    return { child, gone: new Promise((resolve) => child.on("exit", resolve)) };
  };
  const serve = async (): Promise<boolean> => {
    const answers = [0, 1, 2].map((i) =>
      fetch(`http://127.0.0.1:${statusPort + i}/ready`).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
    return (await Promise.all(answers)).every(Boolean);
  };

  const first = start();
  await until(serve, "the stores do not serve");
  const { stores } = await cluster.pdGet<{ stores: readonly Labeled[] }>("stores");
  const own = stores.filter(({ store }) => addresses.includes(store.address));
  expect(own.map(({ store }) => store.address).sort()).toEqual(addresses);
  const hosts = own.map(({ store }) => store.labels?.find(({ key }) => key === "host")?.value);
  expect(new Set(hosts).size).toBe(1);
  expect(hosts[0]).toMatch(/./);
  for (const { store } of own) expect(store.labels).toContainEqual({ key: "zone", value: "a" });
  for (const i of [1, 2, 3]) expect(existsSync(join(directory, `${i}`))).toBe(true);
  first.child.kill("SIGTERM");
  expect(await first.gone).toBe(0);
  expect(await serve()).toBe(false);

  // On the same directories they are the same stores; when one dies the others stop and the whole says so.
  const second = start();
  await until(serve, "the stores do not serve again");
  const again = await cluster.pdGet<{ stores: readonly Labeled[] }>("stores");
  expect(again.stores.map(({ store }) => store.id).sort((a, b) => a - b)).toEqual(
    stores.map(({ store }) => store.id).sort((a, b) => a - b),
  );
  const status = (await (await fetch(`http://127.0.0.1:${statusPort + 1}/status`)).json()) as {
    pid?: number;
  };
  expect(status.pid).toBeGreaterThan(0);
  process.kill(status.pid as number, "SIGKILL");
  expect(await second.gone).toBe(1);
  expect(await serve()).toBe(false);
});

test("a count that is none is refused", async () => {
  await using cluster = await ProcessCluster.prepare({ stores: 1 });
  for (const count of ["0", "x", "257"]) {
    const { code, output } = await cluster.run(["store", "--pd", "127.0.0.1:1", "--count", count]);
    expect([code, output]).toEqual([
      1,
      expect.stringContaining("--count must be a whole number from 1 to 256"),
    ]);
  }
});
