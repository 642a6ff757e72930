#!/usr/bin/env python3
"""Two or more builds of our own store and apiserver, measured in turns in one run on this machine: what a change costs.
By hand, never in CI: it wants quiet cores and release builds.

    ninja -C build/release kvstore kube-apiserver kv_bench apiserver_load       # in each checkout
    tests/bench/pairs.py --rounds 12 before=/there/build/release/bin after=build/release/bin

A round measures each build once, in an order that turns from round to round, with the first build's load generators.
Prints for each figure every build's median, and the median over the rounds of its ratio to the first build in the same
round: the machine's own moods fall out of it.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))
from kv_side_by_side import Cluster  # noqa: E402
from side_by_side import Plane, cpu_seconds, memory  # noqa: E402

PHASES = ["store", "apiserver", "idle"]


def measure_store(programs, tools, o):
    """CPU microseconds of the store per put and get, of one client and of a thousand; calls a second."""
    rows = {}
    with Cluster(programs / "kvstore", 1) as cluster:
        for clients in (1, 1000):
            for op in ("put", "get"):
                done = subprocess.run(
                    [tools / "kv_bench", "--json", f"--endpoints={cluster.members[0].url}", f"--op={op}",
                     f"--pids={cluster.pids()}", f"--clients={clients}", f"--connections={min(clients, 50)}",
                     f"--seconds={o.seconds}"], capture_output=True, text=True, check=True)
                found = json.loads(done.stdout)
                rows[f"store CPU us: {op}, clients {clients}"] = found["cpu_us"]
                rows[f"store per second: {op}, clients {clients}"] = found["per_second"]
    return rows


def measure_apiserver(programs, tools, o, idle):
    """CPU microseconds of the apiserver per request; with `idle` its memory and CPU while nobody asks."""
    plane = Plane(programs, "kvstore", False)
    rows = {}
    try:
        plane.start(components=[])
        pids = {name: p.pid for name, p in plane.processes.items()}
        if idle:
            time.sleep(3)
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            time.sleep(o.idle)
            for name, pid in pids.items():
                rows[f"idle CPU ms a second: {name}"] = (cpu_seconds(pid) - before[name]) / o.idle * 1e3
                rows[f"idle RSS MB: {name}"] = memory(pid)["Rss"]
            return rows
        done = subprocess.run(
            [tools / "apiserver_load", "--json", f"--server=https://127.0.0.1:{plane.port}",
             f"--ca={plane.file('ca.crt')}", f"--cert={plane.file('admin.crt')}", f"--key={plane.file('admin.key')}",
             f"--pid={pids['kube-apiserver']}", f"--store-pid={pids['kvstore']}", f"--objects={o.objects}",
             f"--watchers={o.watchers}", "--updates=50"], stdout=subprocess.PIPE, text=True, check=True)
        for line in done.stdout.splitlines():
            phase = json.loads(line)
            rows[f"apiserver CPU us: {phase['phase']}"] = phase["server_us"]
        return rows
    finally:
        plane.close()


def measure(programs, tools, o):
    rows = {}
    if "store" in o.phases:
        rows |= measure_store(programs, tools, o)
    if "apiserver" in o.phases:
        rows |= measure_apiserver(programs, tools, o, idle=False)
    if "idle" in o.phases:
        rows |= measure_apiserver(programs, tools, o, idle=True)
    return rows


def report(builds, rounds):
    first = next(iter(builds))
    print(f"\n{len(rounds)} rounds; medians, and each build's ratio to {first}")
    print(f"{'':<44}" + "".join(f"{name:>12}" for name in builds) +
          "".join(f"{name + '/' + first:>16}" for name in builds if name != first))
    for key in rounds[0][first]:
        middle = [statistics.median(r[name][key] for r in rounds) for name in builds]
        ratios = [statistics.median(r[name][key] / r[first][key] if r[first][key] else 1 for r in rounds)
                  for name in builds if name != first]
        print(f"{key:<44}" + "".join(f"{m:12.2f}" for m in middle) + "".join(f"{r:16.3f}" for r in ratios))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("builds", nargs="+", metavar="name=bin", help="a name and the folder with its programs")
    p.add_argument("--rounds", type=int, default=8)
    p.add_argument("--phases", default=",".join(PHASES), help="some of " + ",".join(PHASES))
    p.add_argument("--seconds", type=float, default=2, help="of each of the store's loads")
    p.add_argument("--idle", type=float, default=5, help="seconds over which idle CPU is measured")
    p.add_argument("--objects", type=int, default=2000)
    p.add_argument("--watchers", type=int, default=1000)
    p.add_argument("--json", type=pathlib.Path, help="write every figure of every round")
    o = p.parse_args()
    o.phases = o.phases.split(",")
    if unknown := set(o.phases) - set(PHASES):
        p.error(f"no phase {', '.join(sorted(unknown))}: give some of {', '.join(PHASES)}")
    builds = {}
    for text in o.builds:
        name, _, folder = text.partition("=")
        if not folder:
            p.error(f"{text}: give name=folder")
        builds[name] = pathlib.Path(folder).resolve()
    tools = next(iter(builds.values()))
    rounds = []
    for i in range(o.rounds):
        names = list(builds)
        order = names[i % len(names):] + names[:i % len(names)]
        rounds.append({name: measure(builds[name], tools, o) for name in order})
        print(f"round {i + 1} of {o.rounds}", flush=True)
        if o.json:
            o.json.write_text(json.dumps(rounds, indent=1))
    report(builds, rounds)


if __name__ == "__main__":
    main()
