#!/usr/bin/env python3
"""2,000 watches that never read, while everything changes: the server's memory stays bounded, others do not wait, and
whoever reads after all is told everything, once and in order. As streams of the JSON gateway, with plain sockets so that
"not reading" is what it says."""
import json
import pathlib
import socket
import tempfile
import time
import urllib.request

from kvstore_auth_test import b64
from kvstore_gateway_test import good
from kvstore_test import BUILD, Store, equal

SILENT = 2000
VALUE = "v" * 10_000
ROUND = 200  # puts: 6 GB for all of the watches
MAX_GROWTH_MB = 600


class Watch:
    """Of everything under "w/" from a revision on."""

    def __init__(self, store, revision):
        self.socket = socket.socket()
        # A small window, or the kernel would keep what the server is to keep.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.connect(("127.0.0.1", store.port))
        body = json.dumps({"create_request": {"key": b64("w/"), "range_end": b64("w0"), "start_revision": revision}})
        self.socket.sendall(f"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    def revisions(self, count):
        """The next so many mod revisions."""
        self.socket.settimeout(20)
        answer = self.socket.makefile("rb")
        while answer.readline().strip():
            pass  # the head
        heard = []
        while len(heard) < count:
            size = int(answer.readline(), 16)
            if size == 0:
                raise AssertionError(f"the watch ended after {len(heard)} events")
            piece = answer.read(size)
            answer.readline()
            for line in piece.splitlines():
                heard += [int(e["kv"]["mod_revision"]) for e in json.loads(line)["result"].get("events", [])]
        return heard


def memory_mb(store):
    for line in pathlib.Path(f"/proc/{store.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


def metric(store, name):
    text = urllib.request.urlopen(store.url + "/metrics", timeout=10).read().decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def puts(store):
    """The longest one took this long."""
    longest = 0
    for i in range(ROUND):
        began = time.monotonic()
        good(store, "/v3/kv/put", {"key": b64(f"w/{i}"), "value": b64(VALUE)})
        longest = max(longest, time.monotonic() - began)
    return longest


def silent_watchers(store):
    puts(store)
    before = memory_mb(store)
    # Half of them want history first.
    watches = [Watch(store, 2 if i % 2 == 0 else 0) for i in range(SILENT)]
    while metric(store, "etcd_debugging_mvcc_watcher_total") < SILENT:
        time.sleep(0.05)
    longest = puts(store)
    growth = memory_mb(store) - before
    slow = metric(store, "etcd_debugging_mvcc_slow_watcher_total")
    print(f"  {SILENT} silent watches: {growth:.0f} MB, {slow:.0f} are behind, longest put {longest * 1000:.0f} ms",
          flush=True)
    if growth > MAX_GROWTH_MB:
        raise AssertionError(f"memory grew by {growth:.0f} MB")
    if slow < SILENT / 2:
        raise AssertionError(f"only {slow:.0f} watches wait for their clients")
    for i in (0, 1, 2, SILENT - 2, SILENT - 1):
        first = 2 if i % 2 == 0 else 2 + ROUND
        equal(watches[i].revisions(2 + 2 * ROUND - first), list(range(first, 2 + 2 * ROUND)))
    for w in watches:
        w.socket.close()
    deadline = time.monotonic() + 20
    while metric(store, "etcd_debugging_mvcc_watcher_total") > 0:
        if time.monotonic() > deadline:
            raise AssertionError("watches of clients that are gone are still there")
        time.sleep(0.1)


def main():
    if not (BUILD / "bin/kvstore").exists():
        print("SKIP kvstore_watchers: kvstore is not built")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-watchers-") as top:
        store = Store(pathlib.Path(top))
        store.start()
        try:
            silent_watchers(store)
            print("PASS kvstore_watchers.silent_watchers", flush=True)
        except Exception as e:
            print(f"FAIL kvstore_watchers.silent_watchers: {type(e).__name__} {e}", flush=True)
        finally:
            store.kill()


if __name__ == "__main__":
    main()
