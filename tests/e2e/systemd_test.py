#!/usr/bin/env python3
"""deploy/up where systemd is PID 1: the unit files start every daemon, a killed one comes back, deploy/down --purge leaves
nothing. Also: the units pass systemd-analyze verify."""
import os
import pathlib
import subprocess
import sys
import time

import cluster
from cluster import sh, until

UNITS = ["keelson-containerd", *cluster.DAEMONS]
failures = 0


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)
    return good


def shell(command, timeout=180):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def deploy_up():
    return shell(f"{cluster.ROOT}/deploy/up --bin {cluster.BIN} --no-packages")


def show(unit, name):
    return shell(f"systemctl show -p {name} --value {unit}").stdout.strip()


def main_pids():
    return {u: show(u, "MainPID") for u in UNITS}


def containers():
    return sh("kubectl get pod web -o jsonpath='{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}'").stdout


def kill_each():
    """Every unit in turn: killed, and how long until it says READY again."""
    before = containers()
    took = {}
    for unit in UNITS:
        pid = show(unit, "MainPID")
        start = time.time()
        shell(f"systemctl kill --kill-whom=main -s KILL {unit}")
        while time.time() < start + 10:
            if show(unit, "ActiveState") == "active" and show(unit, "MainPID") not in (pid, "0"):
                break
            time.sleep(0.05)
        took[unit] = time.time() - start
    print("    back after a kill: " + ", ".join(f"{u} {t:.1f} s" for u, t in took.items()))
    verdict("each killed daemon is back within 3 s", max(took.values()) < 3, str(took))
    until("the node after the kills", lambda: " Ready " in sh("kubectl get nodes --no-headers").stdout, 30)
    time.sleep(2)
    after = containers()
    verdict("the pod's container is untouched by the kills", before == after and before, f"{before} {after}")


def leftovers():
    left = [p for p in ("/etc/keelson", "/opt/keelson", "/etc/kubernetes", "/var/lib/keelson", "/var/log/keelson", "/run/keelson")
            if pathlib.Path(p).exists() and (not os.path.ismount(p) or os.listdir(p))]
    left += [str(p) for u in UNITS for p in pathlib.Path("/etc/systemd/system").rglob(f"{u}.service")]
    # The shims of containers end with their parents' sockets; names of anything of ours that still runs.
    left += [line for line in shell("ps -e -o args").stdout.splitlines() if line.startswith(("/opt/keelson", "/usr/bin/containerd-shim"))]
    left += shell("nft list tables | grep -i kube-proxy; ip -o link show cni0 2>/dev/null").stdout.splitlines()
    return left


def main():
    why = cluster.missing() or (None if os.path.exists("/lib/systemd/systemd") else "systemd is not installed")
    if why:
        print(f"SKIP systemd: {why}")
        return
    cluster.enter_sandbox("systemd_sandbox")
    start = time.time()
    up = deploy_up()
    print(up.stdout[-3000:])
    if not verdict("deploy/up under systemd", up.returncode == 0, up.stderr[-2000:]):
        print(shell("systemctl --failed --no-pager; journalctl --no-pager -n 60").stdout)
        sys.exit(1)
    print(f"    the node was Ready after {time.time() - start:.1f} s")
    states = {u: show(u, "ActiveState") for u in UNITS}
    verdict("all units are active", set(states.values()) == {"active"}, str(states))
    verify = shell("systemd-analyze verify " + " ".join(f"/etc/systemd/system/{u}.service" for u in UNITS))
    ours = [line for line in verify.stderr.splitlines() if any(u in line for u in UNITS)]
    verdict("systemd-analyze verify", not ours, "\n".join(ours))
    sh("kubectl run web --image=demo.keelson.local/web:1 --port=80 && kubectl wait --for=condition=Ready pod/web --timeout=30s", check=True)
    ip = sh("kubectl get pod web -o jsonpath='{.status.podIP}'").stdout
    answer = sh(f"curl -s -m 5 http://{ip}").stdout
    verdict("a pod runs and answers", "web v1" in answer, answer)
    kill_each()
    pids = main_pids()
    again = deploy_up()
    verdict("deploy/up twice restarts nothing", again.returncode == 0 and pids == main_pids(), f"{again.stderr} {pids} {main_pids()}")
    down = shell(f"{cluster.ROOT}/deploy/down --purge")
    left = leftovers()
    verdict("deploy/down --purge leaves nothing", down.returncode == 0 and not left, f"{down.stderr} {left}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
