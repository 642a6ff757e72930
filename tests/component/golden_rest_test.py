#!/usr/bin/env python3
"""Counts how many recorded exchanges a fresh kube-apiserver answers as the original did, on every store there is."""
import argparse
import sys

import apiserver_under_test
import golden_rest

# Share of a topic's exchanges that must be equal; topics without a line are only counted.
WANTED = {"discovery": 1.0, "bootstrap": 1.0, "crud": 1.0, "lists": 1.0, "services": 1.0, "patches": 0.95,
          "pods": 0.95, "workloads": 0.95, "cluster": 0.95, "access": 0.95}


def replay(store, show):
    server = apiserver_under_test.ApiServer(store)
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
        if not apiserver_under_test.store_program(store):
            print(f"SKIP golden_rest.{store}: the store is not installed")
            continue
        for topic, (equal, total, failures) in replay(store, show).items():
            print(f"{store} {topic}: {equal} of {total} equal {' '.join(failures)}")
            wanted = WANTED.get(topic)
            if wanted is None:
                continue
            if equal >= wanted * total:
                print(f"PASS golden_rest.{store}.{topic}")
            else:
                print(f"FAIL golden_rest.{store}.{topic}: {equal} of {total} equal, {wanted:.0%} wanted")


if __name__ == "__main__":
    main()
