#!/usr/bin/env python3
"""What the kubelet does beyond the everyday: static pods and their mirrors, ephemeral containers, a resize that it cannot
do, and a serving certificate of its own."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cluster
from cluster import sh, until

failures = 0


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)


def pod(name):
    out = sh(f"kubectl get pod {name} -o json")
    if out.returncode and "NotFound" not in out.stderr:
        print(f"    kubectl get pod {name}: {out.stderr.strip()}")
    return json.loads(out.stdout) if out.returncode == 0 else None


def phase(name):
    return ((pod(name) or {}).get("status") or {}).get("phase")


def restart_kubelet():
    os.kill(int(open("/run/keelson/kubelet.pid").read()), signal.SIGTERM)


def static_pods():
    pathlib.Path("/etc/kubernetes/manifests/still.yaml").write_text("""
apiVersion: v1
kind: Pod
metadata: {name: still}
spec:
  containers: [{name: c, image: demo.keelson.local/pause:1}]
""")
    until("the mirror Running", lambda: phase("still-vm") == "Running", 30)
    first = pod("still-vm")
    start = time.time()
    sh("kubectl delete pod still-vm --grace-period=0 --force", check=True)
    until("another mirror Running", lambda: phase("still-vm") == "Running" and pod("still-vm")["metadata"]["uid"] != first["metadata"]["uid"], 30)
    second = pod("still-vm")
    same = [p["status"]["containerStatuses"][0]["containerID"] for p in (first, second)]
    verdict(f"a remade mirror shows its pod ({time.time() - start:.1f} s), which went on", same[0] == same[1], str(same))
    os.unlink("/etc/kubernetes/manifests/still.yaml")
    until("the mirror gone", lambda: pod("still-vm") is None, 30)
    verdict("a static pod ends with its manifest", True)


def ephemeral_containers():
    sh("kubectl run web --image=demo.keelson.local/web:1 && kubectl wait --for=condition=Ready pod/web --timeout=30s", check=True)
    sh("kubectl debug web --image=demo.keelson.local/web:2 -c look --target=web -- sh -c 'echo here; sleep 3600'", check=True)

    def state():
        return next(iter((((pod("web") or {}).get("status") or {}).get("ephemeralContainerStatuses") or [{}])[0].get("state", {})), "")
    until("the ephemeral container running", lambda: state() == "running", 20)
    logs = sh("kubectl logs web -c look")
    verdict("kubectl debug: its log", logs.stdout.strip() == "here", logs.stdout + logs.stderr)
    seen = sh("kubectl exec web -c look -- ps")
    verdict("kubectl debug --target: sees the other's processes", "httpd" in seen.stdout, seen.stdout + seen.stderr)
    sh("kubectl exec web -c look -- killall sleep")
    until("the ephemeral container ended", lambda: state() == "terminated", 20)
    time.sleep(3)
    now = pod("web")["status"]
    verdict("it is not restarted, and the pod goes on", state() == "terminated" and now["phase"] == "Running" and
            now["containerStatuses"][0]["restartCount"] == 0, json.dumps(now))


def resize():
    patch = json.dumps({"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "20m"}}}]}})
    sh("kubectl delete pod web --now; kubectl run web --image=demo.keelson.local/web:1 --overrides='"
       '{"spec":{"containers":[{"name":"web","image":"demo.keelson.local/web:1","resources":{"requests":{"cpu":"10m"}}}]}}'
       "' && kubectl wait --for=condition=Ready pod/web --timeout=30s", check=True)
    done = sh(f"kubectl patch pod web --subresource resize -p '{patch}'")
    if done.returncode:
        verdict("a resize that cannot be done is refused with a reason", "keelson" in done.stderr or "resize" in done.stderr, done.stderr)
        return

    def condition():
        return next((c for c in pod("web")["status"]["conditions"] if c["type"] == "PodResizePending"), None)
    until("the condition PodResizePending", condition, 10)
    verdict("a resize that cannot be done says so", condition()["reason"] == "Infeasible" and "not supported" in condition()["message"], str(condition()))


def serving_certificate():
    config = pathlib.Path("/etc/keelson/kubelet.yaml")
    config.write_text("".join(line for line in config.read_text().splitlines(True) if not line.startswith("tls")))
    restart_kubelet()
    made = pathlib.Path("/var/lib/kubelet/pki/kubelet.crt")
    until("a certificate in --cert-dir", made.exists, 20)

    def code():
        return subprocess.run(["curl", "-sk", "-o", "/dev/stdout", "-w", "%{http_code}", "https://127.0.0.1:10250/pods"], capture_output=True, text=True).stdout[-3:]
    until("the server", lambda: code() == "401", 20)
    before = made.read_bytes()
    restart_kubelet()
    time.sleep(2)
    until("the server again", lambda: code() == "401", 20)
    key = os.stat("/var/lib/kubelet/pki/kubelet.key").st_mode & 0o777
    verdict("a self-signed certificate is made once and kept", before == made.read_bytes() and key == 0o600, oct(key))


def main():
    why = cluster.missing()
    if why:
        print(f"SKIP kubelet: {why}")
        return
    cluster.enter_sandbox()
    cluster.up()
    static_pods()
    ephemeral_containers()
    resize()
    serving_certificate()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
