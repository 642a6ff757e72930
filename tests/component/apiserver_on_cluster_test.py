#!/usr/bin/env python3
"""kube-apiserver on a store of three members over TLS while the members are killed in turn, the leader first: every
create that was answered with 201 is there afterwards, and one watch that began before the first kill goes on through all
of it without gap or repetition."""
import http.client
import json
import pathlib
import shutil
import signal
import tempfile
import threading
import time

from apiserver_process import ApiServer, Pki
from kvstore_members import Member, ctl, leader, same_everywhere, status, wait_for

MAPS = "/api/v1/namespaces/default/configmaps"


class Clients:
    """Writers that create ConfigMaps and a watcher of them."""

    def __init__(self, server, writers=4):
        self.server, self.writing = server, threading.Event()
        self.created, self.seen, self.trouble = {}, [], []
        self.lock, self.last, self.pause, self.refused = threading.Lock(), time.monotonic(), 0.0, 0
        self.writing.set()
        status, text = server.get(MAPS)
        assert status == 200, text
        self.watcher = threading.Thread(target=self._watch, daemon=True,
                                        args=(json.loads(text)["metadata"]["resourceVersion"],))
        self.writers = [threading.Thread(target=self._write, args=(i,), daemon=True) for i in range(writers)]
        for t in [self.watcher, *self.writers]:
            t.start()
        wait_for("the first writes", lambda: len(self.created) > 20)

    def _write(self, writer):
        connection, n = self.server.connect(10), 0
        while self.writing.is_set():
            n += 1
            name = f"w{writer}-{n:06d}"
            try:
                connection.request("POST", MAPS, json.dumps({"metadata": {"name": name}, "data": {"n": str(n)}}),
                                   {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as e:
                self.trouble.append(f"a connection to the apiserver broke: {e}")
                connection = self.server.connect(10)
                continue
            with self.lock:
                if answer.status != 201:
                    self.refused += 1
                    continue
                now = time.monotonic()
                self.pause, self.last = max(self.pause, now - self.last), now
                self.created[name] = int(json.loads(text)["metadata"]["resourceVersion"])

    def _watch(self, since):
        connection = self.server.connect(60)
        connection.request("GET", f"{MAPS}?watch=true&resourceVersion={since}&timeoutSeconds=600")
        answer = connection.getresponse()
        last = int(since)
        try:
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] != "ADDED":
                    self.trouble.append(f"the watch said {line[:300]!r}")
                    return
                version = int(event["object"]["metadata"]["resourceVersion"])
                if version <= last:
                    self.trouble.append(f"the watch went from {last} back to {version}")
                last = version
                self.seen.append(event["object"]["metadata"]["name"])
        except (OSError, http.client.HTTPException, ValueError) as e:
            self.trouble.append(f"the watch broke: {e}")
            return
        self.trouble.append("the watch ended")

    def went_on(self, writes=30):
        count = len(self.created)
        wait_for("creates afterwards", lambda: len(self.created) > count + writes)

    def stop(self):
        self.writing.clear()
        for t in self.writers:
            t.join(20)
        end = time.monotonic() + 20
        while time.monotonic() < end and not self.trouble and not self.created.keys() <= set(self.seen):
            time.sleep(0.05)
        missed = self.created.keys() - set(self.seen)
        if missed:
            self.trouble.append(f"the watch missed {len(missed)}: {sorted(missed)[:5]}")
        if self.trouble:
            raise AssertionError("; ".join(self.trouble[:5]))


def killed_in_turn(members, server):
    clients = Clients(server)
    first = leader(members)
    for m in [first, *(o for o in members if o is not first)]:
        m.end(signal.SIGKILL)
        clients.went_on()
        m.start(members)
        wait_for("its return", lambda: (status(m) or {}).get("leader"))
        clients.went_on()
    clients.stop()
    text = server.get(MAPS)[1]
    there = {o["metadata"]["name"] for o in json.loads(text)["items"]}
    lost = clients.created.keys() - there
    if lost:
        raise AssertionError(f"lost {len(lost)} of {len(clients.created)}: {sorted(lost)[:5]}")
    same_everywhere(members)
    print(f"  {len(clients.created)} creates answered, {clients.refused} refused, longest pause "
          f"{clients.pause * 1000:.0f} ms, {len(clients.seen)} events in one watch", flush=True)


def main():
    if shutil.which("etcdctl") is None:
        print("SKIP apiserver_on_cluster: no etcdctl")
        return
    with tempfile.TemporaryDirectory(prefix="apiserver-on-cluster-") as top:
        top = pathlib.Path(top)
        (top / "pki").mkdir()
        pki = Pki(top / "pki")
        members = [Member(top, f"m{i}", tls=pki) for i in (1, 2, 3)]
        server = None
        try:
            for m in members:
                m.start(members)
            leader(members)
            ctl(members, "endpoint", "health")
            server = ApiServer(members, pki=pki)
            server.wait_ready()
            killed_in_turn(members, server)
            print("PASS apiserver_on_cluster.killed_in_turn", flush=True)
        except (AssertionError, RuntimeError) as e:
            print(f"FAIL apiserver_on_cluster.killed_in_turn: {e}", flush=True)
            if server:
                print(pathlib.Path(server.dir, "apiserver.log").read_text(errors="replace")[-3000:])
        finally:
            if server:
                server.stop()
            for m in members:
                m.end()


if __name__ == "__main__":
    main()
