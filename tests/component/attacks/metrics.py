"""What nobody serves is counted, but makes no series of its own."""
from attacks.target import STRANGER

REQUESTS = 600
ALLOWED = 40


def series(t):
    answer = t.ask("GET", "/metrics")
    assert answer.code == 200, answer
    return sum(1 for line in answer.body.splitlines() if line and not line.startswith(b"#"))


def attack_series_of_strangers(t):
    before = series(t)
    for i in range(REQUESTS):
        paths = (f"/apis/group{i}.example/v1/things", f"/apis/apps/v1/things{i}", f"/api/v{i}/pods",
                 f"/api/v1/namespaces/default/pods/x/sub{i}")
        for who in (STRANGER, "somebody"):
            t.ask("GET", paths[i % 4], who=who)
    grown = series(t) - before
    assert grown < ALLOWED, f"{grown} series more"


def attack_series_by_grpc(t):
    before = series(t)
    for i in range(200):
        t.call(verb="list", group=f"group{i}", version=f"v{i}", resource=f"things{i}")
        t.call(verb="get", version="v1", resource="pods", namespace_name="default", name="x", subresource=f"sub{i}")
    grown = series(t) - before
    assert grown < ALLOWED, f"{grown} series more"


def attack_odd_methods(t):
    before = series(t)
    for i in range(100):
        t.ask(f"METHOD{i}", "/api/v1/namespaces/default/pods", who=STRANGER)
        t.ask(f"X{i}", "/api/v1/pods")
    grown = series(t) - before
    assert grown < ALLOWED, f"{grown} series more"
