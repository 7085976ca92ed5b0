"""Checks a cluster through TiKV's Python client: `python check.py --pd 127.0.0.1:2379`.

The client wraps a Rust client of 2023, which sends every command as a call of its own. Its scans take the empty end of
the last region for a key, so the keys of these checks lie between two splits. Prints one line per check and ends with
"N passed, M failed".
"""

import argparse
import asyncio
import json
import os
import sys
import time
import urllib.request

from tikv_client import RawClient
from tikv_client.asynchronous import RawClient as AsyncRawClient

PREFIX = b"check/python/"
END = b"check/python0"


class Mismatch(Exception):
    """What was found differs from what was wanted."""


def same(found, wanted):
    if found != wanted:
        lost, extra = ([], [])
        if isinstance(found, list) and isinstance(wanted, list):
            lost = [item for item in wanted if item not in found][:5]
            extra = [item for item in found if item not in wanted][:5]
        raise Mismatch(f"lost {lost}, extra {extra}, found {found!r:.200}, want {wanted!r:.200}")


class PlacementDriver:
    """The few words of PD's HTTP interface that move regions."""

    def __init__(self, address):
        self.base = f"http://{address}/pd/api/v1"

    def regions(self):
        with urllib.request.urlopen(f"{self.base}/regions", timeout=10) as answer:
            return json.load(answer)["regions"]

    def region_of(self, key):
        text = key.hex().upper()
        for region in self.regions():
            if region["start_key"] <= text and (region["end_key"] == "" or text < region["end_key"]):
                return region
        raise Mismatch(f"PD knows no region for {key!r}")

    def operator(self, **body):
        """Orders; PD refuses while a peer is behind or another order is under way, so it is asked again."""
        data = json.dumps(body).encode()

        def order():
            request = urllib.request.Request(f"{self.base}/operators", data, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=10):
                return True

        eventually(f"the order {body}", order)

    def split(self, key):
        text = key.hex().upper()
        region = self.region_of(key)
        if region["start_key"] == text:
            return
        self.operator(name="split-region", region_id=region["id"], policy="usekey", keys=[text])
        eventually("the split", lambda: self.region_of(key)["start_key"] == text)

    def move_leader(self, key):
        region = self.region_of(key)
        leader = region["leader"]["store_id"]
        target = next(peer["store_id"] for peer in region["peers"] if peer["store_id"] != leader)
        self.operator(name="transfer-leader", region_id=region["id"], to_store_id=target)
        # PD may have moved it on already.
        eventually("the transfer", lambda: self.region_of(key)["leader"]["store_id"] != leader)


def eventually(what, condition):
    last = None
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise Mismatch(f"{what} did not happen ({last})")


class Learned:
    """The client, with scans that know the leaders.

    The client's own scans take a region that answers with an error, such as "not the leader", for an empty one. Its
    reads of single keys do follow such an error, so one in each region goes first.
    """

    def __init__(self, client, pd):
        self._client = client
        self._pd = pd

    def __getattr__(self, name):
        return getattr(self._client, name)

    def _learn(self, start, end):
        for region in self._pd.regions():
            first = max(bytes.fromhex(region["start_key"]), start)
            if first < end and (region["end_key"] == "" or first < bytes.fromhex(region["end_key"])):
                self._client.get(first)

    def _settled(self, scan, start, end, limit, options):
        """A leader may move after the reads, too: two scans must agree."""
        before = None
        for _ in range(10):
            self._learn(start, end)
            found = scan(start, end, limit, **options)
            if found == before:
                break
            before = found
        return found

    def scan(self, start, end, limit, **options):
        return self._settled(self._client.scan, start, end, limit, options)

    def scan_keys(self, start, end, limit, **options):
        return self._settled(self._client.scan_keys, start, end, limit, options)


class Suite:
    def __init__(self, client, pd):
        self.client = Learned(client, pd)
        self.pd = pd
        self.passed = 0
        self.failed = 0

    def check(self, run):
        name = run.__name__.replace("_", " ")
        try:
            self.client.delete_range(PREFIX, END)
            run(self.client)
        except Exception as error:  # any failure of the client is a failure of the check
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__} {' '.join(str(error).split())[:500]}", flush=True)
            return
        self.passed += 1
        print(f"ok   {name}", flush=True)


def numbered(count):
    return [(PREFIX + b"%05d" % i, b"value %d" % i) for i in range(count)]


def single_keys(suite):
    key = PREFIX + b"a"

    def get_of_an_absent_key(client):
        same(client.get(key), None)

    def put_and_get(client):
        client.put(key, b"value")
        same(client.get(key), b"value")

    def overwrite(client):
        for i in range(5):
            client.put(key, b"%d" % i)
            same(client.get(key), b"%d" % i)

    def delete(client):
        client.put(key, b"x")
        client.delete(key)
        same(client.get(key), None)

    def delete_of_an_absent_key(client):
        client.delete(PREFIX + b"absent")

    def binary_key_and_value(client):
        client.put(PREFIX + bytes([0, 255, 1, 128]), bytes(range(256)))
        same(client.get(PREFIX + bytes([0, 255, 1, 128])), bytes(range(256)))

    def empty_value(client):
        client.put(key, b"")
        same(client.get(key), b"")

    def value_of_1_mebibyte(client):
        value = bytes(i * 7 % 251 for i in range(1 << 20))
        client.put(key, value)
        same(client.get(key) == value, True)

    def named_column_family(client):
        client.put(key, b"x", cf="default")
        same(client.get(key, cf="default"), b"x")

    checks = [get_of_an_absent_key, put_and_get, overwrite, delete, delete_of_an_absent_key, binary_key_and_value]
    for run in [*checks, empty_value, value_of_1_mebibyte, named_column_family]:
        suite.check(run)


def many_keys(suite):
    def batch_put_and_batch_get(client):
        pairs = numbered(500)
        client.batch_put(dict(pairs))
        same(sorted(client.batch_get([key for key, _ in pairs])), pairs)

    def batch_get_leaves_absent_keys_out(client):
        pairs = numbered(4)
        client.batch_put(dict(pairs[:2]))
        same(sorted(client.batch_get([key for key, _ in pairs])), pairs[:2])

    def batch_delete(client):
        pairs = numbered(100)
        client.batch_put(dict(pairs))
        client.batch_delete([key for key, _ in pairs[10:90]])
        same(sorted(client.batch_get([key for key, _ in pairs])), pairs[:10] + pairs[90:])

    def scan(client):
        client.batch_put(dict(numbered(100)))
        same(client.scan(PREFIX, END, 1000), numbered(100))

    def scan_with_a_limit(client):
        client.batch_put(dict(numbered(100)))
        same(client.scan(PREFIX, END, 7), numbered(7))

    def scan_with_both_bounds(client):
        pairs = numbered(50)
        client.batch_put(dict(pairs))
        same(client.scan(pairs[10][0], pairs[20][0], 1000, include_start=False, include_end=True), pairs[11:21])

    def scan_without_its_start(client):
        pairs = numbered(50)
        client.batch_put(dict(pairs))
        same(client.scan(pairs[10][0], pairs[20][0], 1000, include_start=False), pairs[11:20])

    def keys_that_differ_by_a_zero_byte(client):
        client.batch_put({PREFIX + b"a": b"1", PREFIX + b"a\0": b"2"})
        same(client.scan(PREFIX, END, 10), [(PREFIX + b"a", b"1"), (PREFIX + b"a\0", b"2")])

    def scan_keys(client):
        client.batch_put(dict(numbered(100)))
        same(client.scan_keys(PREFIX, END, 1000), [key for key, _ in numbered(100)])

    def scan_of_an_empty_range(client):
        same(client.scan(PREFIX + b"x", PREFIX + b"y", 10), [])

    def delete_range_with_its_end_but_not_its_start(client):
        pairs = numbered(10)
        client.batch_put(dict(pairs))
        client.delete_range(pairs[2][0], pairs[5][0], include_start=False, include_end=True)
        same(client.scan(PREFIX, END, 1000), pairs[:3] + pairs[6:])

    def delete_range(client):
        pairs = numbered(100)
        client.batch_put(dict(pairs))
        client.delete_range(pairs[20][0], pairs[80][0])
        same(client.scan(PREFIX, END, 1000), pairs[:20] + pairs[80:])

    checks = [batch_put_and_batch_get, batch_get_leaves_absent_keys_out, batch_delete, scan, scan_with_a_limit]
    checks += [scan_with_both_bounds, scan_without_its_start, keys_that_differ_by_a_zero_byte, scan_keys]
    for run in [*checks, scan_of_an_empty_range, delete_range, delete_range_with_its_end_but_not_its_start]:
        suite.check(run)


def regions(suite):
    def commands_over_several_regions(client):
        pairs = numbered(200)
        client.batch_put(dict(pairs))
        for at in (50, 100, 150):
            suite.pd.split(pairs[at][0])
        same(sorted(client.batch_get([key for key, _ in pairs])), pairs)
        same(client.scan(PREFIX, END, 1000), pairs)
        client.delete_range(pairs[30][0], pairs[170][0])
        same(client.scan(PREFIX, END, 1000), pairs[:30] + pairs[170:])

    def writes_after_a_split_that_the_client_has_not_seen(client):
        client.put(PREFIX + b"6", b"before")
        suite.pd.split(PREFIX + b"5")
        suite.pd.split(PREFIX + b"7")
        for name in (b"4", b"6", b"8"):
            client.put(PREFIX + name, b"after " + name)
            same(client.get(PREFIX + name), b"after " + name)

    def writes_after_the_leader_has_moved(client):
        for i in range(4):
            client.put(PREFIX + b"6", b"%d" % i)
            suite.pd.move_leader(PREFIX + b"6")
            same(client.get(PREFIX + b"6"), b"%d" % i)

    for run in (commands_over_several_regions, writes_after_a_split_that_the_client_has_not_seen,
                writes_after_the_leader_has_moved):
        suite.check(run)


def concurrent(suite, address):
    async def writer(client, name):
        for i in range(50):
            key = PREFIX + b"%s/%d" % (name, i)
            await client.put(key, b"%d" % i)
            same(await client.get(key), b"%d" % i)

    async def writers():
        client = await AsyncRawClient.connect([address])
        await asyncio.gather(*(writer(client, b"w%d" % i) for i in range(16)))

    def many_writers_at_once(client):
        asyncio.get_event_loop().run_until_complete(writers())
        same(len(client.scan(PREFIX + b"w", END, 10_000)), 16 * 50)

    async def writer_until(client, done):
        key, count = PREFIX + b"a", 0
        while not done.is_set() or count < 20:
            await client.put(key, b"%d" % count)
            same(await client.get(key), b"%d" % count)
            count += 1

    async def leaders_and_writer():
        client = await AsyncRawClient.connect([address])
        done = asyncio.Event()
        writing = asyncio.ensure_future(writer_until(client, done))
        try:
            for _ in range(3):
                # Orders are blocking calls; the writer goes on meanwhile.
                await asyncio.get_running_loop().run_in_executor(None, suite.pd.move_leader, PREFIX + b"a")
        finally:
            done.set()
        await writing

    def a_writer_sees_no_error_while_leaders_move(client):
        asyncio.get_event_loop().run_until_complete(leaders_and_writer())

    suite.check(many_writers_at_once)
    suite.check(a_writer_sees_no_error_while_leaders_move)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pd", default="127.0.0.1:2379")
    address = parser.parse_args().pd
    # The client asks for the current loop, which newer versions of Python no longer make by themselves.
    asyncio.set_event_loop(asyncio.new_event_loop())
    pd = PlacementDriver(address)
    pd.split(PREFIX)
    pd.split(END)
    suite = Suite(RawClient.connect([address]), pd)
    single_keys(suite)
    many_keys(suite)
    regions(suite)
    concurrent(suite, address)
    print(f"{suite.passed} passed, {suite.failed} failed")
    # Threads of the client may outlive the interpreter and abort it: leave without taking it down in order.
    sys.stdout.flush()
    os._exit(1 if suite.failed else 0)


main()
