"""The proxies go where the original's go, and carry our certificate to kubelets alone."""
import json
import socket
import ssl
import threading

NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


def refused(answer, code, what, why=""):
    assert answer.code == code and why in answer.message, f"{what}: {answer}"


def own_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith(("127.", "169.254.")) else address


def set_status(target, path, status):
    answer = target.ask("PATCH", path + "/status", json.dumps({"status": status}),
                        headers={"Content-Type": "application/merge-patch+json"})
    assert answer.code == 200, answer


def node(target, name, address, kind="InternalIP", port=10250):
    target.make(NODES, {"metadata": {"name": name}})
    set_status(target, f"{NODES}/{name}", {"addresses": [{"type": kind, "address": address}],
                                           "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}})


class Listener:
    """A TLS server that asks for a certificate, answers everything with 200 and keeps what it saw."""

    def __init__(self, target, address):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        f = target.server.pki.file
        context.load_cert_chain(f("server.crt"), f("server.key"))
        context.load_verify_locations(f("ca.crt"))
        context.verify_mode = ssl.CERT_OPTIONAL
        self.socket = context.wrap_socket(socket.create_server((address, 0)), server_side=True)
        self.port = self.socket.getsockname()[1]
        self.seen = []  # (whether a certificate came, request line)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except ssl.SSLError:
                continue
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(4096)):
                    head += piece
                self.seen.append((bool(connection.getpeercert()), head))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    def close(self):
        self.socket.close()


def attack_nodes_on_this_machine_or_its_link(target):
    own = target.server.port
    for i, (address, kind) in enumerate((("127.0.0.1", "InternalIP"), ("127.1.2.3", "InternalIP"), ("::1", "InternalIP"),
                                         ("169.254.169.254", "InternalIP"), ("fe80::1", "InternalIP"),
                                         ("0.0.0.0", "InternalIP"), ("224.0.0.1", "InternalIP"),
                                         ("::ffff:127.0.0.1", "InternalIP"), ("localhost", "Hostname"))):
        node(target, f"attack-{i}", address, kind, own)
        for name in (f"attack-{i}", f"attack-{i}:{own}", f"https:attack-{i}:{own}", f"attack-{i}:10255"):
            refused(target.ask("GET", f"{NODES}/{name}/proxy/healthz"), 400, f"{address} by {name}", "address not allowed")


def attack_text_after_the_name(target):
    node(target, "attack-n", "203.0.113.1")
    for name in ("attack-n:80:90", "ftp:attack-n:80", "a:b:c:d", "https::443", ":443", "attack-n:0", "attack-n:65536",
                 "attack-n:-1", "attack-n:80x", "attack-n:80@127.0.0.1", "attack-n:80%2523", "http:attack-n:80%3F"):
        answer = target.ask("GET", f"{NODES}/{name}/proxy/x")
        refused(answer, 400, name)
    for base in (PODS, SERVICES):
        for name in ("ftp:x:80", "a:b:c:d", ":80"):
            refused(target.ask("GET", f"{base}/{name}/proxy/x"), 400, f"{base} {name}", "invalid")
    for ask in (dict(verb="get", name="attack-n:80@127.0.0.1"), dict(verb="create", name="https:attack-n:443")):
        answer = target.call(version="v1", resource="nodes", subresource="proxy", **ask)
        assert answer.code in (404, 405), f"gRPC {ask}: {answer}"


def attack_pods_and_services_that_are_elsewhere(target):
    pod = {"metadata": {"name": "attack-p"}, "spec": {"nodeName": "none", "containers": [{"name": "c", "image": "i"}]}}
    target.make("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "attack"}})
    pod["spec"].update(serviceAccountName="attack", automountServiceAccountToken=False)
    target.make(PODS, pod)
    target.undo("DELETE", f"{PODS}/attack-p?gracePeriodSeconds=0")
    for ip in ("127.0.0.1", "169.254.169.254", "::1"):
        set_status(target, f"{PODS}/attack-p", {"podIP": ip, "podIPs": [{"ip": ip}]})
        refused(target.ask("GET", f"{PODS}/https:attack-p:{target.server.port}/proxy/version"), 400, ip, "address not allowed")
    target.make(SERVICES, {"metadata": {"name": "attack-s"}, "spec": {"ports": [{"port": 80}]}})
    # Endpoints that somebody wrote by hand, of no pod and of another namespace's.
    reference = {"kind": "Pod", "name": "attack-p", "namespace": "kube-system"}
    for i, address in enumerate(({"ip": "203.0.113.7"}, {"ip": "203.0.113.7", "targetRef": reference},
                                 {"ip": "203.0.113.7", "targetRef": dict(reference, namespace="default")})):
        endpoints = {"metadata": {"name": "attack-s"}, "subsets": [{"addresses": [address], "ports": [{"port": 80}]}]}
        if i == 0:
            target.make("/api/v1/namespaces/default/endpoints", endpoints)
        else:
            assert target.ask("PUT", "/api/v1/namespaces/default/endpoints/attack-s",
                              dict(endpoints, kind="Endpoints", apiVersion="v1")).code == 200
        refused(target.ask("GET", f"{SERVICES}/attack-s/proxy/x"), 503, address, "no endpoints available")


def attack_our_certificate_is_for_kubelets(target):
    address = own_address()
    if address is None:
        return  # a machine without a network has no node to speak to
    kubelet, other = Listener(target, address), Listener(target, address)
    try:
        node(target, "attack-k", address, port=kubelet.port)
        for name in ("attack-k", f"attack-k:{kubelet.port}", f"http:attack-k:{kubelet.port}"):
            refused(target.ask("GET", f"{NODES}/{name}/proxy/pods"), 200, name)
        assert [seen for seen, _ in kubelet.seen] == [True] * 3, f"the kubelet saw {kubelet.seen}"
        path = f"{NODES}/https:attack-k:{other.port}/proxy/a%0d%0aX-Evil:%201/b%3Fc%25"
        refused(target.ask("GET", path + "?q=1"), 200, path)
        (showed, head), = other.seen
        assert not showed, "another port saw our certificate"
        assert head.startswith(b"GET /a%0D%0AX-Evil:%201/b%3Fc%25?q=1 HTTP/1.1\r\n"), head
        assert b"\nX-Evil" not in head, head
    finally:
        kubelet.close()
        other.close()
