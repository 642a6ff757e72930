#!/usr/bin/env python3
"""Three nodes, each in a network namespace with a containerd, kubelet and kube-proxy of its own, under one control plane:
pods on every node, Service traffic across nodes by the installed routes, and a killed node's pods elsewhere.

Times the test sets: node leases of 8 s (renewed every 2 s), node monitor grace period 8 s, toleration of an unreachable
node 3 s, pod grace period 1 s."""
import json
import os
import signal
import subprocess
import sys
import time

import cluster
from cluster import sh, until

LEASE, GRACE, TOLERATION = 8, 8, 3
failures = 0
started = []


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)


def run(command):
    done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True)
    if done.returncode:
        print(f"FAIL {command.splitlines()[0]}: {done.stderr}")
        sys.exit(1)
    return done.stdout


def start(node, name, command):
    log = open(f"/var/log/keelson/{node}-{name}.log", "w")
    process = subprocess.Popen(["nsenter", f"--net=/run/netns/{node}", *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    started.append((node, process))


def add_node(node, address):
    """The node's network, certificates, configuration and daemons; the machine's own node is the model."""
    run(f"""
      ip netns add {node}
      ip -n switch link add {node} type veth peer name eth0 netns {node}
      ip -n switch link set {node} master br0 up
      ip -n {node} link set lo up; ip -n {node} link set eth0 up
      ip -n {node} addr add {address}/24 dev eth0; ip -n {node} route add default via 192.0.2.2
      ip netns exec {node} sysctl -qw net.ipv4.ip_forward=1
      etc=/etc/keelson/{node}; var=/var/lib/keelson/{node}; run=/run/keelson/{node}
      mkdir -p $etc/cni $etc/pki $var $run
      cp /etc/kubernetes/pki/ca.* $etc/pki
      keelson pki --node-only --cert-dir $etc/pki --node-name {node} --addresses {address}
      keelson kubeconfig --cert-dir $etc/pki --server https://192.0.2.2:6443 --user system:node:{node} --cert kubelet-client --out $etc/kubelet.conf
      keelson kubeconfig --cert-dir $etc/pki --server https://192.0.2.2:6443 --user system:kube-proxy --cert kube-proxy-client --out $etc/kube-proxy.conf
      sed -e "s#/run/keelson/containerd#$run/containerd#g; s#/var/lib/keelson/containerd#$var/containerd#; s#/etc/keelson/cni#$etc/cni#" /etc/keelson/containerd.toml >$etc/containerd.toml
      sed -i "s#$etc/cni.conflist.tmpl#/etc/keelson/cni.conflist.tmpl#" $etc/containerd.toml
      sed -e "s#/run/keelson/containerd#$run/containerd#g; s#/etc/kubernetes/pki#$etc/pki#g; s#/etc/kubernetes/manifests#$etc/manifests#" /etc/keelson/kubelet.yaml >$etc/kubelet.yaml
      mkdir -p $etc/manifests
    """)
    start_daemons(node, address)


def start_daemons(node, address):
    socket = f"/run/keelson/{node}/containerd/containerd.sock"
    start(node, "containerd", ["containerd", "--config", f"/etc/keelson/{node}/containerd.toml"])
    until(f"containerd of {node}", lambda: subprocess.run(["ctr", "-a", socket, "version"], capture_output=True).returncode == 0, 20)
    run(f"for i in /var/lib/keelson/images/*.tar; do ctr -a {socket} -n k8s.io images import $i; done")
    start(node, "kubelet", ["/opt/keelson/bin/kubelet", f"--kubeconfig=/etc/keelson/{node}/kubelet.conf", f"--config=/etc/keelson/{node}/kubelet.yaml",
                            f"--hostname-override={node}", f"--node-ip={address}", f"--root-dir=/var/lib/kubelet/{node}"])
    start(node, "kube-proxy", ["/opt/keelson/bin/kube-proxy", f"--kubeconfig=/etc/keelson/{node}/kube-proxy.conf", f"--hostname-override={node}",
                               "--cluster-cidr=10.244.0.0/16", "--pod-routes=host-gw"])


def cut_off(node):
    """Power off: every process of the node, then its cable."""
    for of, process in started:
        if of == node:
            process.kill()
    run(f"pkill -9 -f '[c]ontainerd-shim.*/run/keelson/{node}/' || true; ip -n switch link set {node} down")
    started[:] = [s for s in started if s[0] != node]


def taints(node):
    return sh(f"kubectl get node {node} -o jsonpath='{{.spec.taints[*].key}}'").stdout.split()


def endpoints_elsewhere():
    """No address of n3 gets traffic any more."""
    slices = json.loads(sh("kubectl get endpointslices -l kubernetes.io/service-name=web -o json").stdout)["items"]
    return all(not e["conditions"]["ready"] for s in slices for e in s.get("endpoints") or [] if e.get("nodeName") == "n3")


def ready(name):
    return sh(f"kubectl get pod {name} -o jsonpath='{{.status.conditions[?(@.type==\"Ready\")].status}}'").stdout


def cable_out():
    """A node that is only cut off goes on working; what it ran is Ready again when it is heard again."""
    tolerations = [{"key": "node.kubernetes.io/unreachable", "operator": "Exists"}, {"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]
    patient = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "patient"},
               "spec": {"nodeName": "n2", "tolerations": tolerations, "containers": [{"name": "web", "image": "demo.keelson.local/web:1"}]}}
    sh(f"echo '{json.dumps(patient)}' | kubectl apply -f - && kubectl wait --for=condition=Ready pod/patient --timeout=30s", check=True)
    run("ip -n switch link set n2 down")
    until("the patient pod unready", lambda: ready("patient") == "False", GRACE + LEASE)
    run("ip -n switch link set n2 up")
    back = time.time()
    until("the patient pod Ready again", lambda: ready("patient") == "True", 30)
    restarts = sh("kubectl get pod patient -o jsonpath='{.status.containerStatuses[0].restartCount}'").stdout
    print(f"    cable in: Ready again after {time.time() - back:.1f} s")
    verdict("a pod that tolerates its node's silence goes on", restarts == "0", restarts)
    until("n2 without taints", lambda: not taints("n2"), 20)


def all_pods():
    return json.loads(sh("kubectl get pods -l app=web -o json").stdout)["items"]


def pods():
    items = json.loads(sh("kubectl get pods -l app=web -o json").stdout)["items"]
    return [p for p in items if "deletionTimestamp" not in p["metadata"]]


def running_nodes():
    return [p["spec"].get("nodeName") for p in pods() if any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))]


def main():
    why = cluster.missing()
    if why:
        print(f"SKIP three nodes: {why}")
        return
    cluster.enter_sandbox()
    # The switch is a namespace of its own: bridged frames must not meet a node's own rules and connection tracking.
    run("ip netns add switch; ip link set wire netns switch; ip -n switch link add br0 type bridge; "
        "ip -n switch link set br0 up; ip -n switch link set wire master br0 up")
    cluster.up()
    with open("/etc/keelson/kube-controller-manager.env") as f:
        line = f.read().strip()
    with open("/etc/keelson/kube-controller-manager.env", "w") as f:
        f.write(f"{line} --node-monitor-grace-period={GRACE}s --node-monitor-period=1s\n")
    # Renewed every 10 s, the default, a node would be silent for longer than the grace period all the time.
    run(f"echo 'nodeLeaseDurationSeconds: {LEASE}' >>/etc/keelson/kubelet.yaml")
    for daemon in ("kube-controller-manager", "kubelet"):
        os.kill(int(open(f"/run/keelson/{daemon}.pid").read()), signal.SIGTERM)
    add_node("n2", "192.0.2.3")
    add_node("n3", "192.0.2.4")
    until("three Ready nodes", lambda: sh("kubectl get nodes --no-headers").stdout.count(" Ready ") == 3, 60)
    verdict("three nodes are Ready", True)
    manifest = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 6, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"terminationGracePeriodSeconds": 1,
                                       "tolerations": [{"key": f"node.kubernetes.io/{k}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION} for k in ("unreachable", "not-ready")],
                                       "containers": [{"name": "web", "image": "demo.keelson.local/web:1"}]}}}}
    sh(f"echo '{json.dumps(manifest)}' | kubectl apply -f -", check=True)
    sh("kubectl expose deploy web --port=80 && kubectl rollout status deploy/web --timeout=90s", check=True)
    verdict("6 replicas, at least one on each node", len(running_nodes()) == 6 and len(set(running_nodes())) == 3, str(running_nodes()))

    ip = sh("kubectl get svc web -o jsonpath='{.spec.clusterIP}'").stdout
    names = {p["metadata"]["name"] for p in pods()}
    for node in ("", "n2", "n3"):
        inside = f"ip netns exec {node} " if node else ""
        until(f"rules on {node or 'vm'}", lambda: sh(f"{inside}curl -s -m 2 http://{ip}").returncode == 0, 20)
        out = sh(f"for i in $(seq 60); do {inside}curl -s -m 3 http://{ip}; done").stdout
        seen = {l.split()[0] for l in out.splitlines() if l}
        verdict(f"Service traffic from {node or 'vm'} reaches every replica", seen == names, f"{len(seen)} of {len(names)}")
    routes = sh("ip route show proto 211").stdout
    verdict("routes to the other nodes' pods are installed", routes.count("via 192.0.2.") == 2, routes)

    cable_out()
    sh("kubectl rollout status deploy/web --timeout=60s", check=True)
    killed = time.time()
    cut_off("n3")
    until(f"no traffic to the silent node within {GRACE + LEASE} s", endpoints_elsewhere, GRACE + LEASE)
    unheard = time.time() - killed
    # Grace period from the last sign of life, a look every second, the toleration, and 5 s to schedule and start.
    allowed = GRACE + 1 + TOLERATION + 5
    until(f"6 replicas on the two nodes left within {allowed} s",
          lambda: len(running_nodes()) == 6 and "n3" not in running_nodes(), killed + allowed - time.time())
    took = time.time() - killed
    print(f"    silent node out of the endpoints after {unheard:.1f} s, its pods Ready elsewhere after {took:.1f} s "
          f"(grace period {GRACE} s, toleration {TOLERATION} s; allowed {allowed} s)")
    verdict("a killed node's pods run elsewhere", True)
    verdict("the silent node is tainted", set(taints("n3")) == {"node.kubernetes.io/unreachable"}, str(taints("n3")))
    left = [p["metadata"]["name"] for p in all_pods() if p["spec"]["nodeName"] == "n3"]
    verdict("its own pods wait for it as Terminating", left and all("deletionTimestamp" in p["metadata"] for p in all_pods() if p["spec"]["nodeName"] == "n3"), str(left))

    back = time.time()
    run("ip -n switch link set n3 up")
    start_daemons("n3", "192.0.2.4")
    until("the node back and Ready", lambda: sh("kubectl get nodes --no-headers").stdout.count(" Ready ") == 3, 30)
    until("its old pods gone", lambda: not any(p["spec"]["nodeName"] == "n3" for p in all_pods()), 30)
    until("its taints gone", lambda: not taints("n3"), 20)
    print(f"    the node was back, without taints and old pods, after {time.time() - back:.1f} s")
    sh("kubectl scale deploy web --replicas=9 && kubectl rollout status deploy/web --timeout=60s", check=True)
    verdict("a node that comes back takes pods again", "n3" in running_nodes(), str(running_nodes()))
    for _, process in started:
        process.terminate()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
