#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {

#define X(rows) std::vector<TypeDefault> rows();
#include "machinery/ops/defaults/defaults.def"
#undef X

namespace {

std::vector<TypeDefault> Collect() {
  std::vector<TypeDefault> all;
#define X(rows)                                      \
  {                                                  \
    std::vector<TypeDefault> more = rows();          \
    all.insert(all.end(), more.begin(), more.end()); \
  }
#include "machinery/ops/defaults/defaults.def"
#undef X
  return all;
}

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsWord(char c) { return IsLowerAlnum(c) || (c >= 'A' && c <= 'Z') || c == '_'; }

// One path component: lower-case words joined by ".", "_", "__" or dashes.
bool IsPathComponent(std::string_view s) {
  if (s.empty() || !IsLowerAlnum(s.front()) || !IsLowerAlnum(s.back())) return false;
  for (size_t i = 0; i < s.size();) {
    if (IsLowerAlnum(s[i])) {
      ++i;
      continue;
    }
    size_t begin = i;
    while (i < s.size() && !IsLowerAlnum(s[i])) ++i;
    std::string_view separator = s.substr(begin, i - begin);
    if (separator != "." && separator != "_" && separator != "__" &&
        separator.find_first_not_of('-') != std::string_view::npos)
      return false;
  }
  return true;
}

bool IsTag(std::string_view s) {
  if (s.empty() || s.size() > 128 || !IsWord(s[0])) return false;
  for (char c : s)
    if (!IsWord(c) && c != '.' && c != '-') return false;
  return true;
}

// The first part names a registry when it looks like a host; the rest must be path components.
bool IsRepository(std::string_view s) {
  if (size_t slash = s.find('/'); slash != std::string_view::npos) {
    std::string_view first = s.substr(0, slash);
    bool host = first == "localhost" || first.find_first_of(".:ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string_view::npos;
    if (host) s.remove_prefix(slash + 1);
  }
  if (s.size() == 64 && s.find_first_not_of("0123456789abcdef") == std::string_view::npos) return false;
  for (;;) {
    size_t slash = s.find('/');
    if (!IsPathComponent(s.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    s.remove_prefix(slash + 1);
  }
}

}  // namespace

const std::vector<TypeDefault>& All() {
  static const std::vector<TypeDefault> all = Collect();
  return all;
}

bool NoEntries(const value::Value& v, std::string_view field) {
  const value::Value& f = v.At(field);
  return f.is_null() || (f.is_list() && f.list().empty()) || (f.is_map() && f.map().empty());
}

void SetIfAbsent(value::Value& v, std::string_view field, value::Value otherwise) {
  if (Absent(v, field)) v.Set(field, std::move(otherwise));
}

std::string_view PullPolicyOf(std::string_view image) {
  bool digest = image.find('@') != std::string_view::npos;
  image = image.substr(0, image.find('@'));
  size_t colon = image.rfind(':');
  bool tagged = colon != std::string_view::npos && image.find('/', colon) == std::string_view::npos;
  std::string_view tag = tagged ? image.substr(colon + 1) : digest ? "" : "latest";
  std::string_view repository = tagged ? image.substr(0, colon) : image;
  // A text that is no image reference has no tag at all.
  if (!IsRepository(repository) || (tagged && !IsTag(tag))) return "IfNotPresent";
  return tag == "latest" ? "Always" : "IfNotPresent";
}

}  // namespace machinery::ops::defaults
