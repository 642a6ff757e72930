"""Rules of size: functions of at most 70 lines, files of at most 700, at most 5 parameters, nothing declared that nobody
names. What breaks one for a good reason says so on the line before (a file: in its first lines):

    // tidy: length: a table of flags, one line each
    // tidy: parameters: nghttp2's callback
    // tidy: unused: <reason>
    // tidy: file: <reason>
"""
import collections
import functools
import re

from house import FILES, ROOT, SOURCES, TEXT, bare, functions, is_test, scan, without_texts

MAX_LINES, MAX_FILE, MAX_PARAMETERS = 70, 700, 5
MARK = re.compile(r"// tidy: (length|file|parameters|unused): (\S.*)")
# Names that the language looks for: a coroutine's promise and awaiters.
PROTOCOL = {"initial_suspend", "final_suspend", "unhandled_exception", "get_return_object", "return_value", "return_void",
            "yield_value", "await_ready", "await_suspend", "await_resume", "await_transform"}


def marks(name):
    """(line, rule, reason) of the file's exceptions"""
    for number, line in enumerate(TEXT[name].splitlines(), 1):
        found = MARK.search(line)
        if found:
            yield number, found.group(1), found.group(2)


def marked(name, rule, first):
    """whether the comment before line `first`, or the line itself, gives a reason for breaking `rule` here"""
    lines = TEXT[name].splitlines()
    at = first - 1
    while at >= 0 and (at == first - 1 or lines[at].lstrip().startswith("//")):
        found = MARK.search(lines[at])
        if found and found.group(1) == rule:
            return True
        at -= 1
    return False


def function_length():
    """a function has at most 70 lines, from its signature to its brace"""
    for name in SOURCES:
        for f in functions(name):
            if f.body and f.lines > MAX_LINES and not marked(name, "length", f.first):
                yield f"{name}:{f.first}: {f.name} has {f.lines} lines"


def file_length():
    """a file has at most 700 lines"""
    for name in SOURCES:
        lines = TEXT[name].count("\n")
        if lines > MAX_FILE and not any(rule == "file" for _, rule, _ in marks(name)):
            yield f"{name}:1: {lines} lines"


def last_name(f):
    return f.name.split("::")[-1]


def parameters():
    """a function has at most 5 parameters; said once, at its declaration"""
    wide = [(name, f) for name in SOURCES for f in functions(name) if f.parameters > MAX_PARAMETERS]
    declared = {(last_name(f), f.parameters) for name, f in wide if not f.body}
    for name, f in wide:
        if f.body and (last_name(f), f.parameters) in declared and name.endswith((".cc", "_inl.h")):
            continue
        if not marked(name, "parameters", f.first):
            yield f"{name}:{f.first}: {f.name} has {f.parameters} parameters"


@functools.cache
def words():
    """how often each word stands in the house's code, and how often outside its tests"""
    everywhere, outside = collections.Counter(), collections.Counter()
    for name in SOURCES:
        macros = re.findall(r"^[ \t]*#[ \t]*define(?:[^\n]*\\\n)*[^\n]*", TEXT[name], flags=re.M)
        for word in re.findall(r"\w+", "\n".join([bare(name), *macros])):
            everywhere[word] += 1
            outside[word] += not is_test(name)
    for name in FILES:
        if name.endswith((".def", ".proto", ".in", ".cmake", "CMakeLists.txt")):
            for word in re.findall(r"\w+", (ROOT / name).read_text(errors="replace")):
                everywhere[word] += 1
                outside[word] += 1
    return everywhere, outside


def named_by(counts, own):
    """functions of headers whose name stands nowhere but where they are declared and defined: (file, function)"""
    for name in SOURCES:
        if not name.endswith(".h"):
            continue
        for f in functions(name):
            word = last_name(f)
            if not word.startswith(("~", "operator_")) and word not in PROTOCOL and counts[word] <= own[word]:
                yield name, f


def own_words(these):
    own = collections.Counter()
    for name in these:
        for f in functions(name):
            own[last_name(f)] += 1
    return own


def unused():
    """what a header declares, somebody names"""
    for name, f in named_by(words()[0], own_words(SOURCES)):
        if not marked(name, "unused", f.first):
            yield f"{name}:{f.first}: nobody names {f.name}"


def for_tests_only():
    """not a rule, for --list: what only tests name"""
    house = [n for n in SOURCES if not is_test(n)]
    for name, f in named_by(words()[1], own_words(house)):
        if not is_test(name) and words()[0][last_name(f)] > own_words(SOURCES)[last_name(f)]:
            yield f"{name}:{f.first}: only tests name {f.name}"


SAMPLE = r'''
namespace a {
#define BRACE {
template <class T, class U = std::map<int, int>>
class B : public C<T> {
 public:
  explicit B(std::map<int, std::string> m, int n = F(1, 2)) : m_(m), n_{n} {
    auto f = [](int a, int b, int c) { return a + b; };
  }
  bool operator==(const B& other) const = default;
  virtual Task<Result<int>> Run(Context ctx,  // a { comment
                                std::function<void(int, int)> done) = 0;
  std::string text = "{";
 private:
  int n_ = 1'000;
  std::function<int(int, int, int)> f_;
};
char Last(std::string_view s) { return s.empty() ? '{' : s.back(); }
const char* Raw() {
  return R"({"a": [)";
}
}  // namespace a
'''
FOUND = [("B", 2, True, 3), ("operator_", 1, False, 1), ("Run", 2, False, 2), ("Last", 1, True, 1), ("Raw", 0, True, 3)]


def functions_are_found():
    """what the rules above judge is what stands in the code: a sample is read right, every file's braces close"""
    found, left = scan(without_texts(SAMPLE))
    seen = [(f.name, f.parameters, f.body, f.lines) for f in found]
    if seen != FOUND or left:
        yield f"sizes.py: the sample is read as {seen}, {left} open"
    for name in SOURCES:
        if scan(bare(name))[1]:
            yield f"{name}:1: its braces do not close"


RULES = [function_length, file_length, parameters, unused, functions_are_found]
