#!/usr/bin/env python3
"""What every answer of the REST front has beside its body: Audit-Id, gzip for long ones; and the documents that only
some clients ask for: ComponentStatus, OpenAPI v2 as Protobuf."""
import gzip
import http.client
import json
import ssl

import apiserver_process

V2 = "application/com.github.proto-openapi.spec.v2"
failures = 0


def check(name, good, detail=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} rest_answers.{name} {'' if good else detail}")


class Client:
    def __init__(self, server):
        context = ssl.create_default_context(cafile=server.pki.file("ca.crt"))
        context.load_cert_chain(server.pki.file("admin.crt"), server.pki.file("admin.key"))
        self.connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)

    def ask(self, method, path, body=None, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        self.connection.request(method, path, body, headers)
        r = self.connection.getresponse()
        return r, r.read()


def run(server):
    client = Client(server)
    first, _ = client.ask("GET", "/healthz")
    second, _ = client.ask("GET", "/api/v1/namespaces/none")
    ids = {first.getheader("audit-id"), second.getheader("audit-id")}
    check("every_answer_has_an_audit_id", None not in ids and len(ids) == 2, ids)
    own, _ = client.ask("GET", "/api/v1/namespaces", Audit_ID="mine")
    check("the_clients_audit_id_is_kept", own.getheader("audit-id") == "mine", own.getheaders())

    short, _ = client.ask("GET", "/api/v1/namespaces", Accept_Encoding="gzip")
    check("short_answers_are_not_packed", short.getheader("content-encoding") is None)
    big = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"a": "0123456789" * 40000}}
    client.ask("POST", "/api/v1/namespaces/default/configmaps", json.dumps(big), Content_Type="application/json")
    plain, text = client.ask("GET", "/api/v1/configmaps")
    packed, bytes_ = client.ask("GET", "/api/v1/configmaps", Accept_Encoding="deflate, gzip")
    check("long_answers_are_packed", packed.getheader("content-encoding") == "gzip" and len(bytes_) < len(text) / 10
          and plain.getheader("content-encoding") is None, packed.getheaders())
    check("packed_answers_are_whole", json.loads(gzip.decompress(bytes_)) == json.loads(text))

    _, body = client.ask("GET", "/api/v1/componentstatuses")
    items = {i["metadata"]["name"]: i["conditions"][0] for i in json.loads(body)["items"]}
    check("component_statuses", list(items) == ["etcd-0", "controller-manager", "scheduler"]
          and items["etcd-0"] == {"type": "Healthy", "status": "True", "message": "ok"}, items)
    missing, body = client.ask("GET", "/api/v1/componentstatuses/none")
    check("no_such_component", missing.status == 404, body)

    for accept in (V2 + "@v1.0+protobuf", V2 + ".v1.0+protobuf"):
        r, body = client.ask("GET", "/openapi/v2", Accept=accept)
        good = r.status == 200 and r.getheader("content-type") == V2 + ".v1.0+protobuf"
        # swagger = 1, info = 2
        check("openapi_v2_protobuf", good and body.startswith(b"\x0a\x032.0\x12"), (r.status, r.getheaders()))


def main():
    if not apiserver_process.store_program("kvstore"):
        print("SKIP rest_answers: the store is not built")
        return
    server = apiserver_process.ApiServer("kvstore")
    try:
        server.wait_ready()
        run(server)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
