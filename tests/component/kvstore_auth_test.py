#!/usr/bin/env python3
"""Authentication of kvstore: users, roles, tokens of both kinds and certificates, through Debian's etcdctl, kvctl and
the gateway, before and after a restart."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

import kvstore_members as members
from kvstore_test import BUILD, Store, contains, equal


def post(store, path, body, token=None):
    headers = {"authorization": token} if token else {}
    request = urllib.request.Request(store.url + path, json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def b64(text):
    return base64.b64encode(text.encode()).decode()


def set_up(store, program):
    def ctl(*args, **kw):
        return store.ctl(*args, program=program, **kw)
    contains(ctl("auth", "enable", check=False).stderr, "root user does not exist")
    equal(ctl("user", "add", "root:secret").stdout, "User root created\n")
    equal(ctl("user", "add", "alice:pw").stdout, "User alice created\n")
    equal(ctl("role", "add", "reader").stdout, "Role reader created\n")
    ctl("role", "grant-permission", "reader", "read", "app/", "--prefix=true")
    ctl("role", "grant-permission", "reader", "readwrite", "app/alice")
    ctl("user", "grant-role", "alice", "reader")
    ctl("put", "app/x", "1")
    ctl("put", "other", "1")
    equal(ctl("auth", "enable").stdout, "Authentication Enabled\n")


def rules(store, program):
    def ctl(user, *args, **kw):
        return store.ctl(f"--user={user}", *args, program=program, **kw)
    contains(store.ctl("get", "app/x", program=program, check=False).stderr, "user name is empty")
    contains(ctl("alice:wrong", "get", "app/x", check=False).stderr, "invalid user ID or password")
    equal(ctl("alice:pw", "get", "app/x").stdout, "app/x\n1\n")
    equal(ctl("alice:pw", "put", "app/alice", "2").stdout, "OK\n")
    for args in (["put", "app/x", "2"], ["get", "other"], ["get", "", "--prefix"], ["user", "list"], ["compact", "2"],
                 ["del", "app/", "--prefix"], ["put", "app/alice", "3", "--prev-kv", "--lease=1"]):
        result = ctl("alice:pw", *args, check=False)
        if result.returncode == 0:
            raise AssertionError(f"alice may {args}")
        if args[-1] != "--lease=1":
            contains(result.stderr, "permission denied")
    watch = subprocess.run(["timeout", "2", *store_command(store, program), "--user=alice:pw", "watch", "other"],
                           env=store_env(store), capture_output=True, text=True, timeout=20)
    contains(watch.stderr, "permission denied")
    equal(ctl("root:secret", "get", "other").stdout, "other\n1\n")
    contains(ctl("root:secret", "user", "get", "alice").stdout, "Roles: reader")


def store_command(store, program):
    return ["etcdctl"] if program == "etcdctl" else [str(BUILD / "bin/kvctl")]


def store_env(store):
    return dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=store.endpoint)


def simple(directory, program):
    store = Store(directory, flags=["--bcrypt-cost", "4"])
    store.start()
    try:
        set_up(store, program)
        rules(store, program)
        store.kill()
        store.start()
        rules(store, program)
        # The gateway: sign in, use the token, lose it with the password.
        status, answer = post(store, "/v3/auth/authenticate", {"name": "alice", "password": "pw"})
        equal(status, 200)
        token = answer["token"]
        equal(post(store, "/v3/kv/range", {"key": b64("app/x")}, token)[1]["kvs"][0]["value"], b64("1"))
        equal(post(store, "/v3/kv/range", {"key": b64("other")}, token)[0], 403)
        equal(post(store, "/v3/kv/range", {"key": b64("app/x")}, "nonsense.1")[0], 401)
        equal(post(store, "/v3/kv/range", {"key": b64("app/x")})[1]["message"], "etcdserver: user name is empty")
        root = post(store, "/v3/auth/authenticate", {"name": "root", "password": "secret"})[1]["token"]
        equal(post(store, "/v3/auth/user/changepw", {"name": "alice", "password": "new"}, root)[0], 200)
        equal(post(store, "/v3/kv/range", {"key": b64("app/x")}, token)[0], 401)
        # A lease that expires is revoked although nobody asks for it by name.
        lease = post(store, "/v3/lease/grant", {"TTL": "2"}, root)[1]["ID"]
        post(store, "/v3/kv/put", {"key": b64("leased"), "lease": lease}, root)
        import time
        deadline = time.monotonic() + 10
        while "kvs" in post(store, "/v3/kv/range", {"key": b64("leased")}, root)[1]:
            if time.monotonic() > deadline:
                raise AssertionError("the lease does not run out under authentication")
            time.sleep(0.2)
        # Health asks in nobody's name.
        contains(urllib.request.urlopen(store.url + "/health", timeout=5).read().decode(), '"health":"true"')
        contains(urllib.request.urlopen(store.url + "/readyz", timeout=5).read().decode(), "ok")
        store.ctl("--user=root:secret", "auth", "disable", program=program)
        equal(store.ctl("get", "other", program=program).stdout, "other\n1\n")
    finally:
        store.kill()


def jwt(directory):
    for method, make in (("RS256", ["genrsa", "-out"]), ("ES256", ["ecparam", "-genkey", "-name", "prime256v1", "-out"]),
                         ("EdDSA", ["genpkey", "-algorithm", "ed25519", "-out"])):
        place = directory / method
        place.mkdir()
        key, public = place / "key.pem", place / "pub.pem"
        command = ["openssl", *make, str(key)] + (["2048"] if method == "RS256" else [])
        subprocess.run(command, check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public)], check=True,
                       capture_output=True)
        store = Store(place, flags=["--bcrypt-cost", "4", "--auth-token",
                                    f"jwt,pub-key={public},priv-key={key},sign-method={method},ttl=1m"])
        store.start()
        try:
            set_up(store, "kvctl")
            rules(store, "kvctl")
            token = post(store, "/v3/auth/authenticate", {"name": "alice", "password": "pw"})[1]["token"]
            equal(token.count("."), 2)
            payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
            equal(payload["username"], "alice")
            # Signed tokens outlive the process.
            store.kill()
            store.start()
            equal(post(store, "/v3/kv/range", {"key": b64("app/x")}, token)[0], 200)
            forged = token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:]
            equal(post(store, "/v3/kv/range", {"key": b64("app/x")}, forged)[0], 401)
            # Any change of users or roles makes it old.
            store.ctl("--user=root:secret", "role", "add", "more", program="kvctl")
            equal(post(store, "/v3/kv/range", {"key": b64("app/x")}, token)[1]["message"],
                  "etcdserver: revision of auth store is old")
        finally:
            store.kill()


def certificate(directory):
    import apiserver_process
    pki = directory / "pki"
    pki.mkdir()
    apiserver_process.Pki(pki)
    name = subprocess.run(["openssl", "x509", "-in", str(pki / "admin.crt"), "-noout", "-subject", "-nameopt",
                           "multiline"], capture_output=True, text=True, check=True).stdout
    user = next(line.split("=", 1)[1].strip() for line in name.splitlines() if "commonName" in line)
    store = Store(directory, tls=pki, flags=["--bcrypt-cost", "4"])
    store.start()
    try:
        for args in (["user", "add", "root:secret"], ["user", "add", user, "--no-password"], ["role", "add", "r"],
                     ["role", "grant-permission", "r", "readwrite", "mine"], ["user", "grant-role", user, "r"],
                     ["auth", "enable"]):
            store.ctl(*args, program="kvctl")
        for program in ("kvctl", "etcdctl"):
            equal(store.ctl("put", "mine", "1", program=program).stdout, "OK\n")
            contains(store.ctl("put", "theirs", "1", program=program, check=False).stderr, "permission denied")
            equal(store.ctl("--user=root:secret", "put", "theirs", "1", program=program).stdout, "OK\n")
    finally:
        store.kill()


def promotion(directory):
    """A follower hands a promotion on with its client's token; at the leader's peer port nobody promotes without one."""
    voters = [members.Member(directory, f"m{i}", flags=("--bcrypt-cost", "4")) for i in range(2)]
    fresh = members.Member(directory, "fresh", flags=("--bcrypt-cost", "4"))
    try:
        for m in voters:
            m.start(voters)
        leads = members.leader(voters)
        follows = next(m for m in voters if m is not leads)
        new_id = members.add(voters, fresh, "--learner")
        fresh.start([*voters, fresh], "existing")
        members.wait_for("the learner", lambda: members.status(fresh))
        for words in (("user", "add", "root:secret"), ("user", "add", "alice:pw"), ("auth", "enable")):
            members.ctl([leads], *words)

        def ask(token=None):
            request = urllib.request.Request(f"{leads.peer}/members/promote/{int(new_id, 16)}", b"",
                                             {"authorization": token} if token else {}, method="POST")
            try:
                return urllib.request.urlopen(request, timeout=10).read().decode()
            except urllib.error.HTTPError as e:
                return f"{e.code} {e.read().decode()}"
        equal(ask(), "500 etcdserver: user name is empty\n")
        equal(ask("nonsense.1"), "500 etcdserver: invalid auth token\n")
        alice = post(leads, "/v3/auth/authenticate", {"name": "alice", "password": "pw"})[1]["token"]
        equal(ask(alice), "500 etcdserver: permission denied\n")
        members.wait_for("the promotion through a follower", lambda: "promoted" in members.ctl(
            [follows], "--user=root:secret", "member", "promote", new_id, check=False))
    finally:
        for m in [*voters, fresh]:
            m.end()


def main():
    if not (BUILD / "bin/kvstore").exists() or not shutil.which("etcdctl") or not shutil.which("openssl"):
        print("SKIP kvstore_auth: kvstore, Debian's etcdctl or openssl is not here")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-auth-") as top:
        cases = [("etcdctl", lambda d: simple(d, "etcdctl")), ("kvctl", lambda d: simple(d, "kvctl")), ("jwt", jwt),
                 ("certificate", certificate), ("promotion", promotion)]
        for name, case in cases:
            directory = pathlib.Path(top) / name
            directory.mkdir()
            try:
                case(directory)
                print(f"PASS kvstore_auth.{name}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore_auth.{name}: {e}", flush=True)


if __name__ == "__main__":
    main()
