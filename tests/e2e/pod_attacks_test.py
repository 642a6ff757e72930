#!/usr/bin/env python3
"""What a user with the rights of one namespace tries against the node and its neighbours by pods alone: links under
subPaths, line ends in probes, kernel parameters, security profiles, the kubelet's own annotations, files that are pipes.
None has an effect outside the pod, and the pod is told why."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import cluster
from cluster import sh, until

failures = 0
WEB = "demo.keelson.local/web:1"
AS = "kubectl -n tenant --as=mallory"
SECRET = pathlib.Path("/etc/keelson/of-the-host")


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)


def create(pod):
    pod = {"apiVersion": "v1", "kind": "Pod", **pod}
    pod["spec"].setdefault("terminationGracePeriodSeconds", 1)
    done = subprocess.run(["bash", "-c", f"{AS} create -f -"], input=json.dumps(pod), capture_output=True, text=True,
                          env=dict(os.environ, PATH=f"{cluster.kubectl_path()}:{os.environ['PATH']}",
                                   KUBECONFIG="/etc/kubernetes/admin.conf"))
    if done.returncode:
        print(f"FAIL creating {pod['metadata']['name']}: {done.stderr.strip()}")
        sys.exit(1)


def get(name):
    out = sh(f"{AS} get pod {name} -o json")
    return json.loads(out.stdout) if out.returncode == 0 else {}


def phase(name):
    return get(name).get("status", {}).get("phase")


def waiting(name):
    for s in get(name).get("status", {}).get("containerStatuses", []):
        return s.get("state", {}).get("waiting", {})
    return {}


def events(name):
    out = sh(f"{AS} get events -o json --field-selector involvedObject.name={name}")
    return [f"{e['reason']}: {e['message']}" for e in json.loads(out.stdout)["items"]] if out.returncode == 0 else []


def container(**more):
    return {"name": "c", "image": WEB, **more}


def sub_path_links():
    """Before: mode 0777 for any file of the host."""
    SECRET.mkdir(mode=0o700)
    (SECRET / "file").write_text("secret")
    os.chmod(SECRET / "file", 0o600)
    volume = {"name": "v", "emptyDir": {}}
    mount = {"name": "v", "mountPath": "/v"}
    up = "../" * 12
    links = {"absolute": (f"ln -s {SECRET} /v/l", "l"), "relative": (f"ln -s {up}etc/keelson/of-the-host /v/l", "l"),
             "file": (f"ln -s {SECRET}/file /v/l", "l"), "below": (f"ln -s {SECRET} /v/l", "l/new/deep"),
             "dangling": (f"ln -s {SECRET}/made /v/l", "l"), "proc": ("ln -s /proc/1/root /v/l", "l/etc")}
    for name, (command, path) in links.items():
        create({"metadata": {"name": f"link-{name}"}, "spec": {
            "volumes": [volume], "initContainers": [{"name": "i", "image": WEB, "command": ["sh", "-c", command], "volumeMounts": [mount]}],
            "containers": [container(volumeMounts=[{**mount, "subPath": path}])]}})
    for name in links:
        until(f"link-{name} refused", lambda: waiting(f"link-{name}").get("reason") == "CreateContainerConfigError", 60)
        text = waiting(f"link-{name}")["message"]
        verdict(f"subPath through a link ({name}) is refused without a word of the host", text in (
            'failed to prepare subPath for volumeMount "v" of container "c"',
            'failed to create subPath directory for volumeMount "v" of container "c"'), text)
    modes = [oct(p.stat().st_mode & 0o7777) for p in (SECRET, SECRET / "file")]
    verdict("nothing of the host has changed", modes == ["0o700", "0o600"] and os.listdir(SECRET) == ["file"], f"{modes} {os.listdir(SECRET)}")
    create({"metadata": {"name": "inside"}, "spec": {
        "securityContext": {"fsGroup": 4242}, "volumes": [volume],
        "initContainers": [{"name": "i", "image": WEB, "command": ["sh", "-c", "mkdir /v/d; echo hello >/v/d/f; ln -s d /v/l"], "volumeMounts": [mount]}],
        "containers": [container(command=["sh", "-c", "cat /l/f; stat -c '%a %g' /n; sleep 3600"], volumeMounts=[
            {"name": "v", "mountPath": "/l", "subPath": "l"}, {"name": "v", "mountPath": "/n", "subPath": "new/deep"}])]}})
    until("inside Running", lambda: phase("inside") == "Running", 30)
    until("its log", lambda: len(sh(f"{AS} logs inside -c c").stdout.splitlines()) == 2, 10)
    seen = sh(f"{AS} logs inside -c c").stdout.split("\n")
    verdict("links inside the volume work; what is made has the volume's mode and group", seen[:2] == ["hello", "2777 4242"], str(seen))


def sub_path_expressions():
    for name, value, message in (
            ("absolute", "/tmp", "error SubPath `/tmp` must not be an absolute path"),
            ("backsteps", "a/../../b", "unable to provision SubPath `a/../../b`: must not contain '..'"),
            ("backticks", "..", "unable to provision SubPath `..`: must not contain '..'")):
        create({"metadata": {"name": f"expr-{name}"}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [container(
            env=[{"name": "WHERE", "value": value}], volumeMounts=[{"name": "v", "mountPath": "/v", "subPathExpr": "$(WHERE)"}])]}})
        until(f"expr-{name} refused", lambda: waiting(f"expr-{name}").get("message") == message, 30)
        verdict(f"subPathExpr: {name} is refused in the original's words", waiting(f"expr-{name}")["reason"] == "CreateContainerConfigError")
    create({"metadata": {"name": "expr-later", "annotations": {}}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [container(
        env=[{"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['where']"}}}],
        volumeMounts=[{"name": "v", "mountPath": "/v", "subPathExpr": "$(WHERE)"}])]}})
    until("expr-later waits", lambda: waiting("expr-later").get("message") == "missing value for WHERE", 30)
    sh(f"{AS} annotate pod expr-later where=here", check=True)
    start = time.time()
    until("expr-later Running", lambda: phase("expr-later") == "Running", 10)
    verdict(f"a value that appears lets the pod start ({time.time() - start:.1f} s)", True)


class Neighbour:
    """A service of the node that takes lines, and remembers them."""

    def __init__(self):
        self.lines = []
        self.server = socket.create_server(("192.0.2.2", 7777))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            peer, _ = self.server.accept()
            peer.settimeout(1)
            data = b""
            try:
                while b"\r\n\r\n" not in data:
                    piece = peer.recv(4096)
                    if not piece:
                        break
                    data += piece
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                data += peer.recv(4096)
            except OSError:
                pass
            peer.close()
            self.lines += data.decode(errors="replace").replace("\r", "").split("\n")


def probes():
    neighbour = Neighbour()
    evil = "x\r\n\r\nEVIL 1\r\nEVIL: 2"
    get_action = {"host": "192.0.2.2", "port": 7777}
    fast = {"periodSeconds": 1}
    cases = {"header": {"httpGet": {**get_action, "path": "/header", "httpHeaders": [{"name": "X-A", "value": evil}]}},
             "host": {"httpGet": {**get_action, "path": "/host", "httpHeaders": [{"name": "Host", "value": evil}]}},
             "path": {"httpGet": {**get_action, "path": "/path " + evil}}}
    for name, action in cases.items():
        create({"metadata": {"name": f"probe-{name}"}, "spec": {"containers": [container(readinessProbe={**action, **fast})]}})
    create({"metadata": {"name": "probe-hook"}, "spec": {"containers": [container(
        lifecycle={"postStart": {"httpGet": {**get_action, "path": "/hook", "httpHeaders": [{"name": "X-A", "value": evil}]}}})]}})
    until("an event of the header", lambda: any('net/http: invalid header field value for "X-A"' in e for e in events("probe-header")), 30)
    until("an event of the host", lambda: any('net/http: invalid header field value for "Host"' in e for e in events("probe-host")), 30)
    until("the path's request", lambda: any("/path%20x%0D%0A" in line for line in neighbour.lines), 30)
    until("the hook refused", lambda: any("FailedPostStartHook" in e for e in events("probe-hook")), 30)
    bad = [line for line in neighbour.lines if line.startswith("EVIL")]
    verdict("line ends in probes and hooks reach no other service", not bad, str(bad))
    texts = {"tcp": ({"tcpSocket": {"port": 8181}}, "Readiness probe failed: dial tcp {ip}:8181: connect: connection refused"),
             "http": ({"httpGet": {"port": 8181}}, 'Readiness probe failed: Get "http://{ip}:8181/": dial tcp {ip}:8181: connect: connection refused'),
             "grpc": ({"grpc": {"port": 8181}}, 'Readiness probe failed: timeout: failed to connect service "{ip}:8181" within 1s: context deadline exceeded')}
    for name, (action, _) in texts.items():
        create({"metadata": {"name": f"text-{name}"}, "spec": {"containers": [container(readinessProbe={**action, **fast})]}})
    for name, (_, text) in texts.items():
        until(f"text-{name} Running", lambda: phase(f"text-{name}") == "Running", 30)
        wanted = "Unhealthy: " + text.format(ip=get(f"text-{name}")["status"]["podIP"])
        until(f"an event of text-{name}", lambda: events(f"text-{name}") and any(e.startswith("Unhealthy") for e in events(f"text-{name}")), 20)
        verdict(f"the text of a failed probe ({name})", wanted in events(f"text-{name}"), str(events(f"text-{name}")))


def refusals():
    create({"metadata": {"name": "panic"}, "spec": {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}, "containers": [container()]}})
    until("panic Failed", lambda: phase("panic") == "Failed", 30)
    s = get("panic")["status"]
    verdict("a sysctl that is not allowed refuses the pod", s["reason"] == "SysctlForbidden" and
            s["message"] == 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted', json.dumps(s))
    create({"metadata": {"name": "shared"}, "spec": {"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "0"}]}, "containers": [container(command=["sleep", "3600"])]}})
    create({"metadata": {"name": "own"}, "spec": {"securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "7"}]}, "containers": [container()]}})
    # The API already refuses parameters of the host's network; should it not, the node does.
    until("shared refused", lambda: phase("shared") == "Failed", 30)
    verdict("nor is one of the host's own network set", get("shared")["status"]["reason"] == "SysctlForbidden", json.dumps(get("shared")["status"]))
    until("own Running", lambda: phase("own") == "Running", 30)
    value = sh(f"{AS} exec own -- cat /proc/sys/net/ipv4/ip_unprivileged_port_start").stdout.strip()
    host = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip()
    verdict("a safe one is the pod's own", value == "7" and host != "7", f"{value} {host}")
    if not pathlib.Path("/sys/kernel/security/apparmor/profiles").exists():
        create({"metadata": {"name": "armor"}, "spec": {"containers": [container(securityContext={"appArmorProfile": {"type": "Localhost", "localhostProfile": "strict"}})]}})
        until("armor Failed", lambda: phase("armor") == "Failed", 30)
        s = get("armor")["status"]
        verdict("a profile that cannot be had refuses the pod", s["reason"] == "AppArmor" and
                s["message"] == "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host", json.dumps(s))


def annotations():
    create({"metadata": {"name": "static", "annotations": {"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": "0", "kubernetes.io/config.seen": "never"}},
            "spec": {"containers": [container()]}})
    until("static Running", lambda: phase("static") == "Running", 30)
    until("an event of static", lambda: any(e.startswith("Started") for e in events("static")), 10)
    sh(f"{AS} delete pod static --wait=false", check=True)
    until("static gone", lambda: not get("static"), 30)
    verdict("config.source means nothing on a pod of the API: it runs, tells and goes as others", True)


def pipes_and_depths():
    """The kubelet reads and removes what pods have made: neither may hold it up."""
    create({"metadata": {"name": "pipe"}, "spec": {
        "restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [{"name": "i", "image": WEB, "command": ["sh", "-c", "mkfifo /v/pipe; i=0; cd /v; while [ $i -lt 2000 ]; do mkdir d; cd d; i=$((i+1)); done"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "containers": [container(command=["sh", "-c", "exit 3"], terminationMessagePath="/last", volumeMounts=[{"name": "v", "mountPath": "/last", "subPath": "pipe"}])]}})
    until("pipe Failed", lambda: phase("pipe") == "Failed", 60)
    verdict("a pipe as termination message holds nobody up", get("pipe")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3)
    uid = get("pipe")["metadata"]["uid"]
    sh(f"{AS} delete pod pipe --wait=false", check=True)
    until("pipe gone", lambda: not get("pipe"), 30)
    until("its directory gone", lambda: not any(pathlib.Path("/").glob(f"var/lib/k*/pods/{uid}")) and
          not any(pathlib.Path("/").glob(f"var/lib/keelson/kubelet/pods/{uid}")), 30)
    verdict("a deep directory goes with its pod", True)
    create({"metadata": {"name": "after"}, "spec": {"containers": [container()]}})
    until("after Running", lambda: phase("after") == "Running", 20)
    verdict("and the kubelet goes on", True)


def defaults():
    config = pathlib.Path("/tmp/silent.yaml")
    config.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailCgroupV1: false\nfailSwapOn: false\n")
    done = subprocess.run(["timeout", "10", cluster.BIN / "kubelet", f"--config={config}", "--root-dir=/tmp/silent", "--healthz-port=0", "--port=10999"],
                          capture_output=True, text=True)
    verdict("a configuration that says nothing of it lets nobody in", "no client provided, cannot use webhook authentication" in done.stderr, done.stderr[-300:])


def main():
    why = cluster.missing()
    if why:
        print(f"SKIP pod_attacks: {why}")
        return
    cluster.enter_sandbox()
    cluster.up()
    sh("kubectl create namespace tenant && kubectl -n tenant create rolebinding mallory --clusterrole=edit --user=mallory", check=True)
    # Under the emptyDir of a pod the API may tell the tenant nothing more than this.
    until("the namespace's account", lambda: sh(f"{AS} get serviceaccount default").returncode == 0, 20)
    before = open("/run/keelson/kubelet.pid").read()
    sub_path_links()
    sub_path_expressions()
    probes()
    refusals()
    annotations()
    pipes_and_depths()
    defaults()
    verdict("the kubelet is the one that was started", before == open("/run/keelson/kubelet.pid").read())
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
