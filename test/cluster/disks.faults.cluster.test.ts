/** Disks that fill up, under one store and under PD. Needs the right to mount a small tmpfs (root on Linux). */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Scenario } from "../support/scenario.js";

class SmallDisk {
  readonly path = mkdtempSync(join(tmpdir(), "raftwerk-disk-"));
  readonly isMounted: boolean;

  constructor(megabytes: number) {
    const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", this.path]);
    this.isMounted = status === 0;
  }

  fill(): void {
    const disk = statfsSync(this.path);
    try {
      writeFileSync(join(this.path, "ballast"), Buffer.alloc(disk.bavail * disk.bsize));
    } catch {
      // The engine wrote meanwhile: full it is.
    }
  }

  free(): void {
    rmSync(join(this.path, "ballast"), { force: true });
  }

  [Symbol.dispose](): void {
    if (this.isMounted) spawnSync("umount", ["-l", this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

const canMount = (): boolean => {
  using disk = new SmallDisk(1);
  return disk.isMounted;
};

test.runIf(canMount())(
  "the disk of a store is full: the others serve on; with space again it catches up",
  async () => {
    using disk = new SmallDisk(96);
    await Scenario.run({ stores: 3, dataDirOf: { "store-3": join(disk.path, "data") } }, async (s) => {
      disk.fill();
      await s.progress(400);
      await s.fill("d", 4);
      await s.progress(100);
      disk.free();
      if (!s.cluster.isRunning("store-3")) {
        expect(s.cluster.logOf("store-3")).toMatch(/[Nn]o space/);
        s.restart("store-3");
      }
      await s.ready("store-3");
      await s.progress(100);
    });
  },
);

test.runIf(canMount())("the disk of PD is full: data is served on; with space again PD goes on", async () => {
  using disk = new SmallDisk(64);
  await Scenario.run({ stores: 3, dataDirOf: { pd: join(disk.path, "data") } }, async (s) => {
    disk.fill();
    await s.split("c2", "w2", "w4", "w6", "w8");
    await s.progress(200);
    disk.free();
    if (!s.cluster.isRunning("pd")) {
      expect(s.cluster.logOf("pd")).toMatch(/[Nn]o space/);
      s.restart("pd");
    }
    await s.ready("pd");
    await s.split("w3");
    await s.until(async () => (await s.cluster.regions()).length >= 2, "no splits");
  });
});
