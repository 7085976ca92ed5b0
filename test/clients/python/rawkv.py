"""Checks a cluster through TiKV's official Python client (a wrapper of the Rust client of 2023): every operation of
the raw API, over regions that split and move meanwhile. Prints one line per check and ends with "N passed, M failed".

    python rawkv.py --pd 127.0.0.1:2379
"""

import argparse
import asyncio
import json
import sys
import threading
import time
import urllib.error
import urllib.request

from tikv_client import RawClient
from tikv_client import asynchronous


class Checks:
    """Runs named checks, each with keys of its own, and counts them."""

    def __init__(self, client, pd):
        self.client, self.pd = client, pd
        self.passed = self.failed = 0
        self.prefix = b""

    def key(self, name):
        return self.prefix + (name if isinstance(name, bytes) else name.encode())

    def check(self, name, run):
        self.prefix = b"python/" + name.encode() + b"/"
        try:
            # What an earlier run left would fail checks of absent keys.
            self.client.delete_range(self.prefix, self.prefix + b"\xff")
            run(self)
        except Exception as error:  # the client raises bare exceptions
            self.failed += 1
            print(f"FAIL {name}: {str(error) or repr(error)}".replace("\n", " "))
            return
        self.passed += 1
        print(f"ok   {name}", flush=True)

    def put_letters(self, letters):
        self.client.batch_put({self.key(letter): letter.encode() for letter in letters})

    def short(self, keys):
        return "".join(key[len(self.prefix):].decode() for key in keys)

    def pd_call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.pd}/pd/api/v1/{path}", data=data)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def operator(self, **body):
        """Gives PD an order, again while it is busy with one of its own for the region."""
        for tries in reversed(range(20)):
            try:
                return self.pd_call("operators", body)
            except urllib.error.HTTPError as error:
                text = error.read().decode()
                if tries == 0 or "ErrAddOperator" not in text:
                    raise AssertionError(f"PD: {error} {text}") from error
                time.sleep(0.2)

    def region_of(self, key):
        hexes = "".join(f"%{byte:02X}" for byte in key)
        return self.pd_call(f"region/key/{hexes}")

    def split(self, *keys):
        """Splits at the keys and waits until PD knows the new regions."""
        for key in keys:
            region = self.region_of(key)
            # An earlier run may have split there; PD would wait a minute for a split that cannot be.
            if region["start_key"].lower() == key.hex():
                continue
            self.operator(name="split-region", region_id=region["id"], policy="usekey", keys=[key.hex()])
            eventually(f"a split at {key!r}", lambda: self.region_of(key)["start_key"].lower() == key.hex())


def eventually(what, condition):
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen")
        time.sleep(0.05)


def same(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def put_and_get(c):
    c.client.put(c.key("a"), b"value")
    same(c.client.get(c.key("a")), b"value")


def overwrite(c):
    for value in (b"1", b"2", b"3"):
        c.client.put(c.key("a"), value)
        same(c.client.get(c.key("a")), value)


def absent(c):
    same(c.client.get(c.key("none")), None)


def delete(c):
    c.client.put(c.key("a"), b"value")
    c.client.delete(c.key("a"))
    same(c.client.get(c.key("a")), None)


def delete_absent(c):
    c.client.delete(c.key("none"))


def binary(c):
    key, value = c.key(bytes(range(256))), bytes(reversed(range(256)))
    c.client.put(key, value)
    same(c.client.get(key), value)


def large(c):
    value = bytes(range(256)) * 4096
    c.client.put(c.key("large"), value)
    same(c.client.get(c.key("large")), value)


def neighbours(c):
    c.client.put(c.key("a"), b"1")
    c.client.put(c.key("a\0"), b"2")
    same((c.client.get(c.key("a")), c.client.get(c.key("a\0"))), (b"1", b"2"))


def batch(c):
    c.client.batch_put({c.key("a"): b"1", c.key("b"): b"2", c.key("c"): b"3"})
    got = c.client.batch_get([c.key("c"), c.key("none"), c.key("a")])
    same(dict(got), {c.key("a"): b"1", c.key("c"): b"3"})


def batch_delete(c):
    c.put_letters("abc")
    c.client.batch_delete([c.key("a"), c.key("c"), c.key("none")])
    same(c.short(c.client.scan_keys(c.key(""), c.key("z"), 10)), "b")


def large_batch(c):
    pairs = {c.key(f"{i:05d}"): b"x" * 100 for i in range(3000)}
    c.client.batch_put(pairs)
    same(len(c.client.batch_get(list(pairs))), 3000)


def scan(c):
    c.put_letters("badc")
    want = [(c.key(letter), letter.encode()) for letter in "abcd"]
    same(c.client.scan(c.key("a"), c.key("z"), 10), want)


def scan_limit(c):
    c.put_letters("abcd")
    same(c.short(c.client.scan_keys(c.key("a"), c.key("z"), 2)), "ab")


def scan_bounds(c):
    c.put_letters("abcd")
    letters = ""
    for include_start in (True, False):
        for include_end in (True, False):
            letters += c.short(c.client.scan_keys(c.key("a"), c.key("c"), 10, include_start, include_end)) + " "
    same(letters, "abc ab bc b ")


def scan_nothing(c):
    same(c.client.scan(c.key("a"), c.key("z"), 10), [])


def delete_range(c):
    c.put_letters("abcde")
    c.client.delete_range(c.key("b"), c.key("d"))
    same(c.short(c.client.scan_keys(c.key("a"), c.key("z"), 10)), "ade")


def delete_range_bounds(c):
    c.put_letters("abcde")
    c.client.delete_range(c.key("b"), c.key("d"), include_start=False, include_end=True)
    same(c.short(c.client.scan_keys(c.key("a"), c.key("z"), 10)), "abe")


def over_regions(c):
    keys = [c.key(f"{i:03d}") for i in range(100)]
    c.split(keys[25], keys[50], keys[75])
    c.client.batch_put({key: key[-3:] for key in keys})
    same(sorted(c.client.batch_get(keys)), [(key, key[-3:]) for key in keys])
    same(c.client.scan_keys(keys[10], keys[90], 1000), keys[10:90])
    same(c.client.scan_keys(keys[20], c.key("z"), 40), keys[20:60])
    c.client.delete_range(keys[10], keys[90])
    same(c.client.scan_keys(c.key(""), c.key("z"), 1000), keys[:10] + keys[90:])


def split_under_it(c):
    """The client knows the region as it was before the split."""
    keys = [c.key(f"{i:03d}") for i in range(100)]
    c.client.batch_put({key: b"before" for key in keys})
    c.split(keys[50])
    for key in keys:
        c.client.put(key, b"after")
    same({value for _, value in c.client.scan(keys[0], c.key("z"), 1000)}, {b"after"})


def leaders_move(c):
    """The client writes while the region's leader moves to each of its stores."""
    key, done, count = c.key("a"), threading.Event(), [0]
    failure = []

    def write():
        # A client belongs to the event loop of its thread.
        asyncio.set_event_loop(asyncio.new_event_loop())
        client = RawClient.connect([c.pd])
        try:
            while not done.is_set():
                client.put(key, str(count[0]).encode())
                same(client.get(key), str(count[0]).encode())
                count[0] += 1
        except Exception as error:
            failure.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually("a first write", lambda: count[0] > 0 or failure)
        region = c.region_of(key)
        for peer in region["peers"]:
            if c.region_of(key)["leader"]["store_id"] != peer["store_id"]:
                c.operator(name="transfer-leader", region_id=region["id"], to_store_id=peer["store_id"])
            time.sleep(0.3)
    finally:
        done.set()
        writer.join(30)
    if failure:
        raise failure[0]
    if count[0] < 20:
        raise AssertionError(f"only {count[0]} writes")


def many_at_once(c):
    async def all_of_them():
        client = await asynchronous.RawClient.connect([c.pd])
        keys = [c.key(f"{i:03d}") for i in range(200)]
        await asyncio.gather(*(client.put(key, key[-3:]) for key in keys))
        same(await asyncio.gather(*(client.get(key) for key in keys)), [key[-3:] for key in keys])

    asyncio.get_event_loop().run_until_complete(all_of_them())


CHECKS = {
    "put and get": put_and_get,
    "a value is overwritten": overwrite,
    "an absent key gives None": absent,
    "a deleted key is gone": delete,
    "an absent key can be deleted": delete_absent,
    "binary keys and values": binary,
    "a value of 1 MiB": large,
    "keys that differ by a zero byte": neighbours,
    "batch put and get": batch,
    "batch delete": batch_delete,
    "a batch of 3000 pairs": large_batch,
    "scan is in order": scan,
    "scan stops at its limit": scan_limit,
    "scan with and without its bounds": scan_bounds,
    "scan of nothing": scan_nothing,
    "delete range": delete_range,
    "delete range with its end but not its start": delete_range_bounds,
    "batches, scans and delete range over four regions": over_regions,
    "a region splits under the client": split_under_it,
    "leaders move under a writer": leaders_move,
    "two hundred calls at once": many_at_once,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pd", default="127.0.0.1:2379", help="address of PD")
    pd = parser.parse_args().pd
    asyncio.set_event_loop(asyncio.new_event_loop())
    checks = Checks(RawClient.connect([pd]), pd)
    for name, run in CHECKS.items():
        checks.check(name, run)
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(0 if checks.failed == 0 else 1)


if __name__ == "__main__":
    main()
