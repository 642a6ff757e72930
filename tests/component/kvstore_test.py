#!/usr/bin/env python3
"""kvstore as a process, driven by Debian's etcdctl (a client nobody here wrote) and by kvctl."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KEELSON_BUILD", ROOT / "build/dev"))
SHARED = pathlib.Path(os.environ.get("KEELSON_SHARED", ROOT / "../shared"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Store:
    """One member in a directory of its own; stopped by its pid."""

    def __init__(self, directory, tls=None, flags=()):
        self.dir, self.tls, self.flags = pathlib.Path(directory), tls, list(flags)
        self.port = free_port()
        self.process = None

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def endpoint(self):
        # etcdctl 3.4 sends the whole URL as authority in some calls, which HTTP/2 does not allow.
        return self.url if self.tls else f"127.0.0.1:{self.port}"

    def start(self):
        tls = ["--cert-file", self.tls / "server.crt", "--key-file", self.tls / "server.key", "--client-cert-auth",
               "--trusted-ca-file", self.tls / "ca.crt"] if self.tls else []
        self.log = open(self.dir / "log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(
            [BUILD / "bin/kvstore", "--name", "m1", "--data-dir", self.dir / "data", "--listen-client-urls", self.url,
             "--advertise-client-urls", self.url, *map(str, tls), *self.flags], stdout=self.log, stderr=self.log)
        while time.monotonic() - began < 10:
            if self.process.poll() is not None:
                raise RuntimeError("kvstore ended: " + (self.dir / "log").read_text()[-500:])
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return time.monotonic() - began
            time.sleep(0.005)
        raise RuntimeError("kvstore does not listen")

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        self.process.wait(10)
        self.log.close()

    def ctl(self, *args, program="etcdctl", check=True, stdin=None, timeout=20):
        env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=self.endpoint)
        command = [program if program == "etcdctl" else BUILD / "bin/kvctl", *args]
        if self.tls:
            command += ["--cacert", self.tls / "ca.crt", "--cert", self.tls / "admin.crt", "--key",
                        self.tls / "admin.key"]
        done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, input=stdin,
                              timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, args))}: exit {done.returncode}: {done.stderr[-300:]}")
        return done


def equal(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text[-400:]!r}")


def keys(store):
    for program in ("etcdctl", "kvctl"):
        ctl = lambda *a, **k: store.ctl(*a, program=program, **k)
        equal(ctl("put", "a", "1").stdout, "OK\n")
        contains(ctl("put", "a", "2", "--prev-kv").stdout, "OK\na\n1\n")
        equal(ctl("get", "a").stdout, "a\n2\n")
        for i in range(3):
            ctl("put", f"k{i}", f"v{i}")
        equal(ctl("get", "k", "--prefix", "--keys-only").stdout, "k0\n\nk1\n\nk2\n\n")
        equal(ctl("get", "k", "--prefix", "--limit", "2").stdout, "k0\nv0\nk1\nv1\n")
        equal(ctl("get", "k", "--prefix", "--order=DESCEND", "--sort-by=KEY", "--print-value-only").stdout,
              "v2\nv1\nv0\n")
        equal(ctl("del", "k", "--prefix").stdout, "3\n")
        contains(ctl("get", "a", "--rev", "99999", check=False).stderr, "required revision is a future revision")
        contains(ctl("put", "", "x", check=False).stderr, "etcdserver: key is not provided")
        equal(ctl("del", "a").stdout, "1\n")


def txn(store):
    out = store.ctl("txn", stdin='mod("t") = "0"\n\nput t yes\nget t\n\nput t no\n\n').stdout
    equal(out, "SUCCESS\n\nOK\n\nt\nyes\n")
    out = store.ctl("txn", stdin='value("t") = "x"\n\nput t yes\n\nput t no\nget t\n\n').stdout
    equal(out, "FAILURE\n\nOK\n\nt\nno\n")
    out = store.ctl("txn", stdin="\n\nput d 1\nput d 2\n\n\n", check=False).stderr
    contains(out, "duplicate key given in txn request")


def leases(store):
    lease = store.ctl("lease", "grant", "300").stdout.split()[1]
    store.ctl("put", "l1", "v", f"--lease={lease}")
    contains(store.ctl("lease", "timetolive", lease, "--keys").stdout, "attached keys([l1])")
    contains(store.ctl("lease", "keep-alive", "--once", lease).stdout, "keepalived with TTL(300)")
    contains(store.ctl("lease", "list").stdout, lease)
    store.ctl("lease", "revoke", lease)
    equal(store.ctl("get", "l1").stdout, "")
    contains(store.ctl("lease", "revoke", "1", check=False).stderr, "requested lease not found")
    lease = store.ctl("lease", "grant", "2").stdout.split()[1]
    store.ctl("put", "l2", "v", f"--lease={lease}")
    deadline = time.monotonic() + 8
    while store.ctl("get", "l2").stdout:
        if time.monotonic() > deadline:
            raise AssertionError("the lease does not run out")
        time.sleep(0.2)


def watch_lines(store, program, *args, act=None, seconds=1.5):
    env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=store.endpoint)
    command = ["etcdctl" if program == "etcdctl" else str(BUILD / "bin/kvctl"), "watch", *args]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.7)
    if act:
        act()
    time.sleep(seconds - 0.7)
    process.kill()
    return process.communicate()[0]


def watches(store):
    for program in ("etcdctl", "kvctl"):
        def act():
            store.ctl("put", "w1", "x")
            store.ctl("del", "w1")
        out = watch_lines(store, program, "w", "--prefix", "--prev-kv", act=act, seconds=2)
        equal(out, "PUT\nw1\nx\nDELETE\nw1\nx\nw1\n\n")
        store.ctl("put", f"h-{program}", "1")
        store.ctl("put", f"h-{program}", "2")
        out = watch_lines(store, program, f"h-{program}", "--rev=1")
        equal(out, f"PUT\nh-{program}\n1\nPUT\nh-{program}\n2\n")


def compaction(store):
    for i in range(5):
        store.ctl("put", "c", str(i))
    revision = int(store.ctl("get", "c", "-w", "fields").stdout.split('"Revision" : ')[1].split("\n")[0])
    equal(store.ctl("compact", str(revision)).stdout, f"compacted revision {revision}\n")
    contains(store.ctl("compact", str(revision), check=False).stderr, "required revision has been compacted")
    contains(store.ctl("get", "c", "--rev", str(revision - 1), check=False).stderr,
             "required revision has been compacted")


def cluster(store):
    contains(store.ctl("member", "list", "-w", "table").stdout, "| started |   m1 |")
    contains(store.ctl("member", "list", "-w", "table", program="kvctl").stdout, "│ started │   m1 │")
    health = store.ctl("endpoint", "health")
    contains(health.stdout + health.stderr, "is healthy")
    contains(store.ctl("endpoint", "status", "-w", "table").stdout, "3.7.1")
    contains(store.ctl("endpoint", "status", program="kvctl").stdout, "3.7.1, 3.7.0")
    equal(store.ctl("alarm", "list").stdout, "")
    for path, want in (("/health", '{"health":"true","reason":""}'), ("/readyz", "ok\n"),
                       ("/version", '{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}')):
        equal(urllib.request.urlopen(store.url + path, timeout=5).read().decode(), want)
    metrics = urllib.request.urlopen(store.url + "/metrics", timeout=5).read().decode()
    for name in ("etcd_server_has_leader 1", "etcd_mvcc_put_total", "etcd_disk_wal_fsync_duration_seconds_bucket"):
        contains(metrics, name)


def snapshots(store, directory):
    for program in ("etcdctl", "kvctl"):
        store.ctl("put", "snapshot", program)
        path = directory / f"{program}.db"
        contains(store.ctl("snapshot", "save", path, program=program).stdout, f"Snapshot saved at {path}")
        ours = store.ctl("snapshot", "status", path, program="kvctl").stdout.split(", ")
        theirs = store.ctl("snapshot", "status", path).stdout.split(", ")
        equal(ours[:2], theirs[:2])
        restored = directory / f"restored-{program}"
        restored.mkdir()
        store.ctl("snapshot", "restore", path, "--data-dir", restored / "data", "--name", "m1",
                  "--initial-advertise-peer-urls", "http://localhost:2380", program="kvctl")
        again = store.ctl("snapshot", "restore", path, "--data-dir", restored / "data", program="kvctl", check=False)
        contains(again.stderr, "not empty or could not be read")
        second = Store(restored)
        second.start()
        try:
            equal(second.ctl("get", "snapshot").stdout, f"snapshot\n{program}\n")
            second.ctl("put", "more", "1")
            equal(second.ctl("get", "more").stdout, "more\n1\n")
        finally:
            second.kill()


def starts_on_etcds_snapshot(directory):
    golden = SHARED / "golden/etcd-files/snapshot.db"
    if not golden.exists():
        return "SKIP"
    store = Store(directory)
    store.ctl("snapshot", "restore", golden, "--data-dir", directory / "data", program="kvctl")
    store.start()
    try:
        equal(store.ctl("get", "a").stdout, "a\n3\n")
        equal(len(store.ctl("get", "seq/", "--prefix", "--keys-only").stdout.split()), 199)
        contains(store.ctl("endpoint", "hashkv").stdout, "1424753234")
    finally:
        store.kill()


def kill_nine(directory):
    """Writers run while the member is killed and started again; what was acknowledged is there."""
    store = Store(directory, flags=["--snapshot-count", "50"])
    store.start()
    acknowledged, stop = {}, threading.Event()

    def writer(n):
        i = 0
        while not stop.is_set():
            i += 1
            key, value = f"w{n}/{i % 20}", f"{i}"
            try:
                if store.ctl("put", key, value, "--command-timeout=1s", program="kvctl", check=False).returncode == 0:
                    acknowledged[key] = i
            except (subprocess.TimeoutExpired, OSError):
                pass

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for _ in range(4):
        time.sleep(0.8)
        store.kill()
        store.start()
    stop.set()
    for t in threads:
        t.join()
    lines = store.ctl("get", "w", "--prefix").stdout.split("\n")
    have = dict(zip(lines[0::2], lines[1::2]))
    for key, i in acknowledged.items():
        if int(have.get(key, -1)) < i:
            raise AssertionError(f"{key}: acknowledged {i}, found {have.get(key)}")
    if len(acknowledged) < 10:
        raise AssertionError("hardly anything was written")
    began = time.monotonic()
    store.kill(signal.SIGTERM)
    if time.monotonic() - began > 5:
        raise AssertionError("SIGTERM took too long")
    store.start()
    equal(store.ctl("get", "w", "--prefix").stdout.split("\n"), lines)
    store.kill()


def tls(directory):
    import apiserver_process
    pki = directory / "pki"
    pki.mkdir()
    apiserver_process.Pki(pki)
    store = Store(directory, tls=pki)
    store.start()
    try:
        for program in ("etcdctl", "kvctl"):
            equal(store.ctl("put", "a", "1", program=program).stdout, "OK\n")
            equal(store.ctl("get", "a", program=program).stdout, "a\n1\n")
        env = dict(os.environ, ETCDCTL_API="3")
        bare = subprocess.run(["etcdctl", "--endpoints", store.url, "--cacert", str(pki / "ca.crt"),
                               "--command-timeout=2s", "get", "a"], env=env, capture_output=True, timeout=20)
        if bare.returncode == 0:
            raise AssertionError("served a client without a certificate")
    finally:
        store.kill()


def flags():
    def run(*args):
        return subprocess.run([str(BUILD / "bin/kvstore"), *args], capture_output=True, text=True, timeout=10)
    refused = run("--enable-distributed-tracing")
    contains(refused.stderr + refused.stdout, "not supported yet")
    elsewhere = run("--initial-cluster", "a=http://a:1,b=http://b:1")
    contains(elsewhere.stderr + elsewhere.stdout, "couldn't find local name")
    contains(run("--version").stdout, "etcd Version: 3.7.1")


def main():
    if not (BUILD / "bin/kvstore").exists() or not shutil.which("etcdctl"):
        print("SKIP kvstore: kvstore or Debian's etcdctl is not here")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-test-") as top:
        top = pathlib.Path(top)

        def fresh(name):
            (top / name).mkdir()
            return top / name

        store = Store(fresh("main"))
        print(f"kvstore: listens after {store.start() * 1000:.0f} ms")
        cases = [("keys", lambda: keys(store)), ("txn", lambda: txn(store)), ("leases", lambda: leases(store)),
                 ("watches", lambda: watches(store)), ("compaction", lambda: compaction(store)),
                 ("cluster", lambda: cluster(store)), ("snapshots", lambda: snapshots(store, fresh("snapshots"))),
                 ("starts_on_etcds_snapshot", lambda: starts_on_etcds_snapshot(fresh("golden"))),
                 ("kill_nine", lambda: kill_nine(fresh("kill"))), ("tls", lambda: tls(fresh("tls"))), ("flags", flags)]
        for name, case in cases:
            try:
                print(f"SKIP kvstore.{name}: no golden data" if case() == "SKIP" else f"PASS kvstore.{name}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore.{name}: {e}", flush=True)
        store.kill(signal.SIGTERM)


if __name__ == "__main__":
    main()
