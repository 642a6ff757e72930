#!/usr/bin/env python3
"""Flags of kvstore that are about who may come, what is logged and where peers are dialled from, on real processes: lists
of revoked certificates, allowed names, TLS versions, certificates of its own making, log outputs and rotation, local
addresses. KEELSON_STORE=/path/to/etcd asks the original the same."""
import gzip
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import apiserver_process
from kvstore_members import BUILD, Member

STORE = os.environ.get("KEELSON_STORE", str(BUILD / "bin/kvstore"))


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


def main():
    if not os.access(STORE, os.X_OK) or not shutil.which("etcdctl") or not shutil.which("openssl"):
        print("SKIP kvstore_flags: kvstore, Debian's etcdctl or openssl is not here")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-flags-") as top:
        top = pathlib.Path(top)
        for case in (revoked, names, authorities_alone, versions, peers, own_certificates, logs, rotation,
                     local_address):
            try:
                skipped = case(top) == "SKIP"
                print(f"{'SKIP' if skipped else 'PASS'} kvstore_flags.{case.__name__}"
                      f"{': no network namespaces here' if skipped else ''}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore_flags.{case.__name__}: {e}", flush=True)


if __name__ == "__main__":
    main()
