"""Objects just below the size limit whose lists and maps are as long as can be: what is compared with everything else, or
looked up in a long list, must not hold the server."""
import time

PODS = "/api/v1/namespaces/default/pods?dryRun=All"
LIMIT_SECONDS = 45  # generous: a debug build on a busy machine; what is quadratic takes many minutes


def pod(meta=None, **spec):
    spec.setdefault("containers", [{"name": "c", "image": "i"}])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": dict(meta or {}, name="large"), "spec": spec}


def amounts(n):
    return {f"example.com/r{i}": "1" for i in range(n)}


def answered(target, path, body):
    begin = time.time()
    answer = target.ask("POST", path, body, timeout=LIMIT_SECONDS)
    seconds = time.time() - begin
    assert answer.code in (201, 400, 403, 413, 422), answer
    assert seconds < LIMIT_SECONDS, f"{seconds:.0f} s for {answer.code}"


def attack_resources(target):
    limits = {"limits": amounts(70000)}
    answered(target, PODS, pod(containers=[{"name": "c", "image": "i", "resources": limits}]))
    answered(target, PODS, pod(resources={"limits": {"cpu": "1"}}, initContainers=[
        {"name": "s", "image": "i", "restartPolicy": "Always", "resources": {"requests": amounts(35000)}}] + [
        {"name": f"i{i}", "image": "i"} for i in range(20000)]))


def attack_refusals(target):
    answered(target, PODS, pod({"finalizers": [f"n{i}" for i in range(200000)]}))
    answered(target, PODS, pod(containers=[{"name": f"n{i}"} for i in range(100000)]))


def attack_metadata(target):
    answered(target, PODS, pod({"labels": {f"k{i}": "v" for i in range(120000)}}))
    answered(target, PODS, pod({"annotations": {f"k{i}": "v" for i in range(120000)}}))
    owner = {"apiVersion": "v1", "kind": "X", "name": "x"}
    answered(target, PODS, pod({"ownerReferences": [dict(owner, uid=f"u{i}") for i in range(30000)]}))


def attack_ports_and_variables(target):
    ports = [{"containerPort": 80, "hostIP": "192.0.2.1", "hostPort": i % 60000 + 1} for i in range(30000)]
    answered(target, PODS, pod(containers=[{"name": "c", "image": "i", "ports": ports}]))
    answered(target, PODS, pod(containers=[{"name": "c", "image": "i", "env": [{"name": "A"}] * 100000}]))


def attack_spreading(target):
    constraint = {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    answered(target, PODS, pod(topologySpreadConstraints=[dict(constraint, topologyKey=f"k{i}") for i in range(25000)]))


def attack_files_of_a_volume(target):
    items = [{"key": "k", "path": f"p{i}"} for i in range(60000)]
    answered(target, PODS, pod(volumes=[{"name": "v", "configMap": {"name": "m", "items": items}}]))


def attack_services(target):
    services = "/api/v1/namespaces/default/services?dryRun=All"
    ports = [{"name": f"n{i}", "port": i % 60000 + 1} for i in range(60000)]
    answered(target, services, {"metadata": {"name": "large"}, "spec": {"ports": ports}})
    answered(target, services, {"metadata": {"name": "large"}, "spec": {"ports": [{"port": 1}], "externalIPs": [
        f"192.0.{i // 256 % 256}.{i % 256}" for i in range(120000)]}})


def attack_node_addresses(target):
    answered(target, "/api/v1/nodes?dryRun=All", {"metadata": {"name": "large"}, "status": {"addresses": [
        {"type": "Hostname", "address": f"h{i}"} for i in range(50000)]}})
