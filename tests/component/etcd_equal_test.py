#!/usr/bin/env python3
"""kvstore beside etcd: the same random requests, the same answers and hashes (tests/component/etcd_equal).

Without arguments: a short run against Debian's etcd 3.4, with what that one knows.
    etcd_equal_test.py --etcd PATH [--operations 1000000] [--seed 7]     against etcd 3.7
"""
import argparse
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from kvstore_test import BUILD, free_port


class Server:
    """Name, token and advertised URLs are the same on both sides, so that even the members' ids must be."""

    def __init__(self, program, directory, advertised, flags):
        directory.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = open(directory / "log", "wb")
        self.process = subprocess.Popen(
            [program, "--name", "m1", "--data-dir", directory / "data", "--listen-client-urls", self.url,
             "--advertise-client-urls", advertised, "--listen-peer-urls", f"http://127.0.0.1:{free_port()}",
             "--initial-advertise-peer-urls", advertised, "--initial-cluster", f"m1={advertised}", *flags],
            stdout=self.log, stderr=self.log, env={"ETCD_UNSUPPORTED_ARCH": ""})
        until = time.monotonic() + 15
        port = int(self.url.rsplit(":", 1)[1])
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{program} does not serve: " + pathlib.Path(self.log.name).read_text()[-500:])
            time.sleep(0.02)

    def stop(self):
        self.process.kill()
        self.process.wait(10)
        self.log.close()


def compare(etcd, operations, seed, old, extra=()):
    with tempfile.TemporaryDirectory(prefix="etcd-equal-") as top:
        top = pathlib.Path(top)
        flags = ["--bcrypt-cost", "4", "--auth-token-ttl", "100000", *extra]
        advertised = "http://127.0.0.1:1"
        servers = []
        try:
            servers.append(Server(str(BUILD / "bin/kvstore"), top / "ours", advertised, flags))
            servers.append(Server(etcd, top / "theirs", advertised, flags))
            time.sleep(2.5)  # theirs elects itself, and sets the cluster's version
            done = subprocess.run([BUILD / "bin/etcd_equal", "--ours", servers[0].url, "--theirs", servers[1].url,
                                   "--operations", str(operations), "--seed", str(seed), "--show", "4", *(["--old"] if old else [])],
                                  capture_output=True, text=True, timeout=7200)
            alive = [s.process.poll() is None for s in servers]
        finally:
            for s in servers:
                s.stop()
            last = [pathlib.Path(s.log.name).read_text()[-1500:] for s in servers]
    if not all(alive):
        return False, f"{done.stdout}\n{last[alive.index(False)]}\n{'ours' if not alive[0] else 'theirs'} ended"
    return done.returncode == 0, done.stdout.strip() + done.stderr.strip()[-300:] * (done.returncode != 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--etcd", help="etcd 3.7; else Debian's 3.4")
    parser.add_argument("--operations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-fsync", action="store_true", help="of both: the log is written all the same")
    args = parser.parse_args()
    name = "etcd_equal.etcd_3_7" if args.etcd else "etcd_equal.etcd_3_4"
    etcd = args.etcd or shutil.which("etcd")
    if not etcd or not (BUILD / "bin/etcd_equal").exists():
        print(f"SKIP {name}: Debian's etcd or build/dev/bin/etcd_equal is not here")
        return
    good, text = compare(etcd, args.operations, args.seed, not args.etcd,
                         ["--unsafe-no-fsync"] if args.no_fsync else [])
    print(text)
    print(f"PASS {name}" if good else f"FAIL {name}: " + text.splitlines()[-1])


if __name__ == "__main__":
    main()
