#!/usr/bin/env python3
"""Service traffic and streaming as a user sees them: every replica is reached by ClusterIP from the node and from a pod
and by NodePort; logs -f, exec -it with a resized terminal, get -w, cp of 10 MB both ways, three port-forwards."""
import concurrent.futures
import fcntl
import hashlib
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import cluster
from cluster import sh, until

failures = 0


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)


def answers(command, times):
    """Who answered, by pod name."""
    return [a.split()[0] for a in sh(f"for i in $(seq {times}); do {command}; done").stdout.splitlines() if a.strip()]


def traffic():
    ip = sh("kubectl get svc web -o jsonpath='{.spec.clusterIP}'").stdout
    port = sh("kubectl get svc web-np -o jsonpath='{.spec.ports[0].nodePort}'").stdout
    pods = set(sh("kubectl get pods -l app=web -o jsonpath='{.items[*].metadata.name}'").stdout.split())
    until("rules for the service", lambda: sh(f"curl -s -m 1 http://{ip}").returncode == 0, 20)
    until("rules for the node port", lambda: sh(f"curl -s -m 1 http://192.0.2.2:{port}").returncode == 0, 20)
    for name, command in (("ClusterIP from the node", f"curl -s -m 3 http://{ip}"),
                          ("ClusterIP from a pod", None),
                          ("NodePort", f"curl -s -m 3 http://192.0.2.2:{port}")):
        if command:
            seen = answers(command, 60)
        else:
            out = sh(f"kubectl exec {sorted(pods)[0]} -- sh -c 'for i in $(seq 60); do wget -q -O - http://{ip}; done'").stdout
            seen = [a.split()[0] for a in out.splitlines() if a.strip()]
        verdict(f"60 requests: {name}", len(seen) == 60 and set(seen) == pods, f"{len(seen)} answers from {sorted(set(seen))}")
    sh("kubectl create service clusterip empty --tcp=80", check=True)
    empty = sh("kubectl get svc empty -o jsonpath='{.spec.clusterIP}'").stdout
    time.sleep(2)
    start = time.time()
    code = sh(f"curl -s -m 5 http://{empty}").returncode
    verdict("a Service without endpoints refuses at once", code == 7 and time.time() - start < 2, f"curl ended with {code}")


def affinity():
    sh("kubectl patch svc web -p '{\"spec\":{\"sessionAffinity\":\"ClientIP\"}}'", check=True)
    ip = sh("kubectl get svc web -o jsonpath='{.spec.clusterIP}'").stdout
    time.sleep(2)
    seen = set(answers(f"curl -s -m 3 http://{ip}", 20))
    verdict("ClientIP affinity keeps to one endpoint", len(seen) == 1, str(seen))
    sh("kubectl patch svc web -p '{\"spec\":{\"sessionAffinity\":\"None\"}}'", check=True)


def spawn(command, **options):
    env = dict(os.environ, PATH=f"{cluster.kubectl_path()}:{os.environ['PATH']}", KUBECONFIG="/etc/kubernetes/admin.conf")
    return subprocess.Popen(command, env=env, text=True, stdin=subprocess.DEVNULL, start_new_session=True, **options)


def follow():
    sh("kubectl run ticker --image=demo.keelson.local/web:1 --command -- sh -c 'for i in $(seq 40); do echo tick $i; sleep 0.2; done; sleep 600'", check=True)
    sh("kubectl wait --for=condition=Ready pod/ticker --timeout=30s", check=True)
    log = spawn(["kubectl", "logs", "-f", "ticker"], stdout=subprocess.PIPE)
    got = [log.stdout.readline().strip() for _ in range(40)]
    log.kill()
    verdict("logs -f", got == [f"tick {i}" for i in range(1, 41)], str(got[:5]))
    watch = spawn(["kubectl", "get", "pods", "-w", "--no-headers"], stdout=subprocess.PIPE)
    time.sleep(1)
    sh("kubectl delete pod ticker --now", check=True)
    time.sleep(1)
    os.kill(watch.pid, signal.SIGTERM)
    out = watch.communicate()[0]
    verdict("get -w sees a deletion", "Terminating" in out, out)


def terminal(pod):
    pid, fd = pty.fork()
    if pid == 0:
        env = dict(os.environ, PATH=f"{cluster.kubectl_path()}:{os.environ['PATH']}", KUBECONFIG="/etc/kubernetes/admin.conf", TERM="xterm")
        os.execvpe("kubectl", ["kubectl", "exec", "-it", pod, "--", "sh"], env)
    def size(rows, cols):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        os.kill(pid, signal.SIGWINCH)
    def read_until(marker, seconds=10):
        out, end = b"", time.time() + seconds
        os.set_blocking(fd, False)
        while time.time() < end and not re.search(marker, out):
            try:
                out += os.read(fd, 4096)
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                break
        return out.decode(errors="replace")
    size(24, 80)
    time.sleep(1.5)
    os.write(fd, b"stty size\n")
    first = read_until(rb"24 80")
    size(40, 123)
    time.sleep(0.7)
    os.write(fd, b"stty size; exit 7\n")
    second = read_until(rb"40 123")
    _, status = os.waitpid(pid, 0)
    verdict("exec -it follows the terminal's size", "24 80" in first and "40 123" in second, repr((first, second)))
    verdict("exec -it ends with the command's code", os.waitstatus_to_exitcode(status) == 7, str(status))


def copy(pod):
    data = os.urandom(10 << 20)
    open("/tmp/ten", "wb").write(data)
    there = sh(f"kubectl cp /tmp/ten {pod}:/tmp/ten && kubectl cp {pod}:/tmp/ten /tmp/back", timeout=120)
    back = open("/tmp/back", "rb").read() if os.path.exists("/tmp/back") else b""
    verdict("cp of 10 MB both ways", hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), there.stderr)


def forward(pod):
    forwards = [spawn(["kubectl", "port-forward", pod, f"{18100 + i}:80"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for i in range(3)]
    time.sleep(2)
    def ask(i):
        return sum(sh(f"curl -s -m 5 http://127.0.0.1:{18100 + i}").stdout.startswith(pod) for _ in range(5))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(ask, range(3)))
    for f in forwards:
        f.kill()
    verdict("three port-forwards at once", counts == [5, 5, 5], str(counts))


def main():
    why = cluster.missing()
    if why:
        print(f"SKIP service traffic: {why}")
        return
    cluster.enter_sandbox()
    cluster.up()
    sh("kubectl create deployment web --image=demo.keelson.local/web:1 --replicas=3", check=True)
    sh("kubectl expose deployment web --port=80 && kubectl expose deployment web --name=web-np --type=NodePort --port=80", check=True)
    sh("kubectl rollout status deploy/web --timeout=60s", check=True)
    pod = sh("kubectl get pods -l app=web -o jsonpath='{.items[0].metadata.name}'").stdout
    for part in (traffic, affinity, follow):
        part()
    for part in (terminal, copy, forward):
        part(pod)
    if failures:
        cluster.logs()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
