"""A store and a kube-apiserver as processes in a directory of their own, for component tests. Stop ends them by pid."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import http.client
import ssl

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KEELSON_BUILD", ROOT / "build/dev"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def store_program(name):
    """The program of a store, or None when it is not here."""
    path = shutil.which("etcd") if name == "etcd" else str(BUILD / "bin/kvstore")
    return path if path and os.access(path, os.X_OK) else None


class Pki:
    """One CA; certificates of a server, an administrator and a store's client; a key for service account tokens."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
                 "-subj", "/CN=test-ca")
        self.issue("server", "/CN=kube-apiserver", "subjectAltName=DNS:localhost,DNS:kubernetes,IP:127.0.0.1")
        self.issue("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth")
        self.issue("client", "/CN=kube-apiserver-etcd-client", "extendedKeyUsage=clientAuth")
        self.run("genrsa", "-out", "sa.key", "2048")

    def run(self, *args):
        subprocess.run(["openssl", *args], cwd=self.dir, check=True, capture_output=True)

    def issue(self, name, subject, extension):
        (self.dir / f"{name}.ext").write_text(extension + "\n")
        self.run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                 "-subj", subject)
        self.run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                 f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext")

    def file(self, name):
        return str(self.dir / name)


class ApiServer:
    """`store`: "kvstore" or "etcd", one member of which is started with it; or running members with their certificates
    in `pki` (kvstore_members)."""

    def __init__(self, store, extra=(), program=None, pki=None):
        self.dir = tempfile.mkdtemp(prefix="apiserver-test-")
        self.processes = []
        self.pki = pki or Pki(self.dir)
        self.program = program or str(BUILD / "bin/kube-apiserver")
        self.port = free_port()
        self.start_store(store)
        self.start(extra)

    def spawn(self, name, args):
        log = open(f"{self.dir}/{name}.log", "ab")
        p = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(p)
        return p

    def start_store(self, store):
        if not isinstance(store, str):
            f = self.pki.file
            self.store_flags = ["--etcd-servers=" + ",".join(m.url for m in store), f"--etcd-cafile={f('ca.crt')}",
                                f"--etcd-certfile={f('client.crt')}", f"--etcd-keyfile={f('client.key')}"]
            return
        client, peer = free_port(), free_port()
        self.store_url = f"http://127.0.0.1:{client}"
        self.store_flags = [f"--etcd-servers={self.store_url}"]
        args = [store_program(store), f"--data-dir={self.dir}/data", f"--listen-client-urls={self.store_url}",
                f"--advertise-client-urls={self.store_url}"]
        if store == "etcd":
            peer_url = f"http://127.0.0.1:{peer}"
            args += ["--name=m", f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
                     f"--initial-cluster=m={peer_url}"]
        self.store = self.spawn("store", args)

    def start(self, extra):
        tokens = pathlib.Path(self.dir) / "tokens.csv"
        tokens.write_text('tok-alice,alice,u1,"devs,qa"\ntok-bob,bob,u2\n')
        f = self.pki.file
        args = [self.program, *self.store_flags, "--bind-address=127.0.0.1",
                f"--secure-port={self.port}", f"--tls-cert-file={f('server.crt')}",
                f"--tls-private-key-file={f('server.key')}", f"--client-ca-file={f('ca.crt')}",
                f"--requestheader-client-ca-file={f('ca.crt')}", "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-", f"--token-auth-file={tokens}", "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction", "--service-cluster-ip-range=10.96.0.0/16",
                "--advertise-address=192.0.2.10", "--allow-privileged=true",
                f"--kubelet-client-certificate={f('client.crt')}", f"--kubelet-client-key={f('client.key')}",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-signing-key-file={f('sa.key')}", f"--service-account-key-file={f('sa.key')}", *extra]
        self.started = time.time()
        self.server = self.spawn("apiserver", args)

    def connect(self, timeout=5):
        """A connection as the administrator."""
        context = ssl.create_default_context(cafile=self.pki.file("ca.crt"))
        context.load_cert_chain(self.pki.file("admin.crt"), self.pki.file("admin.key"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context)

    def get(self, path):
        c = self.connect()
        c.request("GET", path)
        r = c.getresponse()
        return r.status, r.read().decode()

    def wait_ready(self, seconds=30):
        """Seconds from the start to the first good /readyz; raises with the log's end otherwise."""
        last = ""
        while time.time() - self.started < seconds:
            if self.server.poll() is not None:
                break
            try:
                status, last = self.get("/readyz")
                if status == 200:
                    return time.time() - self.started
            except OSError as e:
                last = str(e)
            time.sleep(0.02)
        log = pathlib.Path(self.dir, "apiserver.log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"the apiserver did not become ready ({last}):\n{log}")

    def stop(self, keep=False):
        for p in reversed(self.processes):
            p.terminate()
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)
