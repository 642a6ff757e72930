#include "machinery/object/names.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "base/strings.h"

namespace machinery::object {
namespace {

constexpr int kLabelMax = 63;
constexpr int kSubdomainMax = 253;

// The regular expressions stand only in messages; matching is by hand, it is on the path of every write.
constexpr const char* kLabelFormat = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
constexpr const char* kSubdomainFormat = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
constexpr const char* kQualifiedFormat = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlpha(char c) { return IsLower(c) || (c >= 'A' && c <= 'Z'); }
bool IsAlnum(char c) { return IsAlpha(c) || IsDigit(c); }
bool IsLowerAlnum(char c) { return IsLower(c) || IsDigit(c); }

template <class F>
bool All(std::string_view s, F f) {
  return std::all_of(s.begin(), s.end(), f);
}

bool MatchesLabel(std::string_view s) {
  return !s.empty() && IsLowerAlnum(s.front()) && IsLowerAlnum(s.back()) &&
         All(s, [](char c) { return IsLowerAlnum(c) || c == '-'; });
}

bool MatchesLabelWithUnderscore(std::string_view s) {
  if (s.starts_with('_')) s.remove_prefix(1);
  return !s.empty() && IsLowerAlnum(s.front()) && IsLowerAlnum(s.back()) &&
         All(s, [](char c) { return IsLowerAlnum(c) || c == '-' || c == '_'; });
}

template <class F>
bool EveryPart(std::string_view s, F part_matches) {
  for (;;) {
    size_t dot = s.find('.');
    if (!part_matches(s.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    s.remove_prefix(dot + 1);
  }
}

bool MatchesSubdomain(std::string_view s) { return EveryPart(s, MatchesLabel); }

bool MatchesQualified(std::string_view s) {
  return !s.empty() && IsAlnum(s.front()) && IsAlnum(s.back()) &&
         All(s, [](char c) { return IsAlnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string RegexReason(std::string_view what, std::string_view format, std::initializer_list<const char*> examples) {
  std::string out(what);
  out += " (e.g. ";
  bool first = true;
  for (const char* e : examples) {
    if (!first) out += " or ";
    first = false;
    out += "'" + std::string(e) + "', ";
  }
  if (examples.size() == 0) out = std::string(what) + " (";
  return out + "regex used for validation is '" + std::string(format) + "')";
}

// Newer checks count bytes, older ones say characters; both count bytes.
std::string MaxBytesReason(int length) { return "must be no more than " + std::to_string(length) + " bytes"; }

void AppendDirectoryReasons(Reasons& r, std::string_view s) {
  if (s == ".") {
    r.push_back("must not be '.'");
  } else if (s == "..") {
    r.push_back("must not be '..'");
  } else if (s.starts_with("..")) {
    r.push_back("must not start with '..'");
  }
}

std::string_view MaskTrailingDash(std::string_view name, std::string& hold) {
  if (name.size() <= 1 || !name.ends_with('-')) return name;
  hold = std::string(name.substr(0, name.size() - 2)) + "a";
  return hold;
}

std::string QualifiedReason() {
  return RegexReason(
      "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
      kQualifiedFormat, {"MyName", "my.name", "123-abc"});
}

}  // namespace

std::string MaxLengthReason(int length) { return "must be no more than " + std::to_string(length) + " characters"; }

std::string RangeReason(int64_t low, int64_t high) {
  return "must be between " + std::to_string(low) + " and " + std::to_string(high) + ", inclusive";
}

Reasons IsDns1123Label(std::string_view s) {
  Reasons r;
  if (s.size() > kLabelMax) r.push_back(MaxLengthReason(kLabelMax));
  if (MatchesLabel(s)) return r;
  if (MatchesSubdomain(s)) {
    r.push_back("must not contain dots");
  } else {
    r.push_back(
        RegexReason("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
                    "must start and end with an alphanumeric character",
                    kLabelFormat, {"my-name", "123-abc"}));
  }
  return r;
}

Reasons IsDns1123Subdomain(std::string_view s) {
  Reasons r;
  if (s.size() > kSubdomainMax) r.push_back(MaxLengthReason(kSubdomainMax));
  if (!MatchesSubdomain(s)) {
    r.push_back(
        RegexReason("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
                    "'.', and must start and end with an alphanumeric character",
                    kSubdomainFormat, {"example.com"}));
  }
  return r;
}

Reasons IsDns1123SubdomainWithUnderscore(std::string_view s) {
  Reasons r;
  if (s.size() > kSubdomainMax) r.push_back(MaxLengthReason(kSubdomainMax));
  if (!EveryPart(s, MatchesLabelWithUnderscore)) {
    r.push_back(
        RegexReason("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', "
                    "'-' or '.', and must start and end with an alphanumeric character",
                    "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*", {"example.com"}));
  }
  return r;
}

Reasons IsWildcardDns1123Subdomain(std::string_view s) {
  Reasons r;
  if (s.size() > kSubdomainMax) r.push_back(MaxLengthReason(kSubdomainMax));
  if (!s.starts_with("*.") || !MatchesSubdomain(s.substr(2))) {
    r.push_back(
        RegexReason("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
                    "which must consist of lower case alphanumeric characters, '-' or '.' and end with an "
                    "alphanumeric character",
                    std::string("\\*\\.") + kSubdomainFormat, {"*.example.com"}));
  }
  return r;
}

Reasons IsDns1035Label(std::string_view s) {
  Reasons r;
  if (s.size() > kLabelMax) r.push_back(MaxLengthReason(kLabelMax));
  if (!MatchesLabel(s) || !IsLower(s.front())) {
    r.push_back(
        RegexReason("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
                    "alphabetic character, and end with an alphanumeric character",
                    "[a-z]([-a-z0-9]*[a-z0-9])?", {"my-name", "abc-123"}));
  }
  return r;
}

Reasons IsQualifiedName(std::string_view s) {
  Reasons r;
  std::string_view name = s;
  if (size_t slash = s.find('/'); slash != std::string_view::npos) {
    if (s.find('/', slash + 1) != std::string_view::npos) {
      return {"a valid label key " + QualifiedReason() +
              " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"};
    }
    if (slash == 0) {
      r.push_back("prefix part must be non-empty");
    } else {
      for (const std::string& reason : IsDns1123Subdomain(s.substr(0, slash))) r.push_back("prefix part " + reason);
    }
    name = s.substr(slash + 1);
  }
  if (name.empty()) {
    r.push_back("name part must be non-empty");
  } else if (name.size() > kLabelMax) {
    r.push_back("name part " + MaxBytesReason(kLabelMax));
  }
  if (!MatchesQualified(name)) r.push_back("name part " + QualifiedReason());
  return r;
}

Reasons IsLabelValue(std::string_view s) {
  Reasons r;
  if (s.size() > kLabelMax) r.push_back(MaxBytesReason(kLabelMax));
  if (!s.empty() && !MatchesQualified(s)) {
    r.push_back(
        RegexReason("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
                    "'.', and must start and end with an alphanumeric character",
                    "(" + std::string(kQualifiedFormat) + ")?", {"MyValue", "my_value", "12345"}));
  }
  return r;
}

Reasons IsPathSegmentPrefix(std::string_view s) {
  Reasons r;
  for (const char* bad : {"/", "%"})
    if (s.find(bad) != std::string_view::npos) r.push_back("may not contain '" + std::string(bad) + "'");
  return r;
}

Reasons IsPathSegmentName(std::string_view s) {
  if (s == "." || s == "..") return {"may not be '" + std::string(s) + "'"};
  return IsPathSegmentPrefix(s);
}

Reasons IsConfigMapKey(std::string_view s) {
  Reasons r;
  if (s.size() > kSubdomainMax) r.push_back(MaxLengthReason(kSubdomainMax));
  if (s.empty() || !All(s, [](char c) { return IsAlnum(c) || c == '-' || c == '.' || c == '_'; })) {
    r.push_back(RegexReason("a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                            "[-._a-zA-Z0-9]+", {"key.name", "KEY_NAME", "key-name"}));
  }
  AppendDirectoryReasons(r, s);
  return r;
}

Reasons IsEnvVarName(std::string_view s) {
  Reasons r;
  if (s.empty() || IsDigit(s[0]) || !All(s, [](char c) { return IsAlnum(c) || c == '-' || c == '.' || c == '_'; })) {
    r.push_back(
        RegexReason("a valid environment variable name must consist of alphabetic characters, digits, '_', "
                    "'-', or '.', and must not start with a digit",
                    "[-._a-zA-Z][-._a-zA-Z0-9]*", {"my.env-name", "MY_ENV.NAME", "MyEnvName1"}));
  }
  AppendDirectoryReasons(r, s);
  return r;
}

Reasons IsRelaxedEnvVarName(std::string_view s) {
  Reasons r;
  if (s.empty()) r.push_back("environment variable name must be non-empty");
  if (!All(s, [](char c) { return c >= 0x20 && c < 0x7F && c != '='; }))
    r.push_back("a valid environment variable name must consist only of printable ASCII characters other than '='");
  return r;
}

Reasons IsCIdentifier(std::string_view s) {
  if (!s.empty() && !IsDigit(s[0]) && All(s, [](char c) { return IsAlnum(c) || c == '_'; })) return {};
  return {
      RegexReason("a valid C identifier must start with alphabetic character or '_', followed by a string of "
                  "alphanumeric characters or '_'",
                  "[A-Za-z_][A-Za-z0-9_]*", {"my_name", "MY_NAME", "MyName"})};
}

Reasons IsPortName(std::string_view s) {
  Reasons r;
  if (s.size() > 15) r.push_back(MaxLengthReason(15));
  if (s.empty() || !All(s, [](char c) { return IsLowerAlnum(c) || c == '-'; }))
    r.push_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (std::none_of(s.begin(), s.end(), IsLower)) r.push_back("must contain at least one letter (a-z)");
  if (s.find("--") != std::string_view::npos) r.push_back("must not contain consecutive hyphens");
  if (s.starts_with('-') || s.ends_with('-')) r.push_back("must not begin or end with a hyphen");
  return r;
}

Reasons IsInRange(int64_t v, int64_t low, int64_t high) {
  if (v >= low && v <= high) return {};
  return {RangeReason(low, high)};
}
Reasons IsPortNumber(int64_t port) { return IsInRange(port, 1, 65535); }
Reasons IsUserId(int64_t id) { return IsInRange(id, 0, std::numeric_limits<int32_t>::max()); }

Reasons IsPercent(std::string_view s) {
  if (s.size() > 1 && s.ends_with('%') && All(s.substr(0, s.size() - 1), IsDigit)) return {};
  return {RegexReason("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%",
                      {"1%", "93%"})};
}

Reasons IsHttpHeaderName(std::string_view s) {
  if (!s.empty() && All(s, [](char c) { return IsAlnum(c) || c == '-'; })) return {};
  return {RegexReason("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+",
                      {"X-Header-Name"})};
}

Reasons IsConditionReason(std::string_view s) {
  bool fits = !s.empty() && IsAlpha(s.front()) && (IsAlnum(s.back()) || s.back() == '_') &&
              All(s, [](char c) { return IsAlnum(c) || c == '_' || c == ',' || c == ':'; });
  if (fits) return {};
  return {
      RegexReason("a condition reason must start with alphabetic character, optionally followed by a string of "
                  "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
                  "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
                  {"my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"})};
}

Reasons NameIsDnsSubdomain(std::string_view name, bool prefix) {
  std::string hold;
  return IsDns1123Subdomain(prefix ? MaskTrailingDash(name, hold) : name);
}
Reasons NameIsDnsLabel(std::string_view name, bool prefix) {
  std::string hold;
  return IsDns1123Label(prefix ? MaskTrailingDash(name, hold) : name);
}
Reasons NameIsPathSegment(std::string_view name, bool prefix) {
  return prefix ? IsPathSegmentPrefix(name) : IsPathSegmentName(name);
}

FieldErrors IsFullyQualifiedName(const std::string& field, std::string_view s) {
  if (s.empty()) return {Required(field)};
  if (Reasons r = IsDns1123Subdomain(s); !r.empty()) return {Invalid(field, s, base::Join(r, ","))};
  if (std::count(s.begin(), s.end(), '.') < 2)
    return {Invalid(field, s, "should be a domain with at least three segments separated by dots")};
  return {};
}

FieldErrors IsDomainPrefixedPath(const std::string& field, std::string_view s) {
  if (s.empty()) return {Required(field)};
  size_t slash = s.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == s.size())
    return {Invalid(field, s, "must be a domain-prefixed path (such as \"acme.io/foo\")")};
  FieldErrors errors;
  AppendInvalid(errors, field, s.substr(0, slash), IsDns1123Subdomain(s.substr(0, slash)));
  constexpr std::string_view kOthers = "/-._~%!$&'()*+,;=:";
  std::string_view path = s.substr(slash + 1);
  if (!All(path, [&](char c) { return IsAlnum(c) || kOthers.find(c) != std::string_view::npos; }))
    errors.push_back(Invalid(field, path, RegexReason("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", {})));
  return errors;
}

}  // namespace machinery::object
