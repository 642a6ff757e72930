#!/usr/bin/env python3
"""Replays the recorded exchanges of golden/rest-v1.36 against a fresh server and counts equal answers per topic.

  golden_rest.py --url http://127.0.0.1:PORT [--token T] [--ca F --cert F --key F] [--topics a,b] [--show N] [--only ID]

Normalised as the recording's README says; managedFields are left out. Prints a table, and with --show the first N
differences. The exit code is 0; golden_rest_test.py judges the counts.
"""
import argparse
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import sys
import time
import urllib.parse

TOPICS = "discovery bootstrap crud lists patches apply pods services workloads cluster access".split()
COMPARED_HEADERS = ["content-type", "cache-control", "warning", "allow", "location", "retry-after",
                    "www-authenticate", "x-content-type-options", "vary"]
UUID = re.compile(r"(?<![0-9a-z-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
RANDOM_SUFFIX = r"[bcdfghjklmnpqrstvwxz2456789]{5}"


def golden():
    for base in (os.environ.get("KEELSON_SHARED"), pathlib.Path(__file__).resolve().parents[2] / ".." / "shared"):
        if base and (pathlib.Path(base) / "golden/rest-v1.36").is_dir():
            return pathlib.Path(base) / "golden/rest-v1.36"
    return None


class Client:
    def __init__(self, args):
        self.args = args
        self.url = urllib.parse.urlparse(args.url)

    def connect(self, with_certificate=True):
        if self.url.scheme == "http":
            return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=20)
        context = ssl.create_default_context(cafile=self.args.ca)
        context.check_hostname = False
        if not self.args.ca:
            context.verify_mode = ssl.CERT_NONE
        if with_certificate and self.args.cert:
            context.load_cert_chain(self.args.cert, self.args.key)
        return http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=20, context=context)

    def send(self, request, path, body, token):
        headers = dict(request.get("headers", {}))
        if "as" in request:
            headers["Impersonate-User"] = request["as"]
        anonymous = request.get("anonymous") or token is not None
        if token is not None:
            headers["Authorization"] = "Bearer " + token
        elif self.args.token and not anonymous:
            headers["Authorization"] = "Bearer " + self.args.token
        if body is not None and "Content-Type" not in headers:
            headers["Content-Type"] = "application/json"
        headers.setdefault("Accept", "application/json")
        c = self.connect(not anonymous)
        c.putrequest(request["method"], path, skip_accept_encoding=True)
        data = body.encode() if body is not None else b""
        if data or request["method"] in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(data))
        for k, v in headers.items():
            c.putheader(k, v)
        c.endheaders(data)
        r = c.getresponse()
        raw = r.read().decode("utf-8", "replace")
        c.close()
        return r.status, r.getheaders(), raw


def parse(raw):
    """JSON, a list of JSON lines (watch), or text."""
    if not raw:
        return ""
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in raw.splitlines() if line]
    except ValueError:
        return raw


class Normal:
    """Both sides through the same rules; what the recording already replaced stays."""

    def __init__(self, port):
        self.port = port

    def text(self, s):
        quoted = re.match(r'^((?: "" is invalid: patch: )?Invalid value: )("(?:[^"\\]|\\.)*")(.*)$', s, re.S)
        if quoted:
            try:
                tree = json.loads(json.loads(quoted.group(2)))
                if not isinstance(tree, dict):
                    raise ValueError
                tree = self.value(tree)
                s = quoted.group(1) + json.dumps(tree) + quoted.group(3)
            except ValueError:
                pass
        s = UUID.sub("<uid>", s)
        s = TIME.sub("<time>", s)
        s = re.sub(r"^\d{4}-\d\d-\d\d$", "<date>", s)
        s = re.sub(r"<random>", "<r>", s)
        s = re.sub(r"hash=[0-9A-F]+", "hash=<hash>", s)
        s = re.sub(r"apiserver-[a-z0-9]{26}(?![a-z0-9])", "apiserver-<identity>", s)
        s = re.sub(r"-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----\n?", "<certificate>", s, flags=re.S)
        s = re.sub(r"((?:gen-|kube-api-access-|g-))" + RANDOM_SUFFIX + r"\b", r"\1<r>", s)
        s = re.sub(r"(current: |in record \()\d+", r"\1<rv>", s)
        s = re.sub(r'(resourceVersion\\*": ?\\*")\d+', r"\1<rv>", s)
        s = re.sub(r'(resourceVersion: \\?")\d+', r"\1<rv>", s)
        s = re.sub(r"\b192\.0\.2\.10:\d+\b|127\.0\.0\.1:\d+", "<server>", s)
        return s

    def value(self, v, key=None, path=()):
        if isinstance(v, dict):
            out = {}
            for k, x in v.items():
                if k == "managedFields" or (k == "description" and "columnDefinitions" in path):
                    continue
                out[k] = self.value(x, k, path + (k,))
            return out
        if isinstance(v, list):
            items = [self.value(x, None, path) for x in v]
            if path and path[-1] == "causes":
                items.sort(key=lambda x: json.dumps(x, sort_keys=True))
            if path and path[-1] == "cells":
                items = ["<age>" if isinstance(x, str) and (x == "<age>" or re.fullmatch(r"(\d+[smhdy])+|<invalid>", x))
                         else x for x in items]
            return items
        if type(v) is int and v == self.port:
            return 7443  # where the recorded server listened
        if isinstance(v, str):
            if key == "resourceVersion" and re.fullmatch(r"\d+|<rv>", v):
                return "<rv>"
            if key == "uid":
                return "<uid>"
            if key == "continue":
                return "<continue>"
            if key == "token" and v:
                return "<token>"
            if key == "kubernetes.io/hostname" and "labels" in path and v in ("vm", socket.gethostname()):
                return "<hostname>"
            return self.text(v)
        return v


def headers_of(pairs, wanted):
    got = {}
    for k, v in pairs:
        k = k.lower()
        if k in COMPARED_HEADERS:
            got.setdefault(k, []).append(v)
    out = {}
    for k, v in got.items():
        out[k] = v if k == "warning" else v[0]
    return out


# Roles that the recorded tree adds to the original's own; the recording leaves them out where it shows them, but they
# count there in what remains of lists and in what people may do. Made before the topic that sees them.
RBAC = "/apis/rbac.authorization.k8s.io/v1/"
RECORDED_ROLES = [
    ("system:openshift:public-info-viewer", [{"verbs": ["get"], "nonResourceURLs": ["/.well-known", "/.well-known/*"]}],
     [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}]),
    ("system:controller:service-ca-cert-publisher",
     [{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}],
     [{"kind": "ServiceAccount", "namespace": "kube-system", "name": "service-ca-cert-publisher"}]),
]


def align(want, got):
    """Placeholders of the recording that only its reader can know: <address>, <port>, <random>, <identity>, <age>."""
    if isinstance(want, dict) and isinstance(got, dict):
        out = {}
        wanted_keys = list(want)
        for k, v in got.items():
            out[k] = align(want[k], v) if k in want else v
        return out
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [align(a, b) for a, b in zip(want, got)]
    if isinstance(want, str) and "<" in want and not isinstance(got, (dict, list)):
        pattern = re.escape(want)
        for name, shape in (("<address>", r"[0-9a-f.:]+"), ("<port>", r"\d+"), ("<r>", r"[a-z0-9]+"),
                            ("<identity>", r"[-\w.]+"), ("<age>", r".*"), ("<uid>", r".*"), ("<rv>", r"\d*"),
                            ("<time>", r".*"), ("<token>", r".+"), ("<continue>", r".+")):
            pattern = pattern.replace(re.escape(name), shape)
        if re.fullmatch(pattern, str(got), re.S):
            return want
    return got


def causes_as_set(message):
    """[a, b] of an aggregated message in any order."""
    m = re.match(r"^(.*?is invalid: )\[(.*)\]$", message, re.S)
    return message if not m else m.group(1) + " & ".join(sorted(m.group(2).split(", ")))


def equal(want, got):
    if want == got:
        return True
    if isinstance(want, dict) and isinstance(got, dict) and want.get("kind") == got.get("kind") == "Status":
        a, b = dict(want), dict(got)
        a["message"], b["message"] = causes_as_set(a.get("message", "")), causes_as_set(b.get("message", ""))
        return a == b
    return False


def difference(want, got, path=""):
    """The first place where they differ, in words."""
    if type(want) is not type(got):
        return f"{path}: want {json.dumps(want)[:400]} got {json.dumps(got)[:400]}"
    if isinstance(want, dict):
        for k in want:
            if k not in got:
                return f"{path}.{k}: missing, want {json.dumps(want[k])[:300]}"
        for k in got:
            if k not in want:
                return f"{path}.{k}: not wanted, got {json.dumps(got[k])[:300]}"
        for k in want:
            d = difference(want[k], got[k], f"{path}.{k}")
            if d:
                return d
        return ""
    if isinstance(want, list):
        if len(want) != len(got):
            return f"{path}: {len(want)} wanted, {len(got)} got: {json.dumps(want)[:700]} | {json.dumps(got)[:700]}"
        for i, (a, b) in enumerate(zip(want, got)):
            d = difference(a, b, f"{path}[{i}]")
            if d:
                return d
        return ""
    return "" if want == got else f"{path}: want {json.dumps(want)[:900]} got {json.dumps(got)[:900]}"


class Replay:
    def __init__(self, args):
        self.client = Client(args)
        self.answers = {}
        self.args = args

    def fill(self, text):
        def metadata(m):
            field, which = m.group(1), m.group(2)
            answer = self.answers.get(which)
            if not isinstance(answer, dict):
                return m.group(0)
            if field == "token":
                status = answer.get("status")
                return status.get("token", "") if isinstance(status, dict) else ""
            return str(answer.get("metadata", {}).get(field, ""))
        return re.sub(r"<(resourceVersion|uid|continue|token) of ([a-z]+-\d+)>", metadata, text)

    def make_recorded_roles(self):
        def post(resource, body):
            body.update(apiVersion="rbac.authorization.k8s.io/v1")
            self.client.send({"method": "POST"}, RBAC + resource, json.dumps(body), None)

        for name, rules, subjects in RECORDED_ROLES:
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
            post("clusterroles", {"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
            post("clusterrolebindings", {"kind": "ClusterRoleBinding", "metadata": {"name": name},
                                         "roleRef": role, "subjects": subjects})

    def one(self, exchange):
        request = exchange["request"]
        body = request.get("body")
        if body is not None:
            body = self.fill(body if isinstance(body, str) else json.dumps(body))
        token = request.get("token")
        if token is not None:
            token = self.fill(token)
        path = self.fill(request["path"]).replace(" ", "%20")
        status, headers, raw = self.client.send(request, path, body, token)
        got = parse(raw)
        self.answers[exchange["id"]] = got
        if exchange.get("setup"):
            return "" if status == exchange["status"] else f"status: want {exchange['status']} got {status} {raw[:300]}"
        if status != exchange["status"]:
            return f"status: want {exchange['status']} got {status}\n      want {json.dumps(exchange['response'])[:700]}\n      got  {raw[:700]}"
        normal = Normal(self.client.url.port)
        want = normal.value(exchange["response"])
        have = align(want, normal.value(got))
        if isinstance(want, str) and want.startswith("apiVersion") and isinstance(have, str):
            strip = lambda t: re.sub(r"  managedFields:\n(  - .*\n|    .*\n|      .*\n)*", "", t)
            want, have = strip(want), strip(have)
        if isinstance(want, dict) and "type" in want and "object" in want and isinstance(have, list) and len(have) == 1:
            have = have[0]
        if isinstance(want, list) and isinstance(have, dict):
            have = align(want, [have])
        if not equal(want, have):
            return difference(want, have) or "differs"
        wanted_headers = {k: v for k, v in exchange.get("headers", {}).items() if k in COMPARED_HEADERS}
        got_headers = headers_of(headers, wanted_headers)
        got_headers = {k: normal.value(v) for k, v in got_headers.items()}
        wanted_headers = {k: normal.value(v) for k, v in wanted_headers.items()}
        if wanted_headers != align(wanted_headers, got_headers):
            return f"headers: want {wanted_headers} got {got_headers}"
        return ""


def run(args):
    folder = golden()
    if folder is None:
        return None
    replay = Replay(args)
    shown = 0
    result = {}
    wanted = args.topics.split(",") if args.topics else TOPICS
    for topic in TOPICS:
        equal_count = total = 0
        failures = []
        last = max(TOPICS.index(t) for t in wanted)
        if TOPICS.index(topic) > last:
            break
        if topic == "access":
            replay.make_recorded_roles()
        for line in open(folder / f"{topic}.jsonl"):
            exchange = json.loads(line)
            why = replay.one(exchange)
            if not exchange.get("setup"):
                total += 1
                equal_count += not why
            if why:
                failures.append(exchange["id"])
                show = topic in wanted and (not args.only or exchange["id"] in args.only.split(","))
                if show and shown < args.show:
                    shown += 1
                    r = exchange["request"]
                    print(f"--- {exchange['id']} {r['method']} {r['path']} {exchange.get('note', '')}\n    {why}")
        result[topic] = (equal_count, total, failures)
    return result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--url", required=True)
    p.add_argument("--token")
    p.add_argument("--ca")
    p.add_argument("--cert")
    p.add_argument("--key")
    p.add_argument("--topics")
    p.add_argument("--only")
    p.add_argument("--show", type=int, default=0)
    args = p.parse_args()
    result = run(args)
    if result is None:
        print("SKIP golden_rest: the golden exchanges are not here (set KEELSON_SHARED)")
        return
    for topic, (equal_count, total, failures) in result.items():
        print(f"{topic:10} {equal_count:4}/{total:<4} {' '.join(failures)[:600]}")
    print("total", sum(r[0] for r in result.values()), "of", sum(r[1] for r in result.values()))


if __name__ == "__main__":
    main()
