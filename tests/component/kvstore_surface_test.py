#!/usr/bin/env python3
"""The rest of what clients and operators touch: health by parts, the gateway's streams and errors, quota and alarms,
downgrades, flags and their older names, TLS of its own making, one process per data directory, backups."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import kvstore_members
from kvstore_auth_test import b64, post
from kvstore_test import BUILD, Store, contains, equal, free_port


def fetch(url, method="GET"):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def health(store):
    equal(fetch(store.url + "/health?serializable=true"), (200, '{"health":"true","reason":""}'))
    equal(fetch(store.url + "/health", "POST")[0], 405)
    equal(fetch(store.url + "/livez/serializable_read"), (200, "ok\n"))
    equal(fetch(store.url + "/readyz/linearizable_read?verbose"), (200, "[+]linearizable_read ok\nok\n"))
    equal(fetch(store.url + "/readyz/nosuch")[0], 404)
    text = fetch(store.url + "/readyz?verbose&exclude=non_learner")[1]
    if "non_learner" in text:
        raise AssertionError("an excluded check is shown")
    metrics = fetch(store.url + "/metrics")[1]
    for name in ("etcd_server_has_leader 1", "etcd_debugging_auth_revision 1", "etcd_server_healthcheck{",
                 "etcd_mvcc_db_total_size_in_bytes", "etcd_disk_wal_fsync_duration_seconds_bucket", "os_fd_used"):
        contains(metrics, name)


def grpc(store, method, service="", seconds=5):
    """What a call of grpc.health.v1.Health is answered within so many seconds: (status of grpc or None, messages)."""
    request = bytes([0x0a, len(service)]) + service.encode() if service else b""
    with tempfile.TemporaryDirectory(prefix="kvstore-grpc-") as top:
        body, head = pathlib.Path(top) / "body", pathlib.Path(top) / "head"
        body.write_bytes(len(request).to_bytes(5, "big") + request)
        done = subprocess.run(["curl", "-sN", "--http2-prior-knowledge", "--max-time", str(seconds), "-D", head,
                               "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", f"@{body}",
                               f"{store.url}/grpc.health.v1.Health/{method}"], capture_output=True)
        told = [line.split(":")[1].strip() for line in head.read_text().splitlines() if line.startswith("grpc-status:")]
    messages, rest = [], done.stdout
    while rest:
        size = int.from_bytes(rest[1:5], "big")
        messages.append(rest[5:5 + size])
        rest = rest[5 + size:]
    return told[0] if told else None, messages


def grpc_health(store):
    """Check and Watch of grpc.health.v1, which know the server as a whole and nothing else."""
    serving, unknown = b"\x08\x01", b"\x08\x03"
    equal(grpc(store, "Check"), ("0", [serving]))
    equal(grpc(store, "Check", "nosuch"), ("5", []))
    equal(grpc(store, "Watch", seconds=2), (None, [serving]))
    equal(grpc(store, "Watch", "nosuch", seconds=2), (None, [unknown]))


def metrics(store):
    """Every name that etcd 3.7 exports, with its type (Go's own runtime excepted), and values that move."""
    store.ctl("put", "metrics", "1", program="kvctl")
    text = fetch(store.url + "/metrics")[1]
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    wanted = [line.split("\t") for line in (pathlib.Path(__file__).parent / "etcd_metrics.tsv").read_text().split("\n")[1:]
              if line]
    equal([name for name, kind in wanted if types.get(name) != kind], [])
    before = float(text.split("\netcd_mvcc_put_total ")[1].split()[0])
    for _ in range(3):
        store.ctl("put", "metrics", "2", program="kvctl")
    after = float(fetch(store.url + "/metrics")[1].split("\netcd_mvcc_put_total ")[1].split()[0])
    equal(after - before, 3.0)
    for part in ('etcd_server_request_duration_seconds_count{success="true",type="Put"} ',
                 'grpc_server_msg_sent_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} ',
                 'etcd_server_feature_enabled{name="FastLeaseKeepAlive",stage="BETA"} 1'):
        contains(text, part)


# What a client's work moves; the parts that bbolt, the v2 store and the proxy have in etcd are not here.
MOVES = """
etcd_debugging_lease_granted_total etcd_debugging_lease_renewed_total etcd_debugging_lease_revoked_total
etcd_debugging_lease_ttl_total_count etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_db_compaction_keys_total etcd_debugging_mvcc_db_compaction_last
etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count
etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count etcd_debugging_mvcc_events_total
etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_count
etcd_debugging_mvcc_total_put_size_in_bytes etcd_debugging_server_lease_expired_total
etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count
etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds_count
etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds_count
etcd_disk_backend_defrag_duration_seconds_count etcd_disk_backend_snapshot_duration_seconds_count
etcd_disk_wal_fsync_duration_seconds_count etcd_disk_wal_write_bytes_total etcd_disk_wal_write_duration_seconds_count
etcd_mvcc_db_total_size_in_bytes etcd_mvcc_delete_total etcd_mvcc_hash_duration_seconds_count
etcd_mvcc_hash_rev_duration_seconds_count etcd_mvcc_put_total etcd_mvcc_range_total etcd_mvcc_txn_total
etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total
etcd_server_apply_duration_seconds_count etcd_server_health_success etcd_server_proposals_applied_total
etcd_server_proposals_committed_total promhttp_metric_handler_requests_total{code="200"}
""".split()


def counters(store):
    """What the member does shows in its metrics."""
    def values():
        text = fetch(store.url + "/metrics")[1]
        return {name: float(text.split(f"\n{name} ")[1].split()[0]) for name in MOVES}

    def ask(path, **request):
        status, answer = post(store, "/v3/" + path, request)
        equal((path, status), (path, 200))
        return answer
    before = values()
    fetch(store.url + "/health")
    kept = ask("lease/grant", TTL=60)["ID"]
    lease = ask("lease/grant", TTL=1)["ID"]
    ask("kv/put", key=b64("counted"), value=b64("v"), lease=lease)
    ask("lease/keepalive", ID=kept)
    ask("lease/revoke", ID=kept)
    put = {"request_put": {"key": b64("in a transaction"), "value": b64("v")}}
    ask("kv/txn", success=[put, {"request_range": {"key": b64("counted")}}])
    ask("kv/deleterange", key=b64("in a transaction"))
    for n in range(5):
        revision = ask("kv/put", key=b64("compacted"), value=b64(str(n)))["header"]["revision"]
    create = json.dumps({"create_request": {"key": b64("compacted"), "start_revision": revision}}).encode()
    with urllib.request.urlopen(store.url + "/v3/watch", create, timeout=5) as watch:
        contains(watch.readline().decode(), "created")
        contains(watch.readline().decode(), b64("4"))
    ask("kv/compaction", revision=revision)
    for path in ("maintenance/hash", "maintenance/hashkv", "maintenance/defragment"):
        ask(path)
    urllib.request.urlopen(store.url + "/v3/maintenance/snapshot", b"{}", timeout=10).read()
    until = time.monotonic() + 15
    while True:
        after = values()
        still = [name for name, value in after.items() if value <= before[name]]
        if not still:
            break
        if time.monotonic() > until:
            raise AssertionError(f"unmoved: {still}")
        time.sleep(0.1)
    moved = {name: after[name] - before[name] for name in MOVES}
    equal(moved["etcd_debugging_mvcc_db_compaction_keys_total"] >= 4, True)
    equal([moved[f"etcd_mvcc_{what}_total"] for what in ("put", "txn")], [7, 1])
    equal([moved[f"etcd_debugging_lease_{what}_total"] for what in ("granted", "renewed", "revoked")], [2, 1, 2])


def cluster_counters(directory):
    """What only members of a cluster count: databases that a peer sends, checkpoints, heartbeats that leave late."""
    def value(member, name):
        return float(fetch(member.url + "/metrics")[1].split(f"\n{name} ")[1].split()[0])
    flags = ("--snapshot-count=100", "--snapshot-catchup-entries=20")
    members = [kvstore_members.Member(directory, f"m{n}", flags=flags) for n in (1, 2, 3)]
    try:
        for m in members:
            m.start(members)
        leader = kvstore_members.leader(members)
        behind = next(m for m in members if m is not leader)
        behind.end(signal.SIGTERM)
        gateway = kvstore_members.Gateway([leader])
        for n in range(300):
            gateway.post("/v3/kv/put", {"key": b64("counted"), "value": b64(str(n))})
        gateway.close()
        kvstore_members.wait_for("checkpoints", lambda: value(leader, "etcd_snap_fsync_duration_seconds_count") >= 2)
        behind.start(members)
        kvstore_members.same_everywhere(members)
        for part in ("fsync", "save_total"):
            equal((part, value(behind, f"etcd_snap_db_{part}_duration_seconds_count")), (part, 1.0))
        late = "etcd_server_heartbeat_send_failures_total"
        before = value(leader, late)
        leader.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # five heartbeats, half an election timeout
        leader.process.send_signal(signal.SIGCONT)
        kvstore_members.wait_for("late heartbeats", lambda: value(leader, late) >= before + 2)
    finally:
        for m in members:
            m.end()


def tls_reload(directory):
    """A certificate that is replaced on disk is what the next connection gets."""
    pki = directory / "pki"
    pki.mkdir()
    import apiserver_process
    apiserver_process.Pki(pki)
    store = Store(directory, tls=pki)
    store.start()
    def served():
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{store.port}", "-cert", pki / "admin.crt",
                               "-key", pki / "admin.key"], input="", capture_output=True, text=True, timeout=10)
        return done.stdout.split("BEGIN CERTIFICATE")[1].split("END CERTIFICATE")[0]
    try:
        first = served()
        fresh = directory / "fresh"
        fresh.mkdir()
        apiserver_process.Pki(fresh)
        for name in ("server.key", "server.crt"):
            (pki / name).write_bytes((fresh / name).read_bytes())
        until = time.monotonic() + 15
        while served() == first:
            if time.monotonic() > until:
                raise AssertionError("the old certificate is still served")
            time.sleep(0.3)
    finally:
        store.kill()


def gateway(store):
    equal(post(store, "/v3/nosuch", {}), (404, {"code": 5, "message": "Not Found"}))
    equal(post(store, "/v3/lease/revoke", {"ID": "123"})[0], 404)
    equal(post(store, "/v3/kv/put", [1])[0], 400)
    equal(post(store, "/v3/kv/range", {"key": b64("x"), "sort_order": "SIDEWAYS"})[0], 400)
    lease = post(store, "/v3/lease/grant", {"TTL": 60})[1]["ID"]
    answer = urllib.request.urlopen(urllib.request.Request(
        store.url + "/v3/lease/keepalive", json.dumps({"ID": lease}).encode(), method="POST"), timeout=5).read()
    equal(json.loads(answer)["result"]["TTL"], "60")
    equal(post(store, "/v3/lock/lock", {"name": b64("l"), "lease": lease})[0], 200)
    got = post(store, "/v3/election/campaign", {"name": b64("e"), "lease": lease, "value": b64("v")})[1]["leader"]
    equal(post(store, "/v3/election/leader", {"name": b64("e")})[1]["kv"]["value"], b64("v"))
    equal(post(store, "/v3/election/resign", {"leader": got})[0], 200)
    equal(post(store, "/v3/election/leader", {"name": b64("e")})[1]["message"], "election: no leader")
    snapshot = urllib.request.urlopen(urllib.request.Request(
        store.url + "/v3/maintenance/snapshot", b"{}", method="POST"), timeout=10).read().splitlines()
    contains(snapshot[0].decode(), '{"result":{')


def browsers(directory):
    """--cors and --host-whitelist, and what a browser asks first."""
    def request(store, host, origin=None, method="GET", path="/version"):
        headers = {"Host": host} | ({"Origin": origin} if origin else {})
        try:
            with urllib.request.urlopen(urllib.request.Request(store.url + path, method=method, headers=headers), timeout=5) as a:
                return a.status, a.headers.get("Access-Control-Allow-Origin")
        except urllib.error.HTTPError as e:
            return e.code, e.headers.get("Access-Control-Allow-Origin")
    store = Store(directory)
    store.start()
    try:
        equal(request(store, "anything", "https://a.example"), (200, "*"))
        equal(request(store, "anything", method="OPTIONS", path="/v3/kv/range"), (200, "*"))
        equal(request(store, "anything", method="POST", path="/v3/maintenance/status"), (200, "*"))
    finally:
        store.kill()
    (directory / "listed").mkdir()
    store = Store(directory / "listed", flags=["--cors=https://a.example,https://b.example", "--host-whitelist=127.0.0.1,me"])
    store.start()
    try:
        equal(request(store, "me:1", "https://b.example"), (200, "https://b.example"))
        equal(request(store, "127.0.0.1", "https://c.example"), (200, None))
        equal(request(store, "evil.example:80", "https://a.example"), (421, None))
        store.ctl("put", "grpc", "is not a browser's", program="kvctl")
    finally:
        store.kill()


def downgrade(store):
    def ctl(*args):
        return store.ctl("downgrade", *args, program="kvctl", check=False)
    equal(ctl("validate", "3.6.0").stdout, "Downgrade validate success, cluster version 3.7\n")
    contains(ctl("validate", "3.5.0").stderr, "invalid downgrade target version")
    contains(ctl("validate", "x").stderr, "wrong downgrade target version format")
    equal(ctl("enable", "3.6.0").stdout, "Downgrade enable success, cluster version 3.7\n")
    contains(ctl("enable", "3.6.0").stderr, "cluster has a downgrade job in progress")
    contains(store.ctl("endpoint", "status", program="kvctl").stdout, "3.6.0, true")
    equal(ctl("cancel").stdout, "Downgrade cancel success, cluster version 3.7\n")
    contains(store.ctl("endpoint", "status", program="kvctl").stdout, ", , false")


def old_client(store):
    """Debian's etcdctl sends its endpoint's whole URL as authority."""
    env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=store.url)
    for args in (["endpoint", "hashkv"], ["endpoint", "status"], ["defrag"]):
        done = subprocess.run(["etcdctl", *args], env=env, capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            raise AssertionError(f"{args}: {done.stderr[-200:]}")


def quota(directory):
    store = Store(directory, flags=["--quota-backend-bytes", str(1 << 20)])
    store.start()
    try:
        for i in range(40):
            done = store.ctl("put", f"k{i}", "x" * 100_000, program="kvctl", check=False)
            if done.returncode != 0:
                break
        contains(done.stderr, "etcdserver: mvcc: database space exceeded")
        contains(store.ctl("alarm", "list", program="kvctl").stdout, "alarm:NOSPACE")
        equal(fetch(store.url + "/health")[0], 503)
        equal(fetch(store.url + "/health?exclude=NOSPACE")[0], 200)
        contains(store.ctl("put", "a", "1", program="kvctl", check=False).stderr, "database space exceeded")
        store.ctl("del", "k", "--prefix", program="kvctl")
        revision = json.loads(store.ctl("get", "a", "-w", "json", program="kvctl").stdout)["header"]["revision"]
        store.ctl("compaction", "--physical", str(revision), program="kvctl")
        deadline = time.monotonic() + 15
        while json.loads(store.ctl("endpoint", "status", "-w", "json", program="kvctl").stdout)[0]["Status"][
                "dbSize"] > 1 << 20:
            if time.monotonic() > deadline:
                raise AssertionError("the space does not come back")
            time.sleep(0.3)
        store.ctl("alarm", "disarm", program="kvctl")
        equal(store.ctl("put", "a", "1", program="kvctl").stdout, "OK\n")
    finally:
        store.kill()


def snapshot_while_writing(directory):
    """A snapshot is of one moment, however much is written meanwhile, and writes do not wait for it."""
    store = Store(directory)
    store.start()
    try:
        # Every transaction leaves the two keys equal.
        txn = {"success": [{"request_put": {"key": b64(k), "value": b64("0")}} for k in ("left", "right")]}
        post(store, "/v3/kv/txn", txn)
        for i in range(3000):
            if i % 100 == 0:
                post(store, "/v3/kv/txn", {"success": [{"request_put": {"key": b64(f"fill{i + j}"),
                                                                         "value": b64("x" * 500)}} for j in range(100)]})
        stop, slowest = threading.Event(), [0.0]

        def write():
            n = 0
            while not stop.is_set():
                n += 1
                began = time.monotonic()
                post(store, "/v3/kv/txn", {"success": [{"request_put": {"key": b64(k), "value": b64(str(n))}}
                                                       for k in ("left", "right")]})
                slowest[0] = max(slowest[0], time.monotonic() - began)
        writer = threading.Thread(target=write)
        writer.start()
        for i in range(3):
            path = directory / f"s{i}.db"
            store.ctl("snapshot", "save", path, program="kvctl")
            revision = json.loads(store.ctl("get", "left", "-w", "json", program="kvctl").stdout)["header"]["revision"]
            store.ctl("compaction", str(revision - 1), program="kvctl")
        stop.set()
        writer.join()
        for i in range(3):
            (directory / f"r{i}").mkdir()
            restored = Store(directory / f"r{i}")
            store.ctl("snapshot", "restore", directory / f"s{i}.db", "--data-dir", restored.dir / "data", "--name", "m1",
                      "--initial-cluster", "m1=http://localhost:2380", program="kvctl")
            restored.start()
            try:
                left, right = (restored.ctl("get", k, "--print-value-only", program="kvctl").stdout
                               for k in ("left", "right"))
                equal(left, right)
            finally:
                restored.kill()
        print(f"kvstore_surface: slowest write beside a snapshot {slowest[0] * 1000:.0f} ms")
    finally:
        store.kill()


def flags(directory):
    store = Store(directory, flags=["--experimental-max-learners=2", "--experimental-initial-corrupt-check=true",
                                    "--enable-pprof=false", "--cors=*"])
    store.start()
    try:
        second = subprocess.run([BUILD / "bin/kvstore", "--data-dir", store.dir / "data", "--listen-client-urls",
                                 f"http://127.0.0.1:{free_port()}", "--advertise-client-urls", "http://a:1"],
                                capture_output=True, text=True, timeout=10)
        contains(second.stderr + second.stdout, "in use by another process")
    finally:
        store.kill()
    port = free_port()
    config = directory / "etcd.yaml"
    config.write_text(f"name: m1\ndata-dir: {directory}/yaml\nlisten-client-urls: https://127.0.0.1:{port}\n"
                      f"advertise-client-urls: https://127.0.0.1:{port}\nenable-grpc-gateway: false\n"
                      "client-transport-security:\n  auto-tls: true\n")
    process = subprocess.Popen([BUILD / "bin/kvstore", "--config-file", config], stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 10
        while True:
            done = subprocess.run([BUILD / "bin/kvctl", "--endpoints", f"https://127.0.0.1:{port}",
                                   "--insecure-skip-tls-verify", "put", "a", "1"], capture_output=True, text=True)
            if done.returncode == 0:
                break
            if time.monotonic() > deadline:
                raise AssertionError(done.stderr)
            time.sleep(0.1)
        curl = subprocess.run(["curl", "-sk", "-X", "POST", "-d", "{}", f"https://127.0.0.1:{port}/v3/kv/range"],
                              capture_output=True, text=True)
        contains(curl.stdout, "404 page not found")
    finally:
        process.terminate()
        process.wait(10)


def backups(directory):
    store = Store(directory)
    store.start()
    try:
        store.ctl("put", "a", "1", program="kvctl")
        run = subprocess.Popen([BUILD / "bin/kvctl", "--endpoints", store.endpoint, "backup", "--to",
                                directory / "backups", "--every", "1100ms", "--keep", "2"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
        for _ in range(3):
            contains(run.stdout.readline(), "backup-")
        store.ctl("put", "a", "2", program="kvctl")
        for _ in range(2):
            contains(run.stdout.readline(), "backup-")
        run.terminate()
        equal(run.wait(10), 0)
        equal(len(list((directory / "backups").glob("backup-*.db"))), 2)
        (directory / "back").mkdir()
        again = Store(directory / "back")
        contains(store.ctl("restore", "--from", directory / "backups", "--data-dir", again.dir / "data", "--name", "m1",
                           "--initial-cluster", "m1=http://localhost:2380", program="kvctl").stdout, "restored")
        again.start()
        try:
            equal(again.ctl("get", "a", program="kvctl").stdout, "a\n2\n")
        finally:
            again.kill()
    finally:
        store.kill()


def restores(directory):
    """One snapshot becomes a cluster of three; another one skips the revisions that clients may have seen."""
    store = Store(directory)
    store.start()
    store.ctl("put", "a", "1", program="kvctl")
    store.ctl("put", "a", "2", program="kvctl")
    store.ctl("snapshot", "save", directory / "s.db", program="kvctl")
    peers = {f"m{i}": f"http://127.0.0.1:{free_port()}" for i in (1, 2, 3)}
    cluster = ",".join(f"{n}={u}" for n, u in peers.items())
    members = []
    try:
        contains(store.ctl("snapshot", "restore", directory / "s.db", "--data-dir", directory / "x", "--name", "other",
                           "--initial-cluster", cluster, program="kvctl", check=False).stderr,
                 'couldn\'t find local name "other" in the initial cluster configuration')
        for name, url in peers.items():
            port = free_port()
            store.ctl("snapshot", "restore", directory / "s.db", "--data-dir", directory / name, "--name", name,
                      "--initial-cluster", cluster, "--initial-advertise-peer-urls", url, program="kvctl")
            client = f"http://127.0.0.1:{port}"
            log = open(directory / f"{name}.log", "wb")
            members.append((client, subprocess.Popen(
                [BUILD / "bin/kvstore", "--name", name, "--data-dir", directory / name, "--listen-client-urls", client,
                 "--advertise-client-urls", client, "--listen-peer-urls", url, "--initial-advertise-peer-urls", url,
                 "--initial-cluster", cluster], stdout=log, stderr=log)))
        deadline = time.monotonic() + 20
        for client, _ in members:
            while True:
                done = subprocess.run([BUILD / "bin/kvctl", "--endpoints", client, "get", "a"], capture_output=True,
                                      text=True)
                if done.stdout == "a\n2\n":
                    break
                if time.monotonic() > deadline:
                    raise AssertionError(f"{client}: {done.stderr}")
                time.sleep(0.2)
        listed = subprocess.run([BUILD / "bin/kvctl", "--endpoints", members[0][0], "member", "list"],
                                capture_output=True, text=True).stdout
        equal(len(listed.splitlines()), 3)
        (directory / "bumped").mkdir()
        bumped = Store(directory / "bumped")
        store.ctl("snapshot", "restore", directory / "s.db", "--data-dir", bumped.dir / "data", "--name", "m1",
                  "--initial-cluster", "m1=http://localhost:2380", "--bump-revision", "1000", "--mark-compacted",
                  program="kvctl")
        bumped.start()
        try:
            answer = json.loads(bumped.ctl("get", "a", "-w", "json", program="kvctl").stdout)
            equal((answer["header"]["revision"], answer["kvs"][0]["value"]), (1003, b64("2")))
            contains(bumped.ctl("get", "a", "--rev=3", program="kvctl", check=False).stderr, "has been compacted")
        finally:
            bumped.kill()
    finally:
        store.kill()
        for _, process in members:
            process.kill()
            process.wait(10)


def main():
    if not (BUILD / "bin/kvstore").exists() or not shutil.which("etcdctl"):
        print("SKIP kvstore_surface: kvstore or Debian's etcdctl is not here")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-surface-") as top:
        def fresh(name):
            (pathlib.Path(top) / name).mkdir()
            return pathlib.Path(top) / name
        store = Store(fresh("main"))
        store.start()
        cases = [("health", lambda: health(store)), ("grpc_health", lambda: grpc_health(store)),
                 ("metrics", lambda: metrics(store)), ("counters", lambda: counters(store)),
                 ("cluster_counters", lambda: cluster_counters(fresh("cluster"))),
                 ("tls_reload", lambda: tls_reload(fresh("tls"))), ("gateway", lambda: gateway(store)),
                 ("downgrade", lambda: downgrade(store)), ("old_client", lambda: old_client(store)),
                 ("browsers", lambda: browsers(fresh("browsers"))),
                 ("quota", lambda: quota(fresh("quota"))),
                 ("snapshot_while_writing", lambda: snapshot_while_writing(fresh("snapshot"))),
                 ("flags", lambda: flags(fresh("flags"))), ("backups", lambda: backups(fresh("backups"))),
                 ("restores", lambda: restores(fresh("restores")))]
        for name, case in cases:
            try:
                case()
                print(f"PASS kvstore_surface.{name}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore_surface.{name}: {e}", flush=True)
        store.kill()


if __name__ == "__main__":
    main()
