#!/usr/bin/env python3
"""Flags of kvstore that are about who may come, what is logged and how members find one another, on real processes: lists
of revoked certificates, allowed names, TLS versions, certificates of its own making, log outputs and rotation, local
addresses, profiles, discovery by DNS and by a registry. KEELSON_STORE=/path/to/etcd asks the original the same."""
import gzip
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import apiserver_process
from kvstore_members import BUILD, Member

STORE = os.environ.get("KEELSON_STORE", str(BUILD / "bin/kvstore"))
REGISTRY = os.environ.get("KEELSON_REGISTRY", str(BUILD / "bin/kvstore"))  # who keeps the one of members that meet


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text[-600:]!r}")


def wait_for(what, condition, seconds=15):
    deadline = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain: {what() if callable(what) else what}")
        time.sleep(0.1)


class Pki(apiserver_process.Pki):
    """With a list of what is revoked, as DER."""

    def __init__(self, directory):
        super().__init__(directory)
        (self.dir / "index").write_text("")
        (self.dir / "number").write_text("01\n")  # Go reads lists of version 2 only
        (self.dir / "ca.cnf").write_text("[ca]\ndefault_ca=c\n[c]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n"
                                         "default_crl_days=2\ncertificate=ca.crt\nprivate_key=ca.key\n"
                                         "crl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n")
        self.list()

    def list(self):
        self.run("ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem")
        self.run("crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.new")
        os.rename(self.dir / "crl.new", self.dir / "crl")

    def revoke(self, name):
        self.run("ca", "-config", "ca.cnf", "-revoke", f"{name}.crt")
        self.list()

    def forgive(self):
        (self.dir / "index").write_text("")
        self.list()


def ctl(member, *args, cert=None, ca=None, seconds=5):
    """etcdctl's answer; `cert` names the client's certificate in the member's directory of keys."""
    command = ["etcdctl", "--endpoints", member.url if ca else member.client, "--dial-timeout=2s",
               f"--command-timeout={seconds}s", *args]
    if ca:
        command += ["--cacert", str(ca)]
    if cert:
        command += ["--cert", str(cert) + ".crt", "--key", str(cert) + ".key"]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, ETCDCTL_API="3"), timeout=30)


def log_of(member):
    return (member.dir / "log").read_text()


def served(member, **how):
    wait_for(lambda: "the member serves: " + log_of(member)[-600:],
             lambda: ctl(member, "put", "a", "1", seconds=1, **how).returncode == 0)


class Secure:
    """One member with TLS and so many more flags, and a PKI of its own."""

    def __init__(self, top, name, *flags, client_auth=True):
        self.pki = Pki(tempfile.mkdtemp(dir=top))
        f = self.pki.file
        self.member = Member(top, name, program=STORE,
                             flags=["--cert-file", f("server.crt"), "--key-file", f("server.key"),
                                    *(["--client-cert-auth", "--trusted-ca-file", f("ca.crt")] if client_auth else []),
                                    *(x.replace("PKI", str(self.pki.dir)) for x in flags)])
        self.member.url = self.member.url.replace("http:", "https:")

    def __enter__(self):
        self.member.start([self.member])
        return self

    def __exit__(self, *_):
        self.member.end()

    def put(self, name):
        return ctl(self.member, "put", "a", "1", cert=self.pki.file(name), ca=self.pki.file("ca.crt"), seconds=2)

    def served(self, name):
        served(self.member, cert=self.pki.file(name), ca=self.pki.file("ca.crt"))


def revoked(top):
    with Secure(top, "revoked", "--client-crl-file=PKI/crl") as s:
        s.served("admin")
        s.pki.revoke("admin")
        if s.put("admin").returncode == 0:
            raise AssertionError("a revoked certificate is served")
        wait_for("the log tells of it", lambda: "rejected connection on client endpoint" in log_of(s.member))
        serial = subprocess.run(["openssl", "x509", "-in", s.pki.file("admin.crt"), "-noout", "-serial"], check=True,
                                capture_output=True, text=True).stdout.strip().split("=")[1].lower()
        contains(log_of(s.member), f"transport: certificate serial {serial} revoked")
        s.served("client")
        os.rename(s.pki.dir / "crl", s.pki.dir / "away")
        if s.put("client").returncode == 0:
            raise AssertionError("without its list the member lets everybody in")
        s.pki.forgive()
        s.served("admin")


def names(top):
    with Secure(top, "names", "--client-cert-allowed-hostname=other.example.com,ops.example.com") as s:
        s.pki.issue("ops", "/CN=whoever", "subjectAltName=DNS:ops.example.com")
        s.served("ops")
        if s.put("admin").returncode == 0:
            raise AssertionError("a certificate without the name is served")
        contains(log_of(s.member), "client certificate authentication failed")


def authorities_alone(top):
    """Authorities without --client-cert-auth: certificates are asked for all the same."""
    with Secure(top, "authorities", "--trusted-ca-file=PKI/ca.crt", client_auth=False) as s:
        s.served("admin")
        if ctl(s.member, "put", "a", "1", ca=s.pki.file("ca.crt"), seconds=2).returncode == 0:
            raise AssertionError("served without a certificate")


def versions(top):
    def speaks(s, version):
        done = subprocess.run(["openssl", "s_client", "-connect", s.member.client, version, "-cert",
                               s.pki.file("admin.crt"), "-key", s.pki.file("admin.key"), "-CAfile",
                               s.pki.file("ca.crt")], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
        return "Verify return code: 0" in done.stdout and "Cipher is (NONE)" not in done.stdout

    for flag, old, new in (("--tls-max-version=TLS1.2", True, False), ("--tls-min-version=TLS1.3", False, True),
                           ("--tls-min-version=TLS1.2", True, True)):
        with Secure(top, "version" + flag[-6:] + flag[6:9], flag) as s:
            s.served("admin")
            if (speaks(s, "-tls1_2"), speaks(s, "-tls1_3")) != (old, new):
                raise AssertionError(f"{flag}: 1.2 {speaks(s, '-tls1_2')}, 1.3 {speaks(s, '-tls1_3')}")


def peers(top):
    """Of three members one shows a name that is not allowed: the two others do without it until it has another."""
    pki = Pki(tempfile.mkdtemp(dir=top))
    for name, cn in (("m1", "member"), ("m2", "member"), ("m3", "intruder"), ("m3good", "member")):
        pki.issue(name, f"/CN={cn}", "subjectAltName=IP:127.0.0.1")

    def flags(name):
        return ["--peer-client-cert-auth", "--peer-trusted-ca-file", pki.file("ca.crt"), "--peer-cert-file",
                pki.file(f"{name}.crt"), "--peer-key-file", pki.file(f"{name}.key"), "--peer-cert-allowed-cn=another,member",
                "--peer-crl-file", pki.file("crl")]

    members = [Member(top, f"p{i}", program=STORE, flags=flags(f"m{i}")) for i in (1, 2, 3)]
    for m in members:
        m.peer = m.peer.replace("http:", "https:")
    try:
        for m in members:
            m.start(members)
        served(members[0])
        wait_for("the intruder is told of", lambda: "rejected connection on peer endpoint" in log_of(members[0]))
        contains(log_of(members[0]), "client certificate authentication failed")
        wait_for("the intruder is told why", lambda: "remote error: tls: bad certificate" in log_of(members[2]))
        if ctl(members[2], "get", "a", seconds=2).returncode == 0:
            raise AssertionError("the intruder reads")
        members[2].end()
        members[2].flags = flags("m3good")
        members[2].start(members)
        wait_for("the third member reads", lambda: ctl(members[2], "get", "a", seconds=1).stdout == "a\n1\n")
        # Its certificate is revoked: nobody takes a connection of it. That they still make some to it is the original's.
        members[2].end(signal.SIGTERM)
        pki.revoke("m3good")
        members[2].start(members)
        wait_for("the revocation is told of", lambda: "revoked" in log_of(members[0]) + log_of(members[1]))
    finally:
        for m in members:
            m.end()


def peer_addresses(top):
    """A member whose certificate names another address is not taken for a member, unless that is not looked at."""
    pki = Pki(tempfile.mkdtemp(dir=top))
    pki.issue("here", "/CN=here", "subjectAltName=IP:127.0.0.1")
    pki.issue("elsewhere", "/CN=elsewhere", "subjectAltName=IP:10.9.9.9")

    def flags(client):
        f = pki.file
        return ["--peer-client-cert-auth", "--peer-trusted-ca-file", f("ca.crt"), "--peer-cert-file", f("here.crt"),
                "--peer-key-file", f("here.key"), "--peer-client-cert-file", f(client + ".crt"),
                "--peer-client-key-file", f(client + ".key")]

    members = [Member(top, f"address{i}", program=STORE, flags=flags(c)) for i, c in ((1, "here"), (2, "elsewhere"))]
    for m in members:
        m.peer = m.peer.replace("http:", "https:")
    try:
        for m in members:
            m.start(members)
        wait_for("the stranger is told of", lambda: "certificate is valid for 10.9.9.9, not 127.0.0.1" in
                 log_of(members[0]))
        contains(log_of(members[0]), "rejected connection on peer endpoint")
        for m in members:
            m.end()
            m.flags = [*m.flags, "--peer-skip-client-san-verification"]
            m.start(members)
        for m in members:
            served(m)
    finally:
        for m in members:
            m.end()


def shared_port(top):
    m = Member(top, "shared", program=STORE, flags=["--socket-reuse-port"])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", int(m.client.rsplit(":", 1)[1])))
        try:
            m.start([m])
            served(m)
        finally:
            m.end()


def own_certificates(top):
    m = Member(top, "auto", program=STORE, flags=["--auto-tls", "--self-signed-cert-validity=3"])
    m.url = m.url.replace("http:", "https:")
    cert = m.dir / "data/fixtures/client/cert.pem"
    try:
        m.start([m])
        wait_for("the certificate is made", cert.exists)
        served(m, ca=cert)
        first = cert.read_bytes()
        for months, good in ((35, True), (37, False)):
            seconds = str(months * 30 * 24 * 3600)
            done = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-checkend", seconds], capture_output=True)
            if (done.returncode == 0) != good:
                raise AssertionError(f"the certificate {'ends' if good else 'lasts'} after {months} months")
        m.end()
        m.start([m])
        served(m, ca=cert)
        if cert.read_bytes() != first:
            raise AssertionError("a restart makes another certificate")
    finally:
        m.end()


def logs(top):
    file = top / "outputs.log"
    m = Member(top, "logs", program=STORE, flags=[f"--log-outputs=stdout,{file},stderr", "--log-format=console"])
    m.start([m])
    served(m)
    m.end(signal.SIGTERM)
    line = next(x for x in file.read_text().splitlines() if "ready to serve client requests" in x)
    if line.split("\t")[1] != "info":
        raise AssertionError(line)
    both = log_of(m).count("ready to serve client requests")
    if both != 2:
        raise AssertionError(f"stdout and stderr have {both} of the line")


def rotation(top):
    directory = top / "rotated"
    directory.mkdir()
    file = directory / "etcd.log"
    file.write_bytes(b"x" * 127 + b"\n")
    with open(file, "ab") as f:
        f.write((b"y" * 127 + b"\n") * (8 * 1024 - 2))
    m = Member(top, "rotation", program=STORE,
               flags=[f"--log-outputs={file}", "--enable-log-rotation",
                      '--log-rotation-config-json={"maxsize": 1, "maxbackups": 2, "compress": true}'])
    m.start([m])
    served(m)
    packed = wait_for("the full file is packed", lambda: list(directory.glob("etcd-20*T*.log.gz")))
    time.sleep(0.5)
    m.end(signal.SIGTERM)
    if gzip.open(packed[0]).read()[:128] != b"x" * 127 + b"\n":
        raise AssertionError("something else was packed")
    line = next(x for x in file.read_text().splitlines() if "ready to serve client requests" in x)
    if json.loads(line)["level"] != "info":
        raise AssertionError(line)


def local_address(top):
    """Two members in a network namespace where every address is reachable from any other."""
    space = f"flags{os.getpid()}"
    run = lambda *a: subprocess.run(a, check=True, capture_output=True, text=True).stdout
    try:
        run("ip", "netns", "add", space)
    except (OSError, subprocess.CalledProcessError):
        return "SKIP"
    members = []
    try:
        for command in ("link set lo up", "addr add 10.77.0.1/32 dev lo", "addr add 10.77.0.2/32 dev lo"):
            run("ip", "-n", space, *command.split())
        inside = ("ip", "netns", "exec", space)
        for i in (1, 2):
            members.append(Member(top, f"local{i}", program=STORE, address=f"10.77.0.{i}", prefix=inside,
                                  flags=["--feature-gates=SetMemberLocalAddr=true"]))
        for m in members:
            m.start(members)
        wait_for("the members lead and follow: " + log_of(members[0])[-300:],
                 lambda: "ready to serve client requests" in log_of(members[0]))
        contains(log_of(members[0]), '"LocalAddr":"10.77.0.1"')
        ports = {m.peer.rsplit(":", 1)[1] for m in members}
        pairs = set()
        for line in run(*inside, "ss", "-Htn", "state", "established").splitlines():
            local, remote = line.split()[2:4]
            if remote.rsplit(":", 1)[1] in ports:
                pairs.add((local.rsplit(":", 1)[0], remote.rsplit(":", 1)[0]))
        if pairs != {("10.77.0.1", "10.77.0.2"), ("10.77.0.2", "10.77.0.1")}:
            raise AssertionError(f"connections among peers: {pairs}")
    finally:
        for m in members:
            m.end()
        subprocess.run(["ip", "netns", "del", space], capture_output=True)
    return None


def pprof(top):
    def ask(m, path):
        try:
            with urllib.request.urlopen(f"{m.url}/debug/pprof/{path}", timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    with_it, without = (Member(top, f"pprof{i}", program=STORE, flags=["--enable-pprof"] * i) for i in (1, 0))
    try:
        for m in (with_it, without):
            m.start([m])
            served(m)
        if ask(without, "cmdline")[0] != 404:
            raise AssertionError("served without being asked for")
        contains(ask(with_it, "cmdline")[1].decode(), "\0--enable-pprof\0")
        contains(ask(with_it, "")[1].decode(), "profile")
        if ask(with_it, "nosuch") != (404, b"Unknown profile\n"):
            raise AssertionError(ask(with_it, "nosuch"))
        profiles = []
        watcher = threading.Thread(target=lambda: profiles.append(ask(with_it, "profile?seconds=2")))
        watcher.start()
        time.sleep(0.2)
        status, text = ask(with_it, "profile?seconds=1")
        if status != 500 or b"cpu profiling already in use" not in text:
            raise AssertionError(f"a second profile beside the first: {status} {text[:100]}")
        while watcher.is_alive():
            ctl(with_it, "put", "a", "1")
        status, packed = profiles[0]
        profile = gzip.decompress(packed)
        for part in (b"samples", b"cpu", b"nanoseconds", STORE.encode()):
            if status != 200 or part not in profile:
                raise AssertionError(f"{part!r} is not in the profile ({status}, {len(profile)} bytes)")
    finally:
        with_it.end()
        without.end()


NAME_SERVER = """
import socket, struct, sys, json
zone = json.loads(sys.argv[1])  # "name type" -> list of addresses, or of [port, target]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
name = lambda n: b"".join(bytes([len(p)]) + p.encode() for p in n.rstrip(".").split(".")) + b"\\0"
while True:
    q, who = s.recvfrom(4096)
    at, labels = 12, []
    while q[at]:
        labels.append(q[at + 1:at + 1 + q[at]].decode()); at += 1 + q[at]
    kind = struct.unpack(">H", q[at + 1:at + 3])[0]
    asked = ".".join(labels).lower()
    known = any(k.split()[0] == asked for k in zone)
    data = [socket.inet_aton(a) for a in zone.get(asked + " A", [])] if kind == 1 else \\
           [struct.pack(">HHH", 1, 1, p) + name(t) for p, t in zone.get(asked + " SRV", [])] if kind == 33 else []
    answer = q[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else 3), 1, len(data), 0, 0) + q[12:at + 5]
    for d in data:
        answer += b"\\xc0\\x0c" + struct.pack(">HHIH", kind, 1, 60, len(d)) + d
    s.sendto(answer, who)
"""


def by_dns(top):
    """Three members find one another, and clients find them, through a name service of the test's own."""
    space = f"dns{os.getpid()}"
    etc = pathlib.Path("/etc/netns") / space
    run = lambda *a: subprocess.run(a, check=True, capture_output=True, text=True).stdout
    inside = ("ip", "netns", "exec", space)
    processes, members = [], []
    try:
        etc.mkdir(parents=True)
        (etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1\n")
        run("ip", "netns", "add", space)
    except (OSError, subprocess.CalledProcessError):
        shutil.rmtree(etc, ignore_errors=True)
        return "SKIP"
    try:
        run("ip", "-n", space, "link", "set", "lo", "up")
        zone = {"_etcd-server-a._tcp.cluster.test SRV": [], "_etcd-client-a._tcp.cluster.test SRV": []}
        for i in (1, 2, 3):
            address, host = f"10.77.1.{i}", f"m{i}.cluster.test"
            run("ip", "-n", space, "addr", "add", f"{address}/32", "dev", "lo")
            m = Member(top, f"dns{i}", program=STORE, address=address, prefix=inside,
                       flags=["--discovery-srv=cluster.test", "--discovery-srv-name=a"])
            members.append(m)
            zone[f"{host} A"] = [address]
            zone["_etcd-server-a._tcp.cluster.test SRV"].append([int(m.peer.rsplit(":", 1)[1]), host])
            zone["_etcd-client-a._tcp.cluster.test SRV"].append([int(m.client.rsplit(":", 1)[1]), host])
        processes.append(subprocess.Popen([*inside, "python3", "-c", NAME_SERVER, json.dumps(zone)]))
        time.sleep(0.5)
        for m in members:
            m.start([])
        for program in (BUILD / "bin/kvctl", "etcdctl"):
            client = lambda *a: subprocess.run([*inside, program, "--discovery-srv=cluster.test",
                                                "--discovery-srv-name=a", *a], capture_output=True, text=True,
                                               env=dict(os.environ, ETCDCTL_API="3"), timeout=30)
            wait_for("the cluster that DNS names serves: " + log_of(members[0])[-300:],
                     lambda: client("put", "a", "1").stdout == "OK\n", seconds=30)
            listed = client("member", "list").stdout
            for m, (port, host) in zip(members, zone["_etcd-server-a._tcp.cluster.test SRV"]):
                contains(listed, f"{m.name}, http://{host}:{port}, {m.url}")
        strict = subprocess.run([*inside, BUILD / "bin/kvctl", "--discovery-srv=cluster.test", "--discovery-srv-name=a",
                                 "--insecure-discovery=false", "--command-timeout=1s", "get", "a"], capture_output=True,
                                text=True, timeout=30)
        contains(strict.stderr, 'ignoring discovered insecure endpoint "http://m1.cluster.test.:')
        nowhere = subprocess.run([*inside, BUILD / "bin/kvctl", "-d", "nowhere.test", "get", "a"], capture_output=True,
                                 text=True, timeout=30)
        contains(nowhere.stderr, "dns lookup errors: lookup _etcd-client-ssl._tcp.nowhere.test")
    finally:
        for m in members:
            m.end()
        for p in processes:
            p.kill()
            p.wait()
        subprocess.run(["ip", "netns", "del", space], capture_output=True)
        shutil.rmtree(etc, ignore_errors=True)
    return None


def by_registry(top):
    """Three members meet in the registry that another store keeps; a fourth comes too late."""
    keeper = Member(top, "keeper", program=REGISTRY)
    members, late = [], None
    try:
        keeper.start([keeper])
        served(keeper)
        for i in (1, 2, 3, 4):
            members.append(Member(top, f"found{i}", program=STORE,
                                  flags=[f"--discovery-endpoints={keeper.url}", "--discovery-token=tok"]))
        late = members.pop()
        late.start([])  # nobody has said yet how many there shall be
        wait_for("a registry without a size is told of", lambda: not late.running())
        contains(log_of(late), "discovery: size key not found")
        ctl(keeper, "put", "/_etcd/registry/tok/_config/size", "3")
        members[0].start([])
        wait_for("the first waits", lambda: "waiting for peers from discovery service" in log_of(members[0]))
        keeper.end()  # who waits goes on waiting
        keeper.start([keeper])
        served(keeper)
        for m in members[1:]:
            m.start([])
        for m in members:
            served(m)
            contains(log_of(m), "found all needed peers from discovery service")
        if len(ctl(members[0], "member", "list").stdout.splitlines()) != 3:
            raise AssertionError(ctl(members[0], "member", "list").stdout)
        late.start([])
        wait_for("the fourth gives up", lambda: not late.running())
        contains(log_of(late), "discovery: cluster is full")
        if late.process.returncode != 1:
            raise AssertionError(f"exit code {late.process.returncode}")
        # Whoever has its data does not ask again.
        keeper.end()
        members[2].end()
        members[2].start([])
        wait_for("a restarted member serves", lambda: ctl(members[2], "get", "a", seconds=1).stdout == "a\n1\n")
        contains(log_of(members[2]), "discovery token is ignored since cluster already initialized")
    finally:
        for m in (keeper, late, *members):
            if m:
                m.end()


def main():
    if not os.access(STORE, os.X_OK) or not shutil.which("etcdctl") or not shutil.which("openssl"):
        print("SKIP kvstore_flags: kvstore, Debian's etcdctl or openssl is not here")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-flags-") as top:
        top = pathlib.Path(top)
        for case in (revoked, names, authorities_alone, versions, peers, peer_addresses, shared_port, own_certificates, logs, rotation,
                     local_address, pprof, by_dns, by_registry):
            try:
                skipped = case(top) == "SKIP"
                print(f"{'SKIP' if skipped else 'PASS'} kvstore_flags.{case.__name__}"
                      f"{': no network namespaces here' if skipped else ''}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore_flags.{case.__name__}: {e}", flush=True)


if __name__ == "__main__":
    main()
