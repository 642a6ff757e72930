"""Patches that cost more than they may: refused or done in time, and others are served meanwhile."""
import json
import threading
import time

MAPS = "/api/v1/namespaces/default/configmaps"
KINDS = {"json": "application/json-patch+json", "merge": "application/merge-patch+json",
         "strategic": "application/strategic-merge-patch+json"}
LONGEST_HOLD = 2.0  # seconds another request may wait while a patch is applied (sanitized builds are slow)


def make(t, name="patched", data=None):
    t.make(MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "b"}})


def patch(t, kind, body, name="patched", path=MAPS, codes=(200, 400, 413, 422, 500), group="", resource="configmaps",
          version="v1"):
    """By REST and by gRPC; somebody else's request is answered all the while."""
    text = body if isinstance(body, str) else json.dumps(body)
    worst, stop = [0.0], threading.Event()

    def ask_beside():
        while not stop.is_set():
            began = time.time()
            t.ask("GET", "/version")
            worst[0] = max(worst[0], time.time() - began)
            time.sleep(0.01)

    beside = threading.Thread(target=ask_beside)
    beside.start()
    try:
        answer = t.ask("PATCH", f"{path}/{name}", text, headers={"Content-Type": KINDS[kind]}, timeout=60)
        assert answer.code in codes, f"{answer.code} and not {codes}: {answer}"
        call = t.call(verb="patch", group=group, version=version, resource=resource, namespace_name="default",
                      name=name, content_type=KINDS[kind], patch_type=kind, body=text.encode(), timeout=60)
        assert call.code in codes or call.code == 404, f"gRPC: {call.code} and not {codes}: {call}"
    finally:
        stop.set()
        beside.join()
    assert worst[0] < LONGEST_HOLD, f"another request waited {worst[0]:.1f} s"
    return answer


def attack_orders_of_orders(t):
    make(t)
    for data in ({"$setElementOrder/$setElementOrder/x": [], "$setElementOrder/x": []},
                 {"$setElementOrder/x": [], "$setElementOrder/$setElementOrder/x": []},
                 {"$setElementOrder/$setElementOrder/$setElementOrder/x": [], "$setElementOrder/$setElementOrder/x": [],
                  "$setElementOrder/x": []},
                 {"$retainKeys": ["a"], "$setElementOrder/$retainKeys": []},
                 {"$deleteFromPrimitiveList/$setElementOrder/x": ["a"], "$setElementOrder/x": ["a"]},
                 {"$patch": "delete", "$setElementOrder/$patch": []},
                 {"$setElementOrder/": []}, {"$setElementOrder": []}, {"$setElementOrder/a": "b"},
                 {"$deleteFromPrimitiveList/a": {}}, {"$retainKeys": "x"}):
        patch(t, "strategic", {"data": data})
        patch(t, "strategic", {"metadata": data})
        patch(t, "strategic", data)


def attack_copies_that_double(t):
    make(t)
    for seed, grow in (('"x"', "/data/-"), ('["x"]', "/data/-"), ('{"y":"x"}', None)):
        ops = [{"op": "add", "path": "/data", "value": json.loads(seed) if seed != '"x"' else ["x"]}]
        for i in range(40):
            ops.append({"op": "copy", "from": "/data", "path": grow or f"/data/k{i}"})
        patch(t, "json", ops, codes=(422,))
    # One after the other into new places.
    ops = [{"op": "add", "path": "/a0", "value": "x" * 100_000}]
    ops += [{"op": "copy", "from": "/a0", "path": f"/a{i}"} for i in range(1, 5000)]
    patch(t, "json", ops, codes=(422,))


def attack_insertions_in_front(t):
    make(t, data={f"k{i}": "" for i in range(20_000)})
    long = [{"op": "add", "path": "/l", "value": ["x"] * 200_000}]
    patch(t, "json", long + [{"op": "add", "path": "/l/0", "value": "y"}] * 9_990, codes=(422,))
    patch(t, "json", long + [{"op": "remove", "path": "/l/0"}] * 9_990, codes=(422,))
    moves = [{"op": "move", "from": "/data", "path": "/b"}, {"op": "move", "from": "/b", "path": "/data"}] * 4_990
    patch(t, "json", [{"op": "add", "path": "/x", "value": {}}] + moves)
    patch(t, "json", [{"op": "remove", "path": f"/data/k{i}"} for i in range(9_990)])
    patch(t, "json", [{"op": "add", "path": "/data/x", "value": "y"}] * 10_001, codes=(413,))


def attack_merges_of_much(t):
    make(t, data={f"k{i}": "" for i in range(60_000)})
    nulls = {"data": {f"k{i}": None for i in reversed(range(60_000))}}
    patch(t, "merge", nulls)
    t.ask("PATCH", MAPS + "/patched", {"data": {f"k{i}": "" for i in range(60_000)}},
          headers={"Content-Type": KINDS["merge"]})
    patch(t, "strategic", nulls)
    patch(t, "strategic", {"data": {f"$setElementOrder/k{i}": [] for i in range(50_000)}})
    patch(t, "strategic", {"metadata": {"finalizers": [f"a.b/{i}" for i in range(100_000)],
                                        "$setElementOrder/finalizers": [f"a.b/{i}" for i in range(100_000)]}})
    t.ask("PATCH", MAPS + "/patched", {"metadata": {"finalizers": None}}, headers={"Content-Type": KINDS["merge"]})


def attack_deep_moves(t):
    make(t)
    ops = [{"op": "add", "path": "/a", "value": {}}]
    for _ in range(3000):
        ops += [{"op": "move", "from": "/a", "path": "/b"}, {"op": "add", "path": "/a", "value": {}},
                {"op": "move", "from": "/b", "path": "/a/c"}]
    patch(t, "json", ops, codes=(422,))
    patch(t, "json", [{"op": "add", "path": "/a" * 200_000, "value": 1}], codes=(422,))
    patch(t, "json", [{"op": "test", "path": "", "value": None}, {"op": "replace", "path": "", "value": []}])
    for odd in ("null", "{}", "[null]", "[[]]", '[{"op":1}]', '[{"op":"copy"}]', '[{"op":"move","from":1,"path":1}]',
                '[{"op":"remove","path":""}]', '[{"op":"add","path":"","value":1}]', "", "[", '"x"'):
        patch(t, "json", odd, codes=(200, 400, 422))
        patch(t, "merge", odd, codes=(200, 400, 422))
        patch(t, "strategic", odd, codes=(200, 400, 422))


def attack_results_that_are_no_objects(t):
    make(t)
    for body in ({"metadata": None}, {"metadata": []}, {"metadata": {"labels": []}}, {"data": [1]}, {"kind": 1},
                 {"apiVersion": {}}, {"metadata": {"name": ["x"]}}, {"metadata": {"ownerReferences": [None]}},
                 {"metadata": {"managedFields": [{}, None]}}, {"binaryData": {"a": "!"}}):
        patch(t, "merge", body)
        patch(t, "strategic", body)
        patch(t, "json", [{"op": "add", "path": "/" + k, "value": v} for k, v in body.items()])
