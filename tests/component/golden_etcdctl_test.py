#!/usr/bin/env python3
"""The recorded commands of etcdctl, etcdutl and curl against a fresh kvstore: exit code and output as recorded, but for
what differs from run to run (IDs, sizes, terms, ports, times).

    golden_etcdctl_test.py                                    with kvctl in the tools' place
    golden_etcdctl_test.py --ctl etcdctl --utl etcdutl        with those programs
    ... --server PROGRAM                                      against another server (etcd itself: what is not equal
                                                              there is the recording's noise)
    ... --show N                                              prints the first N differences
"""
import argparse
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KEELSON_BUILD", ROOT / "build/dev"))
SHARED = pathlib.Path(os.environ.get("KEELSON_SHARED", ROOT / "../shared"))
GOLDEN = SHARED / "golden/etcdctl/etcdctl-3.7.jsonl"

# Number of the exchange -> why it differs. Any other difference fails; one of these that agrees again is said.
KNOWN = {}
KNOWN_KVCTL = {}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, program, directory):
        self.client, self.peer = free_port(), free_port()
        self.url, peer = f"http://127.0.0.1:{self.client}", f"http://127.0.0.1:{self.peer}"
        self.log = open(pathlib.Path(directory) / "log", "wb")
        self.process = subprocess.Popen(
            [program, "--name", "m1", "--data-dir", f"{directory}/data", "--listen-client-urls", self.url,
             "--advertise-client-urls", self.url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", f"m1={peer}"], stdout=self.log, stderr=self.log)
        until = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", self.client)) != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{program} does not serve: " + pathlib.Path(self.log.name).read_text()[-500:])
            time.sleep(0.02)
        time.sleep(1.5 if "etcd" in pathlib.Path(program).name else 0.1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.log.close()


def without_logs(stderr, tool_logs):
    """Lines of the Go client's own log: of those of the real tools the method and the error are kept."""
    out = []
    for line in stderr.splitlines():
        if line.startswith('{"level"'):
            if not tool_logs:
                continue
            record = json.loads(line)
            if "context canceled" in record.get("error", ""):
                continue  # a tool that was killed may or may not have said so
            line = f"LOG {record['msg']} {record.get('method', '')} {record.get('error', '')}"
        out.append(line)
    return "\n".join(out)


def normal(text):
    text = re.sub(r"127\.0\.0\.1:(?!1\b)\d+", "HOST", text)
    text = re.sub(r'("(?:cluster_id|member_id|ID|leader|memberID)"\s*:\s*)"?[0-9]{6,}"?', r"\1ID", text)
    text = re.sub(r'("(?:ClusterID|MemberID|ID|Leader)" : )[0-9]{6,}', r"\1ID", text)
    text = re.sub(r'(raft_?[tT]erm|raft(?:Applied)?Index|Raft(?:Term|Index|AppliedIndex)|dbSize\w*|DBSize\w*|totalSize)"'
                  r'(\s*:\s*)"?\d+"?', r'\1"\2N', text)
    # As the recorded commands call it; their own pattern of sixteen digits passes over an ID that begins with a zero.
    text = re.sub(r"\b[0-9a-f]{14,16}\b", "ID", text)
    text = re.sub(r'took(" ?: ?"|[ =.]+)[0-9.]+(µs|ms|s)', r"took\1T", text)
    text = re.sub(r"\d+ bytes|\d+(\.\d+)? [kMG]?B\b", "SIZE", text)
    text = re.sub(r"SIZE, \d+%", "SIZE, P%", text)
    text = re.sub(r"(true|false), (true|false), \d+, \d+, \d+,", r"\1, \2, N, N, N,", text)
    text = re.sub(r"│ +[0-9a-f]{7,8} │", "│ HASH │", text)
    text = re.sub(r"\b20\d\d-[0-9-]+T[0-9:.]+(Z|[+-]\d{4})", "<time>", text)
    # Widths of tables follow the widths of what was left out.
    text = re.sub(r"<time>\tinfo\tsnapshot/v3_snapshot.go:\d+\t|, \"initial-memory-map-size\": \d+", "", text)
    text = re.sub(r"─+", "─", text)
    text = re.sub(r" +", " ", text) if "│" in text else text
    text = re.sub(r"│ \d+% │", "│ P% │", text)
    text = re.sub(r"(│ (?:true|false) │ (?:true|false)) │ \d+ │ \d+ │ \d+ │", r"\1 │ N │ N │ N │", text)
    # The original's JSON writer spaces its output by the build, its maps have no order.
    text = text.replace("\xa0", " ").replace(', "', ',"')
    text = re.sub(r'(ETCD_INITIAL_CLUSTER=")(.*?)"',
                  lambda m: m[1] + ",".join(sorted(m[2].split(","))) + '"', text)
    lines = text.rstrip("\n").split("\n")
    if all(re.match(r"\[[+-]\]|ok$|ID, (un)?started,", line) for line in lines):
        lines.sort()
    return "\n".join(lines)


def run(command, env, directory):
    done = subprocess.run(["bash", "-c", command], env=env, cwd=directory, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode, done.stdout, done.stderr


def replay(args, directory):
    tools = pathlib.Path(directory) / "bin"
    tools.mkdir()
    for name, program in (("etcdctl", args.ctl), ("etcdutl", args.utl)):
        (tools / name).symlink_to(pathlib.Path(program).resolve())
    server = Server(str(args.server), directory)
    env = {"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "HOME": directory, "TMPDIR": directory,
           "ETCDCTL_ENDPOINTS": server.url, "E": server.url, "LC_ALL": "C.UTF-8"}
    try:
        for number, line in enumerate(GOLDEN.read_text().splitlines()):
            want = json.loads(line)
            # Later lines build on earlier ones, so all of them are run.
            code, out, err = run(want["command"], env, directory)
            pair = [(str(c), normal(o), normal(without_logs(e, args.real_tools)))
                    for c, o, e in ((want["exit"], want["stdout"], want["stderr"]), (code, out, err))]
            yield number, want, pair[0], pair[1]
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ctl", default=BUILD / "bin/kvctl")
    parser.add_argument("--utl", default=BUILD / "bin/kvctl")
    parser.add_argument("--server", default=BUILD / "bin/kvstore")
    parser.add_argument("--show", type=int, default=5)
    args = parser.parse_args()
    args.real_tools = pathlib.Path(args.ctl).name != "kvctl"
    if not GOLDEN.exists():
        print("SKIP golden_etcdctl: the recorded commands are not here (set KEELSON_SHARED)")
        return 0
    for program in (args.ctl, args.utl, args.server):
        if not pathlib.Path(program).exists():
            print(f"SKIP golden_etcdctl: {program} is not there")
            return 0
    known = KNOWN if args.real_tools else KNOWN | KNOWN_KVCTL
    equal, listed, shown, sections = 0, [], 0, {}
    with tempfile.TemporaryDirectory(prefix="golden-etcdctl-") as directory:
        for number, exchange, want, got in replay(args, directory):
            bad = sections.setdefault(exchange["section"], [])
            if want == got:
                equal += 1
                if number in known:
                    print(f"note: {number} agrees again: {exchange['command'][:60]}")
            elif number in known:
                listed.append(number)
            else:
                bad.append(number)
                if shown < args.show:
                    shown += 1
                    print(f"--- {number}: {exchange['command']}")
                    for what, w, g in zip(("exit", "stdout", "stderr"), want, got):
                        if w != g:
                            print(f"  {what} want {w!r}\n  {what} got  {g!r}")
    for section, bad in sections.items():
        name = "golden_etcdctl." + section.replace(" ", "_").replace(",", "")
        print(f"FAIL {name}: {len(bad)} differ: {bad}" if bad else f"PASS {name}")
    different = sum(map(len, sections.values()))
    print(f"{equal} equal, {len(listed)} known, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
