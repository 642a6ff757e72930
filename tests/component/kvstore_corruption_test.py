#!/usr/bin/env python3
"""Members that hold different data are found: three members restored from two backups that differ in one value. The
periodic check and the one after a compaction raise the alarm CORRUPT, for the member that differs; a member that checks
itself before it serves does not serve. A healthy cluster passes, also with etcd's own checker as leader where an etcd
is at hand (KEELSON_ETCD)."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from kvstore_members import BUILD, KVSTORE, Member, ctl, leader, status, wait_for

KVCTL = BUILD / "bin/kvctl"


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise AssertionError(f"{args}: exit {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def backup(top, name, value):
    """A backup of ten keys, the fifth with `value`."""
    m = Member(top, f"source-{name}")
    m.start([m])
    leader([m])
    for n in range(10):
        ctl([m], "put", f"k{n}", value if n == 5 else "same")
    ctl([m], "snapshot", "save", top / f"{name}.db", program=KVCTL)
    m.end()
    return top / f"{name}.db"


def restored(top, backups, flags, programs=(KVSTORE, KVSTORE, KVSTORE)):
    members = [Member(top, f"m{i + 1}", program=programs[i], flags=flags) for i in range(3)]
    cluster = ",".join(f"{m.name}={m.peer}" for m in members)
    for m, db in zip(members, backups):
        run(KVCTL, "snapshot", "restore", db, "--name", m.name, "--data-dir", m.dir / "data", "--initial-cluster", cluster,
            "--initial-advertise-peer-urls", m.peer)
    return members


def log_of(m):
    return (m.dir / "log").read_text(errors="replace")


def alarms(members):
    return ctl(members, "alarm", "list", check=False).split()


def finds_the_odd_one(top, flags, before=lambda members: None):
    one, other = backup(top, "one", "value"), backup(top, "other", "other")
    members = restored(top, [one, one, other], flags)
    try:
        for m in members:
            m.start(members)
        # The odd one may lead: whom the leader differs from is then the suspect, as with etcd.
        lead = leader(members)
        odd = status(members[2])["header"]["member_id"]
        before(members)
        found = wait_for("the alarm", lambda: alarms(members))
        if "alarm:CORRUPT" not in found:
            raise AssertionError(f"alarms {found}")
        if lead is not members[2] and f"memberID:{odd}" not in found:
            raise AssertionError(f"{found}, expected member {odd}")
        refused = subprocess.run(["etcdctl", "--endpoints", members[0].url, "put", "k", "v"], capture_output=True, text=True,
                                 env=dict(os.environ, ETCDCTL_API="3"), timeout=20)
        if refused.returncode == 0 or "etcdserver: corrupt cluster" not in refused.stderr:
            raise AssertionError(f"a write was taken: {refused}")
    finally:
        for m in members:
            m.end()


def periodic(top):
    finds_the_odd_one(top, ("--corrupt-check-time", "300ms"))


def after_compaction(top):
    def compact(members):
        ctl(members, "compaction", "3")
    finds_the_odd_one(top, ("--feature-gates", "CompactHashCheck=true", "--compact-hash-check-time", "300ms"), compact)


def initial(top):
    one, other = backup(top, "one", "value"), backup(top, "other", "other")
    members = restored(top, [one, one, other], ())
    members[2].flags = ("--feature-gates=InitialCorruptCheck=true",)
    try:
        for m in members:
            m.start(members)
        wait_for("the odd one to end", lambda: members[2].process.poll() is not None)
        if members[2].process.returncode == 0 or "found data inconsistency with peers" not in log_of(members[2]):
            raise AssertionError(f"exit {members[2].process.returncode}: {members[2].log_tail()}")
        if "ready to serve client requests" in log_of(members[2]):
            raise AssertionError("it served before it was checked")
        ctl(members[:2], "put", "k", "v")
    finally:
        for m in members:
            m.end()


def healthy(top, programs=(KVSTORE, KVSTORE, KVSTORE)):
    one = backup(top, "one", "value")
    members = restored(top, [one, one, one], ("--corrupt-check-time", "300ms", "--feature-gates",
                                              "InitialCorruptCheck=true,CompactHashCheck=true",
                                              "--compact-hash-check-time", "300ms"), programs)
    try:
        for m in members:
            m.start(members)
        for lead in members:
            # Each leads for a while: each asks the others.
            now = leader(members)
            if now is not lead:
                ctl([now], "move-leader", f"{status(lead)['header']['member_id']:x}")
                wait_for("the hand-over", lambda: leader(members) is lead)
            ctl(members, "put", "turn", lead.name)
            ctl(members, "compaction", status(lead)["header"]["revision"])
            ctl(members, "put", "turn", lead.name)
            checked = log_of(lead).count('"number-of-peers-checked":2')
            wait_for(f"checks by {lead.name}", lambda: log_of(lead).count('"number-of-peers-checked":2') > checked + 1)
        if alarms(members):
            raise AssertionError(f"alarms {alarms(members)}")
    finally:
        for m in members:
            m.end()


def main():
    if shutil.which("etcdctl") is None:
        print("SKIP kvstore_corruption: no etcdctl")
        return
    cases = [periodic, after_compaction, initial, healthy]
    if etcd := os.environ.get("KEELSON_ETCD"):
        cases.append(lambda top: healthy(top, (KVSTORE, etcd, KVSTORE)))
        cases[-1].__name__ = "healthy_beside_etcd"
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="kvstore-corruption-") as top:
            try:
                case(pathlib.Path(top))
                print(f"PASS kvstore_corruption.{case.__name__}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore_corruption.{case.__name__}: {e}", flush=True)


if __name__ == "__main__":
    main()
