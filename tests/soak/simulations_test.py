#!/usr/bin/env python3
"""The long simulations: one store, clusters of stores, and a whole control plane, with many more seeds than each commit
gets.

KEELSON_SOAK_SEEDS multiplies them (default 1: 100,000 seeds of a store and of each size of raft cluster, which is more
than 1,000,000 simulated seconds; 1,000 of a control plane). Starts at a seed that the day
gives, so that each day sees others; a failure prints its seed and how to replay it.
"""
import datetime
import os
import pathlib
import subprocess

BUILD = pathlib.Path(os.environ["KEELSON_BUILD"])
TIMES = float(os.environ.get("KEELSON_SOAK_SEEDS", "1"))
FIRST = datetime.date.today().toordinal() * 1_000_000


def run(name, command, **env):
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, errors="replace")
    lines = [l for l in (done.stdout + done.stderr).splitlines() if l.strip()]
    if done.returncode == 0:
        said = next((l for l in reversed(lines) if "seeds" in l), "")
        print(f"PASS {name}: {said}", flush=True)
        return
    why = next((l for l in lines if "replay" in l or l.startswith("FAIL")), lines[-1] if lines else "no output")
    print(f"FAIL {name}: {why}", flush=True)


def main():
    seeds = {"KEELSON_SIM_SEEDS": str(int(100_000 * TIMES)), "KEELSON_SIM_FIRST_SEED": str(FIRST)}
    for name, case in (("store", "KvSimTest.OneMemberLosesNothing"), ("raft, one member", "RaftSimTest.OneMember"),
                       ("raft, three members", "RaftSimTest.ThreeMembers"),
                       ("raft, five members", "RaftSimTest.FiveMembers")):
        run(name, [BUILD / "bin/sim_kv_test", f"--gtest_filter={case}"], **seeds)
    run("cluster", [BUILD / "bin/cluster_sim_test", f"--seeds={int(1000 * TIMES)}", f"--first={FIRST}"])


if __name__ == "__main__":
    main()
