/**
 * Loaded before a program (`node --import`), gives it a wall clock of its own: `Date.now` plus what stands in the
 * file named by WALL_CLOCK_FILE, in milliseconds, read four times a second.
 */
import { readFileSync } from "node:fs";

const path = process.env.WALL_CLOCK_FILE;
const real = Date.now.bind(Date);
let offsetMs = 0;
const read = () => {
  try {
    offsetMs = Number(readFileSync(path, "utf8")) || 0;
  } catch {
    offsetMs = 0;
  }
};
read();
setInterval(read, 250).unref();
Date.now = () => real() + offsetMs;
