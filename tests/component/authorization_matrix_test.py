#!/usr/bin/python3
"""What a real kube-apiserver of ours asks its authorizer, for every row of authorization_matrix.tsv: a user without rights
sends each request, and the refusal says what was asked. The same over gRPC, for what its Request can say.

The unit test beside apiserver/chain/request_info.h compares every attribute, selectors and version included."""
import collections
import http.client
import json
import pathlib
import ssl
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import apiserver_process
from attacks.target import DO, Target

WATCH = "/keelson.resources.v1.Resources/Watch"
Row = collections.namedtuple("Row", "path method verb kind group version resource subresource namespace name asked")
SELF = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")  # everybody may
OPEN = ("/api", "/apis", "/healthz", "/livez", "/openapi", "/readyz", "/version", "/.well-known", "/openid")  # likewise


def rows():
    unescape = lambda text: text.encode().decode("unicode_escape").encode("latin1").decode() if "\\x" in text else text
    for line in pathlib.Path(__file__).with_name("authorization_matrix.tsv").read_text().splitlines():
        if line.startswith("#"):
            continue
        f = [unescape(x) for x in line.split("\t")] + [""] * 12
        for ask in f[1].split(" "):
            method, _, verb = ask.partition(":")
            yield Row(f[0], method, verb, *f[2:10])


def go_quote(text):
    return json.dumps(text, ensure_ascii=False).replace("\\u0000", "\\x00").replace("\x7f", "\\x7f")


def refusal(row):
    if row.kind == "path":
        return f"forbidden: User \"alice\" cannot {row.verb} path {go_quote(row.asked)}"
    qualified = row.resource + ("." + row.group if row.group else "")
    of = "" if not row.resource else qualified + " is " if not row.name else f"{qualified} {go_quote(row.name)} is "
    what = row.resource + ("/" + row.subresource if row.subresource else "")
    where = f"in the namespace {go_quote(row.namespace)}" if row.namespace else "at the cluster scope"
    return (f"{of}forbidden: User \"alice\" cannot {row.verb} resource {go_quote(what)} in API group "
            f"{go_quote(row.group)} {where}")


def may_be_allowed(row):
    """What the default roles give to every user."""
    if row.kind == "path":
        return row.verb == "get" and row.asked.startswith(OPEN)
    return row.verb == "create" and row.resource in SELF and not row.subresource


class Rest:
    def __init__(self, server):
        self.server, self.connection = server, None
        self.context = ssl.create_default_context(cafile=server.pki.file("ca.crt"))

    def ask(self, method, path):
        for last in (False, True):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=20,
                                                                  context=self.context)
                c = self.connection
                c.putrequest(method, path, skip_accept_encoding=True)
                c.putheader("Authorization", "Bearer tok-alice")
                if method in ("POST", "PUT", "PATCH"):
                    c.putheader("Content-Length", "0")
                c.endheaders()
                r = c.getresponse()
                return r.status, r.read()
            except (http.client.HTTPException, OSError):
                self.connection = None
                if last:
                    raise


def compare_rest(server):
    rest, wrong, compared = Rest(server), [], 0
    for row in rows():
        status, body = rest.ask(row.method, row.path)
        compared += 1
        if row.kind.startswith("!"):
            good = f"!{status}" == row.kind
        elif status != 403:
            good = may_be_allowed(row)
        else:
            good = row.method == "HEAD" or json.loads(body)["message"] == refusal(row)
        if not good:
            wrong.append(f"{row.method} {row.path}: {status} {body[:200]!r}, not {refusal(row)}")
    return compared, wrong


def sayable(row):
    """Whether a gRPC Request can say what this path says; the selectors of the others are compared in the unit test."""
    if row.kind != "resource" or "?" in row.path or not row.verb or row.verb == "proxy" or not row.version:
        return False
    if any(part in (".", "..") or set(part) & set("/%") or not part.isprintable() for part in row[4:10]):
        return False
    needs_name = row.verb in ("get", "update", "patch", "delete") or (row.verb == "create" and row.subresource)
    has_no_name = row.verb in ("list", "deletecollection") or (row.verb == "create" and not row.subresource)
    if (needs_name and not row.name) or (has_no_name and row.name) or not row.resource:
        return False
    return not (row.verb in ("list", "watch", "deletecollection") and row.subresource) and row.resource != "watch"


def compare_grpc(target):
    import grpc
    wrong, compared = [], 0
    metadata = [("authorization", "Bearer tok-alice")]
    with target.channel(None) as channel:
        do, watch = channel.unary_unary(DO), channel.stream_stream(WATCH)
        for row in {r[2:]: r for r in rows() if sayable(r) and not may_be_allowed(r)}.values():
            own = row.resource == "namespaces" and row.namespace == row.name and "/namespaces/namespaces" not in row.path
            request = target.wire.Request(verb=row.verb, group=row.group, version=row.version, resource=row.resource,
                                          subresource=row.subresource, name=row.name,
                                          namespace_name="" if own else row.namespace).SerializeToString()
            compared += 1
            try:
                if row.verb == "watch":
                    next(watch(iter([request]), timeout=20, metadata=metadata))
                else:
                    do(request, timeout=20, metadata=metadata)
                said = "allowed"
            except grpc.RpcError as e:
                details = dict(e.trailing_metadata() or ()).get("grpc-status-details-bin", b"{}")
                said = json.loads(details).get("message", e.details())
            if said != refusal(row):
                wrong.append(f"{row}: {said}, not {refusal(row)}")
    return compared, wrong


def main():
    server = apiserver_process.ApiServer("kvstore")
    target = Target(server)
    failed = False
    try:
        server.wait_ready()
        for name, compare, least in (("rest", lambda: compare_rest(server), 6000),
                                     ("grpc", lambda: compare_grpc(target), 500)):
            compared, wrong = compare()
            good = not wrong and compared >= least
            failed |= not good
            print(f"PASS authorization_matrix.{name} ({compared} requests)" if good else
                  f"FAIL authorization_matrix.{name}: {len(wrong)} of {compared}: " + "\n  ".join(wrong[:12]), flush=True)
    finally:
        target.close()
        server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
