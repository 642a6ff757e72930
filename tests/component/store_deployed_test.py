#!/usr/bin/env python3
"""The store as deploy/up runs it: its very arguments, with the keys that `keelson pki` makes. It listens on loopback
alone; clients and peers show certificates of the store's own authority, or they get nothing; and a data directory from
before peers had TLS goes on."""
import json
import os
import pathlib
import shlex
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request

from kvstore_members import BUILD, KVSTORE, ROOT, free_port, wait_for

# deploy/common.sh writes its files where the test says, and nothing else.
WRITE = """
. "$1/deploy/common.sh"
OPT=$2 ETC=$3 VAR=$3/var PKI=$3/pki RUN=$3/run here=$1/deploy top=$3
write_if_changed() { cat >"$top/$(basename "$1")"; }
install() { :; }
write_config node-1 192.0.2.7
"""


def arguments(top):
    """What deploy/up starts kvstore with, on ports of the test's own."""
    subprocess.run(["bash", "-euc", WRITE, "bash", ROOT, BUILD, top], check=True, capture_output=True, timeout=30)
    line = (top / "kvstore.env").read_text()
    ports = {"2379": free_port(), "2380": free_port()}
    for old, new in ports.items():
        line = line.replace(f":{old}", f":{new}")
    return shlex.split(line.removeprefix("ARGS=")), ports["2379"], ports["2380"]


def listening(pid):
    """Addresses of the process's listening sockets."""
    out = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout
    return {line.split()[3].rsplit(":", 1)[0] for line in out.splitlines() if f"pid={pid}," in line}


def ask(top, port, path, cert):
    """The answer with that certificate of the PKI (None: without any), or None when the connection comes to nothing."""
    context = ssl.create_default_context(cafile=top / "pki/etcd/ca.crt")
    if cert:
        context.load_cert_chain(top / f"pki/{cert}.crt", top / f"pki/{cert}.key")
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", timeout=5, context=context) as a:
            return a.read().decode()
    except urllib.error.HTTPError as e:
        return f"{e.code}"
    except OSError:
        return None


def run(top, args, story):
    with open(top / "log", "ab") as log:
        store = subprocess.Popen([KVSTORE, *args], stdout=log, stderr=log)
    try:
        story(store)
    except AssertionError as e:
        raise AssertionError(f"{e}; the log ends: {(top / 'log').read_text()[-400:]}") from None
    finally:
        store.send_signal(signal.SIGTERM)
        store.wait(15)


def main():
    if not os.access(BUILD / "bin/keelson", os.X_OK):
        print("SKIP store_deployed: keelson is not built")
        return
    with tempfile.TemporaryDirectory(prefix="store-deployed-") as top:
        top = pathlib.Path(top)
        subprocess.run([BUILD / "bin/keelson", "pki", "--cert-dir", top / "pki", "--node-name", "node-1", "--addresses",
                        "192.0.2.7", "--service-ip", "10.96.0.1"], check=True, capture_output=True)
        args, client, peer = arguments(top)
        health = lambda: ask(top, client, "/health", "etcd/healthcheck-client")

        def before(store):
            wait_for("it serves", health)

        def now(store):
            wait_for("it serves with the data it had", lambda: json.loads(health() or "{}").get("health") == "true")
            if listening(store.pid) != {"127.0.0.1"}:
                raise AssertionError(f"it listens on {listening(store.pid)}")
            if "etcdserver" not in (ask(top, peer, "/version", "etcd/peer") or ""):
                raise AssertionError("a member with its certificate is not answered")
            for port, who in ((client, None), (client, "admin"), (peer, None), (peer, "admin")):
                answer = ask(top, port, "/version", who)
                if answer is not None:
                    raise AssertionError(f"port {port} answers {who or 'a stranger'}: {answer}")
            plain = subprocess.run(["curl", "-sS", "-m", "5", f"http://127.0.0.1:{peer}/members"], capture_output=True, text=True)
            if "peerURLs" in plain.stdout:
                raise AssertionError("members are told without TLS")

        # As the release before ran it, on the same directory.
        for name, these, story in [("before", [a for a in args if "peer" not in a], before), ("now", args, now)]:
            try:
                run(top, these, story)
                print(f"PASS store_deployed.{name}", flush=True)
            except AssertionError as e:
                print(f"FAIL store_deployed.{name}: {e}", flush=True)


if __name__ == "__main__":
    main()
