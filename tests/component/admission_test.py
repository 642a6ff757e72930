#!/usr/bin/env python3
"""What admission refuses or changes: kubelets beyond their own objects, privileged containers, images that are not pulled,
secrets that an account does not list, external IPs, certificates for administrators. The texts are the original's:
`admission_test.py PROGRAM` runs the same against a real kube-apiserver (with etcd as its store)."""
import base64
import json
import pathlib
import subprocess
import sys
import tempfile

import checks
from attacks.target import ADMIN

NS = "/api/v1/namespaces/admitted"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
MIRROR = "kubernetes.io/config.mirror"
check = checks.Checks("admission")
original = len(sys.argv) > 1


class Api:
    def __init__(self, target):
        self.target = target

    def ask(self, method, path, body=None, node=None, user=None, kind=None):
        headers = {"Impersonate-Group": "system:nodes"} if node else {}
        if kind:
            headers["Content-Type"] = kind
            body = json.dumps(body)
        who = f"system:node:{node}" if node else user or ADMIN
        return self.target.ask(method, path, body, who=who, headers=headers)

    def post(self, path, body, **who):
        return self.ask("POST", path, body, **who)

    def refused(self, name, answer, text):
        """Forbidden, with the plug-in's words after the resource and name."""
        check(name, (answer.code, text in answer.message or answer.message), (403, True))


def pod(name="p", meta=None, **spec):
    spec.setdefault("containers", [{"name": "c", "image": "i:1"}])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": dict(meta or {}, name=name), "spec": spec}


def request_of(subject):
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{d}/k", "-out", f"{d}/r", "-subj",
                        subject], check=True, capture_output=True)
        return base64.b64encode(pathlib.Path(d, "r").read_bytes()).decode()


def csr(name, subject, signer, usages=("digital signature", "client auth")):
    return {"metadata": {"name": name}, "spec": {"request": request_of(subject), "signerName": signer,
                                                 "usages": list(usages)}}


def nodes(api):
    post = lambda name="n1", labels=None, **spec: api.post("/api/v1/nodes", {
        "metadata": {"name": name, "labels": labels or {}}, "spec": spec}, node="n1")
    api.refused("node.of_another", post("n2"), 'node "n1" is not allowed to modify node "n2"')
    for key in ("node-restriction.kubernetes.io/x", "a.node-restriction.kubernetes.io/x"):
        api.refused(f"node.label_{key}", post(labels={key: "y"}),
                    f'node "n1" is not allowed to set the following labels: {key}')
    # One fork of the original lets a few more labels through at creation only.
    api.refused("node.config_source", post(configSource={"configMap": {"name": "x", "namespace": "y",
                                                                       "kubeletConfigKey": "z"}}),
                'node "n1" is not allowed to create pods with a non-nil configSource')
    check("node.own", post(labels={"kubernetes.io/hostname": "n1", "kubelet.kubernetes.io/x": "y"}).code, 201)
    api.post("/api/v1/nodes", {"metadata": {"name": "n2"}})
    patch = lambda body, name="n1": api.ask("PATCH", f"/api/v1/nodes/{name}", body, node="n1", kind=MERGE)
    api.refused("node.taints", patch({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
                'node "n1" is not allowed to modify taints')
    api.refused("node.owners", patch({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]}}), 'node "n1" is not allowed to modify ownerReferences')
    api.refused("node.labels", patch({"metadata": {"labels": {"b.k8s.io/x": "1", "a.kubernetes.io/x": "1"}}}),
                "is not allowed to modify labels: a.kubernetes.io/x, b.k8s.io/x")
    check("node.free_label", patch({"metadata": {"labels": {"example.com/x": "1"}}}).code, 200)
    check("node.another", patch({"metadata": {"labels": {"example.com/x": "1"}}}, "n2").code, 403)


def mirror_pods(api):
    uid = api.ask("GET", "/api/v1/nodes/n1").json["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": True}

    def post(name, owners=(owner,), mirror=True, **spec):
        meta = {"ownerReferences": list(owners)}
        if mirror:
            meta["annotations"] = {MIRROR: "x"}
        spec.setdefault("nodeName", "n1")
        return api.post(f"{NS}/pods", pod(name, meta, **spec), node="n1")

    api.refused("mirror.none", post("m", mirror=False),
                f'pod does not have "{MIRROR}" annotation, node "n1" can only create mirror pods')
    api.refused("mirror.of_another_node", post("m", nodeName="n2"),
                'node "n1" can only create pods with spec.nodeName set to itself')
    only = 'node "n1" can only create pods with '
    for name, owners, text in (
            ("two_owners", (owner, dict(owner, uid="u")), only + "a single owner reference set to itself"),
            ("no_owner", (), only + "an owner reference set to itself"),
            ("other_owner", (dict(owner, name="n2"),), only + "an owner reference set to itself"),
            ("no_controller", ({k: v for k, v in owner.items() if k != "controller"},),
             only + "a controller owner reference set to itself"),
            ("blocking_owner", (dict(owner, blockOwnerDeletion=True),),
             'node "n1" must not set blockOwnerDeletion on an owner reference'),
            ("other_uid", (dict(owner, uid="u"),), f"node n1 UID mismatch: expected u got {uid}")):
        api.refused(f"mirror.{name}", post("m", owners), text)
    named = 'node "n1" can not create pods that reference '
    env = lambda **source: [{"name": "c", "image": "i", "env": [{"name": "A", "valueFrom": source}]}]
    volume = lambda **source: [dict(source, name="v")]
    for name, spec, what in (
            ("secret_volume", {"volumes": volume(secret={"secretName": "s"})}, "secrets"),
            ("config_map_volume", {"volumes": volume(configMap={"name": "s"})}, "configmaps"),
            ("claim", {"volumes": volume(persistentVolumeClaim={"claimName": "s"})}, "persistentvolumeclaims"),
            ("nameless_secret", {"volumes": volume(secret={})}, "secrets (via secret volumes)"),
            ("csi", {"volumes": volume(csi={"driver": "d"})}, "csidrivers (via CSI volumes)"),
            ("token_volume", {"volumes": volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]})},
             "serviceaccounts (via projected volumes)"),
            ("claims", {"resourceClaims": [{"name": "r", "resourceClaimName": "r"}]}, "resourceclaims"),
            ("secret_variable", {"containers": env(secretKeyRef={"name": "s", "key": "k"})}, "secrets"),
            ("config_map_variable", {"containers": env(configMapKeyRef={"name": "s", "key": "k"})}, "configmaps"),
            ("pull_secret", {"imagePullSecrets": [{"name": "s"}]}, "secrets")):
        answer = post("m", **spec)
        # The plug-in for service accounts comes first and says it in its own words where it looks too.
        ok = named + what in answer.message or "a mirror pod may not " in answer.message
        check(f"mirror.names_{name}", (answer.code, ok or answer.message), (403, True))
    for name, spec in (("account", {"serviceAccountName": "default"}), ("account_by_the_old_name", {"serviceAccount": "default"})):
        api.refused(f"mirror.names_{name}", post("m", **spec), "a mirror pod may not reference service accounts")
    check("mirror.own", post("mirror", volumes=volume(hostPath={"path": "/x"})).code, 201)
    check("mirror.own_deleted", api.ask("DELETE", f"{NS}/pods/mirror?gracePeriodSeconds=0", node="n1").code, 200)


def pods_of_nodes(api):
    api.post(f"{NS}/pods", pod("mine", nodeName="n1", volumes=[
        {"name": "v", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}},
        {"name": "c", "csi": {"driver": "driver.example"}}]))
    api.post(f"{NS}/pods", pod("theirs", nodeName="n2"))
    status = lambda name, body: api.ask("PATCH", f"{NS}/pods/{name}/status", body, node="n1", kind=MERGE)
    check("pod.own_status", status("mine", {"status": {"phase": "Running"}}).code, 200)
    api.refused("pod.anothers_status", status("theirs", {"status": {"phase": "Running"}}),
                'node "n1" can only update pod status for pods with spec.nodeName set to itself')
    api.refused("pod.labels_through_status", status("mine", {"metadata": {"labels": {"a": "b"}}}),
                'node "n1" cannot update labels through pod status')
    api.refused("pod.claims_through_status", status("mine", {"status": {"resourceClaimStatuses": [{"name": "x"}]}}),
                'node "n1" cannot update resource claim statues')
    evict = lambda name: api.post(f"{NS}/pods/{name}/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "admitted"}}, node="n1")
    api.refused("pod.evict_anothers", evict("theirs"), "node n1 can only evict pods with spec.nodeName set to itself")
    check("pod.evict_none", evict("none").code, 404)
    api.refused("pod.delete_anothers", api.ask("DELETE", f"{NS}/pods/theirs", node="n1"),
                'node "n1" can only delete pods with spec.nodeName set to itself')

    api.post(f"{NS}/persistentvolumeclaims", {"metadata": {"name": "claim"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    claim = lambda body, sub="/status": api.ask("PATCH", f"{NS}/persistentvolumeclaims/claim{sub}", body, node="n1",
                                                kind=MERGE)
    check("claim.size", claim({"status": {"capacity": {"storage": "2Gi"}}}).code, 200)
    for name, body in (("labels", {"metadata": {"labels": {"a": "b"}}}), ("phase", {"status": {"phase": "Lost"}})):
        api.refused(f"claim.{name}", claim(body),
                    'node "n1" is not allowed to update fields other than status.quantity and status.conditions')


def tokens(api):
    api.post("/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": "driver.example"}, "spec": {
        "tokenRequests": [{"audience": "disk"}]}})
    uid = api.ask("GET", f"{NS}/pods/mine").json["metadata"]["uid"]
    other = api.ask("GET", f"{NS}/pods/theirs").json["metadata"]["uid"]

    def ask(audiences=(), name="mine", pod_uid=uid, bound=True):
        spec = {"audiences": list(audiences)}
        if bound:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod_uid}
        return api.post(f"{NS}/serviceaccounts/default/token", {"spec": spec}, node="n1")
    check("token.of_own_pod", ask().code, 201)
    api.refused("token.unbound", ask(bound=False), "node requested token not bound to a pod")
    api.refused("token.without_uid", ask(pod_uid=""), "node requested token with a pod binding without a uid")
    api.refused("token.other_uid", ask(pod_uid="u"), "the UID in the bound object reference (u) does not match the UID in "
                "record. The object might have been deleted and then recreated")
    check("token.no_pod", ask(name="none").code, 404)
    # That the account belongs to a pod of the node the authorizer knows.
    api.refused("token.anothers_pod", ask(name="theirs", pod_uid=other),
                "node requested token bound to a pod scheduled on a different node")
    check("token.audience_of_a_volume", ask(["vault"]).code, 201)
    check("token.audience_of_a_driver", ask(["disk"]).code, 201)
    api.refused("token.two_audiences", ask(["vault", "disk"]), "node may only request 0 or 1 audiences")
    denied = ask(["bank"])
    # A claim without a volume is looked up first; the original says that it was not found.
    check("token.other_audience", (denied.code, '"bank"' in denied.message), (403, True))


def more_of_nodes(api):
    lease = lambda ns, name: api.post(f"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
                                      {"metadata": {"name": name}}, node="n1")
    api.refused("lease.of_another", lease("kube-node-lease", "n2"),
                "can only access node lease with the same name as the requesting node")
    api.refused("lease.elsewhere", lease("admitted", "n1"),
                'can only access leases in the "kube-node-lease" system namespace')
    check("lease.own", lease("kube-node-lease", "n1").code, 201)
    api.refused("csi_node.of_another", api.post("/apis/storage.k8s.io/v1/csinodes", {
        "metadata": {"name": "n2"}, "spec": {"drivers": []}}, node="n1"),
        "can only access CSINode with the same name as the requesting node")
    slice_of = lambda name: {"metadata": {"name": "s-" + name}, "spec": {
        "driver": "d.example", "nodeName": name, "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}}
    slices = "/apis/resource.k8s.io/v1/resourceslices"
    api.refused("slice.of_another", api.post(slices, slice_of("n2"), node="n1"),
                "can only create ResourceSlice with the same NodeName as the requesting node")
    check("slice.own", api.post(slices, slice_of("n1"), node="n1").code, 201)
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    kubelet = "kubernetes.io/kube-apiserver-client-kubelet"
    api.refused("csr.of_another", api.post(requests, csr("a", "/O=system:nodes/CN=system:node:n2", kubelet), node="n1"),
                "can only create a node CSR with CN=system:node:n1")
    check("csr.own", api.post(requests, csr("b", "/O=system:nodes/CN=system:node:n1", kubelet), node="n1").code, 201)


def certificates(api):
    requests, signer = "/apis/certificates.k8s.io/v1/certificatesigningrequests", "kubernetes.io/kube-apiserver-client"
    for name, subject in (("masters", "/O=system:masters/CN=x"), ("masters_among_others", "/O=devs/O=system:masters/CN=x"),
                          ("masters_in_one_part", "/CN=x/O=devs+O=system:masters")):
        api.refused(f"certificate.{name}", api.post(requests, csr(name.replace("_", "-"), subject, signer)),
                    f"use of {signer} signer with system:masters group is not allowed")
    check("certificate.others", api.post(requests, csr("fine", "/O=devs/CN=x", signer)).code, 201)
    check("certificate.other_signer", api.post(requests, csr("other", "/O=system:masters/CN=x", "x.example/y")).code, 201)
    group = "certificates.k8s.io"
    api.target.allow("signer", [{"apiGroups": [group], "resources": ["certificatesigningrequests/approval",
                                                                     "certificatesigningrequests/status",
                                                                     "certificatesigningrequests"],
                                 "verbs": ["get", "update", "patch"]},
                                {"apiGroups": [group], "resources": ["signers"], "resourceNames": ["x.example/*"],
                                 "verbs": ["approve", "sign"]}])

    def approve(name, sub="approval", kind="Approved"):
        condition = {"type": kind, "status": "True", "reason": "r", "message": "m"}
        return api.ask("PATCH", f"{requests}/{name}/{sub}", {"status": {"conditions": [condition]}}, user="signer",
                       kind=MERGE)
    api.refused("certificate.approved_for_another_signer", approve("fine"),
                f'user not permitted to approve requests with signerName "{signer}"')
    api.refused("certificate.signed_for_another_signer", approve("fine", "status", "Failed"),
                f'user not permitted to sign requests with signerName "{signer}"')
    check("certificate.approved", approve("other").code, 200)


def mountable_secrets(api):
    api.post(f"{NS}/serviceaccounts", {"metadata": {"name": "strict", "annotations": {
        "kubernetes.io/enforce-mountable-secrets": "true"}}, "secrets": [{"name": "good"}],
        "imagePullSecrets": [{"name": "pull"}]})
    post = lambda name="s", **spec: api.post(f"{NS}/pods", pod(name, serviceAccountName="strict", **spec))
    lacks = "is not allowed because service account strict does not reference that "
    env = lambda secret: {"name": "c", "image": "i", "env": [{"name": "A", "valueFrom": {
        "secretKeyRef": {"name": secret, "key": "k"}}}]}
    source = lambda secret: {"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": secret}}]}
    init = lambda c: {"initContainers": [dict(c, name="i")]}
    quoted = 'referencing secret.secretName="bad" '
    for name, spec, text in (
            ("volume", {"volumes": [{"name": "v", "secret": {"secretName": "bad"}}]},
             f'volume with secret.secretName="bad" {lacks}secret'),
            ("variable", {"containers": [env("bad")]}, f"container c with envVar A {quoted}{lacks}secret"),
            ("variables", {"containers": [source("bad")]}, f"container c with envFrom {quoted}{lacks}secret"),
            ("init_variable", init(env("bad")), f"init container i with envVar A {quoted}{lacks}secret"),
            ("init_variables", init(source("bad")), f"init container i with envFrom {quoted}{lacks}secret"),
            ("pull_secret", {"imagePullSecrets": [{"name": "bad"}]},
             f'imagePullSecrets[0].name="bad" {lacks}imagePullSecret')):
        api.refused(f"mountable.{name}", post(**spec), text)
    check("mountable.listed", post(containers=[env("good")], imagePullSecrets=[{"name": "pull"}]).code, 201)
    add = lambda c: api.ask("PATCH", f"{NS}/pods/s/ephemeralcontainers", {"spec": {"ephemeralContainers": [
        dict(c, name="e")]}}, kind=MERGE)
    for name, c, how in (("variable", env("bad"), "envVar A"), ("variables", source("bad"), "envFrom")):
        answer = add(c)
        # The original says it as a fault of its own.
        check(f"mountable.ephemeral_{name}", (answer.code, answer.message.endswith(
            f"ephemeral container e with {how} {quoted}{lacks}secret")), (500 if original else 403, True))
    check("mountable.ephemeral_listed", add(env("good")).code, 200)


def images_and_privileges(api):
    made = api.post(f"{NS}/pods", pod("pull", initContainers=[{"name": "i", "image": "i:1", "imagePullPolicy": "Never"}],
                                      containers=[{"name": "c", "image": "i:1", "imagePullPolicy": "IfNotPresent"}],
                                      volumes=[{"name": "v", "image": {"reference": "i:1", "pullPolicy": "Never"}}])).json
    check("image.pulled", [made["spec"]["initContainers"][0]["imagePullPolicy"],
                           made["spec"]["containers"][0]["imagePullPolicy"],
                           made["spec"]["volumes"][0]["image"]["pullPolicy"]], ["Always"] * 3)
    privileged = {"name": "e", "image": "i:1", "securityContext": {"privileged": True}}
    add = lambda c: api.ask("PATCH", f"{NS}/pods/pull/ephemeralcontainers", {"spec": {"ephemeralContainers": [c]}},
                            kind=MERGE)
    cluster_policy = "securityContext.privileged: Forbidden: disallowed by cluster policy"

    def privileged_refused(name, answer, path):
        check(f"privileged.{name}", (answer.code, f"{path}.{cluster_policy}" in answer.message or answer.message),
              (422, True))
    privileged_refused("ephemeral", add(privileged), "spec.ephemeralContainers[0]")
    added = add({"name": "e", "image": "i:2", "imagePullPolicy": "Never"})
    # The original leaves ephemeral containers alone here.
    check("image.pulled_for_ephemeral", added.json["spec"]["ephemeralContainers"][0]["imagePullPolicy"],
          "Never" if original else "Always")
    privileged_refused("pod", api.post(f"{NS}/pods", pod("x", containers=[privileged])), "spec.containers[0]")
    plain = {"name": "c", "image": "i"}
    privileged_refused("init", api.post(f"{NS}/pods", pod("x", initContainers=[privileged], containers=[plain])),
                       "spec.initContainers[0]")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [privileged]}}
    selector = {"matchLabels": {"a": "b"}}
    never = dict(template, spec=dict(template["spec"], restartPolicy="Never"))
    for name, path, spec, at in (
            ("deployment", "/apis/apps/v1/namespaces/admitted/deployments", {"selector": selector, "template": template},
             "spec.template.spec"),
            ("replication_controller", f"{NS}/replicationcontrollers", {"template": template}, "spec.template.spec"),
            ("cron_job", "/apis/batch/v1/namespaces/admitted/cronjobs",
             {"schedule": "@daily", "jobTemplate": {"spec": {"template": never}}}, "spec.jobTemplate.spec.template.spec")):
        privileged_refused(name, api.post(path, {"metadata": {"name": "x"}, "spec": spec}), f"{at}.containers[0]")


def external_ips(api):
    body = lambda **spec: {"metadata": {"name": "e"}, "spec": dict(ports=[{"port": 80}], **spec)}
    text = "Use of external IPs is denied by admission control"
    api.refused("external_ips.made", api.post(f"{NS}/services", body(externalIPs=["192.0.2.1"])), text)
    check("external_ips.without", api.post(f"{NS}/services", body()).code, 201)
    api.refused("external_ips.added", api.ask("PATCH", f"{NS}/services/e", {"spec": {"externalIPs": ["192.0.2.1"]}},
                                              kind=MERGE), text)


PARTS = [nodes, mirror_pods, pods_of_nodes, tokens, more_of_nodes, certificates, mountable_secrets, images_and_privileges, external_ips]


def prepare(target):
    api = Api(target)
    api.post("/api/v1/namespaces", {"metadata": {"name": "admitted"}})
    api.post(f"{NS}/serviceaccounts", {"metadata": {"name": "default"}})
    return api


if __name__ == "__main__":
    sys.exit(checks.run_parts(check, PARTS, prepare,
                              extra=["--enable-admission-plugins=NodeRestriction,AlwaysPullImages,DenyServiceExternalIPs",
                                     "--allow-privileged=false"]))
