"""Members of a store cluster as processes on loopback (kvstore, or an etcd to stand beside it), plain or TLS, for
component tests; and a load of writers and a watcher over etcd's JSON gateway that remembers what was acknowledged."""
import base64
import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KEELSON_BUILD", ROOT / "build/dev"))
KVSTORE = BUILD / "bin/kvstore"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Member:
    """One process with its directory under `top`. `tls` has .file("ca.crt"), "server.crt", "server.key"; `address` is
    where it listens, and `prefix` what its command line begins with (`ip netns exec ...`)."""

    def __init__(self, top, name, program=KVSTORE, tls=None, flags=(), address="127.0.0.1", prefix=()):
        self.name, self.dir, self.program, self.tls, self.flags = name, top / name, program, tls, flags
        self.address, self.prefix = address, prefix
        self.dir.mkdir()
        self.client = f"{address}:{free_port()}"
        self.url = ("https://" if tls else "http://") + self.client
        self.peer = ("https://" if tls else "http://") + f"{address}:{free_port()}"
        self.process = None

    def start(self, cluster, state="new"):
        """`cluster`: its members; none where the flags say how they are found."""
        args = [*self.prefix, self.program, "--name", self.name, "--data-dir", self.dir / "data", "--listen-client-urls", self.url,
                "--advertise-client-urls", self.url, "--listen-peer-urls", self.peer,
                "--initial-advertise-peer-urls", self.peer, "--initial-cluster-state", state, *self.flags]
        if cluster:
            args += ["--initial-cluster", ",".join(f"{m.name}={m.peer}" for m in cluster)]
        if self.tls:
            ca, cert, key = (self.tls.file(f) for f in ("ca.crt", "server.crt", "server.key"))
            args += ["--client-cert-auth", "--trusted-ca-file", ca, "--cert-file", cert, "--key-file", key,
                     "--peer-client-cert-auth", "--peer-trusted-ca-file", ca, "--peer-cert-file", cert,
                     "--peer-key-file", key]
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(args, stdout=log, stderr=log)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def end(self, sig=signal.SIGKILL):
        if self.running():
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sig)
            self.process.wait(15)

    def log_tail(self, lines=5):
        return (self.dir / "log").read_text(errors="replace").splitlines()[-lines:]


def ctl(members, *args, check=True, timeout=20, program="etcdctl"):
    """etcdctl against these members: its standard output."""
    env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=",".join(m.url for m in members))
    if members[0].tls:
        tls = members[0].tls
        env.update(ETCDCTL_CACERT=tls.file("ca.crt"), ETCDCTL_CERT=tls.file("client.crt"), ETCDCTL_KEY=tls.file("client.key"))
    done = subprocess.run([program, "--command-timeout=10s", *map(str, args)], env=env, capture_output=True, text=True,
                          timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, args))}: exit {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def status(member):
    out = ctl([member], "endpoint", "status", "-w", "json", check=False, timeout=15)
    found = json.loads(out) if out.strip().startswith("[") else []
    return found[0]["Status"] if found else None


def wait_for(what, condition, limit=30):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {limit} s for {what}")


def leader(members):
    def find():
        for m in members:
            s = status(m) if m.running() else None
            if s and s.get("leader") and s["leader"] == s["header"]["member_id"]:
                return m
        return None
    return wait_for("a leader", find)


def add(members, new, *flags):
    """Adds `new` to the cluster and returns its ID in hex. A refusal or a time-out leaves open whether it was added (a
    leader may just have left), so the list of members decides."""
    why = []

    def added():
        try:
            ctl(members, "member", "add", new.name, f"--peer-urls={new.peer}", *flags)
        except AssertionError as e:
            why.append(str(e))
        listed = ctl(members, "member", "list", "-w", "json", check=False)
        found = json.loads(listed)["members"] if listed.startswith("{") else []
        return next((f"{m['ID']:x}" for m in found if m["peerURLs"] == [new.peer]), None)
    try:
        return wait_for(f"{new.name} to be added", added)
    except AssertionError as e:
        raise AssertionError(f"{e}; refused with: {why[-1:]}") from None


def same_everywhere(members):
    """Waits until all members give the same HashKV at a revision of now (writes may go on); returns (revision, hash)."""
    def hash_of(member, revision):
        out = ctl([member], "endpoint", "hashkv", f"--rev={revision}", "-w", "json", check=False)
        return json.loads(out)[0]["HashKV"]["hash"] if out.strip().startswith("[") else None

    def equal():
        states = [status(m) for m in members]
        if None in states:
            return None
        revision = min(s["header"]["revision"] for s in states)
        hashes = {hash_of(m, revision) for m in members}
        return (revision, hashes.pop()) if len(hashes) == 1 and None not in hashes else None
    return wait_for("equal hashes", equal)


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Gateway:
    """etcd's JSON gateway at whichever of the members answers; plain HTTP only."""

    def __init__(self, members, timeout=3):
        self.members, self.timeout, self.turn, self.connection = members, timeout, itertools.count(), None

    def _connect(self):
        member = self.members[next(self.turn) % len(self.members)]
        self.connection = http.client.HTTPConnection(*member.client.split(":"), timeout=self.timeout)

    def post(self, path, body):
        """The answer's tree; an OSError or HTTPException leaves the outcome open, the next call asks another member."""
        try:
            if self.connection is None:
                self._connect()
            self.connection.request("POST", path, json.dumps(body))
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise http.client.HTTPException(f"{answer.status} {text[:200]!r}")
            return json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            raise

    def stream(self, path, body):
        """The answers of a stream, each as its tree."""
        self._connect()
        try:
            self.connection.request("POST", path, json.dumps(body))
            answer = self.connection.getresponse()
            while line := answer.readline():
                if line.strip():
                    yield json.loads(line)
        finally:
            self.close()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Load:
    """Writers of numbered keys and one watcher of all of them, through whichever members there are (the list may change
    meanwhile); a member that does not answer a writer within `timeout` seconds is left for the next. After stop():
    `acknowledged` is what must be there, `pause` the longest time without an acknowledgement in seconds, and the watcher
    has seen every revision once and in order, or stop() raises."""

    PREFIX = "load/"

    def __init__(self, members, writers=4, timeout=3):
        self.members, self.timeout, self.lock = members, timeout, threading.Lock()
        self.writing, self.stopping = threading.Event(), threading.Event()
        self.writing.set()
        self.acknowledged, self.pause, self.last = {}, 0.0, time.monotonic()
        self.events, self.resumed, self.trouble = {}, -1, []
        self.threads = [threading.Thread(target=self._write, args=(i,), daemon=True) for i in range(writers)]
        self.threads.append(threading.Thread(target=self._watch, daemon=True))
        for t in self.threads:
            t.start()
        wait_for("the first writes", lambda: len(self.acknowledged) > 20)

    def _write(self, writer):
        gateway = Gateway(self.members, self.timeout)
        for n in itertools.count():
            if not self.writing.is_set():
                return
            key = f"{self.PREFIX}{writer}/{n:06d}"
            try:
                answer = gateway.post("/v3/kv/put", {"key": b64(key), "value": b64(str(n))})
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)
                continue
            with self.lock:
                now = time.monotonic()
                self.pause, self.last = max(self.pause, now - self.last), now
                self.acknowledged[key] = int(answer["header"]["revision"])
            time.sleep(0.002)

    def _watch(self):
        gateway, start = Gateway(self.members), 1
        while not self.stopping.is_set():
            self.resumed += 1
            request = {"create_request": {"key": b64(self.PREFIX), "range_end": b64("load0"), "start_revision": start,
                                          "progress_notify": True}}
            try:
                for answer in gateway.stream("/v3/watch", request):
                    result = answer.get("result")
                    if result is None:
                        break  # the stream ended with an error: resumed elsewhere
                    if result.get("canceled"):
                        self.trouble.append(f"the watch was cancelled: {json.dumps(result)[:200]}")
                        return
                    for event in result.get("events", []):
                        revision = int(event["kv"]["mod_revision"])
                        if revision < start:
                            self.trouble.append(f"revision {revision} came again or late, {start} was next")
                        start = revision + 1
                        self.events[base64.b64decode(event["kv"]["key"]).decode()] = revision
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.05)

    def went_on(self, writes=30):
        """Waits until that many more writes were acknowledged."""
        count = len(self.acknowledged)
        wait_for("writes afterwards", lambda: len(self.acknowledged) > count + writes)

    def stop(self):
        """Ends the load and raises when the watcher missed anything or saw it twice."""
        writers, watcher = self.threads[:-1], self.threads[-1]
        self.writing.clear()
        for t in writers:
            t.join(10)
        wanted = dict(self.acknowledged)
        end = time.monotonic() + 20
        while time.monotonic() < end and watcher.is_alive() and any(k not in self.events for k in wanted):
            time.sleep(0.05)
        self.stopping.set()
        missed = [k for k, revision in wanted.items() if self.events.get(k) != revision]
        if missed:
            self.trouble.append(f"the watcher missed {len(missed)} of {len(wanted)} acknowledged writes: {missed[:5]}")
        if self.trouble:
            raise AssertionError("; ".join(self.trouble))

    def is_there(self, members):
        """Raises when a member lacks an acknowledged write."""
        wanted = list(self.acknowledged)
        for m in members:
            there = set(ctl([m], "get", self.PREFIX, "--prefix", "--keys-only").split())
            lost = [k for k in wanted if k not in there]
            if lost:
                raise AssertionError(f"{m.name} lost {len(lost)} acknowledged writes: {lost[:5]}")
