#!/usr/bin/env python3
"""kvstore and etcd measured in one run on this machine, fsync on. By hand, never in CI: it wants quiet cores and release
builds, and the peer's binary is not ours to bring.

    ninja -C build/release kvstore kv_bench
    tests/bench/kv_side_by_side.py --bin build/release/bin --peer /path/with/etcd
    tests/bench/kv_side_by_side.py --bin build/release/bin --peer /path/with/etcd --only load1,restart --json out.json
    tests/bench/kv_side_by_side.py --bin build/release/bin --only stalls        # ours alone

Phases (--only picks some):
  load1    puts of 256 B and linearizable gets, 1, 100 and 1,000 clients: per second, p50, p99, server CPU per call
  load3    the same on three members (no TLS; CPU summed over them, connections spread over them); one client at the
           leader, and at a follower
  memory   RSS idle, with 100k keys x 256 B, with 1M
  restart  start to the first read; restart with 100k keys to the first read, after SIGTERM and after kill -9
  failover kill -9 of the leader of three at default timeouts to the next acknowledged put, the longest of --rounds
  stalls   latency of 200 puts and 200 gets a second while: nothing else, compaction of a large history, a list of
           --list-mb by Range, by RangeStream and by pages of 500, HashKV, a snapshot; and RSS at its peak
  watchers 50 watches that read 100k revisions from the beginning, and 10,000 of which half never read, while ten puts
           a second come: RSS, latency of puts and gets beside it; gets right after 200k puts
Prints a table (ours, peer, ratio) and, with --json, saves every figure with the load average at the start.
"""
import argparse
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHASES = ["load1", "load3", "memory", "restart", "failover", "stalls", "watchers"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def gateway(port, path, body="{}", timeout=1.0):
    """One call of the JSON gateway; None when it is refused or fails."""
    try:
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        with contextlib.closing(c):
            c.request("POST", path, body)
            r = c.getresponse()
            data = r.read()
            return json.loads(data) if r.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None


READ = '{"key":"eA=="}'
WRITE = '{"key":"eA==","value":"eQ=="}'


class Member:
    def __init__(self, program, directory, name, ports, cluster):
        self.program, self.dir, self.name = program, pathlib.Path(directory), name
        self.port, self.peer = ports
        self.cluster = cluster
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        peer = f"http://127.0.0.1:{self.peer}"
        with open(self.dir / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.program, f"--name={self.name}", f"--data-dir={self.dir}/{self.name}",
                 f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}",
                 f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                 f"--initial-cluster={self.cluster}", "--quota-backend-bytes=8589934592", "--log-level=error"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(60)
        self.process = None

    def memory(self):
        """Now and at its peak, in MB."""
        found = {}
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(("VmRSS", "VmHWM")):
                found[line[:5]] = int(line.split()[1]) * 1024 / 1e6
        return found["VmRSS"], found["VmHWM"]


class Cluster:
    """Some members of one program in a directory of their own, started and answering."""

    def __init__(self, program, size):
        self.scratch = tempfile.TemporaryDirectory(prefix="kv-side-by-side-")
        ports = [(free_port(), free_port()) for _ in range(size)]
        text = ",".join(f"m{i}=http://127.0.0.1:{peer}" for i, (_, peer) in enumerate(ports))
        self.members = [Member(program, self.scratch.name, f"m{i}", p, text) for i, p in enumerate(ports)]

    def __enter__(self):
        for m in self.members:
            m.start()
        for m in self.members:
            self.await_read(m)
        return self

    def __exit__(self, *_):
        for m in self.members:
            m.stop(signal.SIGKILL)
        self.scratch.cleanup()

    @staticmethod
    def await_read(member, limit=60):
        """Seconds until a linearizable read is answered."""
        began = time.time()
        while gateway(member.port, "/v3/kv/range", READ) is None:
            if time.time() - began > limit or member.process.poll() is not None:
                raise RuntimeError(f"{member.program} does not answer: see {member.dir}")
            time.sleep(0.001)
        return time.time() - began

    def leader(self):
        """The member that says of itself that it leads."""
        for m in self.members:
            status = gateway(m.port, "/v3/maintenance/status")
            if status["header"]["member_id"] == status["leader"]:
                return m
        raise RuntimeError("no member leads")

    def pids(self):
        return ",".join(str(m.process.pid) for m in self.members if m.process)


class Bench:
    def __init__(self, program, o):
        self.program, self.o, self.rows = program, o, {}

    def spawn(self, cluster, op, members=None, **flags):
        args = [self.o.tools / "kv_bench", "--json", f"--op={op}", f"--pids={cluster.pids()}",
                "--endpoints=" + ",".join(m.url for m in members or cluster.members)]
        args += [f"--{k.replace('_', '-')}={v}" for k, v in flags.items()]
        return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def result(process):
        out, err = process.communicate()
        for line in out.splitlines():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{' '.join(map(str, process.args))}: {err[-500:]}")

    def run(self, cluster, op, members=None, **flags):
        return self.result(self.spawn(cluster, op, members, **flags))

    def load(self, size):
        with Cluster(self.program, size) as c:
            time.sleep(1)
            for op in ("put", "get"):
                self.measure(c, op, 1, "1 client", [c.leader()])
                if size > 1:
                    self.measure(c, op, 1, "1 client at a follower", [m for m in c.members if m is not c.leader()][:1])
                for clients in (100, 1000):
                    self.measure(c, op, clients, f"{clients} clients", c.members)

    def measure(self, cluster, op, clients, who, members):
        size = len(cluster.members)
        r = self.run(cluster, op, members, clients=clients, connections=max(len(members), min(clients, 12)), keys=10000,
                     seconds=self.o.seconds)
        name = f"{size} member{'s' * (size > 1)}, {who}, {op}"
        for key, unit in (("per_second", "/s"), ("p50_us", "p50 us"), ("p99_us", "p99 us"), ("cpu_us", "CPU us")):
            self.rows[f"{name}: {unit}"] = r[key]
        if r["failures"]:
            self.rows[f"{name}: failures"] = r["failures"]

    def load1(self):
        self.load(1)

    def load3(self):
        self.load(3)

    def memory(self):
        with Cluster(self.program, 1) as c:
            m = c.members[0]
            time.sleep(3)
            self.rows["RSS MB, idle"] = m.memory()[0]
            for keys, word in ((100_000, "100k"), (1_000_000, "1M")):
                self.run(c, "fill", clients=8, keys=keys, value_bytes=256)
                time.sleep(3)
                self.rows[f"RSS MB, {word} keys x 256 B"] = m.memory()[0]
                if word == "100k" and m.memory()[1] > 0:
                    self.rows["peak RSS MB, while filling 100k"] = m.memory()[1]

    def restart(self):
        c = Cluster(self.program, 1)
        m = c.members[0]
        m.start()
        try:
            self.rows["start to first read, ms"] = c.await_read(m) * 1e3
            self.run(c, "fill", clients=8, keys=100_000, value_bytes=256)
            for word, how in (("SIGTERM", signal.SIGTERM), ("kill -9", signal.SIGKILL)):
                m.stop(how)
                m.start()
                self.rows[f"restart with 100k keys to first read, after {word}, ms"] = c.await_read(m) * 1e3
            time.sleep(1)
            self.rows["RSS MB, restarted with 100k keys"] = m.memory()[0]
        finally:
            c.__exit__()

    def failover(self):
        worst = []
        with Cluster(self.program, 3) as c:
            for _ in range(self.o.rounds):
                time.sleep(3)
                leader = c.leader()
                others = [m for m in c.members if m is not leader]
                began = time.time()
                leader.stop(signal.SIGKILL)
                while all(gateway(m.port, "/v3/kv/put", WRITE, timeout=0.2) is None for m in others):
                    time.sleep(0.001)
                worst.append((time.time() - began) * 1e3)
                leader.start()
                c.await_read(leader)
        self.rows["leader killed to next put, ms: median"] = sorted(worst)[len(worst) // 2]
        self.rows["leader killed to next put, ms: longest"] = max(worst)

    def probed(self, cluster, word, work):
        """Latency of others while `work` runs."""
        probes = {op: self.spawn(cluster, op, clients=4, connections=2, keys=1000, rate=200, prefix="/probe/",
                                 seconds=self.o.probe_seconds) for op in ("put", "get")}
        time.sleep(1)
        began = time.time()
        work()
        took = time.time() - began
        for op, p in probes.items():
            r = self.result(p)
            self.rows[f"{op} p99 ms, {word}"] = r["p99_us"] / 1e3
            self.rows[f"{op} longest ms, {word}"] = r["max_us"] / 1e3
        if work.__name__ != "nothing":
            self.rows[f"took s, {word}"] = took

    def stalls(self):
        with Cluster(self.program, 1) as c:
            m = c.members[0]

            def nothing():
                pass
            self.probed(c, "nothing else", nothing)
            for _ in range(5):
                self.run(c, "fill", clients=8, keys=100_000, value_bytes=256, prefix="/history/")
            self.run(c, "fill", clients=8, keys=self.o.list_mb * 100, value_bytes=10_000)
            self.rows[f"RSS MB, with {self.o.list_mb} MB to list"] = m.memory()[0]
            self.probed(c, f"{self.o.list_mb} MB by Range", lambda: self.run(c, "list"))
            self.probed(c, f"{self.o.list_mb} MB by pages of 500", lambda: self.run(c, "pages"))
            if self.o.stream:
                self.probed(c, f"{self.o.list_mb} MB by RangeStream", lambda: self.run(c, "stream"))
            self.probed(c, "HashKV", lambda: gateway(m.port, "/v3/maintenance/hashkv", timeout=60))
            self.probed(c, "snapshot", lambda: self.run(c, "snapshot"))
            self.probed(c, "compaction of 500k revisions", lambda: self.run(c, "compact"))
            self.rows["peak RSS MB, stalls"] = m.memory()[1]

    def watchers(self):
        with Cluster(self.program, 1) as c:
            m = c.members[0]
            self.run(c, "get", clients=4, keys=1000, seconds=3)
            self.rows["get p99 ms, before a burst"] = self.run(c, "get", clients=4, rate=200, seconds=3)["p99_us"] / 1e3
            for _ in range(2):
                self.run(c, "fill", clients=8, keys=100_000, value_bytes=256)
            self.rows["get p99 ms, after a burst of puts"] = self.run(c, "get", clients=4, rate=200,
                                                                      seconds=3)["p99_us"] / 1e3

            def catch_up():
                r = self.run(c, "watch", clients=50, connections=10, revision=1, keys=100_000)
                self.rows["50 watches of the whole history: CPU s"] = r["cpu_us"] * r["calls"] / 1e6
                self.rows["50 watches of the whole history: MB"] = r["mb"]
            self.probed(c, "50 watches of the whole history", catch_up)
            before = m.memory()[0]

            def many():
                listeners = self.spawn(c, "watch", clients=10_000, connections=100, silent=5_000, keys=50,
                                       prefix="/many/")
                time.sleep(5)
                self.rows["RSS MB, 10,000 watches: more than before"] = m.memory()[0] - before
                self.run(c, "put", clients=4, keys=500, rate=10, seconds=6, prefix="/many/")
                self.result(listeners)
                self.rows["RSS MB, 10,000 watches, half of them silent: more than before"] = m.memory()[0] - before
            self.probed(c, "10,000 watches", many)


def measure(program, o):
    bench = Bench(str(program), o)
    for phase in o.only:
        print(f"{program.name}: {phase}", file=sys.stderr, flush=True)
        try:
            getattr(bench, phase)()
        except Exception as e:  # one phase that fails must not cost the others
            bench.rows[f"{phase} failed"] = str(e)
    return bench.rows


def table(ours, theirs):
    lines = [f"{'':<62}{'kvstore':>12}{'peer':>12}{'ratio':>9}"]
    form = lambda v: v if v is None else f"{v:,.1f}" if isinstance(v, float) else str(v)
    for name in list(ours) + [n for n in theirs if n not in ours]:
        a, b = ours.get(name), theirs.get(name)
        numbers = isinstance(a, (int, float)) and isinstance(b, (int, float)) and b
        ratio = f"{a / b:.2f}" if numbers else ""
        lines.append(f"{name:<62}{form(a) or '-':>12}{form(b) or '-':>12}{ratio:>9}")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", type=pathlib.Path, required=True, help="folder with our kvstore")
    p.add_argument("--peer", type=pathlib.Path, help="folder with the peer's etcd; none: ours alone")
    p.add_argument("--tools", type=pathlib.Path, default=ROOT / "build/release/bin", help="folder with kv_bench")
    p.add_argument("--only", default=",".join(PHASES), help="comma-separated phases (default: all)")
    p.add_argument("--seconds", type=float, default=5, help="of each load (default 5)")
    p.add_argument("--probe-seconds", type=float, default=15, help="of the probes beside each stall (default 15)")
    p.add_argument("--rounds", type=int, default=5, help="leaders to kill (default 5)")
    p.add_argument("--list-mb", type=int, default=1000, help="how much is listed (default 1000)")
    p.add_argument("--stream", action=argparse.BooleanOptionalAction, default=True, help="measure RangeStream too")
    p.add_argument("--json", type=pathlib.Path, help="save the figures here")
    o = p.parse_args()
    o.only = [w for w in o.only.split(",") if w]
    unknown = set(o.only) - set(PHASES)
    if unknown:
        p.error(f"no such phase: {', '.join(sorted(unknown))}")
    load_average = os.getloadavg()
    ours = measure(o.bin.resolve() / "kvstore", o)
    theirs = measure(o.peer.resolve() / "etcd", o) if o.peer else {}
    print(table(ours, theirs))
    if o.json:
        o.json.write_text(json.dumps({"load_average": load_average, "kvstore": ours, "peer": theirs}, indent=1) + "\n")
    return 1 if any(n.endswith(" failed") for n in [*ours, *theirs]) else 0


if __name__ == "__main__":
    sys.exit(main())
