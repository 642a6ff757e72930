#!/usr/bin/env python3
"""`kvstore gateway start` before members: clients are served through one address, also when members go and come back;
what it is told wrongly it refuses."""
import os
import pathlib
import signal
import subprocess
import tempfile

from kvstore_members import KVSTORE, Member, ctl, free_port, status, wait_for

STORE = os.environ.get("KEELSON_STORE", str(KVSTORE))  # whose gateway


class At:
    """For ctl: whoever listens at a URL."""
    tls = None

    def __init__(self, url):
        self.url = url


class Gateway:
    def __init__(self, top, endpoints, *flags):
        self.address = f"127.0.0.1:{free_port()}"
        self.log = top / f"gateway-{self.address}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([STORE, "gateway", f"--endpoints={','.join(endpoints)}", "start",
                                             f"--listen-addr={self.address}", *flags], stdout=log, stderr=log)

    def says(self, text):
        wait_for(text, lambda: text in self.log.read_text())

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r} want {want!r}")


def serves(top):
    members = [Member(top, f"m{i}") for i in (1, 2, 3)]
    for m in members:
        m.start(members)
    gateway = Gateway(top, [m.client for m in members[:2]] + [members[2].url], "--retry-delay=1s")
    try:
        wait_for("the cluster serves", lambda: all(status(m) for m in members))
        gateway.says("ready to proxy client requests")
        for i in range(6):
            check("a put", ctl([At(f"http://{gateway.address}")], "put", "k", i), "OK\n")
        members[0].end()
        for i in range(6):
            check("a put without one of three", ctl([At(f"http://{gateway.address}")], "put", "k", i), "OK\n")
        gateway.says("deactivated endpoint")
        members[0].start(members)
        gateway.says("activated")
        value = "x" * 100_000
        ctl([At(f"http://{gateway.address}")], "put", "large", value)
        check("a large value", len(ctl([At(f"http://{gateway.address}")], "get", "large", "--print-value-only")), 100_001)
        for m in members:
            m.end()
        check("nobody is there", ctl([At(f"http://{gateway.address}")], "get", "k", check=False, timeout=30), "")
        check("the gateway", gateway.process.poll(), None)
        for m in members:
            m.start(members)
        wait_for("they are back", lambda: ctl([At(f"http://{gateway.address}")], "get", "k", check=False, timeout=30) == "k\n5\n")
    finally:
        gateway.end()
        for m in members:
            m.end()
    check("its exit code", gateway.process.returncode, 0)


def refuses(top):
    own = f"127.0.0.1:{free_port()}"
    for args, text in (([f"--endpoints={own}", f"--listen-addr={own}", "start"], "should not resolve to the gateway listen addr"),
                       (["--endpoints=nonsense", "start"], "error parsing endpoint"), (["--nosuch", "start"], "nosuch")):
        done = subprocess.run([STORE, "gateway", *args], capture_output=True, text=True, timeout=20)
        if done.returncode == 0 or text not in done.stdout + done.stderr:
            raise AssertionError(f"{args}: exit {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}")
    done = subprocess.run([KVSTORE, "grpc-proxy", "start"], capture_output=True, text=True, timeout=20)
    check("grpc-proxy", (done.returncode, "kvstore has no grpc-proxy" in done.stderr), (1, True))


def main():
    with tempfile.TemporaryDirectory(prefix="kvstore-gateway-") as top:
        for story in (serves, refuses):
            try:
                story(pathlib.Path(top))
                print(f"PASS kvstore_tcp_gateway.{story.__name__}", flush=True)
            except Exception as e:  # every story is told of
                print(f"FAIL kvstore_tcp_gateway.{story.__name__}: {type(e).__name__}: {e}", flush=True)


if __name__ == "__main__":
    main()
