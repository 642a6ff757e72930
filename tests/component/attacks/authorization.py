"""Who may do what: requests that look like others, names where none belong, and what a refusal gives away."""
import http.client
import json

from .target import ADMIN, STRANGER

EVERYTHING_OF_CUSTOM = [{"apiGroups": ["*.custom.io", "custom.io"], "resources": ["*", "*/*"], "verbs": ["*"]}]
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


def refused(answer, code, what):
    assert answer.code == code, f"{what}: {answer}"


def config_map(target, name):
    target.make(MAPS, {"metadata": {"name": name, "labels": {"attack": "yes"}}})


def attack_connect_verbs_are_asked_with_their_group(target):
    target.allow("mallory", EVERYTHING_OF_CUSTOM)
    for method, path in (("GET", f"{PODS}/p/log"), ("POST", f"{PODS}/p/exec?command=id"), ("GET", f"{PODS}/p/exec"),
                         ("POST", f"{PODS}/p/attach"), ("POST", f"{PODS}/p/portforward"), ("GET", f"{PODS}/p/proxy/"),
                         ("GET", "/api/v1/nodes/n/proxy/metrics"), ("POST", "/api/v1/nodes/n/proxy/run/x"),
                         ("GET", "/api/v1/namespaces/default/services/s/proxy/")):
        refused(target.ask(method, path, who="mallory"), 403, f"{method} {path}")
    # What the role names is asked and allowed, and nothing is there.
    for path in ("/apis/custom.io/v1/namespaces/default/pods/p/log", "/apis/custom.io/v1/nodes/n/proxy/metrics",
                 "/apis/custom.io/v1/namespaces/default/pods/p/exec"):
        refused(target.ask("GET", path, who="mallory"), 404, path)
    for resource, subresource in (("pods", "log"), ("pods", "exec"), ("nodes", "proxy")):
        ask = dict(verb="get", version="v1", resource=resource, subresource=subresource, name="p",
                   namespace_name="" if resource == "nodes" else "default")
        refused(target.call("mallory", **ask), 403, f"gRPC {resource}/{subresource}")
        refused(target.call("mallory", **ask, group="custom.io"), 404, f"gRPC {resource}/{subresource} of custom.io")
        assert target.call(ADMIN, **ask).code in (404, 405), "gRPC has no streams to elsewhere"


def attack_a_selector_names_nothing_but_lists(target):
    for name in ("mine", "other"):
        config_map(target, name)
    target.allow("mallory", [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"],
                              "verbs": ["create", "deletecollection", "list", "update", "patch"]}], "default")
    selector = "?fieldSelector=metadata.name%3Dmine"
    refused(target.ask("POST", MAPS + selector, {"metadata": {"name": "new"}}, who="mallory"), 403, "create")
    for more in ("", "&labelSelector=attack%3Dyes", "&limit=1"):
        refused(target.ask("DELETE", MAPS + selector + more, who="mallory"), 403, "deletecollection")
    refused(target.ask("GET", MAPS + "?fieldSelector=metadata.name!%3Dother", who="mallory"), 403, "list of all but one")
    refused(target.ask("GET", MAPS + "?fieldSelector=metadata.name%3Dmine&limit=x", who="mallory"), 403, "broken options")
    refused(target.ask("GET", MAPS + selector, who="mallory"), 200, "list of the one")
    options = target.wire.Options(field_selector="metadata.name=mine")
    of = dict(version="v1", resource="configmaps", namespace_name="default", options=options)
    refused(target.call("mallory", verb="deletecollection", **of), 403, "gRPC deletecollection")
    refused(target.call("mallory", verb="create", body=b"{}", content_type="application/json", **of), 403, "gRPC create")
    refused(target.call("mallory", verb="list", **of), 200, "gRPC list of the one")
    assert target.ask("GET", MAPS + "/other").code == 200 and target.ask("GET", MAPS + "/new").code == 404


def attack_grpc_cannot_name_what_has_no_name(target):
    for name in ("mine", "other"):
        config_map(target, name)
    target.allow("mallory", [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"],
                              "verbs": ["*"]}], "default")
    of = dict(version="v1", resource="configmaps", namespace_name="default")
    body = dict(body=b'{"metadata":{"name":"new"}}', content_type="application/json")
    for verb in ("deletecollection", "create", "list"):
        refused(target.call("mallory", verb=verb, name="mine", **body, **of), 400, f"{verb} with a name")
    for verb in ("get", "update", "patch", "delete", "connect", "proxy", ""):
        refused(target.call(ADMIN, verb=verb, **of), 400, f"{verb or 'no verb'} without a name")
    for verb in ("list", "deletecollection", "create"):
        refused(target.call(ADMIN, verb=verb, subresource="status", **of), 400, f"{verb} of a subresource")
    for bad in ("a/b", "..", ".", "a%2Fb", "a%b", "a\nb", "a\0b", "\x7f", "../secrets/x"):
        for field in ("name", "namespace_name", "resource", "group", "version", "subresource"):
            ask = dict(dict(of, verb="get", name="mine"), **{field: bad})
            refused(target.call(ADMIN, **ask), 400, f"{field} {bad!r}")
    assert target.ask("GET", MAPS + "/other").code == 200 and target.ask("GET", MAPS + "/mine").code == 200


def attack_refusals_tell_nothing(target):
    """Who may not ask learns neither what is served nor whether his request was good; his body is not read."""
    big = "x" * (4 << 20)
    for who in ("nobody", STRANGER):
        for method, path, body, kind in (
                ("FOO", PODS, None, None), ("OPTIONS", PODS, None, None), ("HEAD", PODS + "/x", None, None),
                ("GET", "/apis/unknown.io/v9/things", None, None), ("GET", "/api/v1/unknown/x/y", None, None),
                ("PATCH", PODS + "/x", "{}", "text/plain"), ("POST", PODS, "{", "application/json"),
                ("GET", PODS + "?limit=abc", None, None), ("PUT", PODS, "{}", None), ("POST", PODS + "/x", "{}", None),
                ("GET", "/api/v1/namespaces/default/pods/a%2525b", None, None), ("POST", PODS, big, "application/json"),
                ("GET", "/metrics", None, None), ("GET", "/%6detrics", None, None), ("GET", "//metrics", None, None),
                ("GET", "/api/v1/namespaces/default/secrets%2Fx", None, None), ("DELETE", "/no/such/page", None, None)):
            try:
                answer = target.ask(method, path, body, who=who, headers={"Content-Type": kind} if kind else None)
            except (ConnectionError, http.client.HTTPException):
                assert body is big, f"{method} {path} as {who} was cut off"
                continue
            refused(answer, 403, f"{method} {path} as {who}")
        for ask in (dict(group="unknown.io", version="v9", resource="things", verb="list"),
                    dict(version="v1", resource="pods", subresource="unknown", name="x", verb="get"),
                    dict(version="v1", resource="pods", namespace_name="default", verb="create", body=b"{"),
                    dict(version="v1", resource="pods", namespace_name="default", verb="patch", name="x", body=b"{")):
            refused(target.call(who, **ask), 403, f"gRPC {ask} as {who}")


def attack_a_namespace_is_in_itself(target):
    for name in ("attack-mine", "attack-other"):
        target.make("/api/v1/namespaces", {"metadata": {"name": name}})
    target.allow("mallory", [{"apiGroups": [""], "resources": ["namespaces", "namespaces/status"], "verbs": ["get"]}],
                 "attack-mine")
    get = dict(verb="get", version="v1", resource="namespaces")
    for way, ask in (("REST", lambda n: target.ask("GET", f"/api/v1/namespaces/{n}", who="mallory")),
                     ("gRPC", lambda n: target.call("mallory", name=n, **get))):
        refused(ask("attack-mine"), 200, way)
        refused(ask("attack-other"), 403, way)
    refused(target.ask("GET", "/api/v1/namespaces", who="mallory"), 403, "all namespaces")
    # A namespace beside the name is another path.
    refused(target.call("mallory", name="attack-other", namespace_name="attack-mine", **get), 404, "gRPC both")
    refused(target.ask("GET", "/api/v1/namespaces/attack-mine/namespaces/attack-other", who="mallory"), 404, "REST both")


def attack_an_update_that_creates_needs_create(target):
    coordination = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    target.allow("mallory", [dict(coordination, verbs=["update", "patch", "get"])], "default")
    target.allow("bob", [dict(coordination, verbs=["update", "create"])], "default")
    base = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "made", "namespace": "default"}}
    answer = target.ask("PUT", f"{base}/made", lease, who="mallory")
    refused(answer, 403, "PUT")
    assert 'cannot create resource "leases" in API group "coordination.k8s.io"' in answer.message, answer
    refused(target.ask("PUT", f"{base}/made?dryRun=All", lease, who="mallory"), 403, "PUT as a dry run")
    of = dict(verb="update", group="coordination.k8s.io", version="v1", resource="leases", namespace_name="default",
              name="made", body=json.dumps(lease).encode(), content_type="application/json")
    refused(target.call("mallory", **of), 403, "gRPC update")
    refused(target.ask("GET", f"{base}/made"), 404, "nothing was made")
    target.undo("DELETE", f"{base}/made")
    made = target.ask("PUT", f"{base}/made", lease, who="bob")
    refused(made, 201, "with create")
    refused(target.ask("PUT", f"{base}/made", made.json, who="mallory"), 200, "a plain update")


def attack_a_stream_needs_create(target):
    subresources = ["pods/exec", "pods/attach", "pods/portforward"]
    target.allow("mallory", [{"apiGroups": [""], "resources": subresources, "verbs": ["get"]}], "default")
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for subresource in subresources:
        path = f"{PODS}/p/{subresource.partition('/')[2]}"
        refused(target.ask("GET", path, who="mallory", headers=upgrade), 403, f"GET {path}")
        refused(target.ask("POST", path, who="mallory"), 403, f"POST {path}")
