#!/usr/bin/env python3
"""The house rules as a test. Each rule is one function that yields "file:line: what is wrong"; this file has those of
arrows between folders, third-party names, banned calls, self-contained headers, READMEs, formatting and listings, beside
it are sizes.py and arrows.py.

tidy_test.py            every rule
tidy_test.py RULE...    these alone
tidy_test.py --list     every exception with its reason, and what only tests name
tidy_test.py --lower    allowances.txt with what is left
tidy_test.py --picture  the house as its includes draw it; --draw writes it into the top README
"""
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import arrows as drawn  # noqa: E402
import sizes  # noqa: E402
from house import FILES, ROOT, SOURCES, TEXT, TOP, code_lines, includes, is_precompiled, is_test  # noqa: E402

ALLOWED_TOP = set(TOP) | {"CMakeLists.txt", "CMakePresets.json", "README.md"}

# folder -> what it may include of the house, first match by longest prefix. Itself is always allowed.
ARROWS = {
    "base": [],
    "machinery": ["base", "machinery", "proto/options", "proto/schema_blob.h", "proto/k8s/meta", "proto/k8s/runtime",
                  "proto/k8s/apimachinery", "proto/resources"],
    "machinery/client": ["base", "machinery", "proto/options", "proto/k8s/meta", "proto/k8s/runtime", "proto/resources",
                         "proto/k8s/coordination", "proto/k8s/events", "proto/k8s/authentication",
                         "proto/k8s/authorization", "proto/k8s/core/v1/event.pb.h", "proto/k8s/apimachinery"],
    "machinery/auth": ["base", "machinery", "proto/options", "proto/k8s/meta", "proto/resources",
                       "proto/k8s/authentication", "proto/k8s/authorization"],
    "proto": ["base", "proto"],
    "kvstore/raft": ["base/status.h", "base/random.h", "base/protobuf_wire.h", "proto/etcd/raft.pb.h", "kvstore/raft"],
    "kvstore": ["base", "proto/etcd", "kvstore"],
    "apiserver": ["base", "machinery", "proto", "apiserver"],
    "controller-manager": ["base", "machinery", "proto", "controller-manager"],
    "scheduler": ["base", "machinery", "proto", "scheduler"],
    "kubelet": ["base", "machinery", "proto", "kubelet"],
    "proxy": ["base", "machinery", "proto", "proxy"],
    "deploy": None,  # anything
    "tests": None,
}
# include prefix -> pattern of files that may name it
LIBRARIES = {
    "boost/": r"^base/.*\.cc$",
    "openssl/": r"^(base|deploy|machinery/auth|apiserver/auth)/.*\.cc$|/tls_impl\.h$|/testing_peers\.h$",
    "zlib.h": r"^base/.*\.cc$",
    "nghttp2/": r"^base/.*\.cc$|/http2_session\.h$",
    "spdlog/": r"^base/.*\.cc$",
    "nlohmann/": r"^(base|machinery)/.*\.cc$|^tests/|^deploy/|_test\.cc$",
    "yaml.h": r"^(base|machinery/value)/.*\.cc$",
    "grpcpp/": r"^kvstore/ctl/.*\.cc$|^kubelet/runtimes/|^tests/|_test\.cc$",
    "netlink/": r"^proxy/",
    "nftables/": r"^proxy/",
    "libnftnl/": r"^proxy/",
    "google/protobuf/": r"^(machinery|kvstore|apiserver|controller-manager|scheduler|kubelet|proxy|proto|deploy|tests)/",
    "re2/": r"^(machinery|apiserver)/",
    "absl/": r"^base/.*\.cc$",
    "gtest/": r"_test\.cc$|^tests/|/testing/|/testing_",
    "gmock/": r"_test\.cc$|^tests/|/testing/",
    "benchmark/": r"_bench\.cc$|^tests/",
}
# Headers that cost seconds in every file that includes them; .h files of base and machinery stay free of them.
HEAVY = re.compile(r'#include ["<](nlohmann/|boost/|grpcpp/|spdlog/|.*\.pb\.h)')
BANNED = [
    (re.compile(r"(?<![.>])\b(sleep|usleep|nanosleep)\s*\("), "sleeps: wait on an event or the executor's clock",
     r"_test\.cc$|^tests/|/testing/"),
    (re.compile(r"std::this_thread::sleep"), "sleeps: wait on an event or the executor's clock", r"_test\.cc$|^tests/"),
    (re.compile(r"std::(system_clock|steady_clock)::now|chrono::(system_clock|steady_clock)::now"),
     "reads a clock of its own: take one by constructor", r"^base/[a-z_]*\.cc$|_test\.cc$|_bench\.cc$|^tests/|main\.cc$"),
    (re.compile(r"\b(rand|srand|strtok|gets|system|popen)\s*\("), "banned call", r"^tests/|_test\.cc$"),
    (re.compile(r"\bstd::random_device\b"), "random source of its own: take base::Random", r"^base/"),
    (re.compile(r"\bthrow\b(?!\s*\()"), "throws: return a Status", r"^base/bug\.cc$|^tests/|_test\.cc$"),
    (re.compile(r"\busing namespace std;"), "using namespace std", r"$^"),
]
SIMULATED = re.compile(r"^(kvstore/(raft|mvcc|replica)|machinery/client|controller-manager/controllers|scheduler)/.*\.(h|cc)$")


def arrows():
    """a folder includes only what DESIGN lets it include"""
    for name in SOURCES:
        folder = max((k for k in ARROWS if name.startswith(k + "/")), key=len, default=None)
        if folder is None or ARROWS[folder] is None or is_test(name):
            continue
        for number, target in includes(name):
            if target.split("/")[0] not in TOP:
                continue
            if target.startswith(folder + "/") and folder != "machinery":
                continue
            if not any(target == a or target.startswith(a + "/") or target.startswith(a) and "." in a
                       or (target.startswith(a) and target[len(a):len(a) + 1] in "/_.") for a in ARROWS[folder]):
                yield f"{name}:{number}: {folder} may not include {target}"


def third_party():
    """a library is named only where DESIGN lets it be"""
    for name in SOURCES:
        for number, target in includes(name):
            for prefix, where in LIBRARIES.items():
                if target.startswith(prefix) and not re.search(where, name):
                    yield f"{name}:{number}: {prefix} may not be named here"


def light_headers():
    """headers of base and machinery include nothing heavy"""
    for name in SOURCES:
        if name.endswith(".h") and re.match(r"(base|machinery)/", name) and not is_precompiled(name):
            for number, line in enumerate(TEXT[name].splitlines(), 1):
                if HEAVY.match(line):
                    yield f"{name}:{number}: heavy header in a header: {line.strip()}"


def banned_calls():
    """clocks, sleeps, randomness and exceptions come in by constructor or not at all"""
    for name in SOURCES:
        for number, line in code_lines(name):
            for pattern, why, exempt in BANNED:
                if pattern.search(line) and not re.search(exempt, name):
                    yield f"{name}:{number}: {why}: {line.strip()}"


def deterministic():
    """simulated code does not iterate unordered containers"""
    for name in SOURCES:
        if not SIMULATED.match(name) or name.endswith("_test.cc"):
            continue
        unordered = set(re.findall(r"unordered_(?:map|set)<[^;=]*>\s+(\w+)", TEXT[name]))
        for number, line in code_lines(name):
            found = re.search(r"for\s*\([^;)]*:\s*\*?(?:this->)?(\w+)\)", line)
            if found and found.group(1) in unordered:
                yield f"{name}:{number}: iterates the unordered {found.group(1)}"


# Code that meets bytes from outside.
EXPOSED = re.compile(r"^(base/net|machinery/(value|codec|ops|object|schema)|kvstore/(peer|service|wire|transcode)|"
                     r"apiserver/(chain|registry|admission|rpc|storage|streaming|paths))/|^kubelet/server\.")
UNREACHABLE = "unreachable from outside: "


def reasoned_checks():
    """every CHECK in code that sees outside data says, on the line before or its own, why no such data can reach it:
    `// unreachable from outside: reason`"""
    for name in SOURCES:
        if not EXPOSED.match(name) or re.search(r"_(test|bench|fuzz)\.cc$|/testing|/fuzz_", name):
            continue
        lines = TEXT[name].splitlines()
        for number, line in code_lines(name):
            if not re.search(r"\bCHECK(_MSG)?\(|std::(abort|terminate)\(", line):
                continue
            if UNREACHABLE not in lines[number - 1] and UNREACHABLE not in lines[max(0, number - 2)]:
                yield f"{name}:{number}: a CHECK without its reason: {line.strip()}"


def self_contained_headers():
    """every header compiles alone: its .cc includes it first, or the compiler is asked"""
    alone = []
    for name in SOURCES:
        if not name.endswith(".h") or name.endswith("_inl.h"):
            continue
        if "#pragma once" not in TEXT[name]:
            yield f"{name}:1: no #pragma once"
        partner = name[:-2] + ".cc"
        if partner in TEXT:
            first = next(includes(partner), (1, ""))[1]
            if first != name:
                yield f"{partner}:1: its first include is {first}, not its own header"
        else:
            alone.append(name)
    generated = os.environ.get("KEELSON_BUILD", str(ROOT / "build/dev")) + "/generated"

    # Headers seldom change: the compiler cache, where there is one, remembers those that are good.
    cache = ["ccache"] if shutil.which("ccache") else []
    environment = dict(os.environ, CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="1")

    def check(name):
        # A folder: the compiler itself takes away the object of a header that does not compile.
        with tempfile.TemporaryDirectory() as out:
            done = subprocess.run(
                [*cache, "clang++-19", "-std=c++23", f"-I{ROOT}", f"-I{generated}", "-Wno-pragma-once-outside-header",
                 "-x", "c++", "-c", str(ROOT / name), "-o", out + "/header.o"], capture_output=True, text=True, env=environment)
        return [f"{name}:1: does not compile alone: {done.stderr.splitlines()[0]}"] if done.returncode else []

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for problems in pool.map(check, alone):
            yield from problems


def readmes():
    """each folder with code has a README of at most one screen"""
    folders = {str(pathlib.Path(f).parent) for f in SOURCES}
    folders = {f for f in folders if f.split("/")[0] in TOP and not re.search(r"^proto/|/testdata|/stories|^tests/schema", f)}
    folders |= {f for f in TOP if (ROOT / f).exists()}
    for folder in sorted(folders):
        # Leaf folders of plug-ins (controllers, plugins, registry groups) are described by their parent.
        candidates = [ROOT / folder / "README.md", (ROOT / folder).parent / "README.md"]
        own = folder in TOP
        if not any(c.exists() for c in candidates[: 1 if own else 2]):
            yield f"{folder}: no README.md"
    for name in FILES:
        if name.endswith("README.md") and name != "README.md":
            lines = (ROOT / name).read_text().count("\n")
            if lines > 60:
                yield f"{name}:1: {lines} lines; a folder's README is at most one screen (60)"


def formatting():
    """clang-format has nothing to change"""
    sources = [f for f in SOURCES]
    chunks = [sources[i::8] for i in range(8)]

    def check(chunk):
        if not chunk:
            return []
        done = subprocess.run(["clang-format-19", "--dry-run", "-Werror", *chunk], cwd=ROOT, capture_output=True, text=True)
        return sorted({m.group(1) for m in re.finditer(r"^([^\s:]+):\d+:\d+: error", done.stderr, re.M)})

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for bad in pool.map(check, chunks):
            for name in bad:
                yield f"{name}:1: not formatted (clang-format-19 -i {name})"


def listings():
    """every plug-in file is named by its folder's .def list"""
    for definition in [f for f in FILES if f.endswith(".def")]:
        folder = pathlib.Path(definition).with_suffix("")
        if not (ROOT / folder).is_dir():
            continue
        text = (ROOT / definition).read_text()
        for name in SOURCES:
            if name.startswith(str(folder) + "/") and name.endswith(".cc") and not re.search(r"_(test|bench|fuzz)\.cc$", name):
                stem = pathlib.Path(name).stem
                if stem != "common" and not re.search(rf"\b{stem.replace('_', '_?')}\b", text, re.I) and "// helper" not in TEXT[name][:400]:
                    yield f"{name}:1: not listed in {definition}"


def top_level():
    """the top level is fixed"""
    for name in sorted({f.split("/")[0] for f in FILES}):
        if not name.startswith(".") and name not in ALLOWED_TOP:
            yield f"{name}: does not belong at the top level"


RULES = [arrows, third_party, light_headers, banned_calls, deterministic, reasoned_checks, self_contained_headers, readmes, formatting,
         listings, top_level, *sizes.RULES, *drawn.RULES]
ALLOWANCES = pathlib.Path(__file__).parent / "allowances.txt"


def allowances():
    """{(rule, folder): (count, reason)}: places that still break a rule, in folders that are to be rebuilt"""
    out = {}
    for line in ALLOWANCES.read_text().splitlines():
        if line and not line.startswith("#"):
            rule, folder, count, reason = line.split(None, 3)
            out[rule, folder] = (int(count), reason)
    return out


def judge(rule, allowed):
    """the rule's problems without those that are allowed, and what is wrong with the allowances themselves"""
    by_folder = collections.defaultdict(list)
    for problem in rule():
        by_folder[problem.split("/")[0]].append(problem)
    out = []
    for folder in sorted({*by_folder, *(f for r, f in allowed if r == rule.__name__)}):
        found, count = by_folder[folder], allowed.get((rule.__name__, folder), (0, ""))[0]
        if len(found) > count:
            out += found
        elif len(found) < count:
            out.append(f"allowances.txt: {rule.__name__} {folder} allows {count}, there are {len(found)}: --lower")
    return out


def list_exceptions():
    for name in SOURCES:
        for number, rule, reason in sizes.marks(name):
            print(f"{name}:{number}: {rule}: {reason}")
    for (rule, folder), (count, reason) in sorted(allowances().items()):
        print(f"{folder}/: {rule}: {count} allowed: {reason}")
    for line in sizes.for_tests_only():
        print(line)


def lower():
    lines = []
    for line in ALLOWANCES.read_text().splitlines():
        if line and not line.startswith("#"):
            rule, folder, count, reason = line.split(None, 3)
            check = next(r for r in RULES if r.__name__ == rule)
            left = sum(problem.startswith(folder + "/") for problem in check())
            line = f"{rule} {folder} {min(left, int(count))} {reason}" if left else None
        if line is not None:
            lines.append(line)
    ALLOWANCES.write_text("\n".join(lines) + "\n")


COMMANDS = {"--list": list_exceptions, "--lower": lower, "--picture": lambda: print(drawn.picture()),
            "--draw": drawn.draw_house}


def main(arguments):
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]]()
    if any(a.startswith("-") for a in arguments):
        sys.exit(__doc__)
    bad, allowed = False, allowances()
    for rule in RULES:
        if arguments and rule.__name__ not in arguments:
            continue
        problems = judge(rule, allowed)
        for problem in problems[:40]:
            print(f"  {problem}")
        if problems:
            bad = True
            print(f"FAIL {rule.__name__}: {len(problems)} places; rule: {rule.__doc__}")
        else:
            print(f"PASS {rule.__name__}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
