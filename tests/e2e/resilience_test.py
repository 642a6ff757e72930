#!/usr/bin/env python3
"""kill -9 of each daemon in turn while a client writes: it answers again within 3 s, every acknowledged write is there,
a watch continued from its last resourceVersion shows no gap and no duplicate, running containers are untouched."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import cluster
from cluster import sh

PKI = "/etc/kubernetes/pki"
CURL = f"curl -sS -m 10 --cacert {PKI}/ca.crt --cert {PKI}/admin.crt --key {PKI}/admin.key https://127.0.0.1:6443"
ANSWERS = {
    "kvstore": f"curl -sf -m 1 --cacert {PKI}/etcd/ca.crt --cert {PKI}/etcd/healthcheck-client.crt --key {PKI}/etcd/healthcheck-client.key https://127.0.0.1:2379/health",
    "kube-apiserver": f"[ \"$({CURL}/readyz)\" = ok ]",
    "kube-controller-manager": "curl -skf -m 1 https://127.0.0.1:10257/healthz",
    "kube-scheduler": "curl -skf -m 1 https://127.0.0.1:10259/healthz",
    "kubelet": "curl -sf -m 1 http://127.0.0.1:10248/healthz",
    "kube-proxy": "curl -sf -m 1 http://127.0.0.1:10256/healthz",
}
failures = 0


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)


class Writer(threading.Thread):
    """Creates ConfigMaps w-0, w-1, ... and remembers which the server acknowledged."""

    def __init__(self):
        super().__init__(daemon=True)
        self.acknowledged, self.refused, self.ending = [], 0, False

    def run(self):
        n = 0
        while not self.ending:
            body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"w-{n}"}, "data": {"n": str(n)}})
            out = sh(f"{CURL}/api/v1/namespaces/default/configmaps -o /dev/null -w '%{{http_code}}' -H 'content-type: application/json' -d '{body}'").stdout
            if out.startswith("2"):
                self.acknowledged.append(f"w-{n}")
            else:
                self.refused += 1
                time.sleep(0.05)
            n += 1


class Watcher(threading.Thread):
    """Follows the ConfigMaps; when the stream ends it goes on from the last resourceVersion it has seen."""

    def __init__(self, revision):
        super().__init__(daemon=True)
        self.revision, self.events, self.gone, self.ending = revision, [], False, False

    def run(self):
        while not self.ending:
            stream = subprocess.Popen(["bash", "-c", f"{CURL.replace('-m 10', '-m 300 -N')}'/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={self.revision}'"],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for line in stream.stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if event.get("type") == "ERROR" or event.get("kind") == "Status":
                    self.gone = self.gone or event.get("object", event).get("code") == 410
                    break
                self.revision = event["object"]["metadata"]["resourceVersion"]
                self.events.append((event["type"], event["object"]["metadata"]["name"], int(self.revision)))
            stream.kill()
            time.sleep(0.1)


def containers():
    out = sh("ctr -a /run/keelson/containerd/containerd.sock -n k8s.io containers list -q").stdout
    return sorted(out.split())


def restarts():
    return sh("kubectl get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}'").stdout


def main():
    why = cluster.missing()
    if why:
        print(f"SKIP resilience: {why}")
        return
    cluster.enter_sandbox()
    cluster.up()
    sh("kubectl create deployment web --image=demo.keelson.local/web:1 --replicas=3", check=True)
    sh("kubectl rollout status deploy/web --timeout=60s", check=True)
    before = containers(), restarts()
    revision = json.loads(sh(f"{CURL}/api/v1/namespaces/default/configmaps").stdout)["metadata"]["resourceVersion"]
    writer, watcher = Writer(), Watcher(revision)
    watcher.start()
    writer.start()
    time.sleep(1)
    for daemon, answers in ANSWERS.items():
        pid = int(pathlib.Path(f"/run/keelson/{daemon}.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        start = time.time()
        back = None
        while time.time() - start < 20:
            now = pathlib.Path(f"/run/keelson/{daemon}.pid").read_text().strip()
            if now != str(pid) and sh(answers).returncode == 0:
                back = time.time() - start
                break
            time.sleep(0.05)
        verdict(f"kill -9 of {daemon}: answers again within 3 s", back is not None and back <= 3,
                f"{'not within 20' if back is None else f'{back:.1f}'} s")
        if back is not None:
            print(f"    {daemon} was back after {back:.2f} s")
        time.sleep(2)
    writer.ending = True
    writer.join(15)
    time.sleep(2)
    watcher.ending = True
    listed = json.loads(sh(f"{CURL}/api/v1/namespaces/default/configmaps").stdout)
    present = {i["metadata"]["name"] for i in listed["items"]}
    lost = [n for n in writer.acknowledged if n not in present]
    verdict(f"all {len(writer.acknowledged)} acknowledged writes are there ({writer.refused} refused)",
            not lost and len(writer.acknowledged) > 20, str(lost[:5]))
    names = [n for t, n, _ in watcher.events if t == "ADDED"]
    revisions = [r for _, _, r in watcher.events]
    gap = [n for n in writer.acknowledged if n not in names]
    verdict("the continued watch has no gap", not gap and not watcher.gone, f"{gap[:5]} gone={watcher.gone}")
    verdict("the continued watch has no duplicate", len(names) == len(set(names)) and revisions == sorted(set(revisions)))
    verdict("containers and restart counts are unchanged", (containers(), restarts()) == before, f"{before} {containers()} {restarts()}")
    if failures:
        cluster.logs()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
