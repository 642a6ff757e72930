#!/usr/bin/env python3
"""Counts how many recorded exchanges a fresh kube-apiserver answers as the original did, on every store there is."""
import argparse
import sys

import apiserver_process
import golden_rest

# Exchanges that differ, and why. Any other difference is a failure; one of these that agrees again is said, so that its
# line can go. The topic `apply` (server-side apply) is only counted until it is built.
KNOWN = {
    "discovery-001": "no health checks are named after steps of the start that this server does not have",
    "patches-021": "the refusal lacks the original's diff of the whole pod specification",
    "workloads-015": "lists an object that server-side apply made",
    "workloads-018": "deletes an object that server-side apply made",
    "cluster-037": "ResourceQuota is refused until it is enforced",
    "cluster-038": "ResourceQuota is refused until it is enforced",
    "cluster-039": "ResourceQuota is refused until it is enforced",
}
ONLY_COUNTED = {"apply"}


def replay(store, show):
    server = apiserver_process.ApiServer(store)
    try:
        seconds = server.wait_ready()
        print(f"{store}: ready after {seconds:.2f} s")
        args = argparse.Namespace(url=f"https://127.0.0.1:{server.port}", token=None, ca=server.pki.file("ca.crt"),
                                  cert=server.pki.file("admin.crt"), key=server.pki.file("admin.key"), topics=None,
                                  only=None, show=show)
        return golden_rest.run(args)
    finally:
        server.stop()


def main():
    show = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    if golden_rest.golden() is None:
        print("SKIP golden_rest: the golden exchanges are not here (set KEELSON_SHARED)")
        return
    for store in ("kvstore", "etcd"):
        if not apiserver_process.store_program(store):
            print(f"SKIP golden_rest.{store}: the store is not installed")
            continue
        for topic, (equal, total, failures) in replay(store, show).items():
            print(f"{store} {topic}: {equal} of {total} equal {' '.join(failures)}")
            if topic in ONLY_COUNTED:
                continue
            new = [f for f in failures if f not in KNOWN]
            for exchange in (f for f in failures if f in KNOWN):
                print(f"    {exchange}: {KNOWN[exchange]}")
            if new:
                print(f"FAIL golden_rest.{store}.{topic}: {' '.join(new)}")
            else:
                print(f"PASS golden_rest.{store}.{topic}")


if __name__ == "__main__":
    main()
