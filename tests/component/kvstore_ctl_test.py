#!/usr/bin/env python3
"""kvctl where the recorded commands (golden_etcdctl_test.py) do not go: interactive watches, checks, mirrors, backups'
relatives, what etcdutl does with files."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from kvstore_test import BUILD, Store, contains, equal

KVCTL = str(BUILD / "bin/kvctl")


def ctl(store, *args, **kw):
    return store.ctl(*args, program="kvctl", **kw)


def start(store, *args, **env):
    return subprocess.Popen([KVCTL, "--endpoints", store.endpoint, *args], stdin=subprocess.PIPE, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, **env))


def interactive_watch(store, directory):
    watch = start(store, "watch", "-i")
    def say(line):
        watch.stdin.write(line + "\n")
        watch.stdin.flush()
        time.sleep(0.4)
    say("watch --prefix w/ --prev-kv")
    ctl(store, "put", "w/a", "1")
    say('watch other -- sh -c "echo program $ETCD_WATCH_KEY"')
    ctl(store, "put", "other", "2")
    say("progress")
    say("nonsense")
    watch.stdin.close()
    code = watch.wait(10)
    out, err = watch.stdout.read(), watch.stderr.read()
    contains(out, "PUT\nw/a\n1\n")
    contains(out, 'PUT\nother\n2\nprogram "other"\n')
    equal(out.count("progress notify: "), 2)
    contains(err, "Invalid command nonsense (only support watch)")
    contains(err, "error reading watch request line: EOF")
    equal(code, 3)
    conflict = subprocess.run([KVCTL, "--endpoints", store.endpoint, "watch", "a"], capture_output=True, text=True,
                              env=dict(os.environ, ETCDCTL_WATCH_KEY="b"), timeout=10)
    equal((conflict.returncode, "conflicting environment key" in conflict.stderr), (128, True))


def compactions(store, directory):
    for i in range(4):
        ctl(store, "put", "c", str(i))
    revision = json.loads(ctl(store, "get", "c", "-w", "json").stdout)["header"]["revision"]
    equal(ctl(store, "compaction", str(revision - 1)).stdout, f"compacted revision {revision - 1}\n")
    contains(ctl(store, "compaction", str(revision - 1), check=False).stderr, "has been compacted")
    contains(ctl(store, "watch", "c", "--rev=1", check=False).stderr,
             "watch was canceled (etcdserver: mvcc: required revision has been compacted)")
    contains(ctl(store, "endpoint", "hashkv", "--cluster", "-w", "table").stdout, "HASH REVISION")
    equal(ctl(store, "alarm", "disarm").stdout, "")
    contains(ctl(store, "defrag").stdout, "Finished defragmenting etcd member")
    contains(ctl(store, "defrag", "--data-dir", directory, check=False).stderr, "no data directory of kvstore")


def offline(store, directory):
    """A data directory whose member does not run: what is in it, at the checkpoint and beyond, and its garbage."""
    def tool(*args, check=True):
        done = subprocess.run([KVCTL, *args], capture_output=True, text=True, timeout=30)
        if check and done.returncode != 0:
            raise AssertionError(f"{args}: {done.stderr}")
        return done
    place = directory / "offline"
    place.mkdir()
    other, data = Store(place, flags=["--snapshot-count=50"]), place / "data"
    other.start()
    try:
        for i in range(60):
            ctl(other, "put", f"k{i % 10}", f"{i} " + "x" * 20000)
        contains(tool("dump", "--data-dir", data, check=False).stderr, "is in use by another process")
        contains(tool("defrag", "--data-dir", data, check=False).stderr, "is in use by another process")
        revision = json.loads(ctl(other, "get", "k0", "-w", "json").stdout)["header"]["revision"]
        ctl(other, "compaction", str(revision - 10))
        want = ctl(other, "get", "", "--prefix").stdout
        before = ctl(other, "get", "k5", f"--rev={revision - 6}").stdout
        # The last writes are in the log alone.
        other.kill()
        equal(tool("dump", "--data-dir", data).stdout, want)
        equal(tool("dump", "--data-dir", data, "k5", f"--rev={revision - 6}").stdout, before)
        equal(tool("dump", "--data-dir", data, "k", "--keys-only").stdout.split(), [f"k{i}" for i in range(10)])
        equal(tool("dump", "--data-dir", data, "nosuch").stdout, "")
        lines = [json.loads(x) for x in tool("dump", "--data-dir", data, "-w", "json").stdout.splitlines()]
        equal((lines[0]["revision"], lines[0]["keys"], lines[0]["members"][0]["name"], len(lines)), (revision, 10, "m1", 11))
        contains(tool("defrag", "--data-dir", data).stdout, f"finished defragmenting directory[{data}]")
        equal(tool("dump", "--data-dir", data).stdout, want)
        other.start()
        equal(ctl(other, "get", "", "--prefix").stdout, want)
        contains(tool("dump", "--data-dir", directory, check=False).stderr, "no data directory of kvstore")
    finally:
        other.kill()


def streamed_get(store, directory):
    for i in range(30):
        ctl(store, "put", f"s/{i:02}", "v")
    equal(ctl(store, "get", "s/", "--prefix", "--stream").stdout, ctl(store, "get", "s/", "--prefix").stdout)
    # A target without an order sorts by it, as without a stream.
    for i, value in enumerate("cab"):
        ctl(store, "put", f"t/{i}", value)
    by_value = ("get", "t/", "--prefix", "--sort-by=VALUE")
    equal(ctl(store, *by_value, "--stream").stdout, "t/1\na\nt/2\nb\nt/0\nc\n")
    equal(ctl(store, *by_value, "--stream", "--keys-only").stdout, ctl(store, *by_value, "--keys-only").stdout)
    fields = [ctl(store, "get", "s/", "--prefix", "--count-only", "-w", "fields", *more).stdout
              for more in ([], ["--stream"])]
    equal(fields[0], fields[1])


def checks(store, directory):
    out = ctl(store, "check", "datascale", "--auto-compact", "--auto-defrag", timeout=120).stdout
    contains(out, "Start data scale check for work load [10000 key-value pairs, 1024 bytes per key-value, 50 concurrent")
    contains(out, "PASS: Approximate system memory used : ")
    contains(out, "Defragmented ")
    equal(ctl(store, "get", "/etcdctl-check-datascale/", "--prefix", "--keys-only").stdout, "")
    for what in ("perf", "datascale"):
        contains(ctl(store, "check", what, "--load=huge", check=False).stderr, "unknown load option huge")
        ctl(store, "put", "check/x", "1")
        contains(ctl(store, "check", what, "--prefix=check/", check=False).stderr, 'prefix "check/" has keys')


def mirror(store, directory):
    (directory / "to").mkdir()
    other = Store(directory / "to")
    other.start()
    ctl(store, "put", "mir/a", "1")
    run = start(store, "make-mirror", "--prefix=mir/", "--dest-prefix=copy/", other.endpoint)
    try:
        ctl(store, "put", "mir/b", "2")
        until = time.monotonic() + 10
        while ctl(other, "get", "copy/", "--prefix").stdout != "copy/a\n1\ncopy/b\n2\n":
            if time.monotonic() > until:
                raise AssertionError("the mirror does not follow")
            time.sleep(0.1)
        ctl(store, "del", "mir/a")
        until = time.monotonic() + 10
        while ctl(other, "get", "copy/a").stdout:
            if time.monotonic() > until:
                raise AssertionError("the mirror does not delete")
            time.sleep(0.1)
    finally:
        run.terminate()
        run.communicate(timeout=10)
        other.kill()


def files(store, directory):
    """What etcdutl does: hashes of a snapshot equal the server's; migrating says what there is."""
    ctl(store, "put", "f", "1")
    snapshot = directory / "f.db"
    ctl(store, "snapshot", "save", snapshot)
    served = json.loads(ctl(store, "endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
    equal(json.loads(ctl(store, "hashkv", snapshot, "-w", "json").stdout)["hash"], served["hash"])
    contains(ctl(store, "migrate", check=False).stderr, 'required flag(s) "data-dir", "target-version" not set')
    contains(ctl(store, "migrate", "--data-dir", directory, "--target-version", "3", check=False).stderr,
             'wrong target version format, expected "X.Y", got "3"')
    data = store.dir / "data"
    contains(ctl(store, "migrate", "--data-dir", data, "--target-version", "3.7").stderr, "up-to-date")
    contains(ctl(store, "migrate", "--data-dir", data, "--target-version", "3.6", check=False).stderr, "3.7")


def downgrades(store, directory):
    equal(ctl(store, "downgrade", "validate", "3.6.0").stdout, "Downgrade validate success, cluster version 3.7\n")
    equal(ctl(store, "downgrade", "enable", "3.6.0").stdout, "Downgrade enable success, cluster version 3.7\n")
    equal(ctl(store, "downgrade", "cancel").stdout, "Downgrade cancel success, cluster version 3.7\n")


def completions(store, directory):
    for shell in ("bash", "zsh", "fish"):
        contains(ctl(store, "completion", shell).stdout, "make-mirror")
    script = directory / "completion.bash"
    script.write_text(ctl(store, "completion", "bash").stdout)
    done = subprocess.run(["bash", "-c", f"source {script}; COMP_WORDS=(kvctl member a); COMP_CWORD=2; _kvctl; "
                                         "echo ${COMPREPLY[@]}"], capture_output=True, text=True, timeout=10)
    equal(done.stdout.strip(), "add")


# What etcdctl 3.7 answers where its recorded session asks nothing.
REFUSALS = [
    (["put", "k", "v", "--ignore-value"], 128, "put command needs only 1 argument when 'ignore-value' is set"),
    (["get", "k", "--sort-by=x"], 4, "bad sort target x"),
    (["get", "k", "--min-mod-rev=5", "--max-mod-rev=3"], 4, "getMinModRev(=5) > getMaxModRev(=3)"),
    (["get", "k", "--count-only"], 128, "--count-only is only for `--write-out=fields`"),
    (["get", "k", "--print-value-only", "-w", "json"], 128, "print-value-only is only for `--write-out=simple`"),
    (["del", "a", "b", "c"], 128, "del command needs one argument as key and an optional argument as range_end"),
    (["member", "list", "--consistency=x"], 4, 'unknown consistency flag "'),
    (["endpoint", "hashkv", "--rev=99999"], 1, "etcdserver: mvcc: required revision is a future revision"),
    (["lock", "l", "false"], 1, "exit status 1"),
    (["lock", "l", "nosuchprogram"], 1, 'exec: "nosuchprogram": executable file not found in $PATH'),
    (["snapshot", "save", "/nonexistent/s.db"], 5,
     "could not open /nonexistent/s.db.part (open /nonexistent/s.db.part: no such file or directory)"),
    (["snapshot", "save", "s.db", "--endpoints=http://a:1,http://b:2"], 5,
     "snapshot must be requested to one selected node, not multiple ["),
]


def refusals(store, directory):
    """Exit codes and words beyond the recorded commands; IDs in hexadecimal."""
    for words, code, text in REFUSALS:
        done = ctl(store, *words, check=False)
        last = (done.stderr.strip().splitlines() or [""])[-1]
        if done.returncode != code or not last.startswith("Error: " + text):
            raise AssertionError(f"{words}: exit {done.returncode}, {done.stderr!r}")
    plain, hexed = (json.loads(ctl(store, "member", "list", "-w", "json", *more).stdout) for more in ([], ["--hex"]))
    if f"{plain['members'][0]['ID']:x}" != hexed["members"][0]["ID"]:
        raise AssertionError(f"{plain} {hexed}")


def help_tree(store, directory):
    """Every command explains itself, with an example; a word that many begin with lists them."""
    def listed(*words):
        done = subprocess.run([KVCTL, *words], capture_output=True, text=True, timeout=10)
        if done.returncode != 0 or not done.stdout:
            raise AssertionError(f"{words}: exit {done.returncode}")
        return done.stdout

    def commands(text):
        return re.findall(r"^  ([a-z][a-z-]*) +[A-Z]", text, re.M)

    found = 0
    for word in commands(listed("--help")):
        if word in ("help", "options", "version"):
            continue
        under = [word + " " + c for c in commands(listed(word))] if "[command]" in listed(word, "--help") else [word]
        for c in under:
            found += 1
            text = listed(*c.split(), "--help")
            if text != listed("help", *c.split()) or "Examples:\n  kvctl " not in text:
                raise AssertionError(f"{c} --help: {text}")
    if found < 55:
        raise AssertionError(f"only {found} commands are listed")


def main():
    if not (BUILD / "bin/kvstore").exists() or not shutil.which("bash"):
        print("SKIP kvstore_ctl: kvstore is not built")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-ctl-") as top:
        for case in (interactive_watch, compactions, streamed_get, offline, checks, mirror, files, downgrades, completions,
                     refusals, help_tree):
            directory = pathlib.Path(top) / case.__name__
            directory.mkdir()
            store = Store(directory)
            store.start()
            try:
                case(store, directory)
                print(f"PASS kvstore_ctl.{case.__name__}", flush=True)
            except Exception as e:  # every case is told of
                print(f"FAIL kvstore_ctl.{case.__name__}: {type(e).__name__} {e}", flush=True)
            finally:
                store.kill()


if __name__ == "__main__":
    main()
