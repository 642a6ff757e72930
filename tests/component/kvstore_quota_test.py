#!/usr/bin/env python3
"""A full store, as an operator of etcd knows it: writes are refused and an alarm says so, reads and deletes go on, and
after delete, compact, defrag and disarm there is room again, whatever the quota. KEELSON_STORE=/path/to/etcd asks the
original the same."""
import base64
import json
import os
import pathlib
import tempfile
import urllib.error
import urllib.request

from kvstore_members import BUILD, Member, wait_for

STORE = os.environ.get("KEELSON_STORE", str(BUILD / "bin/kvstore"))
FULL = "etcdserver: mvcc: database space exceeded"
MB = 1 << 20


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r} want {want!r}")


class Store:
    """One member, asked by JSON."""

    def __init__(self, top, name, *flags):
        self.member = Member(top, name, program=STORE, flags=flags)

    def __enter__(self):
        self.member.start([self.member])
        wait_for("the member serves", lambda: self.health()[0] == 200)
        return self

    def __exit__(self, *_):
        self.member.end()

    def call(self, path, **request):
        try:
            with urllib.request.urlopen(f"{self.member.url}/v3/{path}", json.dumps(request).encode(), timeout=60) as a:
                return json.loads(a.read())
        except urllib.error.HTTPError as e:
            return json.loads(e.read())

    def health(self):
        try:
            with urllib.request.urlopen(f"{self.member.url}/health", timeout=5) as a:
                return a.status, json.loads(a.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())
        except OSError:
            return 0, {}

    def put(self, key, value):
        """None, or why not."""
        return self.call("kv/put", key=b64(key), value=b64(value)).get("message")

    def status(self):
        s = self.call("maintenance/status")
        return int(s["dbSize"]), int(s["dbSizeInUse"])

    def alarms(self):
        return [a["alarm"] for a in self.call("maintenance/alarm", action="GET").get("alarms", [])]

    def disarm(self):
        for alarm in self.call("maintenance/alarm", action="GET").get("alarms", []):
            self.call("maintenance/alarm", action="DEACTIVATE", **alarm)

    def txn(self, success):
        return self.call("kv/txn", success=success)

    def fill(self, size):
        """Until it is full: how many values fit."""
        for i in range(1000):
            if why := self.put(f"big{i}", "x" * size):
                check("why a put is refused", why, FULL)
                return i
        raise AssertionError("it is never full")

    def make_room(self):
        deleted = self.call("kv/deleterange", key=b64("big"), range_end=b64("bih"))
        revision = deleted["header"]["revision"]
        check("a compaction while full", self.call("kv/compaction", revision=revision, physical=True).get("message"), None)
        check("defragmentation while full", self.call("maintenance/defragment").get("message"), None)
        return int(deleted["deleted"])


def b64(text):
    return base64.b64encode(text.encode()).decode()


def full(top, quota, value):
    with Store(top, f"full{quota}", f"--quota-backend-bytes={quota}") as s:
        n = s.fill(value)
        # The original does not see what it has not written yet.
        if not quota / value * 0.4 < n <= quota / value * 1.25:
            raise AssertionError(f"{n} values of {value} bytes fit in {quota}")
        check("alarms", s.alarms(), ["NOSPACE"])
        check("a small put", s.put("small", "x"), FULL)
        check("a transaction that puts", s.txn([{"request_put": {"key": b64("a"), "value": b64("b")}}]).get("message"), FULL)
        check("a lease", s.call("lease/grant", TTL=60).get("message"), FULL)
        check("health", (s.health()[0], s.health()[1].get("health")), (503, "false"))
        check("a read", len(s.call("kv/range", key=b64("big0"))["kvs"][0]["value"]), len(b64("x" * value)))
        # As clients delete who care for what they delete.
        gone = s.txn([{"request_delete_range": {"key": b64("big0")}}])
        check("a transaction that deletes", gone.get("responses", [{}])[0].get("response_delete_range", {}).get("deleted"), "1")
        size, _ = s.status()
        check("deleted", s.make_room(), n - 1)
        smaller, in_use = s.status()
        if smaller > size / 2 or in_use > smaller:
            raise AssertionError(f"dbSize was {size}, is {smaller}, in use {in_use}")
        check("a put before the alarm is taken back", s.put("small", "x"), FULL)
        s.disarm()
        check("alarms afterwards", s.alarms(), [])
        check("a put afterwards", s.put("small", "y"), None)
        check("health afterwards", s.health()[0], 200)
        again = s.fill(value)
        if again < n * 0.8:
            raise AssertionError(f"{n} values fitted, then {again}")
        check("the alarm again", s.alarms(), ["NOSPACE"])
        # Taken back without having made room it comes back with the next put.
        s.disarm()
        check("alarms", s.alarms(), [])
        check("a put", s.put("big", "x" * value), FULL)
        check("alarms", s.alarms(), ["NOSPACE"])
        s.member.end()
        s.member.start([s.member])
        wait_for("it serves again", lambda: s.health()[0] == 503)
        check("after a restart", (s.put("small", "x"), s.alarms()), (FULL, ["NOSPACE"]))
        s.make_room()
        s.disarm()
        check("a put afterwards", s.put("small", "y"), None)


def overwritten(top):
    """One key, written over and over: its history is what fills the store."""
    with Store(top, "overwritten", f"--quota-backend-bytes={8 * MB}") as s:
        for _ in range(1000):
            if s.put("k", "x" * 100_000):
                break
        check("alarms", s.alarms(), ["NOSPACE"])
        revision = s.call("kv/range", key=b64("k"))["header"]["revision"]
        s.call("kv/compaction", revision=revision, physical=True)
        s.call("maintenance/defragment")
        size, in_use = s.status()
        if size > 1 * MB or in_use > 1 * MB:
            raise AssertionError(f"dbSize {size}, in use {in_use}")
        s.disarm()
        check("a put afterwards", s.put("k", "y"), None)


def without(top):
    with Store(top, "without", "--quota-backend-bytes=-1") as s:
        for i in range(20):
            check("a put without a quota", s.put(f"big{i}", "x" * 1_000_000), None)
        check("alarms", s.alarms(), [])


def main():
    with tempfile.TemporaryDirectory(prefix="kvstore-quota-") as top:
        top = pathlib.Path(top)
        stories = [(f"full_{quota // MB}_MiB", lambda q=quota, v=value: full(top, q, v))
                   for quota, value in ((16 * MB, 1_000_000), (4 * MB, 100_000), (100 * MB, 1_000_000))]
        for name, story in [*stories, ("overwritten", lambda: overwritten(top)), ("without", lambda: without(top))]:
            try:
                story()
                print(f"PASS kvstore_quota.{name}", flush=True)
            except Exception as e:  # every story is told of
                print(f"FAIL kvstore_quota.{name}: {type(e).__name__}: {e}", flush=True)


if __name__ == "__main__":
    main()
