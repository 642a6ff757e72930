#!/usr/bin/env python3
"""etcd_surface.tsv says which test shows each RPC, gateway route and kvctl command; this keeps it true: nothing is
missing, nothing stands there that is not served, and each named case exists and uses what it is said to show."""
import csv
import json
import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("KEELSON_SHARED", ROOT / "../shared"))
GOLDEN = SHARED / "golden/etcdctl/etcdctl-3.7.jsonl"


def rpcs():
    """What the services of the .proto files promise."""
    out = set()
    for name in ("rpc", "election", "lock"):
        text = (ROOT / f"proto/etcd/{name}.proto").read_text()
        package = re.search(r"^package (\w+);", text, re.M)[1]
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.M | re.S):
            out |= {f"{package}.{service}.{m}" for m in re.findall(r"\brpc (\w+)", body)}
    return out


def recorded_rpcs():
    with open(SHARED / "facts/etcd_rpc.tsv") as f:
        rows = list(csv.DictReader(f, delimiter="\t"))
    return {f"{r['service']}.{r['rpc']}" for r in rows if r["in_3.7.1"] == "yes"}


def routes():
    text = (ROOT / "kvstore/service/gateway.cc").read_text()
    return set(re.findall(r'\{"(/v3/[^"]+)",', text)) | {"/health", "/livez", "/readyz", "/version", "/metrics"}


def commands():
    text = (ROOT / "kvstore/ctl/command_list.cc").read_text()
    return set(re.findall(r'^\s*\{"([a-z][a-z -]*)",\s*"', text, re.M)) | {"version", "options"}


def body_of(path, case):
    """The text of a case: a function of a test, or everything where a program is one case."""
    text = (ROOT / path).read_text()
    if path.endswith(".py"):
        found = re.search(rf"^def {re.escape(case)}\(.*?(?=^def |\Z)", text, re.M | re.S)
        return found[0] if found else None
    return text if re.search(rf"\b{re.escape(case)}\b", text) else None


def shows(row):
    if not (ROOT / row["test"]).exists():
        return f"{row['test']} is not there"
    if row["test"].endswith("golden_etcdctl_test.py"):
        if not GOLDEN.exists():
            return None
        lines = [json.loads(x) for x in GOLDEN.read_text().splitlines()]
        used = any(x["section"] == row["case"] and row["seen"] in x["command"] for x in lines)
        return None if used else f"no recorded command of section {row['case']} has {row['seen']!r}"
    body = body_of(row["test"], row["case"])
    if body is None:
        return f"{row['test']} has no case {row['case']}"
    return None if row["seen"] in body else f"{row['case']} of {row['test']} does not use {row['seen']!r}"


def main():
    with open(ROOT / "tests/component/etcd_surface.tsv") as f:
        table = list(csv.DictReader(f, delimiter="\t"))
    for kind, served in (("rpc", rpcs()), ("route", routes()), ("command", commands())):
        listed = [r["name"] for r in table if r["kind"] == kind]
        wrong = [f"{n} is not in the table" for n in sorted(served - set(listed))]
        wrong += [f"{n} is not served" for n in sorted(set(listed) - served)]
        wrong += [f"{n} stands twice" for n in sorted({n for n in listed if listed.count(n) > 1})]
        if kind == "rpc" and SHARED.exists():
            wrong += [f"{n} of the original is not in the table" for n in sorted(recorded_rpcs() - set(listed))]
        wrong += [f"{r['name']}: {why}" for r in table if r["kind"] == kind and (why := shows(r))]
        print(f"FAIL etcd_surface.{kind}: " + "; ".join(wrong[:8]) if wrong else f"PASS etcd_surface.{kind}")
        print(f"{len(listed)} of kind {kind}")


if __name__ == "__main__":
    main()
