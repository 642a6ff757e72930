"""What tests of one server share: named comparisons that print PASS or FAIL, and the frame around the parts of a test."""
import sys

import apiserver_process
from attacks.target import Target


class Checks:
    """`family`: what stands before each name."""

    def __init__(self, family):
        self.family, self.failed = family, False

    def __call__(self, name, got, want):
        good = got == want
        self.failed |= not good
        print(f"{'PASS' if good else 'FAIL'} {self.family}.{name}{'' if good else f': got {got!r} want {want!r}'}", flush=True)


def run_parts(check, parts, prepare, extra=()):
    """Starts a server (ours, or the original that the command line names, with etcd), prepares it with prepare(target) and
    runs part(what prepare returned) for each; an answer of another shape fails that part alone. The exit code."""
    program = sys.argv[1] if len(sys.argv) > 1 else None
    store = "etcd" if program else "kvstore"
    if not apiserver_process.store_program(store):
        print(f"SKIP {check.family}: the store is not here")
        return 0
    server = apiserver_process.ApiServer(store, list(extra), program=program)
    target = Target(server)
    try:
        server.wait_ready()
        api = prepare(target)
        for part in parts:
            try:
                part(api)
            except (KeyError, ValueError, TypeError, IndexError, AssertionError) as e:
                check(part.__name__, f"{type(e).__name__}: {e}", "an answer of the right shape")
    finally:
        target.close()
        server.stop()
    return 1 if check.failed else 0
