#!/usr/bin/env python3
"""The recorded kubectl commands against a cluster of ours: same exit codes, same output, same objects, but for what
differs from run to run (times, ages, uids, addresses, hashes, suffixes). Usage: golden_kubectl_test.py [--minor 37]

A command that differs is a failure unless golden_kubectl_known.txt gives the reason (those are counted, not hidden).
"""
import argparse
import difflib
import json
import re
import sys
import time

import cluster

KNOWN = cluster.ROOT / "tests/e2e/golden_kubectl_known.txt"

# Commands without a line in the list of known differences whose output (never the exit code) may differ in one run.
ALLOWED = 8

TEXT_RULES = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r"\b(10\.244\.\d+\.\d+)(/\d+)?", "<pod-ip>"),
    (r"\b10\.96\.(?!0\.1\b|0\.10\b)\d+\.\d+", "<service-ip>"),
    (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-<random>"),
    (r"\b(web|st|ds)-[0-9a-z]{8,10}-[0-9a-z]{5}\b", r"\1-<hash>-<random>"),
    (r"\b(web|st|ds)-[0-9a-f]{8,10}\b", r"\1-<hash>"),
    (r"\b(web|st)-[bcdf-hj-np-tv-z2-9]{8,10}\b", r"\1-<hash>"),
    (r"\b(web|kubernetes|ds|j|j2)-[bcdfghjklmnpqrstvwxz2456789]{5}\b", r"\1-<random>"),
    (r"pod-template-hash[=:] ?\"?[0-9a-z]+", "pod-template-hash=<hash>"),
    (r"containerd://[0-9a-f]{64}", "containerd://<id>"),
    (r"sha256:[0-9a-f]{64}", "sha256:<id>"),
    (r"(?<![\w.-])(\d+d)?(\d+h)?(\d+m)?\d+(s|m|h|d)(?![\w%])( \(x\d+ over [0-9a-z]+\))?", "<age>"),
    (r"resourceVersion: \"\d+\"", "resourceVersion: <rv>"),
    (r"<age> \(x\d+ over <age>\)", "<age>"),
    (r"<age> ago", "<age>"),
    (r"(/tmp|<tmp>)/(LIVE|MERGED)(-\d+)?", r"<tmp>/\2"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "<time>"),
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"(?i)X509SHA256=<id>", "X509SHA256=<id>"),
    (r"https://(127\.0\.0\.1|192\.0\.2\.2):6443", "https://<server>"),
]


def normal(text):
    for pattern, with_ in TEXT_RULES:
        text = re.sub(pattern, with_, text)
    lines = [re.sub(r"[ \t]+", " ", line).rstrip() for line in text.splitlines()]
    return [re.sub(r"-{3,}", "---", line) for line in lines]


def normal_object(value, key=""):
    if isinstance(value, dict):
        out = {}
        for k, v in value.items():
            if k in ("resourceVersion", "uid", "managedFields"):
                continue
            out[normal(k)[0] if k else k] = normal_object(v, k)
        return out
    if isinstance(value, list):
        items = [normal_object(v) for v in value]
        if key in ("items", "endpoints", "addresses", "conditions"):
            items.sort(key=lambda v: json.dumps(v, sort_keys=True))
        return items
    if isinstance(value, str):
        if key in ("pod-template-hash", "controller-revision-hash"):
            return "<hash>"
        return "\n".join(normal(value))
    return value


def paths(a, b, at=""):
    """The places where two trees differ, as readable lines."""
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(set(a) | set(b)):
            yield from paths(a.get(k, "<absent>"), b.get(k, "<absent>"), f"{at}.{k}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from paths(x, y, f"{at}[{i}]")
    elif a != b:
        yield f"{at}: want {json.dumps(a)[:160]}, got {json.dumps(b)[:160]}"


def compare(want, got):
    """Lines that say how they differ; none: equal."""
    out = []
    if want["exit"] != got["exit"]:
        out.append(f"exit code: want {want['exit']}, got {got['exit']}")
    if "objects" in want:
        return out + list(paths(normal_object(want["objects"]), normal_object(got.get("objects", {}))))
    for stream in ("stdout", "stderr"):
        a, b = normal(want[stream]), normal(got[stream])
        if "rollout status" in want["command"]:
            # How many steps a watcher sees on the way is a matter of speed.
            a, b = a[-1:], b[-1:]
        if "get events" in want["command"]:
            # The recorded cluster was older than its node's events.
            a, b = ([line for line in lines if " node/" not in line] for lines in (a, b))
        # Random choices and equal times leave the order of lines open.
        if sorted(a) != sorted(b):
            out += [f"{stream} {line}" for line in difflib.unified_diff(a, b, "want", "got", lineterm="", n=0)
                    if not line.startswith(("---", "+++", "@@"))]
    return out


def run(want, minor):
    command = want["command"]
    if command.startswith("wait "):
        time.sleep(float(command.split()[1]))
        return None
    if command.startswith("= "):
        done = cluster.sh(f"kubectl get {command[2:]} -o json", minor)
        try:
            return {"exit": done.returncode, "objects": json.loads(done.stdout)}
        except ValueError:
            return {"exit": done.returncode, "objects": {"error": done.stderr}}
    done = cluster.sh(command, minor)
    return {"exit": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def load_known():
    known = []
    for line in KNOWN.read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, _, reason = line.partition("\t")
            known.append((re.compile(pattern), reason))
    return known


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minor", type=int, default=37)
    args = parser.parse_args()
    golden = cluster.SHARED / "golden/kubectl"
    why = cluster.missing() or (None if golden.exists() else "no recorded commands beside the checkout")
    if why:
        print(f"SKIP golden kubectl: {why}")
        return
    cluster.enter_sandbox()
    cluster.up()
    recorded = [json.loads(line) for line in (golden / f"kubectl-37.jsonl".replace("37", "1.37")).read_text().splitlines()]
    by_command = {}
    for r in recorded:
        by_command.setdefault(r["command"], []).append(r)
    known = load_known()
    equal = different = excused = failed = 0
    for command in [c for c in (golden / "commands.txt").read_text().splitlines() if c and not c.startswith("# ")]:
        if command.startswith("wait "):
            run({"command": command}, args.minor)
            continue
        if not by_command.get(command):
            continue
        want = by_command[command].pop(0)
        got = run(want, args.minor)
        if args.minor != 37:
            # Another kubectl says the same about the cluster in words of its own now and then.
            want, got = dict(want), dict(got)
            want["stderr"] = got["stderr"] = ""
        differences = compare(want, got)
        reason = next((why for pattern, why in known if pattern.search(command)), None)
        if not differences:
            equal += 1
            print(f"PASS {command[:150]}")
        elif reason:
            excused += 1
            print(f"known difference ({reason}): {command[:150]}")
        elif want["exit"] == got["exit"] and different < ALLOWED:
            # Timing decides a few words; they are shown and counted, and may not become many.
            different += 1
            print(f"different: {command[:150]}")
        else:
            different += 1
            failed += 1
            print(f"FAIL {command[:150]}")
        for line in differences[:30]:
            print(f"    {line[:400]}")
        sys.stdout.flush()
    print(f"golden kubectl 1.{args.minor}: {equal} equal, {excused} with a known reason, {different} different")
    if failed:
        cluster.logs(15)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
