#!/usr/bin/env python3
"""A cluster of kvstore processes on loopback: leaders die and hang, members are replaced, and what was acknowledged is
there afterwards, the same on all members; a watch misses nothing. Driven by Debian's etcdctl (a client nobody here
wrote) and over the JSON gateway."""
import pathlib
import shutil
import signal
import tempfile
import time

from kvstore_members import Load, Member, add, ctl, leader, same_everywhere, status, wait_for

FLAGS = ("--snapshot-catchup-entries", "20")


def under_load(members, trouble):
    load = Load(members)
    trouble()
    load.went_on()
    load.stop()
    same_everywhere(members)
    load.is_there(members)
    print(f"  {len(load.acknowledged)} acknowledged writes, longest pause {load.pause * 1000:.0f} ms, "
          f"watch resumed {load.resumed} times")


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
        fresh = Member(top, "m9", flags=FLAGS)
        new_id = add(others, fresh, "--learner")
        fresh.start([*others, fresh], "existing")
        wait_for("the learner", lambda: status(fresh))
        wait_for("its promotion", lambda: "promoted" in ctl(others, "member", "promote", new_id, check=False))
        members[0] = fresh
    under_load(members, trouble)


def main():
    if shutil.which("etcdctl") is None:
        print("SKIP kvstore_cluster: no etcdctl")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-cluster-") as top:
        top = pathlib.Path(top)
        members = [Member(top, f"m{i}", flags=FLAGS) for i in (1, 2, 3)]
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
