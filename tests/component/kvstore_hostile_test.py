#!/usr/bin/env python3
"""What an enemy on the peer port, or a member gone mad, says to kvstore: messages that cannot be true end their
connection with an error and change nothing, and the process lives. And what a listener for metrics serves, and no more."""
import http.client
import http.server
import json
import os
import pathlib
import socket
import socketserver
import struct
import tempfile
import threading
import time
import urllib.error
import urllib.request

from kvstore_members import Member, ctl, free_port, leader, status, wait_for

PROP, APP, APP_RESP, VOTE, SNAP, HEARTBEAT, TIMEOUT_NOW, READ_INDEX, STORAGE_APPEND, FORGET = 2, 3, 4, 5, 7, 8, 14, 15, 19, 23


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r} want {want!r}")


# ---- Raft messages, by hand

def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def data(field, b):
    return varint(field << 3 | 2) + varint(len(b)) + b


def entry(term, index, content=b"", kind=0):
    return number(1, kind) + number(2, term) + number(3, index) + data(4, content)


def message(kind, to, sender, term=0, log_term=0, index=0, entries=(), commit=0, more=b""):
    return (number(1, kind) + number(2, to) + number(3, sender) + number(4, term) + number(5, log_term) +
            number(6, index) + b"".join(data(7, e) for e in entries) + number(8, commit) + more)


def snapshot(index, term, voters):
    conf = b"".join(number(1, v) for v in voters)
    return data(9, data(2, data(1, conf) + number(2, index) + number(3, term)))


class Door:
    """The peer port of a member, as another member or a stranger finds it."""

    def __init__(self, member, sender):
        self.member, self.sender = member, sender
        s = status(member)
        self.to, self.cluster, self.term = s["header"]["member_id"], s["header"]["cluster_id"], s["raftTerm"]
        self.index = s["raftIndex"]

    def post(self, body, path="/raft", **headers):
        """(status, text, whether the connection was ended)."""
        host = self.member.peer.split("//")[1]
        c = http.client.HTTPConnection(host, timeout=10)
        try:
            c.request("POST", path, body, {"X-Server-From": f"{self.sender:x}", "X-Server-Version": "3.7.1",
                                           "X-Min-Cluster-Version": "3.0.0", "X-Etcd-Cluster-ID": f"{self.cluster:x}",
                                           "X-Raft-To": f"{self.to:x}", **headers})
            answer = c.getresponse()
            text = answer.read().decode(errors="replace")
            ended = answer.getheader("connection", "") == "close"
            if ended:  # and it is: nothing more comes
                check("after the answer", c.sock.recv(1) if c.sock else b"", b"")
            return answer.status, text, ended
        finally:
            c.close()


def impossible(door, other):
    """Messages of a member that is one, and what is said to each."""
    to, me, t, last = door.to, door.sender, door.term, door.index
    say = lambda *a, **k: message(a[0], to, me, *a[1:], **k)
    return {
        "committed beyond the log": (say(HEARTBEAT, t, commit=last + 10**6), "does not have"),
        "an index that wraps": (say(APP, t, 1, 2**64 - 1, [entry(t, 0)]), "an index out of range"),
        "entries with a hole": (say(APP, t, t, last, [entry(t, last + 1), entry(t, last + 9)]), "follow one another"),
        "an entry of a later term": (say(APP, t, t, last, [entry(t + 1, last + 1)]), "out of order"),
        "without a term": (say(APP, 0, 0, last, [entry(t, last + 1)]), "a term out of range"),
        "a term at the end of time": (say(VOTE, 2**64 - 1, t, last), "a term out of range"),
        "history that was otherwise": (say(APP, t + 1, 1, last), "contradicts"),
        "for another member": (message(HEARTBEAT, other, me, t), "for another member"),
        "in another's name": (message(HEARTBEAT, to, other, t), "another member than its sender"),
        "in nobody's name": (message(READ_INDEX, to, 2**64 - 1, entries=[b""]), "from nobody"),
        "its own storage's": (say(STORAGE_APPEND, t), "tells itself"),
        "to forget its leader": (say(FORGET, t), "tells itself"),
        "a proposal of nothing": (say(PROP), "proposes nothing"),
        "an unreadable change": (say(PROP, entries=[entry(0, 0, b"\xff\xff", kind=1)]), "unreadable membership"),
        "a snapshot without members": (say(SNAP, t + 1, more=snapshot(last + 5, t, [])), "without voters"),
        "no message": (b"\xff" * 40, "unmarshalling"),
        "a kind that is none": (number(1, 77), "unmarshalling"),
    }


def over_posts(members):
    lead = leader(members)
    follower = next(m for m in members if m is not lead)
    third = next(m for m in members if m not in (lead, follower))
    ids = {m: status(m)["header"]["member_id"] for m in members}
    for member in (follower, lead):
        sender = ids[lead] if member is follower else ids[follower]
        pid = member.process.pid
        for name, (body, why) in impossible(Door(member, sender), ids[third]).items():
            # As a leader hears a heartbeat, it is another rule that it breaks.
            code, text, ended = Door(member, sender).post(body)
            if (code, ended) != (400, True) or (member is follower and why not in text):
                raise AssertionError(f"{name}: {code} {text!r}, ended: {ended}")
        check("the process", (member.running(), member.process.pid), (True, pid))
    before = status(follower)["header"]["revision"]
    ctl(members, "put", "after", "nonsense")
    wait_for("that one change, and no other", lambda: status(follower)["header"]["revision"] == before + 1)
    # What is an entry, but no request, is nobody's: it takes its place in the log and the members go on.
    door = Door(lead, ids[follower])
    check("an unreadable request", door.post(message(PROP, door.to, door.sender, entries=[entry(0, 0, b"\xff" * 9)]))[0], 204)
    put_without_key = data(4, data(2, b"v"))
    check("an empty key", door.post(message(PROP, door.to, door.sender, entries=[entry(0, 0, put_without_key)]))[0], 204)
    ctl(members, "put", "after", "noise")
    for m in members:
        wait_for("the noise everywhere", lambda: ctl([m], "get", "after", "--print-value-only").strip() == "noise")


def strangers(members):
    door = Door(members[0], 0xabc)
    check("nobody knows it", door.post(message(HEARTBEAT, door.to, 0xabc, door.term))[:2], (404, "error sender not found\n"))
    check("another cluster", door.post(b"", **{"X-Etcd-Cluster-ID": "77"})[:2], (412, "cluster ID mismatch\n"))
    log = members[0].dir / "log"
    told = log.read_text(errors="replace").count("starting remote peer")
    for i in range(200):  # each says that it is about to be a member
        door.sender = 0x1000 + i
        door.post(message(HEARTBEAT, door.to, door.sender, 1), **{"X-PeerURLs": "http://127.0.0.1:1,junk,http://"})
    more = log.read_text(errors="replace").count("starting remote peer") - told
    if more > 16:
        raise AssertionError(f"{more} strangers are called back")
    check("the process", members[0].running(), True)
    ctl(members, "put", "after", "strangers")


def databases(members):
    """A snapshot whose database is none, or of another index, is refused before the member gives up what it has."""
    lead = leader(members)
    follower = next(m for m in members if m is not lead)
    door = Door(follower, status(lead)["header"]["member_id"])
    voters = [status(m)["header"]["member_id"] for m in members]
    head = message(SNAP, door.to, door.sender, door.term, more=snapshot(door.index + 100, door.term, voters))
    for name, database in {"no bytes": b"", "noise": os.urandom(20000), "zeros": bytes(65536)}.items():
        code, text, ended = door.post(struct.pack(">Q", len(head)) + head + database, "/raft/snapshot")
        if (code, ended) != (400, True):
            raise AssertionError(f"{name}: {code} {text!r}")
    check("a length that cannot be", door.post(struct.pack(">Q", 2**63), "/raft/snapshot")[0], 400)
    leftovers = [p.name for p in (follower.dir / "data/member/snap").glob("*") if ".snap.db" in p.name]
    check("what is left", leftovers, [])
    ctl(members, "put", "after", "databases")


# ---- a member gone mad

class Mad(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def mad_member(members):
    """One of three speaks nonsense on the streams that the others open to it: they go on without it."""
    lead = leader(members)
    mad = next(m for m in members if m is not lead)
    me = status(mad)["header"]["member_id"]
    others = [m for m in members if m is not mad]
    ids = {f"{status(m)['header']['member_id']:x}": status(m) for m in others}
    mad.end()
    asked = []

    class Streams(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(204)
            self.end_headers()

        def do_GET(self):
            _, _, _, kind, reader = self.path.split("/") if self.path.count("/") == 4 else (None,) * 5
            if kind is None:
                return self.send_error(404)
            to, s = int(reader, 16), ids[reader]
            t = s["raftTerm"]
            beat = message(HEARTBEAT, to, me, t + 1, commit=2**40)
            hole = message(APP, to, me, t + 1, 1, 1, [entry(1, 5)])
            alien = message(HEARTBEAT, to, 12345, t)
            frame = lambda m: struct.pack(">Q", len(m)) + m
            pieces = {"message": [frame(beat), frame(alien), struct.pack(">Q", 2**60), frame(b"\xff" * 30)],
                      "msgapp": [b"\2" + frame(hole), b"\1" + struct.pack(">Q", 2**40), b"\7", b"\1" + struct.pack(">QQ", 9, 2**61)]}
            asked.append(kind)
            cluster = s["header"]["cluster_id"] + (len(asked) % 9 == 0)  # now and then it is of another one
            self.send_response(200)
            self.send_header("x-etcd-cluster-id", f"{cluster:x}")
            self.send_header("x-server-version", "3.7.1")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(pieces[kind][asked.count(kind) % 4])
            self.wfile.flush()
            time.sleep(0.2)

        def log_message(self, *_):
            pass

    server = Mad(("127.0.0.1", int(mad.peer.rsplit(":", 1)[1])), Streams)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        wait_for("each kind of nonsense was said", lambda: min(asked.count(k) for k in ("message", "msgapp")) >= 8, 60)
        ctl(others, "put", "after", "madness")
        for m in others:
            check("the process", m.running(), True)
    finally:
        server.shutdown()
        server.server_close()
    text = (others[0].dir / "log").read_text(errors="replace")
    for why in ("impossible MsgHeartbeat", "malformed raft stream"):
        if why not in text:
            raise AssertionError(f"the log does not tell of {why!r}")
    mad.start(members)
    wait_for("the member is itself again", lambda: ctl([mad], "get", "after", "--print-value-only", check=False).strip() == "madness")


# ---- what listeners serve

def ask(url, method="GET", body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=5) as a:
            return a.status, a.read().decode(errors="replace")
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode(errors="replace")


class At:
    """For ctl: whoever listens at a URL."""
    tls = None

    def __init__(self, url):
        self.url = url


def metrics_listener(top):
    url, web = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    m = Member(top, "metrics", flags=[f"--listen-metrics-urls={url}"])
    m.start([m])
    try:
        wait_for("the member serves", lambda: status(m))
        for path in ("/metrics", "/health", "/livez", "/readyz", "/livez/serializable_read", "/readyz?verbose"):
            check(path, ask(url + path)[0], 200)
        for path in ("/version", "/", "/debug/pprof/", "/livez/nosuch", "/livezx", "/metrics/x", "/v3/kv/range"):
            check(path, ask(url + path)[0], 404)
        check("a put over JSON", ask(url + "/v3/kv/put", "POST", b'{"key":"YQ==","value":"YQ=="}')[0], 404)
        check("health is read only", ask(url + "/health", "POST", b"")[0], 405)
        before = ask(url + "/metrics")[1].count("\n")
        for i in range(50):
            ask(f"{url}/livez{i}"), ask(f"{m.url}/readyz{i}"), ask(f"{m.url}/readyz/{i}")
        check("anonymous askers make series", ask(url + "/metrics")[1].count("\n") - before, 0)
        check("gRPC on the metrics port", ctl([At(url)], "put", "a", "1", check=False, timeout=30), "")
        check("a key that was put", ctl([m], "get", "a"), "")
    finally:
        m.end()
    m = Member(top, "split", flags=[f"--listen-client-http-urls={web}"])
    m.start([m])
    try:
        wait_for("the member serves", lambda: status(m))
        check("gRPC on its port", ctl([m], "put", "a", "1"), "OK\n")
        check("HTTP on gRPC's port", ask(m.url + "/health")[0], 415)
        check("JSON on gRPC's port", ask(m.url + "/v3/kv/range", "POST", b'{"key":"YQ=="}')[0], 415)
        check("HTTP on its port", ask(web + "/health")[0], 200)
        check("JSON on its port", json.loads(ask(web + "/v3/kv/range", "POST", b'{"key":"YQ=="}')[1])["count"], "1")
        check("gRPC on HTTP's port", ctl([At(web)], "put", "a", "2", check=False, timeout=30), "")
    finally:
        m.end()


def main():
    failed = 0
    with tempfile.TemporaryDirectory(prefix="hostile-") as top:
        top = pathlib.Path(top)
        members = [Member(top, f"m{i}") for i in (1, 2, 3)]
        try:
            for m in members:
                m.start(members)
            leader(members)
            for name, story in [("over_posts", lambda: over_posts(members)), ("strangers", lambda: strangers(members)),
                                ("databases", lambda: databases(members)), ("mad_member", lambda: mad_member(members)),
                                ("metrics_listener", lambda: metrics_listener(top))]:
                try:
                    story()
                    print(f"PASS kvstore.hostile.{name}", flush=True)
                except Exception as e:  # the next story may still tell something
                    failed += 1
                    print(f"FAIL kvstore.hostile.{name}: {type(e).__name__}: {e}", flush=True)
        finally:
            for m in members:
                m.end()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
