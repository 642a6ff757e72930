"""Arrows inside a folder, as its README draws them: a table with the columns `folder | what | may include`.

A row lets the files of its folder include the folders that it names: siblings (`wal`), others from the repository's
root (`proto/etcd`), single headers (`base/{status,random}`), `all above` for every row before it and what those name.
Tests, fuzzers and what only they include are free."""
import re

HEAD = re.compile(r"^\|\s*folder\s*\|.*\|\s*may include\s*\|\s*$", re.M)
FREE = re.compile(r"_(test|bench|fuzz)\.cc$|/testing[/_]|/fuzz_")
ROOTS = ("base", "machinery", "proto")


def names_of(cell):
    """`base/{a,b}, c` -> base/a, base/b, c"""
    for word in re.findall(r"[^,{]+\{[^}]*\}|[^,]+", cell):
        word = word.strip()
        inner = re.match(r"(.*)\{(.*)\}$", word)
        yield from [inner.group(1) + w.strip() for w in inner.group(2).split(",")] if inner else [word]


def table(readme):
    """folder -> what it may include, as written; None: the README draws no arrows"""
    head = HEAD.search(readme)
    if not head:
        return None
    rows, seen = {}, []
    for line in readme[head.end():].strip().splitlines()[1:]:
        if not line.startswith("|"):
            break
        cells = [c.strip() for c in line.strip("|").split("|")]
        allowed = []
        for name in names_of(cells[-1]):
            allowed += seen if name == "all above" else [name]
        folder = cells[0].strip("/")
        rows[folder] = (allowed, "all above" in cells[-1])
        seen += [folder] + [a for a in allowed if a not in seen]
    return rows


def lets(name, target, home):
    """whether the word `name` of a row stands for the header `target`"""
    where = name if name.split("/")[0] in ROOTS else f"{home}/{name}"
    return target.startswith(where + "/") or target in (where + ".h", where + ".pb.h")


def problems(root, sources, includes):
    for readme in sorted(root.glob("*/README.md")):
        home = readme.parent.name
        rows = table(readme.read_text())
        if rows is None:
            continue
        used = set()
        for name in sources:
            parts = name.split("/")
            if parts[0] != home or len(parts) < 3 or FREE.search(name):
                continue
            if parts[1] not in rows:
                yield f"{name}:1: {home}/README.md has no row for {parts[1]}/"
                continue
            for number, target in includes(name):
                if target.split("/")[0] not in (*ROOTS, home) or target.startswith(f"{home}/{parts[1]}/"):
                    continue
                by = [a for a in rows[parts[1]][0] if lets(a, target, home)]
                used |= {(parts[1], a) for a in by}
                if not by:
                    yield f"{name}:{number}: {home}/README.md draws no arrow from {parts[1]} to {target}"
        for folder, (allowed, all_above) in rows.items():
            if not (root / home / folder).is_dir():
                yield f"{home}/README.md: there is no {folder}/"
            elif not all_above:
                yield from (f"{home}/README.md: nothing in {folder}/ includes {a}"
                            for a in allowed if (folder, a) not in used)
