#!/usr/bin/env python3
"""Fifty pods on one node, by hand: time from creation to Running and of deletion, CPU of kubelet and kube-proxy per pod,
and what each daemon weighs empty, with the pods running, and after them. Wants root, quiet cores and release binaries;
the cluster lives in a sandbox of its own and goes with it.

    ninja -C build/release
    tests/bench/fifty_pods.py --bin build/release/bin
    tests/bench/fifty_pods.py --bin build/release/bin --pods 100
"""
import argparse
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import cluster  # noqa: E402
from cluster import sh  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def process(daemon):
    """The pid of a daemon by its executable."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "exe").removesuffix(" (deleted)") == f"/opt/keelson/bin/{daemon}":
                if (entry / "cmdline").read_bytes().split(b"\0")[0].endswith(daemon.encode()):
                    return int(entry.name)
        except OSError:
            continue
    raise SystemExit(f"FAIL {daemon} does not run")


def cpu(daemon):
    fields = pathlib.Path(f"/proc/{process(daemon)}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(daemon, what="VmRSS"):
    for line in pathlib.Path(f"/proc/{process(daemon)}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024


def pods():
    return json.loads(sh("kubectl get pods -l app=pause -o json").stdout)["items"]


def wait(what, done, seconds=180):
    start = time.time()
    while not done():
        if time.time() - start > seconds:
            cluster.logs()
            raise SystemExit(f"FAIL {what}: not within {seconds} s")
        time.sleep(0.1)


def report(title):
    print(title + ": " + ", ".join(f"{d} {memory(d):.1f} MiB (peak {memory(d, 'VmHWM'):.1f})" for d in cluster.DAEMONS), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="the folder of the daemons (default: $KEELSON_BIN, build/dev/bin)")
    parser.add_argument("--pods", type=int, default=50)
    args = parser.parse_args()
    if args.bin:
        cluster.BIN = args.bin.resolve()
    why = cluster.missing()
    if why:
        print(f"SKIP fifty pods: {why}")
        return
    cluster.enter_sandbox()
    cluster.up()
    time.sleep(5)
    report("empty")
    sh("kubectl create deployment pause --image=demo.keelson.local/pause:1 --replicas=0", check=True)
    before = {d: cpu(d) for d in cluster.DAEMONS}
    start = time.time()
    sh(f"kubectl scale deployment pause --replicas={args.pods}", check=True)
    wait("pods Running", lambda: sum(p["status"].get("phase") == "Running" for p in pods()) == args.pods)
    took = time.time() - start
    used = {d: cpu(d) - before[d] for d in cluster.DAEMONS}
    print(f"{args.pods} pods Running after {took:.1f} s; CPU per pod: " + ", ".join(f"{d} {1000 * c / args.pods:.1f} ms" for d, c in used.items()), flush=True)
    time.sleep(10)
    report(f"with {args.pods} pods")
    before = {d: cpu(d) for d in cluster.DAEMONS}
    time.sleep(20)
    print("CPU per idle second: " + ", ".join(f"{d} {1000 * (cpu(d) - before[d]) / 20:.1f} ms" for d in cluster.DAEMONS), flush=True)
    start = time.time()
    before = cpu("kubelet")
    sh("kubectl delete deployment pause --wait=false", check=True)
    wait("pods gone", lambda: not pods())
    print(f"{args.pods} pods deleted in {time.time() - start:.1f} s, kubelet {1000 * (cpu('kubelet') - before) / args.pods:.1f} ms per pod", flush=True)
    report("after")


if __name__ == "__main__":
    main()
