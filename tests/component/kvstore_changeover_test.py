#!/usr/bin/env python3
"""A cluster of three etcd members under load is replaced member by member by kvstore, and back again: remove, add, catch
up. At every step: no acknowledged write is lost, a watch goes on without gap or repetition, all members have the same
HashKV, and etcdctl sees one healthy cluster.

    KEELSON_ETCD=/path/to/etcd tests/component/kvstore_changeover_test.py

Wants an etcd whose peers take what kvstore says, 3.6 or later: $KEELSON_ETCD, or etcd of the PATH. KEELSON_ETCDCTL names
a second etcdctl beside the one of the PATH."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from kvstore_members import KVSTORE, Load, Member, add, ctl, leader, same_everywhere, status, wait_for


def etcd():
    """(program, None), or (None, why not)."""
    program = os.environ.get("KEELSON_ETCD") or shutil.which("etcd")
    if not program:
        return None, "no etcd here (set KEELSON_ETCD)"
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"etcd Version: (\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < (3, 6):
        return None, f"needs etcd 3.6 or later (set KEELSON_ETCD), {program} is {version[0] if version else 'unknown'}"
    return program, None


def controls():
    return [c for c in ("etcdctl", os.environ.get("KEELSON_ETCDCTL")) if c and shutil.which(c)]


def one_healthy_cluster(members):
    """Every etcdctl here sees all members started, of one cluster, under one leader, healthy."""
    for program in controls():
        listed = ctl(members[:1], "member", "list", "-w", "json", program=program)
        names = {m["name"] for m in json.loads(listed)["members"]}
        if names != {m.name for m in members}:
            raise AssertionError(f"{program} lists {sorted(names)}")
        seen = json.loads(ctl(members, "endpoint", "status", "-w", "json", program=program))
        if len({(e["Status"]["header"]["cluster_id"], e["Status"]["leader"]) for e in seen}) != 1 or len(seen) != len(members):
            raise AssertionError(f"{program} does not see one cluster: {json.dumps(seen)[:600]}")
        ctl(members, "endpoint", "health", program=program)  # its exit code tells


def replace(members, at, new):
    """Removes members[at] and puts `new` in its place; a member that leads is replaced like any other."""
    old, others = members[at], members[:at] + members[at + 1:]
    ctl(others, "member", "remove", f"{status(old)['header']['member_id']:x}")
    wait_for("the removed member to stop", lambda: not old.running())
    add(others, new)
    members[at] = new
    new.start(members, "existing")
    wait_for(f"{new.name} to serve", lambda: (status(new) or {}).get("leader"))


def change_over(load, members, programs, top):
    step = 0
    for label, program in programs:
        for at in range(3):
            step += 1
            start = time.monotonic()
            # Strict reconfiguration wants everybody to have been connected for five seconds.
            time.sleep(5.5)
            replace(members, at, Member(top, f"{label}{step}", program))
            load.went_on()
            leader(members)
            wait_for("one healthy cluster", lambda: healthy_or_none(members))
            revision, value = same_everywhere(members)
            load.is_there(members)
            print(f"  {'+'.join(pathlib.Path(m.program).name for m in members)}: HashKV {value} at {revision} on all, "
                  f"{len(load.acknowledged)} writes acknowledged, longest pause {load.pause * 1000:.0f} ms, "
                  f"watch resumed {load.resumed} times, {time.monotonic() - start:.1f} s", flush=True)
        print(f"PASS kvstore_changeover.to_{label}", flush=True)


def healthy_or_none(members):
    try:
        one_healthy_cluster(members)
        return True
    except AssertionError:
        return None


def main():
    program, why = etcd()
    if not program or not controls():
        print(f"SKIP kvstore_changeover: {why or 'no etcdctl here'}")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-changeover-") as top:
        top = pathlib.Path(top)
        members = [Member(top, f"first{i}", program) for i in (1, 2, 3)]
        try:
            for m in members:
                m.start(members)
            leader(members)
            load = Load(members)
            change_over(load, members, [("kvstore", KVSTORE), ("etcd", program)], top)
            load.stop()
            load.is_there(members)
            print("PASS kvstore_changeover.nothing_lost", flush=True)
        except AssertionError as e:
            print(f"FAIL kvstore_changeover: {e}", flush=True)
            for m in members:
                print(f"--- {m.name}", *m.log_tail(), sep="\n", flush=True)
        finally:
            for m in members:
                m.end()


if __name__ == "__main__":
    main()
