#!/usr/bin/env python3
"""Our control plane and another one with the same programs' names, measured in one run on this machine. By hand, never
in CI: it wants quiet cores and release builds, and the other's binaries are not ours to bring.

    ninja -C build/release kvstore kube-apiserver kube-controller-manager kube-scheduler apiserver_load kv_bench
    tests/bench/side_by_side.py --bin build/release/bin --peer /path/with/etcd,kube-apiserver,...

Each side: store, apiserver, controllers and scheduler with the same flags on loopback (TLS everywhere, RBAC), from
nothing to the first answered `kubectl get nodes`; idle memory; then, with controllers and scheduler stopped so that only
the load counts, apiserver_load; then the store alone under kv_bench. Prints one table: ours, peer, ratio.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/component"), str(ROOT / "tests/tools")]
from apiserver_process import Pki, free_port  # noqa: E402
from kubectl import kubectl  # noqa: E402

COMPONENTS = ["kube-controller-manager", "kube-scheduler"]


def memory(pid):
    """RSS, PSS (what several processes share is split between them) and peak RSS in MB."""
    found = {}
    for file in ("smaps_rollup", "status"):
        for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
            m = re.match(r"(Rss|Pss|VmHWM):\s+(\d+) kB", line)
            if m:
                found[m[1]] = int(m[2]) * 1024 / 1e6
    return found


class Plane:
    """One control plane in a directory of its own."""

    def __init__(self, programs, store, keep):
        self.bin, self.store_name, self.keep = pathlib.Path(programs), store, keep
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="side-by-side-"))
        self.processes = {}
        self.pki = Pki(self.dir)
        for name in COMPONENTS:
            self.pki.issue(name, f"/CN=system:{name}", "extendedKeyUsage=clientAuth")
        self.port = free_port()
        for name in COMPONENTS + ["admin"]:
            self.kubeconfig(name)

    def file(self, name):
        return self.pki.file(name)

    def kubeconfig(self, name):
        pathlib.Path(self.file(f"{name}.conf")).write_text(f"""apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{self.port}", certificate-authority: {self.file("ca.crt")}}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{client-certificate: {self.file(name + ".crt")}, client-key: {self.file(name + ".key")}}}}}]
""")

    def spawn(self, name, *args):
        with open(self.dir / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen([str(self.bin / name), *args], stdout=log, stderr=log,
                                                    stdin=subprocess.DEVNULL, cwd=self.dir)

    def start_store(self, tls=True):
        f, scheme = self.file, "https" if tls else "http"
        client, peer = (f"{s}://127.0.0.1:{free_port()}" for s in (scheme, "http"))
        secure = [f"--cert-file={f('server.crt')}", f"--key-file={f('server.key')}", "--client-cert-auth",
                  f"--trusted-ca-file={f('ca.crt')}"] if tls else []
        self.spawn(self.store_name, "--name=m", f"--data-dir={self.dir}/data-{scheme}", f"--listen-client-urls={client}",
                   f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
                   f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=m={peer}", *secure)
        return client

    def start(self, components=COMPONENTS):
        """Seconds to the first answered `kubectl get nodes`, with these components beside store and apiserver."""
        f = self.file
        began = time.time()
        store = self.start_store()
        self.spawn("kube-apiserver", f"--etcd-servers={store}", f"--etcd-cafile={f('ca.crt')}",
                   f"--etcd-certfile={f('admin.crt')}", f"--etcd-keyfile={f('admin.key')}", "--bind-address=127.0.0.1",
                   f"--secure-port={self.port}", f"--tls-cert-file={f('server.crt')}",
                   f"--tls-private-key-file={f('server.key')}", f"--client-ca-file={f('ca.crt')}",
                   "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.96.0.0/16",
                   "--advertise-address=192.0.2.10", "--service-account-issuer=https://kubernetes.default.svc",
                   f"--service-account-signing-key-file={f('sa.key')}", f"--service-account-key-file={f('sa.key')}")
        for name in components:
            own = [f"--root-ca-file={f('ca.crt')}",
                   "--use-service-account-credentials"] if name == COMPONENTS[0] else []
            self.spawn(name, f"--kubeconfig={f(name + '.conf')}", "--bind-address=127.0.0.1",
                       f"--secure-port={free_port()}", *own)
        command = [kubectl(37), "--kubeconfig", f("admin.conf"), "get", "nodes"]
        while time.time() - began < 60:
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(self.dir)})
            if done.returncode == 0:
                return time.time() - began
            time.sleep(0.02)
        raise RuntimeError(f"no answer from {self.bin}: {done.stderr}")

    def stop(self, *names):
        for name in names or list(self.processes):
            p = self.processes.pop(name)
            p.terminate()
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def close(self):
        self.stop()
        if self.keep:
            print("kept", self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(plane, tools, o, rows):
    pids = {name: p.pid for name, p in plane.processes.items()}
    done = subprocess.run(
        [tools / "apiserver_load", "--json", f"--server=https://127.0.0.1:{plane.port}", f"--ca={plane.file('ca.crt')}",
         f"--cert={plane.file('admin.crt')}", f"--key={plane.file('admin.key')}", f"--pid={pids['kube-apiserver']}",
         f"--store-pid={pids[plane.store_name]}", f"--objects={o.objects}", f"--clients={o.clients}",
         f"--watchers={o.watchers}", f"--updates={o.updates}"], stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        phase = json.loads(line)
        rows[f"apiserver CPU us: {phase['phase']}"] = phase["server_us"]
        rows[f"store CPU us: {phase['phase']}"] = phase["store_us"]
        rows[f"per second: {phase['phase']}"] = phase["per_second"]
    if done.returncode != 0:
        raise RuntimeError(f"apiserver_load ended with {done.returncode}")
    rows["peak RSS MB under load: apiserver"] = memory(pids["kube-apiserver"])["VmHWM"]
    rows["peak RSS MB under load: store"] = memory(pids[plane.store_name])["VmHWM"]


def store_load(plane, tools, o, rows):
    url = plane.start_store(tls=False)
    pid = plane.processes[plane.store_name].pid
    time.sleep(1.5)
    for op in ("put", "get"):
        done = subprocess.run([tools / "kv_bench", f"--endpoints={url}", f"--op={op}", f"--pids={pid}", "--seconds=5"],
                              capture_output=True, text=True, check=True)
        m = re.search(r": ([\d.]+)/s, p50 (\d+) us, p99 (\d+) us, failures (\d+), server CPU ([\d.]+)", done.stdout)
        rows[f"kv CPU us: {op}"] = float(m[5])
        rows[f"kv per second: {op}"] = float(m[1])
        rows[f"kv p99 us: {op}"] = float(m[3])
    rows["kv peak RSS MB"] = memory(pid)["VmHWM"]


def measure(programs, store, o):
    rows = {}
    plane = Plane(programs, store, o.keep)
    try:
        rows["start to the first answer, s"] = plane.start()
        time.sleep(o.settle)
        total = {"Rss": 0, "Pss": 0}
        before = {name: cpu_seconds(p.pid) for name, p in plane.processes.items()}
        time.sleep(o.idle)
        for name, p in plane.processes.items():
            if p.poll() is not None:
                raise RuntimeError(f"{name} ended: " + (plane.dir / f"{name}.log").read_text(errors="replace")[-2000:])
            m = memory(p.pid)
            role = "store" if name == store else name
            rows[f"idle RSS MB: {role}"] = m["Rss"]
            rows[f"idle CPU ms per s: {role}"] = (cpu_seconds(p.pid) - before[name]) / o.idle * 1e3
            for k in total:
                total[k] += m[k]
        rows["idle RSS MB: sum"], rows["idle PSS MB: sum"] = total["Rss"], total["Pss"]
        plane.stop(*reversed(COMPONENTS))
        if "load" in o.parts:
            load(plane, o.tools, o, rows)
        plane.stop()
        if "kv" in o.parts:
            store_load(plane, o.tools, o, rows)
    finally:
        plane.close()
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin", help="our binaries")
    p.add_argument("--tools", type=pathlib.Path, default=ROOT / "build/release/bin", help="apiserver_load and kv_bench")
    p.add_argument("--peer", type=pathlib.Path, help="folder of etcd, kube-apiserver, ...; without it only ours")
    p.add_argument("--parts", default="load,kv", help="what to run beside start and idle")
    p.add_argument("--objects", type=int, default=5000)
    p.add_argument("--clients", type=int, default=16)
    p.add_argument("--watchers", type=int, default=1000)
    p.add_argument("--updates", type=int, default=100)
    p.add_argument("--settle", type=float, default=10, help="seconds before idle is measured")
    p.add_argument("--idle", type=float, default=5, help="seconds over which idle CPU is measured")
    p.add_argument("--keep", action="store_true", help="leave the folders")
    p.add_argument("--save", type=pathlib.Path, help="write the figures as JSON")
    p.add_argument("--against", type=pathlib.Path, help="figures saved before, instead of running the peer")
    o = p.parse_args()
    o.bin, o.tools = o.bin.resolve(), o.tools.resolve()
    ours = measure(o.bin, "kvstore", o)
    peer = {}
    if o.against:
        peer = json.loads(o.against.read_text())["peer"]
    elif o.peer:
        peer = measure(o.peer.resolve(), "etcd", o)
    print(f"{'':<52} {'ours':>10} {'peer':>10} {'ours/peer':>10}")
    for key in dict.fromkeys([*ours, *peer]):
        a, b = ours.get(key), peer.get(key)
        cell = ["" if v is None else f"{v:.2f}" for v in (a, b, a / b if a is not None and b else None)]
        print(f"{key:<52} {cell[0]:>10} {cell[1]:>10} {cell[2]:>10}")
    if o.save:
        o.save.write_text(json.dumps({"ours": ours, "peer": peer}, indent=1))


if __name__ == "__main__":
    main()
