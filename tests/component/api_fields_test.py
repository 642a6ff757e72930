#!/usr/bin/env python3
"""Fields of built-in objects that say one thing under two names or follow from others, on create, replace and patch;
what is allocated and kept; what a writer is warned of. Every value here was seen on a real kube-apiserver 1.36:
`api_fields_test.py PROGRAM` runs the same against one (with etcd as its store)."""
import json
import re
import sys

import checks

JSON_PATCH, MERGE, STRATEGIC = (f"application/{t}+json" for t in ("json-patch", "merge-patch", "strategic-merge-patch"))
NS = "/api/v1/namespaces/fields"
APPS = "/apis/apps/v1/namespaces/fields"
check = checks.Checks("api_fields")


class Api:
    def __init__(self, target):
        self.target = target

    def post(self, path, body, query=""):
        return self.target.ask("POST", path + query, body)

    def put(self, path, body):
        return self.target.ask("PUT", path, body)

    def patch(self, path, body, kind=MERGE):
        return self.target.ask("PATCH", path, json.dumps(body), headers={"Content-Type": kind})

    def get(self, path):
        return self.target.ask("GET", path).json

    def dry(self, path, body):
        return self.post(path, body, "?dryRun=All")


def pod(name="p", **spec):
    spec.setdefault("containers", [{"name": "c", "image": "i:1"}])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def deployment(name, **pod_spec):
    pod_spec.setdefault("containers", [{"name": "c", "image": "i:1"}])
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                     "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod_spec}}}


def accounts(spec):
    return spec.get("serviceAccountName", ""), spec.get("serviceAccount", "")


def service_accounts(api):
    for name in ("one", "two"):
        api.post(f"{NS}/serviceaccounts", {"metadata": {"name": name}})
    by_old = api.post(f"{NS}/pods", pod("old", serviceAccount="one")).json
    check("account.pod_by_the_old_name", accounts(by_old["spec"]), ("one", "one"))
    check("account.pod_default", accounts(api.post(f"{NS}/pods", pod("none")).json["spec"]), ("default", "default"))
    both = api.post(f"{NS}/pods", pod("both", serviceAccountName="one", serviceAccount="two")).json
    check("account.pod_new_name_wins", accounts(both["spec"]), ("one", "one"))
    again = dict(by_old, metadata={"name": "old", "labels": {"x": "y"}})
    check("account.pod_replaced", api.put(f"{NS}/pods/old", again).code, 200)

    d, at = f"{APPS}/deployments/d", lambda o: accounts(o["spec"]["template"]["spec"])
    check("account.template", at(api.post(f"{APPS}/deployments", deployment("d", serviceAccountName="one")).json),
          ("one", "one"))
    check("account.template_replaced_without", at(api.put(d, deployment("d")).json), ("", ""))
    check("account.template_replaced_by_the_old_name", at(api.put(d, deployment("d", serviceAccount="two")).json),
          ("two", "two"))
    gone = {"spec": {"template": {"spec": {"serviceAccountName": None}}}}
    check("account.template_new_name_taken_out", at(api.patch(d, gone).json), ("two", "two"))
    old = {"spec": {"template": {"spec": {"serviceAccount": "one"}}}}
    check("account.template_changed_by_the_old_name_alone", at(api.patch(d, old, STRATEGIC).json), ("two", "two"))
    gone["spec"]["template"]["spec"]["serviceAccount"] = None
    check("account.template_both_taken_out", at(api.patch(d, gone).json), ("", ""))
    template = deployment("x", serviceAccount="one")["spec"]["template"]
    for path, body, where in (
            (f"{NS}/replicationcontrollers", {"spec": {"replicas": 0, "template": template}}, ("spec", "template")),
            (f"{NS}/podtemplates", {"template": template}, ("template",)),
            ("/apis/batch/v1/namespaces/fields/cronjobs",
             {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": dict(template, spec=dict(
                 template["spec"], restartPolicy="Never"))}}}}, ("spec", "jobTemplate", "spec", "template"))):
        made = api.dry(path, dict(body, metadata={"name": "x"})).json
        for field in where:
            made = made[field]
        check(f"account.in_{path.rsplit('/', 1)[1]}", accounts(made["spec"]), ("one", "one"))


def service(name="s", **spec):
    spec.setdefault("ports", [{"name": "http", "port": 80}])
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": dict(selector={"a": "b"}, **spec)}


def cluster_ips(api):
    url = f"{NS}/services"
    made = api.post(url, service(type="NodePort")).json["spec"]
    ip, port = made["clusterIP"], made["ports"][0]["nodePort"]
    two = [{"name": "http", "port": 80}, {"name": "https", "port": 443}]
    now = api.put(f"{url}/s", service(type="NodePort", ports=two)).json["spec"]
    check("service.replaced_without_an_address", (now["clusterIP"], now["clusterIPs"]), (ip, [ip]))
    check("service.old_port_keeps_its_node_port", now["ports"][0]["nodePort"], port)
    other = ip.rsplit(".", 1)[0] + ".254"
    refusal = 'Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["%s"]: may not change once set'
    for name, body, to in (("another_address", service(clusterIP=other), other),
                           ("headless", service(clusterIP="None"), "None"),
                           ("another_list", service(clusterIP=other, clusterIPs=[other]), other)):
        answer = api.put(f"{url}/s", body)
        check(f"service.replaced_by_{name}", (answer.code, answer.message), (422, refusal % to))
    answer = api.put(f"{url}/s", service(clusterIPs=[other]))
    check("service.replaced_by_a_list_alone", (answer.code, answer.message), (
        422, f'Service "s" is invalid: spec.clusterIPs: Invalid value: ["{other}"]: first value must match `clusterIP`'))
    answer = api.patch(f"{url}/s", {"spec": {"clusterIP": other}})
    check("service.patched_to_another_address", (answer.code, answer.message), (422, refusal % other))
    check("service.an_empty_address_is_none", api.put(f"{url}/s", service(clusterIP="", type="NodePort")).json["spec"][
        "clusterIP"], ip)
    answer = api.post(url, service("l", clusterIPs=["10.96.0.201"]))
    check("service.made_with_a_list_alone", (answer.code, answer.message), (
        422, 'Service "l" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.201"]: must be empty when `clusterIP` '
             'is not specified'))
    made = api.post(url, service("l", clusterIP="10.96.0.201")).json["spec"]
    check("service.made_with_an_address", made["clusterIPs"], ["10.96.0.201"])
    taken = api.post(url, service("m", clusterIP="10.96.0.201"))
    check("service.an_address_that_is_taken", (taken.code, taken.message), (
        422, 'Service "m" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.201"]: failed to allocate IP '
             '10.96.0.201: provided IP is already allocated'))
    for bad, why in (("10.96.0.01", "must not have leading 0s"), ("::ffff:10.96.0.9", "must not be an IPv4-mapped IPv6 address"),
                     ("10.96.0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")):
        answer = api.post(url, service("m", clusterIP=bad))
        check(f"service.address_{bad}", (answer.code, why in answer.message), (422, True))
        answer = api.post(url, service("m", externalIPs=[bad]))
        check(f"service.external_{bad}", (answer.code, why in answer.message), (422, True))

    to = {"spec": {"type": "ClusterIP"}}
    now = api.patch(f"{url}/s", to, STRATEGIC).json["spec"]
    check("service.node_ports_go_with_the_type", [p.get("nodePort") for p in now["ports"]], [None])
    answer = api.patch(f"{url}/s", {"spec": {"ports": [{"port": 80, "nodePort": 30123}]}}, STRATEGIC)
    check("service.node_port_without_the_type", "may not be used when `type` is 'ClusterIP'" in answer.message, True)
    now = api.patch(f"{url}/s", {"spec": {"type": "ExternalName", "externalName": "e.example"}}).json["spec"]
    check("service.to_external_name", {f: now.get(f) for f in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy",
                                                              "internalTrafficPolicy")},
          dict.fromkeys(("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")))
    check("service.its_address_can_be_had", api.post(url, service("t", clusterIP=ip)).code, 201)
    now = api.patch(f"{url}/s", {"spec": {"type": "ClusterIP", "externalName": None}}).json["spec"]
    check("service.back_with_a_new_address", (now["clusterIP"] not in ("", ip), now["ipFamilies"], now["ipFamilyPolicy"]),
          (True, ["IPv4"], "SingleStack"))
    headless = api.post(url, {"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}).json
    check("service.headless_without_selector", (headless["spec"]["clusterIPs"], headless["spec"]["ipFamilies"],
                                                headless["spec"]["ipFamilyPolicy"]),
          (["None"], ["IPv4", "IPv6"], "RequireDualStack"))


def node_ports(api):
    url = f"{NS}/services"
    ports = lambda o: [(p.get("protocol"), p.get("nodePort")) for p in o["spec"]["ports"]]
    np = lambda name, *p: service(name, type="NodePort", ports=list(p))
    auto = api.post(url, np("auto", {"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53},
                            {"name": "x", "port": 54})).json
    (_, first), (_, second), (_, third) = ports(auto)
    check("node_port.one_for_both_protocols", (first == second, first != third), (True, True))
    n = 31953
    half = api.post(url, np("half", {"name": "u", "port": 53, "protocol": "UDP"},
                            {"name": "t", "port": 53, "nodePort": n - 1})).json
    check("node_port.given_for_one_is_taken_for_both", ports(half), [("UDP", n - 1), ("TCP", n - 1)])
    both = api.post(url, np("both", {"name": "u", "port": 53, "protocol": "UDP", "nodePort": n},
                            {"name": "t", "port": 53, "nodePort": n}))
    check("node_port.given_for_both", both.code, 201)
    for name, port in (("another_service", {"port": 80}), ("another_protocol", {"port": 80, "protocol": "SCTP"})):
        answer = api.post(url, np("other", dict(port, name="t", nodePort=n)))
        check(f"node_port.{name}", (answer.code, answer.message), (
            422, f'Service "other" is invalid: spec.ports[0].nodePort: Invalid value: {n}: provided port is already '
                 'allocated'))
    answer = api.post(url, np("other", {"name": "a", "port": 1, "nodePort": 31954},
                              {"name": "b", "port": 2, "nodePort": 31954}))
    check("node_port.twice", answer.message, 'Service "other" is invalid: spec.ports[1].nodePort: Invalid value: 31954: '
                                             'provided port is already allocated')
    check("node_port.is_given_back", api.dry(url, np("other", {"name": "a", "port": 1, "nodePort": 31954})).code, 201)
    answer = api.post(url, np("other", {"name": "a", "port": 1, "nodePort": 80}))
    check("node_port.outside", "provided port is not in the valid range. The range of valid ports is 30000-32767"
          in answer.message, True)
    gone = api.patch(f"{url}/both", [{"op": "remove", "path": "/spec/ports/0"}], JSON_PATCH).json
    check("node_port.one_protocol_removed", ports(gone), [("TCP", n)])
    more = api.patch(f"{url}/both", [{"op": "add", "path": "/spec/ports/-",
                                      "value": {"name": "u", "port": 53, "protocol": "UDP"}}], JSON_PATCH).json
    check("node_port.a_port_added_later_gets_its_own", (ports(more)[0], ports(more)[1][1] != n), (("TCP", n), True))
    same = api.patch(f"{url}/both", [{"op": "add", "path": "/spec/ports/-", "value":
                                      {"name": "v", "port": 54, "protocol": "TCP", "nodePort": n}}], JSON_PATCH)
    check("node_port.twice_on_update", (same.code, same.message), (500, f"duplicate nodePort: {{TCP {n}}}"))
    renamed = api.put(f"{url}/both", np("both", {"name": "t", "port": 5353})).json
    check("node_port.goes_by_the_ports_name", ports(renamed), [("TCP", n)])
    api.target.ask("DELETE", f"{url}/both")
    check("node_port.free_after_deletion", api.post(url, np("other", {"name": "u", "port": 53, "protocol": "UDP",
                                                                     "nodePort": n})).code, 201)
    lb = api.post(url, service("lb", type="LoadBalancer", externalTrafficPolicy="Local")).json["spec"]
    check("node_port.health_check", 30000 <= lb["healthCheckNodePort"] <= 32767, True)
    answer = api.post(url, service("lb2", type="LoadBalancer", externalTrafficPolicy="Local",
                                   healthCheckNodePort=lb["healthCheckNodePort"]))
    check("node_port.health_check_taken", (answer.code, answer.message), (
        500, "Internal error occurred: failed to allocate requested HealthCheck NodePort "
             f"{lb['healthCheckNodePort']}: provided port is already allocated"))


def quantities(api):
    def limits(**amounts):
        made = api.dry(f"{NS}/pods", pod(containers=[{"name": "c", "image": "i", "resources": {"limits": amounts}}]))
        return made.json["spec"]["containers"][0]["resources"]
    for resource, given, want in (("cpu", "0.0005", "1m"), ("cpu", "100u", "1m"), ("cpu", "1n", "1m"),
                                  ("cpu", "1.0015", "1002m"), ("cpu", "0.25", "250m"), ("memory", "1.2Gi", "1288490188800m"),
                                  ("memory", "1e3", "1e3"), ("memory", "9223372036854775808", "9223372036854775808"),
                                  ("memory", "1e100", "10e99"), ("memory", "100Ei", "9223372036854775807"),
                                  ("cpu", "1e-7", "1e-3")):
        check(f"quantity.{resource}_{given}", limits(**{resource: given}),
              {"limits": {resource: want}, "requests": {resource: want}})
    claim = {"metadata": {"name": "q"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {
        "storage": "1.0001"}}}}
    check("quantity.claim", api.dry(f"{NS}/persistentvolumeclaims", claim).json["spec"]["resources"],
          {"requests": {"storage": "1001m"}})
    limit_range = {"metadata": {"name": "q"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1500u"}}]}}
    check("quantity.limit_range", api.dry(f"{NS}/limitranges", limit_range).json["spec"]["limits"],
          [{"type": "Container", "max": {"cpu": "2m"}, "default": {"cpu": "2m"}, "defaultRequest": {"cpu": "2m"}}])
    made = api.dry(f"{APPS}/deployments", deployment("q", containers=[{"name": "c", "image": "i", "resources": {
        "limits": {"cpu": "1u"}}}])).json
    check("quantity.template", made["spec"]["template"]["spec"]["containers"][0]["resources"], {"limits": {"cpu": "1m"}})
    whole = api.dry(f"{NS}/pods", pod(resources={"limits": {"cpu": "2", "memory": "1Gi"}}, containers=[
        {"name": "a", "image": "i", "resources": {"requests": {"cpu": "100m"}}},
        {"name": "b", "image": "i", "resources": {"requests": {"cpu": "200m"}}}])).json["spec"]["resources"]
    check("quantity.of_the_whole_pod", whole, {"limits": {"cpu": "2", "memory": "1Gi"},
                                               "requests": {"cpu": "300m", "memory": "1Gi"}})


def warnings_of(answer):
    return re.findall(r'299 - "((?:[^"\\]|\\.)*)"', answer.headers.get("warning", ""))


def warnings(api):
    def warned(name, spec, want, meta=None, path=f"{NS}/pods"):
        body = pod("w", **spec)
        body["metadata"].update(meta or {})
        got = [w.replace('\\"', '"') for w in warnings_of(api.dry(path, body))]
        check(f"warning.{name}", got, want)
    c = {"name": "c", "image": "i"}
    warned("nothing", {"containers": [dict(c, ports=[{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}])]}, [])
    warned("node_label", {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
           ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'])
    warned("port_twice", {"containers": [dict(c, ports=[{"containerPort": 80}, {"containerPort": 80}])]},
           ["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"])
    warned("port_name_twice", {"containers": [dict(c, ports=[{"name": "x", "containerPort": 80}]),
                                              {"name": "d", "image": "i", "ports": [{"name": "x", "containerPort": 81}]}]},
           ['spec.containers[1].ports[0]: duplicate port name "x" with spec.containers[0].ports[0], services and probes '
            "that select ports by name will use spec.containers[0].ports[0]"])
    warned("alias_twice", {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}, {"ip": "10.0.0.1", "hostnames": ["b"]}]},
           ['spec.hostAliases[1].ip: duplicate ip "10.0.0.1"'])
    warned("pull_secret_twice", {"imagePullSecrets": [{"name": "s"}, {"name": "s"}]},
           ['spec.imagePullSecrets[1].name: duplicate name "s"'])
    warned("fraction", {"containers": [dict(c, resources={"limits": {"memory": "1.2Gi"}})]},
           [f'spec.containers[0].resources.{w}[memory]: fractional byte value "1288490188800m" is invalid, must be an '
            "integer" for w in ("limits", "requests")])
    twice = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "A", "value": "3"}]
    hides = 'containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply'
    warned("variable_twice", {"containers": [dict(c, env=twice)]}, ["spec." + hides])
    warned("variable_builds_on_the_first", {"containers": [dict(c, env=twice[:2] + [{"name": "A", "value": "$(A)x"}])]}, [])
    made = api.dry(f"{APPS}/deployments", deployment("w", containers=[dict(c, env=twice)]))
    check("warning.in_a_template", [w.replace('\\"', '"') for w in warnings_of(made)], ["spec.template.spec." + hides])
    warned("paths", {"volumes": [{"name": "v", "configMap": {"name": "m", "items": [
        {"key": "a", "path": "x"}, {"key": "b", "path": "x/y"}]}}]},
           ['volume "v" (ConfigMap "m"): overlapping paths: "x/y" with "x"'])
    warned("seccomp_annotation", {}, ['metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in '
                                      'v1.27+; use the "seccompProfile" field instead'],
           {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}})
    warned("null_selector", {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z",
                                                            "whenUnsatisfiable": "ScheduleAnyway"}]},
           ["spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"])
    got = api.dry(f"{NS}/services", service("w", externalIPs=["192.0.2.1"], externalName="x.example"))
    check("warning.service", [w.replace('\\"', '"') for w in warnings_of(got)],
          ["spec.externalIPs is deprecated and may no longer be implemented in some clusters",
           'spec.externalName is ignored when spec.type is not "ExternalName"'])


def patches(api):
    url = f"{NS}/configmaps/patched"
    api.post(f"{NS}/configmaps", {"metadata": {"name": "patched"}, "data": {"a": "1"}})
    version = api.get(url)["metadata"]["resourceVersion"]
    for name, body, kind, want in (("null_json", None, JSON_PATCH, 200), ("empty_json", [], JSON_PATCH, 200),
                                   ("null_strategic", None, STRATEGIC, 200), ("null_merge", None, MERGE, 400)):
        answer = api.patch(url, body, kind)
        check(f"patch.{name}", (answer.code, api.get(url)["metadata"]["resourceVersion"]), (want, version))


def pods(api):
    key = "container.apparmor.security.beta.kubernetes.io/c"
    def annotated(annotations, **spec):
        body = pod("a", **spec)
        body["metadata"]["annotations"] = annotations
        return api.dry(f"{NS}/pods", body)
    profile = lambda answer: answer.json["spec"]["containers"][0].get("securityContext", {}).get("appArmorProfile")
    check("apparmor.localhost", profile(annotated({key: "localhost/x"})),
          {"type": "Localhost", "localhostProfile": "x"})
    check("apparmor.default", profile(annotated({key: "runtime/default"})), {"type": "RuntimeDefault"})
    check("apparmor.as_the_pod", profile(annotated({key: "unconfined"}, securityContext={"appArmorProfile": {
        "type": "Unconfined"}})), None)
    check("apparmor.unknown", annotated({key: "other"}).message, f'Pod "a" is invalid: metadata.annotations[{key}]: '
          'Invalid value: "other": invalid AppArmor profile name: "other"')
    check("apparmor.no_such_container", annotated({key + "x": "unconfined"}).message,
          f'Pod "a" is invalid: metadata.annotations[{key}x]: Invalid value: "cx": container not found')
    check("apparmor.field_without_name", annotated({}, securityContext={"appArmorProfile": {"type": "Localhost"}}).message,
          'Pod "a" is invalid: spec.securityContext.appArmorProfile.localhostProfile: Required value: must be set when '
          'AppArmor type is Localhost')
    for text, code in (("1", 201), ("-5", 201), ("+5", 422), ("05", 422), ("1.5", 422), ("2147483648", 422), ("x", 422)):
        answer = annotated({"controller.kubernetes.io/pod-deletion-cost": text})
        check(f"deletion_cost.{text}", answer.code, code)
    check("deletion_cost.text", answer.message, 'Pod "a" is invalid: metadata.annotations[controller.kubernetes.io/'
          'pod-deletion-cost]: Invalid value: "x": must be a 32bit integer')
    old = annotated({"pod.beta.kubernetes.io/init-containers": "[]", "x": "y"}).json
    check("pod.init_container_annotations_go", old["metadata"]["annotations"], {"x": "y"})
    made = annotated({}, terminationGracePeriodSeconds=-3).json
    check("pod.negative_grace_is_one", made["spec"]["terminationGracePeriodSeconds"], 1)
    body = pod("k", affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["v"], "mismatchLabelKeys": ["t"]}]}},
        topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
                                    "labelSelector": {}, "matchLabelKeys": ["v", "missing"]}])
    body["metadata"]["labels"] = {"v": "1", "t": "2"}
    spec = api.dry(f"{NS}/pods", body).json["spec"]
    term = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    is_in = {"key": "v", "operator": "In", "values": ["1"]}
    check("pod.affinity_keys", term["labelSelector"], {"matchExpressions": [
        is_in, {"key": "t", "operator": "NotIn", "values": ["2"]}]})
    check("pod.spread_keys", spec["topologySpreadConstraints"][0]["labelSelector"], {"matchExpressions": [is_in]})

    def refused(name, want, **spec):
        answer = api.dry(f"{NS}/pods", pod("r", **spec))
        check(f"pod.{name}", (answer.code, answer.message), (422, f'Pod "r" is invalid: {want}'))
    c = lambda **more: [dict({"name": "c", "image": "i"}, **more)]
    refused("claim_that_is_not_there", 'spec.containers[0].resources.claims[0]: Not found: "x": must be one of the names in '
            "pod.spec.resourceClaims which is empty", containers=c(resources={"claims": [{"name": "x"}]}))
    refused("claim_without_a_source", 'spec.resourceClaims[0]: Invalid value: {"Name":"x","ResourceClaimName":null,'
            '"ResourceClaimTemplateName":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`',
            resourceClaims=[{"name": "x"}])
    refused("claim_named_twice", 'spec.containers[0].resources.claims[1]: Duplicate value: "x"',
            resourceClaims=[{"name": "x", "resourceClaimName": "y"}],
            containers=c(resources={"claims": [{"name": "x"}, {"name": "x"}]}))
    refused("hostname_override", "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
            hostNetwork=True, hostnameOverride="x")
    refused("keys_without_a_selector", "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]."
            "matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "z", "matchLabelKeys": ["v"]}]}})
    refused("recursive_read_only", "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified "
            "when readOnly is true", volumes=[{"name": "v"}],
            containers=c(volumeMounts=[{"name": "v", "mountPath": "/x", "recursiveReadOnly": "Enabled"}]))
    owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}
    twice = pod("o")
    twice["metadata"]["ownerReferences"] = [owner, owner]
    answer = api.dry(f"{NS}/pods", twice)
    check("pod.owner_named_twice", (answer.json["metadata"]["ownerReferences"], warnings_of(answer)), ([owner], [
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
        "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u"]))

    api.post(f"{NS}/pods", pod("ip", nodeName="n1"))
    url = f"{NS}/pods/ip/status"
    ips = lambda answer: (answer.json["status"].get("podIP"), answer.json["status"].get("podIPs"))
    check("pod.single_ip", ips(api.patch(url, {"status": {"podIP": "10.1.0.1"}})), ("10.1.0.1", [{"ip": "10.1.0.1"}]))
    check("pod.single_ip_wins", ips(api.patch(url, {"status": {"podIP": "10.1.0.2"}})),
          ("10.1.0.2", [{"ip": "10.1.0.2"}]))
    check("pod.list_alone", ips(api.patch(url, {"status": {"podIP": None, "podIPs": [{"ip": "10.1.0.3"}]}})),
          ("10.1.0.3", [{"ip": "10.1.0.3"}]))
    answer = api.patch(url, {"status": {"hostIP": "10.2.0.1", "hostIPs": [{"ip": "10.2.0.2"}]}})
    check("pod.host_ips_differ", answer.message, 'Pod "ip" is invalid: status.hostIPs[0].ip: Invalid value: "10.2.0.2": '
          'must be equal to `hostIP`')


def others(api):
    def source(name, **spec):
        claim = {"metadata": {"name": name}, "spec": dict(accessModes=["ReadWriteOnce"], resources={
            "requests": {"storage": "1Gi"}}, **spec)}
        made = api.dry(f"{NS}/persistentvolumeclaims", claim).json["spec"]
        return made.get("dataSource"), made.get("dataSourceRef")
    of_claim = {"apiGroup": None, "kind": "PersistentVolumeClaim", "name": "x"}
    other = {"apiGroup": "x.example", "kind": "Thing", "name": "x"}
    check("claim.old_source", source("a", dataSource=of_claim), (of_claim, of_claim))
    check("claim.new_source", source("b", dataSourceRef=of_claim), (of_claim, of_claim))
    check("claim.other_kind_in_the_old_field", source("c", dataSource=other), (None, None))
    check("claim.other_kind_in_the_new_field", source("d", dataSourceRef=other), (other, other))
    check("claim.source_elsewhere", source("e", dataSourceRef=dict(of_claim, namespace="z")), (None, None))

    made = api.post(f"{NS}/secrets", {"metadata": {"name": "s"}, "data": {"a": "MQ=="}, "stringData": {"a": "2"}}).json
    check("secret.plain_text_wins", (made["data"], "stringData" in made), ({"a": "Mg=="}, False))
    now = api.patch(f"{NS}/secrets/s", {"stringData": {"b": "3"}}).json
    check("secret.plain_text_patched", now["data"], {"a": "Mg==", "b": "Mw=="})
    made = api.dry(f"{NS}/serviceaccounts", {"metadata": {"name": "s"}, "secrets": [
        {"name": "x", "kind": "Secret", "namespace": "other", "uid": "u"}]}).json
    check("account.secrets_are_names", made["secrets"], [{"name": "x"}])

    def node(**spec):
        made = api.dry("/api/v1/nodes", {"metadata": {"name": "n"}, "spec": spec}).json["spec"]
        return {k: v for k, v in made.items() if k != "taints"}
    check("node.single_range", node(podCIDR="10.1.0.0/24"), {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]})
    check("node.list_of_ranges", node(podCIDRs=["10.1.0.0/24"]), {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]})
    check("node.single_range_wins", node(podCIDR="10.1.0.0/24", podCIDRs=["10.2.0.0/24"]),
          {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]})
    check("node.no_config_source", node(configSource={"configMap": {"name": "x", "namespace": "y",
                                                                    "kubeletConfigKey": "z"}}), {})
    bad = api.dry("/api/v1/nodes", {"metadata": {"name": "n"}, "spec": {"podCIDR": "10.1.0.1/24"}})
    check("node.range_with_host_bits", "must not have bits set beyond the prefix length" in bad.message, True)

    slices = "/apis/discovery.k8s.io/v1/namespaces/fields/endpointslices"
    made = api.dry(slices, {"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": [
        {"addresses": ["10.1.0.1"], "deprecatedTopology": {"kubernetes.io/hostname": "n"}}]}).json
    check("slice.no_topology", made["endpoints"], [{"addresses": ["10.1.0.1"], "conditions": {}}])
    marker = {"key": "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match", "operator": "Exists"}
    budget = lambda selector: api.dry("/apis/policy/v1/namespaces/fields/poddisruptionbudgets", {
        "metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": selector}}).json["spec"]["selector"]
    check("budget.marker_with_labels", budget({"matchLabels": {"a": "b"}, "matchExpressions": [marker]}),
          {"matchLabels": {"a": "b"}})
    check("budget.marker_alone", budget({"matchExpressions": [marker]}), {"matchExpressions": [marker]})
    made = api.dry(f"{APPS}/statefulsets", {"metadata": {"name": "s"}, "spec": {
        "serviceName": "s", "selector": {"matchLabels": {"a": "b"}},
        "template": deployment("x")["spec"]["template"], "volumeClaimTemplates": [
            {"kind": "Other", "apiVersion": "x/v1", "metadata": {"name": "v"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}}).json
    claim = made["spec"]["volumeClaimTemplates"][0]
    check("stateful_set.claim_kind", (claim["kind"], claim["apiVersion"]), ("PersistentVolumeClaim", "v1"))


PARTS = [service_accounts, cluster_ips, node_ports, quantities, warnings, patches, pods, others]


def prepare(target):
    api = Api(target)
    api.post("/api/v1/namespaces", {"metadata": {"name": "fields"}})
    api.post(f"{NS}/serviceaccounts", {"metadata": {"name": "default"}})
    return api


if __name__ == "__main__":
    sys.exit(checks.run_parts(check, PARTS, prepare))
