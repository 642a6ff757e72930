#!/usr/bin/env python3
"""Clusters of three and five kvstore processes, each in a network namespace of its own, under load while they are killed,
stopped, cut off from one another in every way, replaced, and their disks hang or are full. What clients were told must be
linearizable, watchers must see every revision once, and in the end all members must hold the same. Each member's data are
on a small ext4 of its own in a loop device; where there are none, on a small tmpfs, which cannot hang.

    tests/component/kvstore_faults_test.py [--seed N] [--seconds N] [--members 3 5] [--only KIND...]

Wants root: it runs itself again inside tests/e2e/sandbox. Logs and history of a run that failed go to $KEELSON_KEEP, when
that is a folder."""
import argparse
import collections
import contextlib
import http.client
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from kvstore_history import CHECKER, History
from kvstore_members import KVSTORE, ROOT, Gateway, Load, Member, b64, ctl, same_everywhere, wait_for

NETWORK = "198.18.0"  # for benchmarks of networks: nobody's
DISK_MIB = 160        # two log segments and some more
GROWTH_MIB = 2        # for each second: nothing is compacted
NO_CUT = "add table inet cut; delete table inet cut"


def run(*command):
    subprocess.run([str(c) for c in command], check=True, stdin=subprocess.DEVNULL)


class Disk:
    """A small ext4 at `path`, which it makes, in a loop device; its image lies in another such file system, and freezing
    that one makes it a disk that takes requests and does not finish them. A tmpfs where loop devices are missing, which
    does not hang (`hangs`)."""

    def __init__(self, path, mib):
        self.path, self.under, self.image = path, path.with_suffix(".under"), path.with_suffix(".img")
        path.mkdir()
        self.under.mkdir()
        self.hangs = self._loop(self.image, self.under, mib + 40)
        if self.hangs:
            self.hangs = self._loop(self.under / "img", path, mib)
        if not self.hangs:
            run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", path)

    @staticmethod
    def _loop(image, path, mib):
        with open(image, "wb") as f:
            f.truncate(mib << 20)
        for command in (["mkfs.ext4", "-q", "-m", "0", image], ["mount", "-o", "loop", image, path]):
            if subprocess.run(command, capture_output=True).returncode != 0:
                return False
        (path / "lost+found").rmdir()
        return True

    def hang(self):
        """What is written from now on is not on the disk until go_on()."""
        run("fsfreeze", "--freeze", self.under)

    def go_on(self):
        subprocess.run(["fsfreeze", "--unfreeze", self.under], capture_output=True)

    def close(self):
        run("umount", self.path)
        subprocess.run(["umount", self.under], capture_output=True)
        self.image.unlink(missing_ok=True)


class Cluster:
    """Members on one bridge. What a member does not hear is dropped in its namespace, so that clients still reach it."""

    def __init__(self, top, size, disk_mib):
        self.top, self.names, self.members, self.disks, self.disk_mib = top, 0, [], {}, disk_mib
        run("ip", "link", "add", "bridge0", "type", "bridge")
        run("ip", "addr", "add", f"{NETWORK}.254/24", "dev", "bridge0")
        run("ip", "link", "set", "bridge0", "up")
        for _ in range(size):
            self.members.append(self.new_member())
        for m in self.members:
            m.start(self.members)
        self.leader()

    def new_member(self):
        self.names += 1
        name, address = f"m{self.names}", f"{NETWORK}.{self.names}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"v-{name}", "master", "bridge0", "up")
        for args in (["link", "set", "lo", "up"], ["addr", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            run("ip", "-n", name, *args)
        # Few entries between checkpoints and few kept: who was away is often brought back by a snapshot.
        flags = ("--snapshot-count", "1000", "--snapshot-catchup-entries", "500")
        member = Member(self.top, name, flags=flags, address=address, prefix=("ip", "netns", "exec", name))
        self.disks[name] = Disk(member.dir / "data", self.disk_mib)
        return member

    def disk(self, member):
        return self.disks[member.name]

    def close(self):
        for disk in self.disks.values():
            disk.go_on()
        for m in self.members:
            m.end()
        for i in range(1, self.names + 1):
            run("ip", "link", "del", f"v-m{i}")  # at once; the namespace takes its time
            run("ip", "netns", "del", f"m{i}")
            self.disks[f"m{i}"].close()
        run("ip", "link", "del", "bridge0")

    def state(self, member):
        """The member's own view, from one that answers at once; {} otherwise."""
        try:
            return Gateway([member], timeout=1).post("/v3/maintenance/status", {}) if member.running() else {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}

    def leader(self, of=None):
        """The member among `of` that leads in the highest term."""
        def find():
            found = []
            for m in of or self.members:
                s = self.state(m)
                if s.get("leader", "0") != "0" and s["leader"] == s["header"]["member_id"]:
                    found.append((int(s["raftTerm"]), m))
            return max(found, key=lambda f: f[0])[1] if found else None
        return wait_for("a leader", find)

    def all_there(self):
        wait_for("every member to have a leader",
                 lambda: all(self.state(m).get("leader", "0") != "0" for m in self.members), 40)

    def deaf(self, member, to):
        """From now on the member hears nothing of these others."""
        rules = "table inet cut { chain input { type filter hook input priority 0; ip saddr { %s } drop; }; }" % (
            ", ".join(o.address for o in to))
        run("ip", "netns", "exec", member.name, "nft", f"{NO_CUT}; {rules}")

    def split(self, side):
        """Neither these nor the others hear anything of the other side."""
        rest = [m for m in self.members if m not in side]
        for m in self.members:
            self.deaf(m, rest if m in side else side)

    def heal(self):
        for m in self.members:
            run("ip", "netns", "exec", m.name, "nft", NO_CUT)
            run("ip", "link", "set", f"v-{m.name}", "up")


class Faults:
    """One method a fault: brings it about, waits until the cluster is whole again. `chance` makes all choices."""

    def __init__(self, cluster, load, chance):
        self.cluster, self.load, self.chance = cluster, load, chance

    @property
    def few(self):
        """As many members as the cluster can spare."""
        return (len(self.cluster.members) - 1) // 2

    def some(self, count):
        return self.chance.sample(self.cluster.members, count)

    def with_leader(self, count):
        leader = self.cluster.leader()
        others = [m for m in self.cluster.members if m is not leader]
        return [leader, *self.chance.sample(others, count - 1)]

    def hold(self):
        time.sleep(self.chance.uniform(0.5, 2.5))

    def kill(self, victims):
        for m in victims:
            m.end(signal.SIGKILL)
        if len(victims) <= self.few:
            self.load.went_on()
        for m in victims:
            m.start(self.cluster.members)

    def stop(self, victims):
        for m in victims:
            m.process.send_signal(signal.SIGSTOP)
        if len(victims) <= self.few:
            self.load.went_on()
        self.hold()
        for m in victims:
            m.process.send_signal(signal.SIGCONT)

    def cut(self, side):
        self.cluster.split(side)
        if len(side) <= self.few or len(self.cluster.members) - len(side) <= self.few:
            self.load.went_on()
        self.hold()
        self.cluster.heal()

    # ---- the faults

    def kill_leader(self):
        self.kill(self.with_leader(1))

    def kill_few(self):
        self.kill(self.some(self.few))

    def kill_most(self):
        self.kill(self.some(self.few + 1))

    def stop_leader(self):
        self.stop(self.with_leader(1))

    def stop_most(self):
        self.stop(self.with_leader(self.few + 1))

    def cut_off_leader(self):
        self.cut(self.with_leader(1))

    def cut_off_few_with_leader(self):
        self.cut(self.with_leader(self.few))

    def cut_off_few(self):
        self.cut(self.some(self.few))

    def leader_is_deaf(self):
        leader = self.cluster.leader()
        self.cluster.deaf(leader, [m for m in self.cluster.members if m is not leader])
        self.load.went_on()
        self.hold()
        self.cluster.heal()

    def leader_is_mute(self):
        leader = self.cluster.leader()
        for m in self.cluster.members:
            if m is not leader:
                self.cluster.deaf(m, [leader])
        self.load.went_on()
        self.hold()
        self.cluster.heal()

    def one_link_is_down(self):
        one, two = self.with_leader(2)
        self.cluster.deaf(one, [two])
        self.cluster.deaf(two, [one])
        self.load.went_on()
        self.hold()
        self.cluster.heal()

    def nobody_hears_anybody(self):
        for m in self.cluster.members:
            self.cluster.deaf(m, [o for o in self.cluster.members if o is not m])
        self.hold()
        self.cluster.heal()

    def cable_of_leader(self):
        run("ip", "link", "set", f"v-{self.cluster.leader().name}", "down")
        self.load.went_on()
        self.hold()
        self.cluster.heal()

    def disk_is_full(self):
        """Of one member, until it gives up or nothing more is asked of its disk; it returns when there is space."""
        [victim] = self.with_leader(1) if self.chance.random() < 0.5 else self.some(1)
        ballast = self.cluster.disk(victim).path / "ballast"
        free = shutil.disk_usage(ballast.parent).free
        with open(ballast, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(free - (1 << 20), 1))
        others = [m for m in self.cluster.members if m is not victim]
        gateway, value = Gateway(others), b64("x" * (256 << 10))
        end = time.monotonic() + 10
        for _ in range(100):
            if not victim.running() or time.monotonic() > end:
                break
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                gateway.post("/v3/kv/put", {"key": b64("ballast"), "value": value})
        self.load.went_on()
        gave_up = not victim.running()
        ballast.unlink()
        if gave_up:
            tail = "\n".join(victim.log_tail(40))
            if "disk failed" not in tail or "space" not in tail.lower():
                raise AssertionError(f"{victim.name} ended without saying that its disk is full: {tail[-1500:]}")
            victim.start(self.cluster.members)
        # The space goes back, for the next time.
        gateway.post("/v3/kv/deleterange", {"key": b64("ballast")})
        return "the member stopped itself" if gave_up else "the member went on"

    def disk_of_leader_hangs(self):
        """It must let another lead, and follow when its disk goes on."""
        leader = self.cluster.leader()
        disk = self.cluster.disk(leader)
        if not disk.hangs:
            return "cannot hang: its disk is a tmpfs"
        said = len(leader.log_tail(1 << 30))
        disk.hang()
        try:
            self.load.went_on()
            self.hold()
        finally:
            disk.go_on()
        # Where the loop itself had to wait for the disk it noticed nothing, like one that is stopped.
        self.cluster.all_there()
        stepped_down = any("its log is not getting to the disk" in line for line in leader.log_tail(1 << 30)[said:])
        return "the leader stepped down" if stepped_down else "the leader hung with its disk"

    def streams_want_a_leader(self):
        """A member alone ends the streams that ask for a leader (etcdctl's watch does), and keeps the others."""
        [victim] = self.with_leader(1) if self.chance.random() < 0.5 else self.some(1)
        key, told = f"wanted/{self.chance.random()}", threading.Event()

        def patient():
            request = {"create_request": {"key": b64(key)}}
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                for answer in Gateway([victim], timeout=40).stream("/v3/watch", request):
                    if answer.get("result", {}).get("events"):
                        return told.set()
        before = self.watchers(victim)
        threading.Thread(target=patient, daemon=True).start()
        strict = subprocess.Popen(["etcdctl", f"--endpoints={victim.url}", "watch", "--prefix", f"{key}/"], text=True,
                                  env=dict(os.environ, ETCDCTL_API="3"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            wait_for("both watches", lambda: self.watchers(victim) >= before + 2)
            self.cluster.split([victim])
            _, error = strict.communicate(timeout=15)
            if "etcdserver: no leader" not in error:
                raise AssertionError(f"the watch ended with {error[-300:]!r}")
        finally:
            strict.kill()
            self.cluster.heal()
        self.cluster.all_there()
        # What a member hands on to its leader goes the way of the connection it was put into: a client asks again.
        wait_for("a put", lambda: ctl(self.cluster.members, "put", key, "1", check=False))
        if not told.wait(10):
            raise AssertionError("a watch that asked for no leader did not go on")

    def watchers(self, member):
        with urllib.request.urlopen(member.url + "/metrics", timeout=3) as answer:
            text = answer.read().decode()
        return float(text.split("\netcd_debugging_mvcc_watcher_total ")[1].split()[0])

    def replace(self):
        """A member, the leader or another, goes for good; its successor starts empty, as a learner or as a voter."""
        [old] = self.with_leader(1) if self.chance.random() < 0.5 else self.some(1)
        members, others = self.cluster.members, [m for m in self.cluster.members if m is not old]
        ident = int(self.cluster.state(old)["header"]["member_id"])
        # Strict reconfiguration wants everybody to have been connected for five seconds.
        wait_for("its removal", lambda: "removed" in ctl(others, "member", "remove", f"{ident:x}", check=False))
        wait_for("the removed member to stop", lambda: not old.running())
        fresh, learner = self.cluster.new_member(), self.chance.random() < 0.5
        add = ["member", "add", fresh.name, *(["--learner"] if learner else []), f"--peer-urls={fresh.peer}"]
        said = wait_for("its successor to be added", lambda: ctl(others, *add, check=False))
        members[members.index(old)] = fresh
        fresh.start(members, "existing")
        if learner:
            wait_for("its promotion", lambda: "promoted" in ctl(others, "member", "promote", said.split()[1], check=False))


KINDS = [n for n, f in vars(Faults).items() if callable(f) and not n.startswith("_")
         and n not in ("some", "with_leader", "hold", "kill", "stop", "cut", "watchers")]


def schedule(kinds, chance):
    """All kinds in random order, again and again. The clusters share one, so that a short run knows most kinds too."""
    while True:
        yield from chance.sample(kinds, len(kinds))


def torment(size, kinds, seed, seconds):
    chance, name = random.Random(seed), f"kvstore_faults.{size}_members"
    pauses, told = collections.defaultdict(list), ""
    top = pathlib.Path(tempfile.mkdtemp(prefix="kvstore-faults-"))
    cluster = Cluster(top, size, DISK_MIB + int(GROWTH_MIB * seconds))
    try:
        load = Load(cluster.members, writers=2, timeout=0.5)
        history = History(cluster.members, top / "history.jsonl", seed)
        faults = Faults(cluster, load, chance)
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            kind = next(kinds)
            load.pause = 0.0
            try:
                note = getattr(faults, kind)()
                cluster.all_there()
                load.went_on()
            except Exception as e:
                raise AssertionError(f"{kind}: {e}") from e
            pauses[kind].append(load.pause)
            print(f"  {kind}: longest pause {load.pause * 1000:.0f} ms, {time.monotonic() - begun:.1f} s"
                  + (f", {note}" if note else ""), flush=True)
        history.stop()
        load.stop()
        same_everywhere(cluster.members)
        load.is_there(cluster.members)
        told = history.check() if CHECKER.exists() else "history not judged, history_check is not built"
        print(f"  {sum(map(len, pauses.values()))} faults, {told}, {history.unknown} of unknown outcome; "
              f"{len(load.acknowledged)} more writes, watched, the watch resumed {load.resumed} times")
        print(f"PASS {name}", flush=True)
    except Exception as e:
        kept = pathlib.Path(os.environ.get("KEELSON_KEEP", "/nonexistent"))
        for m in cluster.members:
            print(f"--- {m.name}", *m.log_tail(12), sep="\n")
            if kept.is_dir():
                shutil.copy(m.dir / "log", kept / f"{m.name}.log")
        if kept.is_dir() and (top / "history.jsonl").exists():
            shutil.copy(top / "history.jsonl", kept)
        print(f"FAIL {name}: --seed {seed}: {e}", flush=True)
    finally:
        cluster.close()
        shutil.rmtree(top, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30, help="of faults, for each cluster")
    parser.add_argument("--members", type=int, nargs="*", default=[3, 5])
    parser.add_argument("--only", nargs="*", choices=KINDS, default=KINDS, help="faults of these kinds")
    options = parser.parse_args()
    why = ("needs root" if os.geteuid() != 0 else "no etcdctl" if not shutil.which("etcdctl") else
           "no nft" if not shutil.which("nft") else f"not built: {KVSTORE}" if not KVSTORE.exists() else None)
    if why:
        print(f"SKIP kvstore_faults: {why}")
        return
    if os.environ.get("KEELSON_SANDBOX") != "inside":
        # A run that is cut short takes its sandbox with it.
        sys.exit(subprocess.run(["setpriv", "--pdeathsig", "TERM", ROOT / "tests/e2e/sandbox", sys.executable, "-u",
                                 os.path.abspath(__file__), *sys.argv[1:]], stdin=subprocess.DEVNULL).returncode)
    kinds = schedule(options.only, random.Random(options.seed))
    for size in options.members:
        torment(size, kinds, options.seed, options.seconds)


if __name__ == "__main__":
    main()
