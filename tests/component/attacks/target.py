"""The control plane under attack, and the ways to it: REST and gRPC as administrator, as a user, as a stranger."""
import http.client
import importlib
import json
import pathlib
import ssl
import subprocess
import sys
import tempfile
import urllib.parse

import apiserver_process

ADMIN = "admin"  # a client certificate of system:masters
STRANGER = None  # no credentials at all
DO = "/keelson.resources.v1.Resources/Do"


class Answer:
    def __init__(self, code, body, headers=()):
        self.code, self.body = code, body
        self.headers = {}
        for k, v in headers:  # what comes more than once is one list
            k = k.lower()
            self.headers[k] = f"{self.headers[k]}, {v}" if k in self.headers else v

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        try:
            return self.json.get("message", "")
        except (ValueError, AttributeError):
            return self.body.decode(errors="replace")

    def __repr__(self):
        return f"{self.code} {self.body[:300]!r}"


class Target:
    def __init__(self, server):
        self.server = server
        self._undo = []
        self._wire = None
        self._generated = tempfile.TemporaryDirectory(prefix="attacks-")

    # --- REST ---

    def tls(self, who=ADMIN):
        context = ssl.create_default_context(cafile=self.server.pki.file("ca.crt"))
        if who == ADMIN:
            context.load_cert_chain(self.server.pki.file("admin.crt"), self.server.pki.file("admin.key"))
        return context

    def ask(self, method, path, body=None, who=ADMIN, headers=None, timeout=30):
        """One request on a connection of its own. `who`: ADMIN, STRANGER, or a user's name (impersonated by the
        administrator), or "token:T". A dict is sent as JSON."""
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if who and who.startswith("token:"):
            headers["Authorization"] = "Bearer " + who[6:]
        elif who not in (ADMIN, STRANGER):
            headers["Impersonate-User"] = who
        context = self.tls(STRANGER if who is STRANGER or who.startswith("token:") else ADMIN)
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=timeout, context=context)
        try:
            connection.request(method, path, body, headers)
            r = connection.getresponse()
            return Answer(r.status, r.read(), r.getheaders())
        finally:
            connection.close()

    def make(self, path, body):
        """Creates as the administrator what the attack needs; it goes when the attack is over."""
        answer = self.ask("POST", path, body)
        assert answer.code == 201, f"could not prepare {path}: {answer}"
        name = urllib.parse.quote(answer.json["metadata"]["name"])
        self.undo("DELETE", f"{path}/{name}")
        return answer.json

    def undo(self, method, path):
        self._undo.append((method, path))

    def clean(self):
        while self._undo:
            method, path = self._undo.pop()
            try:
                self.ask(method, path)
            except OSError:
                pass

    def allow(self, user, rules, namespace=None):
        """Gives a user these RBAC rules, in one namespace or everywhere."""
        name = f"attack-{user.replace(':', '-')}-{len(self._undo)}"
        kind = "Role" if namespace else "ClusterRole"
        base = "/apis/rbac.authorization.k8s.io/v1/" + (f"namespaces/{namespace}/" if namespace else "")
        plural = "roles" if namespace else "clusterroles"
        self.make(base + plural, {"kind": kind, "metadata": {"name": name}, "rules": rules})
        self.make(base + plural[:-1] + "bindings", {
            "kind": kind + "Binding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})

    # --- gRPC ---

    @property
    def wire(self):
        """The generated module of proto/resources/v1."""
        if self._wire is None:
            subprocess.run(["protoc", f"-I{apiserver_process.ROOT}", f"--python_out={self._generated.name}",
                            "proto/resources/v1/resources.proto"], cwd=apiserver_process.ROOT, check=True)
            sys.path.insert(0, str(pathlib.Path(self._generated.name, "proto/resources/v1")))
            self._wire = importlib.import_module("resources_pb2")
        return self._wire

    def channel(self, who=ADMIN):
        import grpc
        read = lambda name: pathlib.Path(self.server.pki.file(name)).read_bytes()
        pair = (read("admin.key"), read("admin.crt")) if who == ADMIN else (None, None)
        credentials = grpc.ssl_channel_credentials(read("ca.crt"), *pair)
        return grpc.secure_channel(f"127.0.0.1:{self.server.port}", credentials, options=[
            ("grpc.ssl_target_name_override", "localhost"), ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1)])

    def call(self, who=ADMIN, timeout=30, **request):
        """One Do over gRPC with the fields of the wire's Request; the answer's code is the HTTP one."""
        import grpc
        metadata = [] if who in (ADMIN, STRANGER) or who.startswith("token:") else [("impersonate-user", who)]
        if who and who.startswith("token:"):
            metadata = [("authorization", "Bearer " + who[6:])]
        identity = STRANGER if who is STRANGER or who.startswith("token:") else ADMIN
        request.setdefault("accept", "application/json")
        with self.channel(identity) as channel:
            do = channel.unary_unary(DO)
            try:
                out = self.wire.Response.FromString(
                    do(self.wire.Request(**request).SerializeToString(), timeout=timeout, metadata=metadata))
                return Answer(out.code, out.body)
            except grpc.RpcError as e:
                details = dict(e.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
                try:
                    return Answer(json.loads(details)["code"], details)
                except (ValueError, KeyError):
                    return Answer(0, f"{e.code().name}: {e.details()}".encode())

    # --- the process ---

    def rss_mb(self):
        try:
            for line in pathlib.Path(f"/proc/{self.server.server.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        except OSError:
            pass
        return 0.0

    def alive(self):
        if self.server.server.poll() is not None:
            return False
        try:
            return self.server.get("/readyz")[0] == 200
        except OSError:
            return False

    def log_end(self):
        """How it ended (None: it still runs, and is not ready) and what it said last."""
        log = pathlib.Path(self.server.dir, "apiserver.log").read_text(errors="replace")
        return f"exit status {self.server.server.poll()}: {log[-600:]}"

    def restart(self):
        if self.server.server.poll() is None:
            self.server.server.kill()
            self.server.server.wait()
        self.server.start(())
        self.server.wait_ready()

    def close(self):
        self._generated.cleanup()
