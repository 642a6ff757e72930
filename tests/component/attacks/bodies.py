"""Bodies that are deep, broken or no text: refused with the original's words, and the daemon lives."""
import concurrent.futures
import http.client
import json
import time

from attacks.target import STRANGER

http.client._MAXHEADERS = 1000  # a warning for each unknown field
MAPS = "/api/v1/namespaces/default/configmaps"
YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}


def config_map(name, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


def expect(answer, *codes):
    assert answer.code in codes, f"{answer.code} and not {codes}: {answer}"


def attack_deep_yaml(t):
    for deep in ("[" * 9500, "[" * 9500 + "]" * 9500, "- " * 9500 + "x", "? " * 5000 + "x", "{a: " * 9500,
                 "a: &x [*x]\n" + "[" * 20000):
        expect(t.ask("POST", MAPS, deep, headers=YAML), 400)
        expect(t.call(verb="create", version="v1", resource="configmaps", namespace_name="default",
                      content_type="application/yaml", body=deep.encode()), 400)
    # Where anything may stand.
    deep = "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: deep}\nrevision: 1\ndata: " + "[" * 9500
    expect(t.ask("POST", "/apis/apps/v1/namespaces/default/controllerrevisions", deep, headers=YAML), 400)


def attack_deep_json(t):
    for n in (1500, 9500, 200_000):
        for open_, close in (("[", "]"), ('{"a":', "}")):
            text = open_ * n + "1" + close * n
            expect(t.ask("POST", MAPS, text, headers=JSON), 400)
            patch = '{"data":' + text + "}"
            for kind in ("merge-patch", "strategic-merge-patch"):
                expect(t.ask("PATCH", MAPS + "/kube-root-ca.crt", patch,
                             headers={"Content-Type": f"application/{kind}+json"}), 400, 422)
            expect(t.call(verb="create", version="v1", resource="configmaps", namespace_name="default",
                          content_type="application/json", body=text.encode()), 400)


def attack_as_deep_as_may_be(t):
    """What is just allowed can be stored, read in every form, patched and deleted."""
    path = "/apis/apps/v1/namespaces/default/controllerrevisions"
    for n in (90, 500, 995):
        body = ('{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"deep"},"revision":1,"data":'
                + '{"a":[' * (n // 2) + "1" + "]}" * (n // 2) + "}")
        expect(t.ask("POST", path, body, headers=JSON), 201)
        for accept in ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
                       "application/json;as=Table;g=meta.k8s.io;v=v1"):
            expect(t.ask("GET", path + "/deep", headers={"Accept": accept}), 200)
            expect(t.ask("GET", path, headers={"Accept": accept}), 200)
        expect(t.ask("PATCH", path + "/deep", '{"metadata":{"labels":{"a":"b"}}}',
                     headers={"Content-Type": "application/merge-patch+json"}), 200)
        expect(t.ask("DELETE", path + "/deep"), 200)


def message(fields):
    """A Protobuf message of length-delimited fields."""
    out = b""
    for number, value in fields:
        length, n = b"", len(value)
        while True:
            length += bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
            n >>= 7
            if not n:
                break
        out += bytes([number << 3 | 2]) + length + value
    return out


def protobuf(kind, raw, version="v1"):
    return b"k8s\0" + message([(1, message([(1, version.encode()), (2, kind.encode())])), (2, raw)])


def attack_no_utf8(t):
    bad = b"a\xff\xc3"
    for meta in ([(1, b"x"), (11, message([(1, b"label"), (2, bad)]))], [(1, bad)], [(2, bad + b"-")],
                 [(1, b"x"), (12, message([(1, bad), (2, b"v")]))], [(1, b"x"), (14, bad)]):
        raw = message([(1, message(meta))])
        body = protobuf("ConfigMap", raw)
        expect(t.ask("POST", MAPS, body, headers={"Content-Type": "application/vnd.kubernetes.protobuf"}), 400, 422)
        expect(t.call(verb="create", version="v1", resource="configmaps", namespace_name="default",
                      content_type="application/vnd.kubernetes.protobuf", body=body), 400, 422)
    data = message([(1, message([(1, b"x")])), (2, message([(1, b"key"), (2, bad)]))])
    expect(t.ask("POST", MAPS, protobuf("ConfigMap", data),
                 headers={"Content-Type": "application/vnd.kubernetes.protobuf"}), 400)
    # JSON's are replaced, as the original replaces them; YAML's are refused.
    answer = t.ask("POST", MAPS, b'{"metadata":{"name":"replaced"},"data":{"k":"a\xff"}}', headers=JSON)
    expect(answer, 201)
    assert answer.json["data"]["k"] == "a\ufffd", answer
    t.undo("DELETE", MAPS + "/replaced")
    expect(t.ask("POST", MAPS, b"metadata: {name: x}\ndata: {k: a\xff}\n", headers=YAML), 400)


def attack_name_cut_inside_a_character(t):
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    for prefix in ("a" * 57 + "\u00e9", "a" * 56 + "\u20ac", "a" * 55 + "\U0001f600", "\u00e9" * 40):
        answer = t.ask("POST", roles, {"kind": "ClusterRole", "metadata": {"generateName": prefix}, "rules": []})
        expect(answer, 201, 422)
        if answer.code == 201:
            name = answer.json["metadata"]["name"]
            assert prefix.startswith(name[:-5]), name
            import urllib.parse
            expect(t.ask("DELETE", f"{roles}/{urllib.parse.quote(name)}"), 200)
        expect(t.call(verb="create", group="rbac.authorization.k8s.io", version="v1", resource="clusterroles",
                      content_type="application/json", options=t.wire.Options(dry_run=["All"]),
                      body=json.dumps({"metadata": {"generateName": prefix}, "rules": []}).encode()), 201, 422)


def attack_user_names_that_are_no_text(t):
    import subprocess
    import tempfile
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{d}/k", "-out", f"{d}/r",
                        "-subj", "/CN=x"], check=True, capture_output=True)
        import base64
        import pathlib
        request = base64.b64encode(pathlib.Path(f"{d}/r").read_bytes()).decode()
    csr = json.dumps({"metadata": {"generateName": "bad-"},
                      "spec": {"request": request, "signerName": "example.com/x", "usages": ["client auth"]}})
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    for header in ("Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-a"):
        for bad in (b"a\xff", b"\xc3", b"\xed\xa0\x80"):
            headers = {**JSON, header: bad}
            if header != "Impersonate-User":
                headers["Impersonate-User"] = "admin"
            expect(t.ask("POST", path, csr, headers=headers), 400)
            expect(t.ask("GET", MAPS, headers=headers), 400)
    # A field manager and a user agent stand beside the object, if at all.
    for headers in ({**JSON, "User-Agent": b"\xff/1"},):
        expect(t.ask("POST", MAPS + "?dryRun=All", json.dumps(config_map("agent")), headers=headers), 201)


def attack_broken_paths_and_names(t):
    for path in ("/api/v1/namespaces/%ff/configmaps", "/api/v1/namespaces/%ff", "/api/v1/namespaces/default/pods/%c3",
                 MAPS + "/%ff%fe", "/api/v1/nodes/%00"):
        for method in ("GET", "PUT", "PATCH", "DELETE", "POST"):
            answer = t.ask(method, path, json.dumps(config_map("x")), headers={
                "Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"})
            expect(answer, 200, 400, 404, 405, 409, 422)
            answer = t.ask(method, path, who=STRANGER)
            expect(answer, 401, 403, 405, 415)


def attack_yaml_that_grows(t):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for i in range(1, 9):
        bomb += f"{chr(97 + i)}: &{chr(97 + i)} [" + ",".join([f"*{chr(96 + i)}"] * 9) + "]\n"
    expect(t.ask("POST", MAPS, bomb, headers=YAML), 400)
    merges = "a: &a {x: 1}\n" + "".join(f"b{i}: {{<<: *a}}\n" for i in range(50_000))
    expect(t.ask("POST", MAPS, merges, headers=YAML), 400, 422)
    many = "[" + "a," * 1_000_000 + "]"
    expect(t.ask("POST", MAPS, many, headers=YAML), 400)


def attack_sizes(t):
    too_long = json.dumps(config_map("large", data={"k": "x" * (3 << 20)}))
    expect(t.ask("POST", MAPS, too_long, headers=JSON), 413)
    answer = t.call(verb="create", version="v1", resource="configmaps", namespace_name="default",
                    content_type="application/json", body=b"x" * (9 << 20))
    expect(answer, 413, 429)
    # The same from many at once.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for answer in pool.map(lambda _: t.ask("POST", MAPS, too_long, headers=JSON, timeout=60), range(32)):
            expect(answer, 413, 429, 503)


def attack_long_errors(t):
    """What is wrong in ten thousand places is said in an answer that arrives."""
    labels = {f"-{i}": "-" * 70 for i in range(10_000)}
    answer = t.ask("POST", MAPS, config_map("labels") | {"metadata": {"name": "labels", "labels": labels}})
    expect(answer, 422)
    answer = t.call(verb="create", version="v1", resource="configmaps", namespace_name="default",
                    content_type="application/json",
                    body=json.dumps({"metadata": {"name": "labels", "labels": labels}}).encode())
    expect(answer, 422)
    unknown = config_map("unknown") | {f"field{i}": 1 for i in range(5000)}
    expect(t.ask("POST", MAPS + "?fieldValidation=Strict", unknown), 400)
    expect(t.ask("POST", MAPS + "?dryRun=All&fieldValidation=Warn", unknown), 201)
    answer = t.call(verb="create", version="v1", resource="configmaps", namespace_name="default",
                    content_type="application/json", options=t.wire.Options(field_validation="Strict"),
                    body=json.dumps(unknown).encode())
    expect(answer, 400)
    name = "x" * 50_000
    answer = t.call(verb="get", version="v1", resource="configmaps", namespace_name="default", name=name)
    expect(answer, 404)


def attack_selectors(t):
    for selector in ("(" * 9000, "!" * 9000, ",".join(f"a{i}!=b" for i in range(6000)),
                     "a in (" + ",".join(str(i) for i in range(9000)) + ")", "a=" + "=" * 9000, "\x01%ff"):
        import urllib.parse
        quoted = urllib.parse.quote(selector)
        for field in ("labelSelector", "fieldSelector"):
            expect(t.ask("GET", f"{MAPS}?{field}={quoted}"), 200, 400, 431)
            options = t.wire.Options(**{"label_selector" if field == "labelSelector" else "field_selector": selector})
            expect(t.call(verb="list", version="v1", resource="configmaps", namespace_name="default", options=options),
                   200, 400)
    for long in ("x" * 3_000_000, "a!" * 1_500_000, "=" * 3_000_000, "a=b," * 700_000, "!a," * 900_000):
        for field in ("label_selector", "field_selector"):
            began = time.time()
            expect(t.call(verb="list", version="v1", resource="configmaps", namespace_name="default", timeout=60,
                          options=t.wire.Options(**{field: long})), 200, 400, 413, 429)
            assert time.time() - began < 20, f"{field} took {time.time() - began:.0f} s"


def attack_deep_schemas(t):
    """Of the kinds the one whose type holds itself: by JSON and as nested messages."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    def definition(schema):
        return ('{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":'
                '"deeps.example.com"},"spec":{"group":"example.com","names":{"kind":"Deep","plural":"deeps"},"scope":'
                '"Namespaced","versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":'
                + schema + "}}]}}")

    for open_, close in (('{"type":"object","not":', "}"), ('{"type":"array","items":', "}"),
                         ('{"type":"array","items":[', "]}"), ('{"type":"object","additionalProperties":', "}"),
                         ('{"type":"object","properties":{"a":', "}}"), ('{"allOf":[', "]}")):
        for n in (100, 300, 480, 900, 3000):
            body = definition(open_ * n + '{"type":"object"}' + close * n)
            answer = t.ask("POST", path, body, headers=JSON, timeout=60)
            expect(answer, 201, 400, 403, 404, 405, 422, 501)
            if answer.code == 201:
                for accept in ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml"):
                    expect(t.ask("GET", path + "/deeps.example.com", headers={"Accept": accept}), 200)
                    expect(t.ask("GET", path, headers={"Accept": accept}), 200)
                expect(t.ask("DELETE", path + "/deeps.example.com"), 200)
    for number in (28, 20, 23):  # not, items, allOf
        for n in (100, 900, 1500, 3000):
            schema = b""
            for _ in range(n):
                schema = wide(number, wide(1, schema) if number == 20 else schema)
            raw = message([(2, message([(7, message([(4, message([(1, schema)]))]))]))])
            body = protobuf("CustomResourceDefinition", raw, "apiextensions.k8s.io/v1")
            expect(t.ask("POST", path, body, headers={"Content-Type": "application/vnd.kubernetes.protobuf"}),
                   400, 403, 404, 405, 413, 422, 501)


def wide(number, value):
    """One length-delimited field of any number."""
    tag, key = b"", number << 3 | 2
    for n in (key, len(value)):
        while True:
            tag += bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
            n >>= 7
            if not n:
                break
    return tag + value
