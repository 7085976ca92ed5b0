/**
 * Processor time of the threads of this process, by the names that the system knows: `node` is the one that does the
 * work, `rocksdb:low` and `rocksdb:high` compact and flush, `libuv-worker` serves files and the engine's calls.
 * Nothing where there is no /proc.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Set } from "./histogram.js";

/** Linux tells times in hundredths of a second, whatever its clock does. */
const TICKS_PER_SECOND = 100;
const TASKS = "/proc/self/task";

export function threadCpu(set: Set): void {
  for (const tid of tids()) {
    try {
      const text = readFileSync(`${TASKS}/${tid}/stat`, "latin1");
      // The name stands in parentheses and may hold spaces: fields are counted from its end.
      const end = text.lastIndexOf(")");
      const name = text.slice(text.indexOf("(") + 1, end);
      const fields = text.slice(end + 2).split(" ");
      set({ name, tid }, (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND);
    } catch {
      // The thread has ended since.
    }
  }
}

function tids(): readonly string[] {
  try {
    return readdirSync(TASKS);
  } catch {
    return [];
  }
}
