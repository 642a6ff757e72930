#!/usr/bin/env python3
"""A cluster of kvstore processes on loopback: leaders die and hang, members are replaced, and what was acknowledged is
there afterwards, the same on all members. Driven by Debian's etcdctl (a client nobody here wrote)."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KEELSON_BUILD", ROOT / "build/dev"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Member:
    def __init__(self, top, name):
        self.name, self.dir = name, top / name
        self.dir.mkdir()
        self.client, self.peer = f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.process = None

    def start(self, cluster, state="new"):
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen(
            [BUILD / "bin/kvstore", "--name", self.name, "--data-dir", self.dir / "data",
             "--listen-client-urls", "http://" + self.client, "--advertise-client-urls", "http://" + self.client,
             "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
             "--initial-cluster", ",".join(f"{m.name}={m.peer}" for m in cluster), "--initial-cluster-state", state,
             "--snapshot-catchup-entries", "20"], stdout=self.log, stderr=self.log)

    def end(self, sig=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sig)
            self.process.wait(15)


def ctl(members, *args, check=True, timeout=20):
    env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=",".join(m.client for m in members))
    done = subprocess.run(["etcdctl", "--command-timeout=10s", *map(str, args)], env=env, capture_output=True,
                          text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, args))}: exit {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def status(member):
    out = ctl([member], "endpoint", "status", "-w", "json", check=False, timeout=15)
    return json.loads(out)[0]["Status"] if out.strip().startswith("[") else None


def wait_for(what, condition, limit=30):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {limit} s for {what}")


def leader(members):
    def find():
        for m in members:
            s = status(m) if m.process.poll() is None else None
            if s and s.get("leader") and s["leader"] == s["header"]["member_id"]:
                return m
        return None
    return wait_for("a leader", find)


class Writer(threading.Thread):
    """Puts numbered keys through all members and remembers which were acknowledged."""

    def __init__(self, members):
        super().__init__(daemon=True)
        self.members, self.acknowledged, self.stop = members, [], False
        self.longest, self.start_at = 0.0, time.monotonic()

    def run(self):
        last, n = time.monotonic(), 0
        while not self.stop:
            n += 1
            m = self.members[n % len(self.members)]
            env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=m.client)
            try:
                done = subprocess.run(["etcdctl", "--command-timeout=2s", "--dial-timeout=1s", "put", f"w{n:06d}", str(n)],
                                      env=env, capture_output=True, timeout=5)
            except subprocess.TimeoutExpired:
                continue
            if done.returncode == 0:
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now
                self.acknowledged.append(f"w{n:06d}")


def same_everywhere(members):
    def equal():
        hashes = set()
        for m in members:
            out = ctl([m], "endpoint", "hashkv", "-w", "json", check=False)
            if not out.strip().startswith("["):
                return False
            h = json.loads(out)[0]["HashKV"]
            hashes.add((h["hash"], h["header"]["revision"]))
        return len(hashes) == 1
    wait_for("equal hashes", equal)


def everything_is_there(members, writer):
    for m in members:
        there = set(ctl([m], "get", "w", "--prefix", "--keys-only").split())
        lost = [k for k in writer.acknowledged if k not in there]
        if lost:
            raise AssertionError(f"{m.name} lost {len(lost)} acknowledged writes: {lost[:5]}")


def under_load(members, trouble):
    writer = Writer(members)
    writer.start()
    wait_for("the first writes", lambda: len(writer.acknowledged) > 5)
    trouble()
    count = len(writer.acknowledged)
    wait_for("writes afterwards", lambda: len(writer.acknowledged) > count + 10)
    writer.stop = True
    writer.join(10)
    same_everywhere(members)
    everything_is_there(members, writer)
    print(f"  {len(writer.acknowledged)} acknowledged writes, longest pause {writer.longest * 1000:.0f} ms")


def kill_nine(members):
    def trouble():
        for _ in range(3):
            m = leader(members)
            m.end(signal.SIGKILL)
            leader([o for o in members if o is not m])
            m.start(members)
            wait_for("its return", lambda: status(m))
    under_load(members, trouble)


def stopped_leader(members):
    def trouble():
        m = leader(members)
        m.process.send_signal(signal.SIGSTOP)
        leader([o for o in members if o is not m])
        m.process.send_signal(signal.SIGCONT)
    under_load(members, trouble)


def hand_over(members):
    m = leader(members)
    other = next(o for o in members if o is not m)
    target = status(other)["header"]["member_id"]
    ctl([m], "move-leader", f"{target:x}")
    if leader(members) is not other:
        raise AssertionError("the leader is not who it was moved to")
    # A leader that is asked to stop hands over first.
    other.end(signal.SIGTERM)
    leader([o for o in members if o is not other])
    other.start(members)
    wait_for("its return", lambda: status(other))


def replaced(members, top):
    def trouble():
        old = members[0]
        others = members[1:]
        time.sleep(5.5)  # strict reconfiguration wants everybody connected for five seconds
        ident = status(old)["header"]["member_id"]
        ctl(others, "member", "remove", f"{ident:x}")
        wait_for("the removed member to stop", lambda: old.process.poll() is not None)
        fresh = Member(top, "m9")
        out = ctl(others, "member", "add", "m9", "--learner", f"--peer-urls={fresh.peer}")
        new_id = out.split()[1]
        fresh.start([*others, fresh], "existing")
        wait_for("the learner", lambda: status(fresh))
        refused = ctl([fresh], "put", "x", "y", check=False)
        wait_for("its promotion", lambda: "promoted" in ctl(others, "member", "promote", new_id, check=False))
        members[0] = fresh
        del refused
    under_load(members, trouble)


def main():
    if shutil.which("etcdctl") is None:
        print("SKIP kvstore_cluster: no etcdctl")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-cluster-") as top:
        top = pathlib.Path(top)
        members = [Member(top, f"m{i}") for i in (1, 2, 3)]
        for m in members:
            m.start(members)
        leader(members)
        cases = [("kill_nine", lambda: kill_nine(members)), ("stopped_leader", lambda: stopped_leader(members)),
                 ("hand_over", lambda: hand_over(members)), ("replaced", lambda: replaced(members, top))]
        for name, case in cases:
            try:
                case()
                print(f"PASS kvstore_cluster.{name}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore_cluster.{name}: {e}", flush=True)
        for m in members:
            m.end()


if __name__ == "__main__":
    main()
