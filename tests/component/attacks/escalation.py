"""Nobody grants what he does not hold: not by labels, not by aggregation, not by another verb."""
import json

from .target import ADMIN

RBAC = "/apis/rbac.authorization.k8s.io/v1"
LABEL = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
NOT_HELD = "is attempting to grant RBAC permissions not currently held"
WRITERS = [{"apiGroups": ["rbac.authorization.k8s.io"], "verbs": ["get", "create", "update", "patch"],
            "resources": ["clusterroles", "clusterrolebindings", "roles", "rolebindings"]}]
MERGE = {"Content-Type": "application/merge-patch+json"}


def refused(answer, what, why=NOT_HELD):
    assert answer.code == 403 and why in answer.message, f"{what}: {answer}"


def patch(target, who, path, change):
    return target.ask("PATCH", path, json.dumps(change), who=who, headers=MERGE)


def attack_labels_and_annotations_of_roles(target):
    target.allow("mallory", WRITERS)
    path = f"{RBAC}/clusterroles/cluster-admin"
    before = target.ask("GET", path).json
    refused(patch(target, "mallory", path, LABEL), "merge patch")
    refused(patch(target, "mallory", path + "?dryRun=All", LABEL), "dry run")
    operations = [{"op": "add", "path": "/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-view", "value": "true"}]
    refused(target.ask("PATCH", path, json.dumps(operations), who="mallory",
                       headers={"Content-Type": "application/json-patch+json"}), "JSON patch")
    labelled = json.loads(json.dumps(before))
    labelled["metadata"]["labels"].update(LABEL["metadata"]["labels"])
    refused(target.ask("PUT", path, labelled, who="mallory"), "PUT")
    refused(patch(target, "mallory", path, {"metadata": {"annotations": {"a": "b"}}}), "annotation")
    refused(patch(target, "mallory", path, {"metadata": {"annotations": {"a": "b"}, "finalizers": ["a.io/b"]}}),
            "annotation beside a finalizer")
    of = dict(group="rbac.authorization.k8s.io", version="v1", resource="clusterroles", name="cluster-admin")
    refused(target.call("mallory", verb="patch", patch_type="merge", body=json.dumps(LABEL).encode(),
                        content_type=MERGE["Content-Type"], **of), "gRPC patch")
    refused(target.call("mallory", verb="update", body=json.dumps(labelled).encode(), content_type="application/json",
                        **of), "gRPC update")
    assert target.ask("GET", path).json == before, "the role has changed"


def attack_bindings(target):
    target.allow("mallory", WRITERS)
    path = f"{RBAC}/clusterrolebindings/cluster-admin"
    before = target.ask("GET", path).json
    subject = {"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}
    refused(patch(target, "mallory", path, {"subjects": [subject]}), "another subject")
    refused(patch(target, "mallory", path, {"metadata": {"labels": {"a": "b"}}}), "label")
    new = {"metadata": {"name": "attack"}, "subjects": [subject],
           "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}}
    refused(target.ask("POST", f"{RBAC}/clusterrolebindings", new, who="mallory"), "create")
    refused(target.ask("PUT", f"{RBAC}/clusterrolebindings/attack",
                       dict(new, kind="ClusterRoleBinding", apiVersion="rbac.authorization.k8s.io/v1"), who="mallory"),
            "PUT that creates")
    refused(target.call("mallory", verb="create", group="rbac.authorization.k8s.io", version="v1",
                        resource="rolebindings", namespace_name="kube-system", body=json.dumps(new).encode(),
                        content_type="application/json"), "gRPC create")
    assert target.ask("GET", path).json == before, "the binding has changed"
    assert target.ask("GET", f"{RBAC}/clusterrolebindings/attack").code == 404


def attack_aggregation(target):
    held = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    target.allow("mallory", WRITERS + held)
    rule = {"clusterRoleSelectors": [{"matchLabels": {"attack": "yes"}}]}
    target.make(f"{RBAC}/clusterroles", {"metadata": {"name": "attack-gathers"}, "aggregationRule": rule})
    target.make(f"{RBAC}/clusterroles", {"metadata": {"name": "attack-plain"}, "rules": held})
    why = "must have cluster-admin privileges to use the aggregationRule"
    refused(target.ask("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "attack-new"}, "aggregationRule": rule},
                       who="mallory"), "create", why)
    gathers, plain = f"{RBAC}/clusterroles/attack-gathers", f"{RBAC}/clusterroles/attack-plain"
    refused(patch(target, "mallory", plain, {"aggregationRule": rule}), "begin", why)
    refused(patch(target, "mallory", gathers, {"aggregationRule": None}), "end", why)
    refused(patch(target, "mallory", gathers, {"metadata": {"labels": {"a": "b"}}}), "label", why)
    answer = patch(target, "mallory", plain, {"metadata": {"labels": {"a": "b"}}})
    assert answer.code == 200, f"a role that the user holds: {answer}"


def attack_what_the_garbage_collector_changes_is_free(target):
    """Or roles that nobody but an administrator could grant could not be collected."""
    target.allow("collector", WRITERS)
    target.make(f"{RBAC}/clusterroles", {"metadata": {"name": "attack-owned", "finalizers": ["a.io/b"]},
                                         "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})
    path = f"{RBAC}/clusterroles/attack-owned"
    for change in ({"finalizers": ["a.io/b", "a.io/c"]}, {"finalizers": None}, {"ownerReferences": None}):
        answer = patch(target, "collector", path, {"metadata": change})
        assert answer.code == 200, f"{change}: {answer}"
    refused(patch(target, "collector", path, {"metadata": {"labels": {"a": "b"}}}), "label")


def attack_escalate_by_name(target):
    """A create has no name yet: the right to escalate one role by name is not for it."""
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    target.allow("mallory", WRITERS + [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
                                        "resourceNames": ["attack-mine"], "verbs": ["escalate"]}])
    role = {"metadata": {"name": "attack-mine"}, "rules": everything}
    refused(target.ask("POST", f"{RBAC}/clusterroles", role, who="mallory"), "create")
    target.make(f"{RBAC}/clusterroles", dict(role, rules=[]))
    answer = patch(target, "mallory", f"{RBAC}/clusterroles/attack-mine", {"rules": everything})
    assert answer.code == 200, f"an update of the named role: {answer}"
    refused(target.ask("PUT", f"{RBAC}/clusterroles/attack-made",
                       {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                        "metadata": {"name": "attack-made"}, "rules": everything}, who="mallory"), "PUT that creates")


def attack_who_holds_it_may(target):
    target.allow("lead", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                          {"nonResourceURLs": ["*"], "verbs": ["*"]}])
    target.make(f"{RBAC}/clusterroles", {"metadata": {"name": "attack-lead"}, "rules": WRITERS})
    assert patch(target, "lead", f"{RBAC}/clusterroles/attack-lead", LABEL).code == 200
    assert target.ask("GET", f"{RBAC}/clusterroles/attack-lead", who=ADMIN).code == 200
