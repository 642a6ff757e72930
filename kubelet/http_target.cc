#include "kubelet/http_target.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/json_writer.h"
#include "base/strings.h"

namespace kubelet::checks {
namespace {

bool Alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool In(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }
bool Control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
bool HexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

void AppendEscaped(std::string& out, char c) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  out += '%';
  out += kHex[static_cast<unsigned char>(c) >> 4];
  out += kHex[static_cast<unsigned char>(c) & 15];
}

std::string EscapePath(std::string_view path) {
  std::string out;
  for (char c : path) {
    if (Alnum(c) || In(c, "-_.~$&+,/:;=@"))
      out += c;
    else
      AppendEscaped(out, c);
  }
  return out;
}

// nullopt: a '%' without two digits.
std::optional<std::string> Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || !HexDigit(text[i + 1]) || !HexDigit(text[i + 2])) return std::nullopt;
    int value = 0;
    std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

// The path as it was written where that is well-formed, else encoded anew.
std::optional<std::string> EscapedPath(std::string_view raw) {
  auto plain = Unescape(raw);
  if (!plain) return std::nullopt;
  bool valid = std::ranges::all_of(raw, [](char c) { return Alnum(c) || In(c, "-_.~!$&'()*+,;=:@[]/%"); });
  return valid ? std::string(raw) : EscapePath(*plain);
}

bool ValidHostCharacter(char c) {
  return Alnum(c) || In(c, "-_.~!$&'()*+,;=:[]<>\"") || static_cast<unsigned char>(c) >= 0x80;
}

struct Parts {
  std::string path, query, fragment;
  bool has_query = false;
};

std::string_view SchemeOf(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ':') return text.substr(0, i);
    bool letter = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');
    if (!letter && (i == 0 || !In(text[i], "0123456789+-."))) return {};
  }
  return {};
}

// What Go's url.Parse makes of the text; nullopt when it refuses it, or when there is no path in it.
std::optional<Parts> ParseUrl(std::string_view text) {
  if (std::ranges::any_of(text, Control) || text.starts_with(':')) return std::nullopt;
  Parts out;
  if (size_t hash = text.find('#'); hash != std::string_view::npos) {
    out.fragment = text.substr(hash + 1);
    if (!Unescape(out.fragment)) return std::nullopt;
    text = text.substr(0, hash);
  }
  std::string_view scheme = SchemeOf(text);
  if (!scheme.empty()) text.remove_prefix(scheme.size() + 1);
  if (size_t mark = text.find('?'); mark != std::string_view::npos) {
    out.has_query = true;
    out.query = text.substr(mark + 1);
    text = text.substr(0, mark);
  }
  if (!text.starts_with('/')) {
    // "mailto:x" has no path; "a:b" would be taken for one.
    if (!scheme.empty() || text.substr(0, text.find('/')).find(':') != std::string_view::npos) return std::nullopt;
  } else if (text.starts_with("//") && (!scheme.empty() || !text.starts_with("///"))) {
    std::string_view authority = text.substr(2, text.find('/', 2) - 2);
    if (!std::ranges::all_of(authority, ValidHostCharacter)) return std::nullopt;
    text.remove_prefix(2 + authority.size());
  }
  auto path = EscapedPath(text);
  if (!path) return std::nullopt;
  out.path = *path;
  return out;
}

std::string EscapeQuery(std::string_view query) {
  std::string out;
  for (char c : query) {
    if (static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f)
      out += c;
    else
      AppendEscaped(out, c);
  }
  return out;
}

bool ValidHeaderName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return Alnum(c) || In(c, "!#$%&'*+-.^_`|~"); });
}

bool ValidHeaderValue(std::string_view value) {
  return std::ranges::all_of(value, [](char c) { return !Control(c) || c == '\t'; });
}

// "x-my-header" as "X-My-Header"; what is no header name stays as it is.
std::string CanonicalName(std::string name) {
  if (!ValidHeaderName(name)) return name;
  bool upper = true;
  for (char& c : name) {
    c = static_cast<char>(upper ? toupper(c) : tolower(c));
    upper = c == '-';
  }
  return name;
}

// The user's headers, and ours where there is none of theirs. Those that frame a message are not theirs to give.
base::Status SetHeaders(const HttpTarget& t, HttpRequest& out) {
  const auto failed = [&](const std::string& why) {
    return base::FailedPrecondition("Get " + base::GoQuote(out.url) + ": net/http: " + why);
  };
  std::optional<std::string> host, agent, accept;
  for (const auto& [name, value] : t.headers) {
    if (!ValidHeaderName(name)) return failed("invalid header field name " + base::GoQuote(name));
    if (!ValidHeaderValue(value)) return failed("invalid header field value for " + base::GoQuote(CanonicalName(name)));
    std::string lower = base::Lower(name);
    if (lower == "host" && !host) host = value;
    if (lower == "user-agent" && !agent) agent = value;
    if (lower == "accept" && !accept) accept = value;
    static constexpr const char* kOurs[] = {"host",    "user-agent", "content-length", "transfer-encoding",
                                            "trailer", "connection"};
    if (std::ranges::find(kOurs, lower) != std::end(kOurs)) continue;
    if (lower == "accept" && accept->empty()) continue;
    out.headers.Add(lower, value);
  }
  if (host && !host->empty()) out.headers.Set("host", std::ranges::all_of(*host, ValidHostCharacter) ? *host : "");
  out.headers.Add("user-agent", agent.value_or(t.user_agent));
  if (!accept) out.headers.Add("accept", "*/*");
  out.headers.Add("connection", "close");
  return base::Ok();
}

}  // namespace

std::string HostPort(const std::string& host, int port) {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

base::Result<HttpRequest> MakeRequest(const HttpTarget& t) {
  HttpRequest out;
  const std::string authority = HostPort(t.host, t.port);
  out.endpoint = t.scheme + "://" + authority;
  auto parts = ParseUrl(t.path);
  if (!parts) parts = Parts{.path = EscapePath(t.path)};
  if (!parts->path.empty() && !parts->path.starts_with('/')) parts->path.insert(0, "/");
  std::string query = parts->has_query ? "?" + EscapeQuery(parts->query) : "";
  out.url = out.endpoint + parts->path + query + (parts->fragment.empty() ? "" : "#" + EscapeQuery(parts->fragment));
  auto bad = std::ranges::find_if(t.host, [](char c) { return !ValidHostCharacter(c); });
  if (bad != t.host.end())
    return base::Err(base::InvalidArgument("parse " + base::GoQuote(out.url) + ": invalid character " +
                                           base::GoQuote(std::string(1, *bad)) + " in host name"));
  out.target = (parts->path.empty() ? "/" : parts->path) + query;
  TRY(SetHeaders(t, out));
  return out;
}

base::Result<HttpTarget> Redirected(const HttpTarget& from, const HttpRequest& request, const std::string& location) {
  HttpTarget to = from;
  std::string_view text = location;
  const auto elsewhere = [] { return base::Err(base::FailedPrecondition("another host")); };
  size_t scheme = text.find("://");
  if (text.starts_with("http://") || text.starts_with("https://") || text.starts_with("//")) {
    if (!text.starts_with("//")) to.scheme = text.substr(0, scheme);
    text.remove_prefix(text.find("//") + 2);
    std::string_view authority = text.substr(0, text.find_first_of("/?#"));
    text.remove_prefix(authority.size());
    size_t colon = authority.rfind(':'), bracket = authority.rfind(']');
    bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
    std::string_view host = has_port ? authority.substr(0, colon) : authority;
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (host != from.host) return elsewhere();
    to.port = to.scheme == "https" ? 443 : 80;
    if (has_port) {
      std::string_view port = authority.substr(colon + 1);
      auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), to.port);
      if (error != std::errc() || end != port.data() + port.size() || to.port < 1 || to.port > 65535)
        return elsewhere();
    }
    to.path = text.empty() ? "/" : std::string(text);
  } else if (text.empty() || (scheme != std::string_view::npos && scheme < text.find('/'))) {
    return elsewhere();
  } else if (text.starts_with('/')) {
    to.path = text;
  } else {
    std::string base = request.target.substr(0, request.target.find('?'));
    to.path = base.substr(0, base.rfind('/') + 1) + std::string(text);
  }
  return to;
}

base::Result<int> PortOf(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& port,
                         const api::Container& container) {
  int number = port.intval();
  if (port.type() != 0) {
    number = 0;
    auto named = std::ranges::find_if(container.ports(), [&](const auto& p) { return p.name() == port.strval(); });
    if (named != container.ports().end()) {
      number = named->containerport();
    } else {
      const std::string& text = port.strval();
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc() || end != text.data() + text.size())
        return base::Err(base::InvalidArgument("strconv.Atoi: parsing " + base::GoQuote(text) + ": invalid syntax"));
    }
  }
  if (number > 0 && number < 65536) return number;
  return base::Err(base::InvalidArgument("invalid port number: " + std::to_string(number)));
}

base::Result<HttpTarget> TargetOf(const api::HTTPGetAction& action, const api::Container& container,
                                  const std::string& pod_ip) {
  HttpTarget t;
  if (action.scheme() == "HTTPS") t.scheme = "https";
  t.host = action.host().empty() ? pod_ip : action.host();
  TRY_ASSIGN(t.port, PortOf(action.port(), container));
  t.path = action.path();
  for (const auto& h : action.httpheaders()) t.headers.emplace_back(h.name(), h.value());
  return t;
}

}  // namespace kubelet::checks
