"""A recorded load on a store cluster: clients that put, get, delete and swap a few keys at once, and the history of what
they were told, which history_check (tests/sim/history) judges for linearizability."""
import base64
import http.client
import itertools
import json
import random
import subprocess
import threading
import time

from kvstore_members import BUILD, Gateway, b64

CHECKER = BUILD / "bin/history_check"
# Operations whose outcome is unknown stay possible for ever: new keys every so often keep the search small.
KEYS, KEYS_LIVE = 3, 1.0


class History:
    """Starts its clients at once; `members` may change meanwhile. stop() ends them, check() judges."""

    def __init__(self, members, path, seed, clients=6):
        self.members, self.path, self.lines, self.unknown = members, path, [], 0
        self.stopping, self.numbers, self.start = threading.Event(), itertools.count(), time.monotonic()
        self.threads = [threading.Thread(target=self._client, args=(i, random.Random(f"{seed}/{i}")), daemon=True)
                        for i in range(clients)]
        for t in self.threads:
            t.start()

    def _client(self, number, chance):
        gateway, seen = Gateway(self.members, timeout=2), {}
        while not self.stopping.is_set():
            key = f"history/{int((time.monotonic() - self.start) / KEYS_LIVE)}/{chance.randrange(KEYS)}"
            op = chance.choices(["put", "get", "delete", "cas"], [35, 40, 7, 18])[0]
            line = {"client": number, "key": key, "op": op, "ok": True, "start": time.monotonic_ns(), "end": -1}
            if op in ("put", "cas"):
                line["value"] = f"{number}.{next(self.numbers)}"
            if op == "cas":
                line["expect"] = seen.get(key)
            try:
                perform(gateway, line)
                line["end"] = time.monotonic_ns()
                seen = {key: line["value"] if op == "put" or (op == "cas" and line["ok"]) else line.get("found")}
            except ConnectionRefusedError:
                time.sleep(0.02)
                continue  # it was never sent
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)
                if op == "get":
                    continue
                self.unknown += 1
            self.lines.append(line)
            time.sleep(0.001)

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(10)
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def check(self):
        """What the checker says; raises when the history is not linearizable or not decided."""
        done = subprocess.run([CHECKER, self.path], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"history_check: exit {done.returncode}: {done.stdout[-3000:]}{done.stderr[-300:]}")
        return done.stdout.strip()


def perform(gateway, line):
    """Carries out one operation and notes in its line what was answered."""
    op, key = line["op"], b64(line["key"])
    if op == "put":
        gateway.post("/v3/kv/put", {"key": key, "value": b64(line["value"])})
    elif op == "delete":
        gateway.post("/v3/kv/deleterange", {"key": key})
    elif op == "get":
        line["found"] = found_in(gateway.post("/v3/kv/range", {"key": key}))
    else:
        expect = line["expect"]
        compare = ({"key": key, "target": "VERSION", "result": "EQUAL", "version": "0"} if expect is None else
                   {"key": key, "target": "VALUE", "result": "EQUAL", "value": b64(expect)})
        answer = gateway.post("/v3/kv/txn", {
            "compare": [compare], "success": [{"request_put": {"key": key, "value": b64(line["value"])}}],
            "failure": [{"request_range": {"key": key}}]})
        line["ok"] = answer.get("succeeded", False)
        if not line["ok"]:
            line["found"] = found_in(answer["responses"][0]["response_range"])


def found_in(answer):
    kvs = answer.get("kvs", [])
    return base64.b64decode(kvs[0].get("value", "")).decode() if kvs else None
