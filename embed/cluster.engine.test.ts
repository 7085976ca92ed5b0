import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/index.js";
import { Cluster } from "./cluster.js";

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

test.each(["rocksdb", "leveldb"] as const)(
  "a cluster on disk with %s continues with its data",
  async (engine) => {
    const dataDir = mkdtempSync(join(tmpdir(), "raftwerk-embed-"));
    directories.push(dataDir);
    {
      await using cluster = await Cluster.start({ stores: 3, dataDir, engine });
      await cluster.client.put(utf8("a"), utf8("1"));
      await cluster.split(utf8("m"));
      await cluster.client.put(utf8("z"), utf8("2"));
    }
    {
      await using cluster = await Cluster.start({ stores: 3, dataDir, engine });
      expect(fromUtf8((await cluster.client.get(utf8("a"))) ?? utf8("?"))).toBe("1");
      expect(fromUtf8((await cluster.client.get(utf8("z"))) ?? utf8("?"))).toBe("2");
      await cluster.client.put(utf8("a"), utf8("3"));
      expect(fromUtf8((await cluster.client.get(utf8("a"))) ?? utf8("?"))).toBe("3");
    }
  },
);
