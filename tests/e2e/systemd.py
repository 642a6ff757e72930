#!/usr/bin/env python3
"""deploy/up where systemd is PID 1: the unit files start every daemon, a killed one is restarted, deploy/down --purge
leaves nothing. Also: the units pass systemd-analyze verify."""
import os
import pathlib
import subprocess
import sys
import time

import cluster

failures = 0


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)


def shell(command, timeout=180):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def inside():
    up = shell(f"{cluster.ROOT}/deploy/up --bin {cluster.BIN} --no-packages")
    print(up.stdout[-3000:])
    verdict("deploy/up under systemd", up.returncode == 0, up.stderr[-2000:])
    if up.returncode:
        print(shell("journalctl --no-pager -n 60").stdout)
        return
    units = ["keelson-containerd", *cluster.DAEMONS]
    states = {u: shell(f"systemctl is-active {u}").stdout.strip() for u in units}
    verdict("all units are active", set(states.values()) == {"active"}, str(states))
    verify = shell("systemd-analyze verify " + " ".join(f"/etc/systemd/system/{u}.service" for u in units))
    ours = [l for l in verify.stderr.splitlines() if any(u in l for u in units)]
    verdict("systemd-analyze verify", not ours, "\n".join(ours))
    pid = shell("systemctl show -p MainPID --value kube-scheduler").stdout.strip()
    os.kill(int(pid), 9)
    end = time.time() + 5
    while time.time() < end and (shell("systemctl is-active kube-scheduler").stdout.strip() != "active"
                                 or shell("systemctl show -p MainPID --value kube-scheduler").stdout.strip() == pid):
        time.sleep(0.1)
    verdict("a killed daemon is restarted", shell("systemctl is-active kube-scheduler").stdout.strip() == "active")
    again = shell(f"{cluster.ROOT}/deploy/up --bin {cluster.BIN} --no-packages")
    verdict("deploy/up twice", again.returncode == 0, again.stderr)
    down = shell(f"{cluster.ROOT}/deploy/down --purge")
    left = [p for p in ("/etc/keelson", "/opt/keelson", "/etc/kubernetes/pki") if pathlib.Path(p).exists()]
    verdict("deploy/down --purge leaves nothing", down.returncode == 0 and not left, f"{down.stderr} {left}")


def main():
    why = cluster.missing() or (None if os.path.exists("/lib/systemd/systemd") else "systemd is not installed")
    if why:
        print(f"SKIP systemd: {why}")
        return
    if os.environ.get("KEELSON_SANDBOX") != "inside":
        env = dict(os.environ, KEELSON_BIN=str(cluster.BIN))
        sys.exit(subprocess.run([cluster.ROOT / "tests/e2e/systemd_sandbox", sys.executable, "-u", __file__], env=env).returncode)
    inside()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
