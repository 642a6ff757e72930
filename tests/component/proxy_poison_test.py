#!/usr/bin/env python3
"""kube-proxy with 1,000 Services of which 10 are poisonous, in a network namespace of its own: addresses that are none or
somebody else's, ranges and ports that cannot be, names that are commands (written past the API server), 2,000 ports in one
Service. The other 990 are reached by traffic and follow their endpoints; the neighbours' addresses stay theirs."""
import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import threading
import time

from apiserver_process import BUILD, ApiServer

NODE, POISONOUS, SERVICES = "192.0.2.2", 10, 1000
GENEROUS_S = 15  # what a loaded machine may take; the figures are printed
failures = 0


def verdict(name, good, why=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else f": {why}"), flush=True)


def sh(command, check=True):
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Api:
    """One connection a thread."""

    def __init__(self, server):
        self.server, self.local = server, threading.local()

    def ask(self, method, path, body=None, good=(200, 201)):
        if not hasattr(self.local, "connection"):
            self.local.connection = self.server.connect(30)
        c = self.local.connection
        c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        r = c.getresponse()
        data = r.read()
        assert not good or r.status in good, f"{method} {path}: {r.status} {data[:500]}"
        return json.loads(data)


def service(name, ports=None, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": ports or [{"port": 80}], **spec}}


def endpoint_slice(name, address):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}]}


def listener():
    """Answers on 10.244.0.2 ... .5:8080, and at the API server's and the node port's place, with its own address."""
    def serve(s):
        while True:
            c, _ = s.accept()
            c.sendall(c.getsockname()[0].encode())
            c.close()
    for ip in ("10.244.0.2", "10.244.0.3", "10.244.0.4", "10.244.0.5"):
        s = socket.create_server((ip, 8080), backlog=1024)
        threading.Thread(target=serve, args=(s,), daemon=True).start()


def reach(ip, port=80, timeout=0.5):
    try:
        with socket.create_connection((ip, port), timeout) as s:
            return s.recv(64).decode()
    except OSError as e:
        return type(e).__name__


def poison_by_api(api, owner_ip, balancer, node_port):
    """What validation lets pass."""
    def make(body):
        api.ask("POST", "/api/v1/namespaces/evil/services", body)
    make(service("api-server", [{"port": 443}], externalIPs=["10.96.0.1"]))
    make(service("neighbour", externalIPs=[owner_ip, balancer]))
    make(service("node-port", [{"port": node_port}], externalIPs=[NODE]))
    make(service("ranges", type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", " 10.1.0.0/16 "]))
    lb = service("stolen-balancer", type="LoadBalancer")
    make(lb)
    for name in ("ranges", "stolen-balancer"):
        path = f"/api/v1/namespaces/evil/services/{name}"
        now = api.ask("GET", path)
        now["status"] = {"loadBalancer": {"ingress": [{"ip": owner_ip if name != "ranges" else "198.51.100.77"}]}}
        api.ask("PUT", path + "/status", now)
    make(service("many-ports", [{"name": f"p{i}", "port": 1000 + i} for i in range(2000)]))
    names = ["api-server", "neighbour", "node-port", "ranges", "stolen-balancer", "many-ports"]
    for name in [*names, "leading-zero"]:  # that one stands in the store
        api.ask("POST", "/apis/discovery.k8s.io/v1/namespaces/evil/endpointslices", endpoint_slice(name, "10.244.0.5"))
    return names


def poison_in_store(server):
    """Objects that no API server of ours would write, put under its feet. Their addresses are from the range's static band
    (10.96.0.1 to .255), where no address is handed out while the rest has some: so they are no other Service's."""
    evil = [service("leading-zero", clusterIP="10.96.0.204", clusterIPs=["10.96.0.204"], externalIPs=["8.8.8.09", "10.96.0.01"]),
            service('x" ; flush ruleset', clusterIP="10.96.0.201", clusterIPs=["10.96.0.201"], externalIPs=["1.2.3.4 }; flush ruleset; {"]),
            service("ports", [{"port": 65616, "protocol": "TCP"}, {"name": "x", "port": 81, "protocol": "TCP : drop"}],
                    clusterIP="10.96.0.202", clusterIPs=["10.96.0.202"]),
            service("cluster-ip", [{"port": 8080, "protocol": "TCP"}], clusterIP=NODE, clusterIPs=[NODE],
                    sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": -1}})]
    for body in evil:
        body["metadata"].update(namespace="evil", uid=f"00000000-0000-0000-0000-{random.getrandbits(48):012x}",
                                creationTimestamp="2001-01-01T00:00:00Z")
        put = json.dumps({"key": base64.b64encode(f"/registry/services/specs/evil/{body['metadata']['name']}".encode()).decode(),
                          "value": base64.b64encode(json.dumps(body).encode()).decode()})
        c = http.client.HTTPConnection(server.store_url.removeprefix("http://"), timeout=10)
        c.request("POST", "/v3/kv/put", put)
        assert c.getresponse().status == 200
    return len(evil)


def start_proxy(server):
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "current-context": "c",
                  "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{server.port}", "certificate-authority": server.pki.file("ca.crt")}}],
                  "users": [{"name": "u", "user": {"client-certificate": server.pki.file("admin.crt"), "client-key": server.pki.file("admin.key")}}],
                  "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}
    path = pathlib.Path(server.dir, "proxy.conf")
    path.write_text(json.dumps(kubeconfig))
    return server.spawn("proxy", [str(BUILD / "bin/kube-proxy"), f"--kubeconfig={path}", "--hostname-override=n1",
                                  "--cluster-cidr=10.244.0.0/16"])


def wait(what, condition, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.05)
    verdict(what, False, f"not within {seconds} s")
    return False


def follow(api, ips):
    """One Service after the other changes its endpoint: from the request to the first answer of the new one."""
    def change(name, address):
        path = f"/apis/discovery.k8s.io/v1/namespaces/good/endpointslices/{name}"
        body = endpoint_slice(name, address)
        api.ask("PUT", path, body)
    times = []
    for name in random.Random(7).sample(sorted(ips), 40):
        now = time.monotonic()
        change(name, "10.244.0.3")
        while reach(ips[name]) != "10.244.0.3" and time.monotonic() - now < GENEROUS_S:
            time.sleep(0.005)
        times.append(time.monotonic() - now)
        time.sleep(random.random() * 0.3)
    times.sort()
    print(f"    40 changes, one after the other: p50 {times[20]:.3f} s, largest {times[-1]:.3f} s")
    verdict("a Service follows its endpoint beside poisonous ones", times[-1] < GENEROUS_S, f"{times[-1]:.1f} s")
    # All at once: how long until the last one follows.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        list(pool.map(lambda n: change(n, "10.244.0.4"), ips))
        written = time.monotonic()
        left = dict(ips)
        while left and time.monotonic() - written < GENEROUS_S:
            for name, got in zip(list(left), pool.map(reach, left.values())):
                if got == "10.244.0.4":
                    del left[name]
    late = time.monotonic() - written
    print(f"    {len(ips)} changes in {written - begun:.2f} s: all followed {late:.3f} s after the last (and were seen to)")
    verdict("all other Services follow theirs", not left, f"{len(left)} do not, {sorted(left)[:5]}")


def run(server):
    api = Api(server)
    for ns in ("good", "evil"):
        api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": ns}})
    api.ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    node = api.ask("GET", "/api/v1/nodes/n1")
    node["status"] = {"addresses": [{"type": "InternalIP", "address": NODE}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}
    api.ask("PUT", "/api/v1/nodes/n1/status", node)
    owner = api.ask("POST", "/api/v1/namespaces/good/services", service("owner", type="LoadBalancer"))
    owner_ip, node_port = owner["spec"]["clusterIP"], owner["spec"]["ports"][0]["nodePort"]
    owner["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.4"}]}}
    api.ask("PUT", "/api/v1/namespaces/good/services/owner/status", owner)

    names = poison_by_api(api, owner_ip, "198.51.100.4", node_port)
    count = len(names) + poison_in_store(server)
    assert count == POISONOUS
    def make(i):
        name = f"s{i}"
        ip = api.ask("POST", "/api/v1/namespaces/good/services", service(name))["spec"]["clusterIP"]
        api.ask("POST", "/apis/discovery.k8s.io/v1/namespaces/good/endpointslices", endpoint_slice(name, "10.244.0.2"))
        return name, ip
    api.ask("POST", "/apis/discovery.k8s.io/v1/namespaces/good/endpointslices", endpoint_slice("owner", "10.244.0.2"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ips = dict(pool.map(make, range(SERVICES - POISONOUS - 1)))
    begun = time.monotonic()
    proxy = start_proxy(server)
    if not wait("rules of the first Services", lambda: reach(ips["s0"]) == "10.244.0.2" and reach(owner_ip) == "10.244.0.2"):
        return
    print(f"    kube-proxy: {SERVICES} Services written {time.monotonic() - begun:.2f} s after its start")
    time.sleep(1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        wrong = [ip for ip, got in zip(ips.values(), pool.map(reach, ips.values())) if got != "10.244.0.2"]
    verdict("every other Service is reached", not wrong, f"{len(wrong)}: {wrong[:5]}")
    follow(api, ips)
    neighbours(api, owner_ip, node_port)
    verdict("kube-proxy lives", proxy.poll() is None, str(proxy.poll()))
    pages()
    told(api)
    handing_on(api, owner_ip)


def neighbours(api, owner_ip, node_port):
    """Whose traffic the poisonous ones wanted."""
    api_server = api.ask("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")["items"][0]
    rules = sh("nft -j list table ip kube-proxy")
    verdict("calls to the API server stay its own", reach("10.96.0.1", 443) != "10.244.0.5"
            and api_server["endpoints"][0]["addresses"][0] in rules, reach("10.96.0.1", 443))
    for what, ip, port in (("ClusterIP", owner_ip, 80), ("load balancer address", "198.51.100.4", 80), ("node port", NODE, node_port)):
        verdict(f"a neighbour's {what} stays its own", reach(ip, port) == "10.244.0.2", reach(ip, port))
    with socket.create_server((NODE, 7777)):
        verdict("the node's address stays the node's", reach(NODE, 7777, 2) in ("", "TimeoutError"), reach(NODE, 7777))
    verdict("8.8.8.09 is 8.8.8.9", reach("8.8.8.9") == "10.244.0.5", reach("8.8.8.9"))
    begun = time.monotonic()
    got = reach("10.96.0.99", 80, 1)
    verdict("an unused ClusterIP is silent", got == "TimeoutError" and "10.96.0.0" in sh("nft list chain ip kube-proxy cluster-ips-check"),
            f"{got} after {time.monotonic() - begun:.1f} s")


def pages():
    """What is open to everybody tells no more than whether the proxy is well."""
    def code(port, path):
        c = http.client.HTTPConnection(NODE if port == 10256 else "127.0.0.1", port, timeout=5)
        c.request("GET", path)
        return c.getresponse().status
    got = [code(10256, "/healthz"), code(10256, "/livez"), code(10256, "/metrics"), code(10256, "/proxyMode"),
           code(10249, "/metrics"), code(10249, "/proxyMode")]
    verdict("the health port says nothing but health", got == [200, 200, 404, 404, 200, 200], str(got))


def told(api):
    wait("events", lambda: len(api.ask("GET", "/api/v1/namespaces/evil/events")["items"]) >= 5, 10)
    events = {e["involvedObject"]["name"]: e["message"] for e in api.ask("GET", "/api/v1/namespaces/evil/events")["items"]}
    for name, text in (("api-server", "external IP 10.96.0.1 is the cluster IP of another Service"),
                       ("leading-zero", "external IP 10.96.0.1 is the cluster IP of another Service"),
                       ("stolen-balancer", "load balancer IP"), ("node-port", "is the node port of another Service"),
                       ("ports", "port 65616 is not a port")):
        verdict(f"an event tells {name}", text in events.get(name, ""), str(events.get(name)))


def handing_on(api, owner_ip):
    """The owner goes: the address is the next one's, and when that goes too, nobody's."""
    api.ask("DELETE", "/api/v1/namespaces/good/services/owner")
    verdict("the next one gets the address", wait("handing on", lambda: reach(owner_ip) == "10.244.0.5", GENEROUS_S))
    for name in ("neighbour", "stolen-balancer"):
        api.ask("DELETE", f"/api/v1/namespaces/evil/services/{name}")
    verdict("and leaves nothing behind", wait("nothing left", lambda: owner_ip + " " not in sh("nft list table ip kube-proxy"), GENEROUS_S))


def main():
    if os.geteuid() != 0 or not (BUILD / "bin/kube-proxy").exists():
        print("SKIP poisonous Services: needs root and kube-proxy")
        return
    if os.environ.get("PROXY_POISON_NETNS") != "inside":
        done = subprocess.run(["setpriv", "--pdeathsig", "TERM", "unshare", "--net", "--fork", "--kill-child", sys.executable, "-u", os.path.abspath(sys.argv[0])],
                              env=dict(os.environ, PROXY_POISON_NETNS="inside"))
        sys.exit(done.returncode)
    sh(f"ip link set lo up; ip link add eth0 type veth peer name wire; ip addr add {NODE}/24 dev eth0; ip link set eth0 up;"
       "ip link set wire up; ip route add default via 192.0.2.1; ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0;"
       "for i in 2 3 4 5; do ip addr add 10.244.0.$i/32 dev lo; done; sysctl -qw net.ipv4.conf.all.route_localnet=1")
    listener()
    server = ApiServer("kvstore")
    keep = True
    try:
        server.wait_ready()
        run(server)
        keep = failures > 0
        if keep:
            print(f"    kept: {server.dir}")
            print(pathlib.Path(server.dir, "proxy.log").read_text(errors="replace")[-3000:])
    finally:
        server.stop(keep)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
