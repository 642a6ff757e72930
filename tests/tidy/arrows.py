"""Arrows inside a folder, as its README's table draws them, and the house's picture from the real includes.

A README that has a table with a column "may include" is held to it: each row's first cell names a part (`wal/`, several
with commas), its cell under "may include" what that part may include: other parts, folders or files of the house
(`base/{status,random}`), `all above` for every part of an earlier row.
"""
import collections
import pathlib
import re

from house import ROOT, SOURCES, TOP, includes, is_test

FIRST_LINE, LAST_LINE = "<!-- drawn by tests/tidy/tidy_test.py --picture -->", "<!-- end -->"


def cells(line):
    return [c.strip().strip("`") for c in line.strip().strip("|").split("|")]


def expand(text):
    """`a/{b,c}, d` -> [a/b, a/c, d]"""
    out = []
    for part in re.findall(r"[^,{]*\{[^}]*\}[^,]*|[^,]+", text):
        found = re.fullmatch(r"(.*)\{(.*)\}(.*)", part.strip().strip("`"))
        if found:
            out += [found.group(1) + middle.strip() + found.group(3) for middle in found.group(2).split(",")]
        else:
            out.append(part.strip().strip("`"))
    return [p for p in out if p]


def readme_arrows(folder):
    """{part: set of what it may include} as the table in folder/README.md says; None where there is no such table"""
    readme = ROOT / folder / "README.md"
    lines = readme.read_text().splitlines() if readme.exists() else []
    start = next((i for i, line in enumerate(lines) if line.startswith("|") and "may include" in cells(line)), None)
    if start is None:
        return None
    column = cells(lines[start]).index("may include")
    drawn = {}
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        row = cells(line)
        parts = [f"{folder}/{p.rstrip('/')}" if p.rstrip("/") != "." else folder for p in expand(row[0])]
        allowed = set()
        for target in expand(row[column]):
            target = target.rstrip("/")
            if target == "all above":
                allowed |= set(drawn).union(*drawn.values())
            elif target.split("/")[0] in TOP:
                allowed.add(target)
            elif target not in ("-", "—"):
                allowed.add(f"{folder}/{target}")
        for part in parts:
            drawn[part] = allowed
    return drawn


def part_of(name, depth):
    folders = name.split("/")[:-1]
    return "/".join(folders[:depth])


def covers(allowed, target):
    """what of `allowed` stands for the header `target`"""
    stem = re.sub(r"\.(h|pb\.h)$", "", target)
    return {a for a in allowed if target == a or stem == a or target.startswith(a + "/")}


def drawn_arrows():
    """inside a folder, parts include what the table in its README lets them, and every arrow it draws is there"""
    for folder in TOP:
        drawn = readme_arrows(folder)
        if drawn is None:
            continue
        used = collections.defaultdict(set)
        for name in SOURCES:
            if not name.startswith(folder + "/") or is_test(name):
                continue
            part = part_of(name, 2)
            if part not in drawn:
                yield f"{name}:1: {part} is not in the table of {folder}/README.md"
                continue
            for number, target in includes(name):
                if target.split("/")[0] not in TOP or part_of(target, 2) == part or target == name:
                    continue
                by = covers(drawn[part], target)
                used[part] |= by
                if not by:
                    yield f"{name}:{number}: {part} may not include {target} (table of {folder}/README.md)"
        for part, allowed in drawn.items():
            for target in sorted(allowed - used[part]):
                yield f"{folder}/README.md:1: nothing in {part} includes {target}"


# ---- the picture ----------------------------------------------------------------------------------------------------


def graph(folder, depth):
    """{part: parts it includes} below `folder` ("" is the house), tests left out"""
    out = collections.defaultdict(set)
    for name in SOURCES:
        if is_test(name) or not name.startswith(folder) or "/" not in name:
            continue
        part = part_of(name, depth)
        out[part] |= set()
        for _, target in includes(name):
            if target.split("/")[0] in TOP and target.startswith(folder) and part_of(target, depth) != part:
                out[part].add(part_of(target, depth))
    for targets in list(out.values()):
        for target in targets:
            out[target] |= set()
    return out


def reach(edges, start):
    seen, todo = set(), list(edges[start])
    while todo:
        part = todo.pop()
        if part not in seen:
            seen.add(part)
            todo += edges[part]
    return seen


def rows(edges):
    """(parts, what they include), the highest first; parts that include the same and are as high share a row"""
    below = {part: reach(edges, part) for part in edges}
    grouped = collections.defaultdict(list)
    for part in edges:
        height = len(below[part] - {part})
        grouped[(height, tuple(sorted(edges[part])))].append(part)
    for (_, targets), parts in sorted(grouped.items(), key=lambda item: (-item[0][0], item[1])):
        yield sorted(parts), [(t, bool(set(parts) & below[t])) for t in targets]


def picture():
    """the house as its includes are: every folder with what it includes, the highest first; ⇄ marks a circle"""
    out = ["```"]

    def draw(edges, strip, indent):
        lines = [(", ".join(strip(p) for p in parts), targets) for parts, targets in rows(edges)]
        width = max(len(left) for left, _ in lines)
        for left, targets in lines:
            right = " ".join(("⇄" if circle else "") + strip(t) for t, circle in targets)
            out.append(f"{indent}{left:<{width}} ─▶ {right}" if right else f"{indent}{left}")

    house = graph("", 1)
    draw({p: {t for t in ts} for p, ts in house.items()}, lambda p: p, "")
    for folder in ("machinery", "apiserver", "kvstore", "kubelet"):
        inside = graph(folder + "/", 2)
        out.append(f"{folder}/")
        draw(inside, lambda p: p[len(folder) + 1:] or ".", "  ")
    return "\n".join(out + ["```"])


def drawn_house():
    """the picture in the top README is what the includes are (tidy_test.py --draw writes it)"""
    text = (ROOT / "README.md").read_text()
    if f"{FIRST_LINE}\n{picture()}\n{LAST_LINE}" not in text:
        yield f"README.md:1: its picture differs from the includes: tests/tidy/tidy_test.py --draw"


def draw_house():
    readme = pathlib.Path(ROOT / "README.md")
    text = readme.read_text()
    start, end = text.index(FIRST_LINE), text.index(LAST_LINE)
    readme.write_text(text[:start] + FIRST_LINE + "\n" + picture() + "\n" + text[end:])


RULES = [drawn_arrows, drawn_house]
