import { expect, test } from "vitest";
import { Contacts } from "./contacts.js";
import { peerOf, regionOf } from "./test/fixtures.js";

test("peers that left the region, or that others named, are still known", () => {
  const [before, after] = [regionOf(2, 3), regionOf(2, 2)];
  const contacts = new Contacts();
  contacts.rememberGone(before, after);
  contacts.remember(after, peerOf(99, 9));
  expect(contacts.find(after, 23)?.storeId).toBe(3);
  expect(contacts.find(after, 99)?.storeId).toBe(9);
  expect(contacts.find(after, 98)).toBeUndefined();
});

test("silence counts from the last word, and is unknown again after a rest", () => {
  const contacts = new Contacts();
  expect(contacts.silentMs(21, 500)).toBeUndefined();
  contacts.heard(21, 100);
  expect([contacts.wasHeard(21), contacts.silentMs(21, 500)]).toEqual([true, 400]);
  contacts.forgetTimes();
  expect([contacts.wasHeard(21), contacts.silentMs(21, 500)]).toEqual([false, undefined]);
});

test("answers to heartbeats that come all at once count as one, of each peer", () => {
  const contacts = new Contacts();
  expect([0, 1, 99].map((ms) => contacts.takesAnswer(21, 1_000 + ms, 100))).toEqual([true, false, false]);
  expect(contacts.takesAnswer(22, 1_050, 100)).toBe(true);
  expect([100, 150].map((ms) => contacts.takesAnswer(21, 1_000 + ms, 100))).toEqual([true, false]);
  contacts.forgetTimes();
  expect(contacts.takesAnswer(21, 1_151, 100)).toBe(true);
});
