"""The house's files as the rules read them: what git tracks, code without comments and texts, includes, functions."""
import bisect
import dataclasses
import functools
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOP = ["base", "machinery", "proto", "kvstore", "apiserver", "controller-manager", "scheduler", "kubelet", "proxy",
       "deploy", "tests"]


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    return [f for f in out.stdout.splitlines() if (ROOT / f).is_file()]


FILES = tracked()
SOURCES = [f for f in FILES if f.endswith((".cc", ".h"))]
TEXT = {f: (ROOT / f).read_text(errors="replace") for f in SOURCES}


def is_test(name):
    """proves the house, is not of it: tests, benchmarks, fuzzers and the fakes they share"""
    return bool(re.search(r"_(test|bench|fuzz)\.cc$|^tests/|/testing/|/testing_|/fuzz_", name))


def code_lines(name):
    """(number, line without comments and string contents)"""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), TEXT[name], flags=re.S)
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        yield number, re.sub(r"//.*", "", bare)


def is_precompiled(name):
    """a list of headers that the build reads at once; nobody includes it, and every file stands without it"""
    return name.endswith("/precompiled.h")


def includes(name):
    if is_precompiled(name):
        return
    for number, line in enumerate(TEXT[name].splitlines(), 1):
        found = re.match(r'\s*#include\s+["<]([^">]+)[">]', line)
        if found:
            yield number, found.group(1)


TOKEN = re.compile(r'R"(?P<mark>[^()\s"]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\''
                   r'|//[^\n]*|/\*.*?\*/|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', re.S | re.M)


def without_texts(text):
    """the code alone, line for line: comments, preprocessor lines and the contents of texts are blank"""
    def blank(m):
        kept = '""' if m.group()[0] in "R\"'" else ""
        return kept + "\n" * m.group().count("\n")
    return TOKEN.sub(blank, text)


@functools.cache
def bare(name):
    return without_texts(TEXT[name])


@dataclasses.dataclass
class Function:
    name: str        # "Replica::Propose"
    first: int       # line of the signature's beginning
    last: int        # line of the closing brace, of the semicolon where there is no body
    parameters: int
    body: bool

    @property
    def lines(self):
        return self.last - self.first + 1


NO_NAME = {"if", "for", "while", "switch", "return", "co_return", "co_await", "sizeof", "alignof", "decltype", "noexcept",
           "requires", "static_assert", "alignas", "explicit", "operator", "catch", "new", "delete"}


def without_templates(text):
    """`text` with every <...> that is no comparison taken out"""
    while True:
        text, n = re.subn(r"(?<=[\w:>])<(?:[^<>;{}()]|\([^()<>;]*\))*>|^\s*template\s*<[^<>]*>", "", text)
        if not n:
            return text


def signature(head):
    """(name, number of parameters) where `head`, the text before a body or semicolon, declares a function, else None"""
    head = re.sub(r"\[\[.*?\]\]|->", " ", head, flags=re.S)
    head = re.sub(r"operator\s*(\(\)|\[\]|[^\s\w(]+|\w+)\s*(?=\()", "operator_", head)
    head = without_templates(head).strip()
    found = re.search(r"((?:[\w~]+::)*~?\w+)\s*\(", head)
    while found and found.group(1).split("::")[-1] in NO_NAME:
        rest = head.find(")", found.end())
        found = re.compile(r"((?:[\w~]+::)*~?\w+)\s*\(").search(head, max(rest, found.end()))
    if not found or re.search(r"(^|[^=!<>])=(?!=)", head[: found.start()]) or re.match(r"(using|typedef|return|friend class)\b", head):
        return None
    depth, commas, inside = 1, 0, ""
    for c in head[found.end():]:
        depth += c in "([{"
        depth -= c in ")]}"
        if depth == 0:
            break
        commas += c == "," and depth == 1
        inside += c
    return found.group(1), commas + 1 if inside.strip() not in ("", "void") else 0


@functools.cache
def functions(name):
    """Every function that the file declares or defines at namespace or class level."""
    return scan(bare(name))[0]


def scan(text):
    """(functions, scopes that nobody closes) of code without texts. Lambdas belong to the function they stand in."""
    out, scopes, head_start, parens = [], [], 0, 0
    line_of = [0] + [i + 1 for i, c in enumerate(text) if c == "\n"]

    def line(at):
        return bisect.bisect_right(line_of, at)

    def first_line(at):
        while at < len(text) and text[at].isspace():
            at += 1
        return line(at)

    open_function = None
    for i, c in enumerate(text):
        if c in "()":
            parens += 1 if c == "(" else -1
        elif c == "{":
            head = text[head_start:i]
            kind = "block"
            if open_function is None and parens == 0:
                at_top = not scopes or scopes[-1] in ("namespace", "type")
                shown = without_templates(head)
                if re.search(r"\bnamespace\b", head) or re.search(r'extern\s*""\s*$', head):
                    kind = "namespace"
                elif at_top and re.search(r"\b(class|struct|union|enum)\b[^()=]*$", shown):
                    kind = "type"
                elif at_top and (i == 0 or text[i - 1].isspace()) and (found := signature(head)):
                    kind = "function"
                    open_function = (len(scopes), Function(found[0], first_line(head_start), 0, found[1], True))
            scopes.append(kind)
            if kind != "block":
                head_start = i + 1
        elif c == "}":
            kind = scopes.pop() if scopes else "block"
            if open_function and len(scopes) == open_function[0]:
                open_function[1].last = line(i)
                out.append(open_function[1])
                open_function = None
            if kind != "block":
                head_start = i + 1
        elif c == ";" and parens == 0:
            if open_function is None and (not scopes or scopes[-1] in ("namespace", "type")):
                found = signature(text[head_start:i])
                if found:
                    out.append(Function(found[0], first_line(head_start), line(i), found[1], False))
            if open_function is None and (not scopes or scopes[-1] != "block"):
                head_start = i + 1
        elif c == ":" and open_function is None and scopes and scopes[-1] == "type":
            if re.fullmatch(r"\s*(public|private|protected)\s*", text[head_start:i]):
                head_start = i + 1
    return out, scopes
