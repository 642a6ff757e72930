"""Peers that ask for memory, places and time before anybody knows who they are. HTTP/2 by hand: no client library
misbehaves so well."""
import socket
import ssl
import struct
import threading
import time

from attacks.target import ADMIN, STRANGER

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PEAK_MB = 150  # what the daemon may grow by while it is attacked
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
MAPS = "/api/v1/namespaces/default/configmaps"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload) << 8 | kind) + bytes([flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A field, not indexed; lengths below 127."""
    name, value = name.encode(), value.encode()
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(path, method="POST", grpc=True):
    fields = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "localhost")]
    if grpc:
        fields += [("content-type", "application/grpc"), ("te", "trailers")]
    return b"".join(literal(n, v) for n, v in fields)


class Peer:
    """A raw HTTP/2 connection that reads what comes into nothing."""

    def __init__(self, t, who=STRANGER, reads=True, alpn="h2"):
        context = t.tls(who)
        context.check_hostname = False
        context.set_alpn_protocols([alpn])
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", t.server.port), timeout=20))
        self.received, self.ended, self.lock = b"", False, threading.Lock()
        self.window = 1 << 20
        if alpn == "h2":
            self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        if reads:
            self.socket.settimeout(0.05)
            self.reader = threading.Thread(target=self.read, daemon=True)
            self.reader.start()

    def read(self):
        while not self.ended:
            try:
                piece = self.socket.recv(65536)
                if not piece:
                    self.ended = True
                self.received = (self.received + piece)[-100_000:]
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except OSError:
                self.ended = True

    def send(self, data, seconds=5):
        """True when all of it was taken."""
        self.socket.settimeout(seconds)
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False
        finally:
            try:
                self.socket.settimeout(0.05)
            except OSError:
                pass

    def wait(self, seconds):
        end = time.time() + seconds
        while not self.ended and time.time() < end:
            time.sleep(0.05)
        return self.ended

    def close(self):
        self.ended = True
        try:
            self.socket.close()
        except OSError:
            pass


class Watched:
    """The daemon's memory while something goes on, and that it answers others."""

    def __init__(self, t):
        self.t, self.before, self.peak, self.stop = t, t.rss_mb(), 0.0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        while not self.stop.is_set():
            self.peak = max(self.peak, self.t.rss_mb())
            time.sleep(0.02)

    def __exit__(self, kind, *_):
        self.stop.set()
        self.thread.join()
        if kind is None:
            assert self.peak - self.before < PEAK_MB, f"memory grew from {self.before:.0f} to {self.peak:.0f} MB"
            assert self.t.ask("GET", "/readyz", timeout=10).code == 200


def attack_unary_bodies_without_end(t):
    with Watched(t):
        peers = [Peer(t) for _ in range(4)]
        block = frame(DATA, 0, 1, b"x" * 16384)
        for i, p in enumerate(peers):
            # A message that is announced and never ends; one that has ended, and more and more behind it.
            begun = struct.pack(">BI", 0, 8 << 20 if i % 2 else 100)
            p.send(frame(HEADERS, 4, 1, head("/keelson.resources.v1.Resources/Do")) + frame(DATA, 0, 1, begun))
        end = time.time() + 8
        while time.time() < end and not all(p.ended for p in peers):
            for p in peers:
                if not p.ended:
                    p.send(block, seconds=0.2)
        for p in peers:
            p.close()


def attack_many_streams_of_large_bodies(t):
    with Watched(t):
        peers = [Peer(t) for _ in range(8)]
        begun = struct.pack(">BI", 0, 8 << 20)
        for p in peers:
            for stream in range(1, 501, 2):
                p.send(frame(HEADERS, 4, stream, head("/keelson.resources.v1.Resources/Do")) +
                       frame(DATA, 0, stream, begun), seconds=0.5)
        end = time.time() + 6
        while time.time() < end:
            for p in peers:
                for stream in range(1, 501, 50):
                    p.send(frame(DATA, 0, stream, b"x" * 16384), seconds=0.05)
        for p in peers:
            p.close()


def attack_rest_bodies_nobody_reads(t):
    text = (f"POST {MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            "content-length: 3000000\r\n\r\n").encode()
    with Watched(t):
        peers = [Peer(t, alpn="http/1.1") for _ in range(60)]
        for p in peers:
            p.send(text + b" " * 2_900_000, seconds=2)
        time.sleep(2)
        for p in peers:
            p.close()


def attack_large_heads(t):
    with Watched(t):
        peers = [Peer(t, reads=False) for _ in range(8)]
        long = b"".join(literal(f"x-{i}", "v" * 100) for i in range(400))
        for p in peers:
            p.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))  # no window for answers
            for stream in range(1, 401, 2):
                block = head("/version", "GET", grpc=False) + long
                frames = frame(HEADERS, 1, stream, block[:16384])
                rest = block[16384:]
                while rest:
                    frames += frame(CONTINUATION, 4 if len(rest) <= 16384 else 0, stream, rest[:16384])
                    rest = rest[16384:]
                if not p.send(frames, seconds=0.5):
                    break
        time.sleep(1)
        for p in peers:
            p.close()


def attack_floods(t):
    one = lambda kind, payload=b"", flags=0, stream=0: frame(kind, flags, stream, payload)
    opened = frame(HEADERS, 4, 1, head("/keelson.resources.v1.Resources/Do"))
    floods = {
        "settings": one(SETTINGS) * 5000,
        "pings": one(PING, b"12345678") * 200_000,
        "empty data": opened + one(DATA, stream=1) * 5000,
        "priority": b"".join(one(PRIORITY, b"\0\0\0\0\x10", stream=2 * i + 1) for i in range(5000)),
        "resets": b"".join(frame(HEADERS, 5, 2 * i + 1, head("/version", "GET", False)) +
                           frame(RST, 0, 2 * i + 1, struct.pack(">I", 8)) for i in range(3000)),
        "mistakes": b"".join(frame(HEADERS, 5, 2 * i + 1, literal(":method", "GET")) for i in range(3000)),
        "window": opened + b"".join(frame(WINDOW, 0, 1, struct.pack(">I", 0)) for _ in range(3000)),
        "continuation": frame(HEADERS, 0, 1, head("/version", "GET", False)) + one(CONTINUATION, stream=1) * 50_000,
        "fields": frame(HEADERS, 0, 1, head("/version", "GET", False)) +
                  frame(CONTINUATION, 0, 1, literal("a", "b" * 100) * 100) * 1000,
    }
    with Watched(t):
        for name, flood in floods.items():
            p = Peer(t)
            p.send(flood, seconds=10)
            assert p.wait(20), f"{name}: still connected"
            p.close()


def attack_answers_nobody_reads(t):
    with Watched(t):
        peers = [Peer(t, reads=False) for _ in range(10)]
        pings = frame(PING, 0, 0, b"12345678") * 10_000
        refused = b"".join(frame(HEADERS, 4, 2 * i + 1, head("/api", "GET", False)) for i in range(20_000))
        for i, p in enumerate(peers):
            for _ in range(20):
                if not p.send(pings if i % 2 else refused, seconds=0.3):
                    break
        time.sleep(1)
        for p in peers:
            p.close()


def attack_connections_that_say_nothing(t):
    with Watched(t):
        silent = [socket.create_connection(("127.0.0.1", t.server.port), timeout=10) for _ in range(1500)]
        assert t.ask("GET", "/version", who=ADMIN).code == 200
        for s in silent:
            s.close()


def attack_slow_bodies(t):
    """A body that comes a byte at a time is given up, over HTTP/1.1 and HTTP/2."""
    one = Peer(t, ADMIN, alpn="http/1.1")
    one.send(f"POST {MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
             "content-length: 3000000\r\n\r\n".encode())
    two = Peer(t, ADMIN)
    two.send(frame(HEADERS, 4, 1, head("/keelson.resources.v1.Resources/Do")) + frame(DATA, 0, 1, b"\0\0\0\xff\xff"))
    end = time.time() + 45
    while time.time() < end and not (one.received and len(two.received) > 200):
        one.send(b" ", seconds=1)
        two.send(frame(DATA, 0, 1, b"x"), seconds=1)
        time.sleep(0.5)
    assert one.received.startswith(b"HTTP/1.1 "), one.received[:100]
    assert one.received[9:12] in (b"408", b"504", b"500"), one.received[:100]
    one.close()
    two.close()
