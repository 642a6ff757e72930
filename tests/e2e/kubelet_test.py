#!/usr/bin/env python3
"""What the kubelet does beyond the everyday: static pods and their mirrors, ephemeral containers, a resize that it cannot
do, files that follow what they show, sidecars, and a serving certificate of its own."""
import json
import os
import pathlib
import shlex
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


def apply(text):
    done = subprocess.run(["bash", "-c", "kubectl apply -f -"], input=text, capture_output=True, text=True,
                          env=dict(os.environ, PATH=f"{cluster.kubectl_path()}:{os.environ['PATH']}", KUBECONFIG="/etc/kubernetes/admin.conf"))
    if done.returncode:
        print(f"FAIL apply: {done.stderr.strip()}")
        sys.exit(1)


def inside(name, command):
    return sh(f"kubectl exec {name} -- sh -c {shlex.quote(command)}").stdout


def content_follows():
    """Files follow config maps, secrets and labels within two seconds, all at once; links, modes and variables as in the original."""
    apply("""
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {one: "1", two: "2", gone: x}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {key: s1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fixed}
immutable: true
data: {k: v}
---
apiVersion: v1
kind: Pod
metadata: {name: files, labels: {app: p}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: demo.keelson.local/web:1
    env: [{name: ONE, valueFrom: {configMapKeyRef: {name: c, key: one}}}]
    volumeMounts: [{name: all, mountPath: /all}, {name: some, mountPath: /some}, {name: late, mountPath: /late}, {name: mix, mountPath: /mix}, {name: all, mountPath: /sub, subPath: one}, {name: fixed, mountPath: /fixed}]
  volumes:
  - {name: all, configMap: {name: c}}
  - {name: fixed, configMap: {name: fixed}}
  - {name: some, configMap: {name: c, defaultMode: 0400, items: [{key: two, path: sub/zwei}, {key: one, path: eins, mode: 0755}]}}
  - {name: late, configMap: {name: late, optional: true}}
  - {name: mix, projected: {sources: [{configMap: {name: c, items: [{key: one, path: cm/one}]}}, {secret: {name: s}}, {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}}
""")
    sh("kubectl wait --for=condition=Ready pod/files --timeout=40s", check=True)
    look = "ls /all; readlink /all/one; cat /some/eins /some/sub/zwei; stat -L -c %a /some/eins /some/sub/zwei; ls /late; cat /mix/cm/one /mix/key /mix/labels /sub /fixed/k"
    before = inside("files", look).split()
    verdict("files as they were mounted", before == ["gone", "one", "two", "..data/one", "12755", "400", '1s1app="p"1v'], str(before))
    data = inside("files", "readlink /all/..data")
    apply("""
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {one: "11", two: "22", new: "3"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: late}
data: {k: v}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {key: s2}
""")
    sh("kubectl label pod files app=q --overwrite", check=True)
    written = time.time()
    wanted = ["new", "one", "two", "..data/one", "1122755", "400", "k", '11s2app="q"1v']
    until("the files' new content", lambda: inside("files", look).split() == wanted, 20)
    print(f"    a change reached the files after {time.time() - written:.1f} s")
    verdict("all at once, behind another folder", inside("files", "readlink /all/..data") != data and inside("files", "ls -d /all/..2* | wc -l").strip() == "1")
    verdict("variables and subPaths stay", inside("files", "echo $ONE; cat /sub").split() == ["1", "1"], inside("files", "echo $ONE; cat /sub"))
    apply("""
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: "demo.keelson.local/web:1", env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: none}}}]}]}
""")
    def why():
        return next(iter(((pod("waits") or {}).get("status") or {}).get("containerStatuses") or [{}])).get("state", {}).get("waiting", {})
    until("it waits", lambda: why().get("reason") == "CreateContainerConfigError", 15)
    verdict("a missing key holds a pod back", why()["message"] == "couldn't find key none in ConfigMap default/c", why()["message"])
    time.sleep(3)  # into the time between two tries
    sh("""kubectl patch cm c --type=merge -p '{"data":{"none":"here"}}'""", check=True)
    start = time.time()
    until("waits Running", lambda: phase("waits") == "Running", 20)
    print(f"    the key that was missing started it after {time.time() - start:.1f} s")
    sh("kubectl delete pod files waits --now; kubectl delete cm c late fixed; kubectl delete secret s")


def sidecars():
    """Sidecars outlive the others, end in reverse, and decide nothing about how the pod ended."""
    side = """
  - name: {name}
    image: demo.keelson.local/web:1
    restartPolicy: Always
    command: [sh, -c, "echo {name} >>/d/log; trap 'sleep 1; echo {name}-term >>/d/log; cat /d/log; exit 3' TERM; touch /tmp/up; while :; do sleep 0.2; done"]
    startupProbe: {{exec: {{command: [test, -e, /tmp/up]}}, periodSeconds: 1}}
    volumeMounts: [{{name: d, mountPath: /d}}]"""
    apply("""
apiVersion: v1
kind: Pod
metadata: {name: order}
spec:
  restartPolicy: Never
  volumes: [{name: d, emptyDir: {}}]
  initContainers:
  - {name: one, image: "demo.keelson.local/web:1", command: [sh, -c, "echo one >>/d/log"], volumeMounts: [{name: d, mountPath: /d}]}"""
          + side.format(name="first") + side.format(name="second") + """
  containers:
  - {name: main, image: "demo.keelson.local/web:1", command: [sh, -c, "echo main >>/d/log; sleep 3; echo main-ends >>/d/log"], volumeMounts: [{name: d, mountPath: /d}]}
---
apiVersion: v1
kind: Pod
metadata: {name: words}
spec:
  restartPolicy: Never
  containers: [{name: main, image: "demo.keelson.local/web:1", terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, "printf 'no newline'; exit 1"]}]
""")
    seen = []
    def watch():
        s = (pod("order") or {}).get("status") or {}
        run = any("running" in c["state"] for c in s.get("initContainerStatuses", []))
        if s.get("phase") in ("Succeeded", "Failed"):
            seen.append((s["phase"], run))
        return bool(seen)
    until("order ended", watch, 60)
    verdict("Succeeded only when the sidecars have stopped", seen == [("Succeeded", False)], str(seen))
    log = sh("kubectl logs order -c first").stdout.split()
    verdict("the order of start and end", log == "one first second main main-ends second-term first-term".split(), str(log))
    codes = [c["state"]["terminated"]["exitCode"] for c in pod("order")["status"]["initContainerStatuses"]]
    verdict("their codes decide nothing", codes == [0, 3, 3], str(codes))
    verdict("the printed column", sh("kubectl get pod order --no-headers").stdout.split()[1:3] == ["0/3", "Completed"], sh("kubectl get pod order").stdout)
    until("words Failed", lambda: phase("words") == "Failed", 30)
    message = pod("words")["status"]["containerStatuses"][0]["state"]["terminated"].get("message")
    verdict("last words from the log have no newline of ours", message == "no newline", repr(message))
    verdict("nor has the log", sh("kubectl logs words").stdout == "no newline")
    sh("kubectl delete pod order words --now")


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
    content_follows()
    sidecars()
    serving_certificate()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
