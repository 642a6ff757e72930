#!/usr/bin/env python3
"""Every route of the JSON gateway, used for what it is for; and locks and elections where sessions end."""
import json
import pathlib
import tempfile
import threading
import time
import urllib.error
import urllib.request

from kvstore_auth_test import b64, post
from kvstore_test import BUILD, Store, contains, equal


def stream(store, path, body, lines=1):
    """The first results of a streaming route."""
    request = urllib.request.Request(store.url + path, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [json.loads(answer.readline())["result"] for _ in range(lines)]


def good(store, path, body, token=None):
    status, answer = post(store, path, body, token)
    if status != 200:
        raise AssertionError(f"{path}: {status} {answer}")
    return answer


def keys(store):
    good(store, "/v3/kv/put", {"key": b64("a"), "value": b64("1")})
    equal(good(store, "/v3/kv/range", {"key": b64("a")})["kvs"][0]["value"], b64("1"))
    txn = good(store, "/v3/kv/txn", {"compare": [{"key": b64("a"), "target": "VERSION", "version": "1"}],
                                     "success": [{"request_put": {"key": b64("b"), "value": b64("2")}}]})
    equal(txn["succeeded"], True)
    equal(good(store, "/v3/kv/deleterange", {"key": b64("b")})["deleted"], "1")
    good(store, "/v3/kv/compaction", {"revision": "2", "physical": True})
    equal(post(store, "/v3/kv/compaction", {"revision": "2"})[0], 400)
    created, events = stream(store, "/v3/watch", {"create_request": {"key": b64("a"), "start_revision": "2"}}, 2)
    equal((created["created"], events["events"][0]["kv"]["value"]), (True, b64("1")))


def leases(store):
    lease = good(store, "/v3/lease/grant", {"TTL": "100"})["ID"]
    good(store, "/v3/kv/put", {"key": b64("l"), "lease": lease})
    equal(stream(store, "/v3/lease/keepalive", {"ID": lease})[0]["TTL"], "100")
    for path in ("/v3/lease/timetolive", "/v3/kv/lease/timetolive"):
        equal(good(store, path, {"ID": lease, "keys": True})["keys"], [b64("l")])
    for path in ("/v3/lease/leases", "/v3/kv/lease/leases"):
        equal([x["ID"] for x in good(store, path, {})["leases"]], [lease])
    good(store, "/v3/lease/revoke", {"ID": lease})
    lease = good(store, "/v3/lease/grant", {"TTL": "100"})["ID"]
    good(store, "/v3/kv/lease/revoke", {"ID": lease})
    equal("kvs" in good(store, "/v3/kv/range", {"key": b64("l")}), False)


def members(store):
    added = good(store, "/v3/cluster/member/add", {"peerURLs": ["http://127.0.0.1:1"], "isLearner": True})["member"]
    equal(len(good(store, "/v3/cluster/member/list", {})["members"]), 2)
    good(store, "/v3/cluster/member/update", {"ID": added["ID"], "peerURLs": ["http://127.0.0.1:2"]})
    contains(post(store, "/v3/cluster/member/promote", {"ID": added["ID"]})[1]["message"], "learner")
    good(store, "/v3/cluster/member/remove", {"ID": added["ID"]})
    equal(len(good(store, "/v3/cluster/member/list", {"linearizable": True})["members"]), 1)


def maintenance(store):
    status = good(store, "/v3/maintenance/status", {})
    equal((status["version"], status["leader"]), ("3.7.1", status["header"]["member_id"]))
    equal("alarms" in good(store, "/v3/maintenance/alarm", {"action": "GET"}), False)
    good(store, "/v3/maintenance/defragment", {})
    hashes = [good(store, "/v3/maintenance/hashkv", {})["hash"] for _ in range(2)]
    equal(hashes[0], hashes[1])
    good(store, "/v3/maintenance/hash", {})
    contains(str(stream(store, "/v3/maintenance/snapshot", {})[0]), "blob")
    contains(post(store, "/v3/maintenance/transfer-leadership", {"targetID": "77"})[1]["message"], "etcdserver: ")
    equal(good(store, "/v3/maintenance/downgrade", {"action": "VALIDATE", "version": "3.6.0"})["version"], "3.7")


def authentication(store):
    equal(good(store, "/v3/auth/status", {}).get("enabled", False), False)
    for user in ("root", "u"):
        good(store, "/v3/auth/user/add", {"name": user, "password": "pw"})
    for role in ("root", "r"):
        good(store, "/v3/auth/role/add", {"name": role})
    good(store, "/v3/auth/user/grant", {"user": "root", "role": "root"})
    good(store, "/v3/auth/user/grant", {"user": "u", "role": "r"})
    good(store, "/v3/auth/role/grant", {"name": "r", "perm": {"permType": "READWRITE", "key": b64("mine")}})
    good(store, "/v3/auth/enable", {})
    root = good(store, "/v3/auth/authenticate", {"name": "root", "password": "pw"})["token"]
    token = good(store, "/v3/auth/authenticate", {"name": "u", "password": "pw"})["token"]
    good(store, "/v3/kv/put", {"key": b64("mine")}, token)
    equal(post(store, "/v3/kv/put", {"key": b64("theirs")}, token)[0], 403)
    equal(good(store, "/v3/auth/user/get", {"name": "u"}, root)["roles"], ["r"])
    equal(good(store, "/v3/auth/role/get", {"role": "r"}, root)["perm"][0]["key"], b64("mine"))
    equal(good(store, "/v3/auth/user/list", {}, root)["users"], ["root", "u"])
    equal(good(store, "/v3/auth/role/list", {}, root)["roles"], ["r", "root"])
    good(store, "/v3/auth/user/changepw", {"name": "u", "password": "new"}, root)
    good(store, "/v3/auth/role/revoke", {"role": "r", "key": b64("mine")}, root)
    good(store, "/v3/auth/user/revoke", {"name": "u", "role": "r"}, root)
    good(store, "/v3/auth/role/delete", {"role": "r"}, root)
    good(store, "/v3/auth/user/delete", {"name": "u"}, root)
    good(store, "/v3/auth/disable", {}, root)
    good(store, "/v3/auth/user/delete", {"name": "root"})


def locks(store):
    """Whoever waits gets the lock when the holder lets go, or its lease ends; a waiter whose session ends is told."""
    first, second, short = (good(store, "/v3/lease/grant", {"TTL": ttl})["ID"] for ttl in ("100", "100", "2"))
    key = good(store, "/v3/lock/lock", {"name": b64("m"), "lease": first})["key"]
    # The same session asks again: it has it.
    equal(good(store, "/v3/lock/lock", {"name": b64("m"), "lease": first})["key"], key)
    waiting = {}
    def wait(name, lease):
        waiting[name] = post(store, "/v3/lock/lock", {"name": b64("m"), "lease": lease})
    threads = [threading.Thread(target=wait, args=x) for x in (("second", second), ("short", short))]
    for t in threads:
        t.start()
    time.sleep(4)  # the short session ends while it waits
    equal(waiting, {})
    good(store, "/v3/lock/unlock", {"key": key})
    threads[0].join(10)
    equal(waiting["second"][0], 200)
    # As the original: it is found out when the turn comes, which may need the holder gone.
    good(store, "/v3/lock/unlock", {"key": waiting["second"][1]["key"]})
    threads[1].join(10)
    contains(str(waiting["short"]), "mutex: session is expired")
    contains(str(post(store, "/v3/lock/lock", {"name": b64("n"), "lease": "12345"})), "requested lease not found")
    for lease in (first, second):
        good(store, "/v3/lease/revoke", {"ID": lease})


def elections(store):
    lease = good(store, "/v3/lease/grant", {"TTL": "2"})["ID"]
    leader = good(store, "/v3/election/campaign", {"name": b64("e"), "lease": lease, "value": b64("one")})["leader"]
    good(store, "/v3/election/proclaim", {"leader": leader, "value": b64("two")})
    equal(good(store, "/v3/election/leader", {"name": b64("e")})["kv"]["value"], b64("two"))
    equal(stream(store, "/v3/election/observe", {"name": b64("e")})[0]["kv"]["value"], b64("two"))
    # The leader's session ends; the next one leads, and what the former one says is refused.
    other = good(store, "/v3/lease/grant", {"TTL": "100"})["ID"]
    following = good(store, "/v3/election/campaign", {"name": b64("e"), "lease": other, "value": b64("x")})["leader"]
    refused = post(store, "/v3/election/proclaim", {"leader": leader, "value": b64("three")})
    contains(str(refused), "etcdserver: requested lease not found" if refused[0] == 404 else "election: not leader")
    good(store, "/v3/election/resign", {"leader": following})
    contains(str(post(store, "/v3/election/leader", {"name": b64("e")})), "election: no leader")
    contains(str(post(store, "/v3/election/proclaim", {"value": b64("x")})), "field must be provided")


def refused(store):
    equal(post(store, "/v3/nosuch", {})[0], 404)
    try:
        urllib.request.urlopen(store.url + "/v3/kv/range", timeout=5)
        raise AssertionError("GET is answered")
    except urllib.error.HTTPError as e:
        equal(e.code, 501)


def main():
    if not (BUILD / "bin/kvstore").exists():
        print("SKIP kvstore_gateway: kvstore is not built")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-gateway-") as top:
        store = Store(pathlib.Path(top), flags=["--bcrypt-cost", "4", "--max-learners", "2"])
        store.start()
        try:
            for case in (keys, leases, members, maintenance, authentication, locks, elections, refused):
                try:
                    case(store)
                    print(f"PASS kvstore_gateway.{case.__name__}", flush=True)
                except Exception as e:  # every case is told of
                    print(f"FAIL kvstore_gateway.{case.__name__}: {type(e).__name__} {e}", flush=True)
        finally:
            store.kill()


if __name__ == "__main__":
    main()
