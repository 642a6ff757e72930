#include "apiserver/chain/request_info.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/net/http.h"
#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/object/names.h"
#include "machinery/ops/selector.h"
#include "machinery/value/value.h"

namespace apiserver::chain {

namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::request::Identity;
using machinery::request::Request;
using machinery::request::Verb;

namespace {

bool IsHex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

// Where an escape is cut or is none; npos when all are good.
size_t BadEscape(std::string_view text) {
  for (size_t i = text.find('%'); i != text.npos; i = text.find('%', i + 3))
    if (i + 2 >= text.size() || !IsHex(text[i + 1]) || !IsHex(text[i + 2])) return i;
  return text.npos;
}

base::Result<std::string> DecodedPath(std::string_view path) {
  if (size_t bad = BadEscape(path); bad != path.npos)
    return base::Err(object::BadRequest("invalid URL escape " + object::GoQuote(path.substr(bad, 3))));
  if (path.find('%') == path.npos && machinery::value::IsValidUtf8(path)) return std::string(path);
  return machinery::value::ToValidUtf8(base::net::PercentDecode(path));
}

std::vector<std::string> SplitPath(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.empty()) return {};
  return base::Split(path, '/');
}

std::string_view VerbOfMethod(std::string_view method) {
  if (method == "POST") return "create";
  if (method == "GET" || method == "HEAD") return "get";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return "";
}

bool HeedsSelectors(std::string_view verb) { return verb == "list" || verb == "watch" || verb == "deletecollection"; }

// The first value of a parameter counts; nullopt when it is not there.
std::optional<std::string_view> First(const Query& query, std::string_view key) {
  for (const auto& [name, value] : query)
    if (name == key) return value;
  return std::nullopt;
}

bool IsNumber(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  return error == std::errc() && end == text.data() + text.size();
}

// The name that a list or watch of one object is about; "" when the options do not parse or pin none.
std::string PinnedName(std::string_view label_selector, std::string_view field_selector) {
  if (field_selector.find("metadata.name") == field_selector.npos) return {};
  auto fields = ops::FieldSelector::Parse(field_selector);
  if (!fields || !ops::LabelSelector::Parse(label_selector)) return {};
  auto name = fields->RequiredValue("metadata.name");
  return name && object::IsPathSegmentName(*name).empty() ? *name : std::string();
}

// What only a GET without a name can be: a list or a watch, perhaps of one object.
void ReadListing(RequestInfo& info, const Query& query) {
  auto watch = First(query, "watch");
  info.verb = watch && TrueParameter(*watch) ? "watch" : "list";
  for (std::string_view number : {"timeoutSeconds", "limit"})
    if (auto text = First(query, number); text && !IsNumber(*text)) return;
  info.name = PinnedName(First(query, "labelSelector").value_or(""), First(query, "fieldSelector").value_or(""));
}

// Resource, name, subresource of what follows the group and version (and a special verb).
void ReadParts(RequestInfo& info, std::vector<std::string> rest) {
  static constexpr std::string_view kOfNamespaces[] = {"status", "finalize"};
  if (rest[0] == "namespaces" && rest.size() > 1) {
    info.namespace_name = rest[1];
    if (rest.size() > 2 && std::ranges::find(kOfNamespaces, rest[2]) == std::end(kOfNamespaces)) {
      info.in_namespace = true;
      rest.erase(rest.begin(), rest.begin() + 2);
    }
  }
  info.parts = std::move(rest);
  info.resource = info.parts[0];
  if (info.parts.size() > 1) info.name = info.parts[1];
  if (info.parts.size() > 2 && info.verb != "proxy") info.subresource = info.parts[2];
}

}  // namespace

bool RequestInfo::long_running() const {
  static constexpr std::string_view kStreams[] = {"attach", "exec", "proxy", "log", "portforward"};
  if (!resource_request) return false;
  return verb == "watch" || verb == "proxy" || std::ranges::find(kStreams, subresource) != std::end(kStreams);
}

Query ReadQuery(std::string_view query) {
  Query out;
  while (!query.empty()) {
    size_t end = query.find('&');
    std::string_view pair = query.substr(0, end);
    query = end == query.npos ? std::string_view() : query.substr(end + 1);
    if (pair.empty() || pair.find(';') != pair.npos || BadEscape(pair) != pair.npos) continue;
    for (auto& [key, value] : base::net::ParseQuery(pair))
      out.emplace_back(machinery::value::ToValidUtf8(key), machinery::value::ToValidUtf8(value));
  }
  return out;
}

bool TrueParameter(std::string_view value) {
  if (value == "0") return false;
  constexpr std::string_view kFalse = "false";
  return !std::ranges::equal(value, kFalse,
                             [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
}

base::Result<RequestInfo> ReadRequestInfo(std::string_view method, std::string_view path, const Query& query) {
  RequestInfo info;
  TRY_ASSIGN(info.path, DecodedPath(path));
  info.verb = base::Lower(method);
  auto rest = SplitPath(info.path);
  bool groupless = !rest.empty() && rest[0] == "api";
  if (rest.size() < (groupless ? 3U : 4U) || (!groupless && rest[0] != "apis")) return info;

  info.resource_request = true;
  if (!groupless) info.group = rest[1];
  size_t at = groupless ? 1 : 2;
  info.version = rest[at++];
  info.by_prefix = rest[at] == "watch" || rest[at] == "proxy";
  if (info.by_prefix) {
    if (rest.size() < at + 2)
      return base::Err(object::InternalError(
          "failed to create RequestInfo: unable to determine kind and namespace from url, " + info.path));
    info.verb = rest[at++];
  } else {
    info.verb = VerbOfMethod(method);
  }
  ReadParts(info, {rest.begin() + static_cast<ptrdiff_t>(at), rest.end()});
  if (info.name.empty() && info.verb == "get") ReadListing(info, query);
  if (info.name.empty() && info.verb == "delete") info.verb = "deletecollection";
  if (!info.by_prefix && HeedsSelectors(info.verb)) {
    info.field_selector = First(query, "fieldSelector").value_or("");
    info.label_selector = First(query, "labelSelector").value_or("");
  }
  return info;
}

// --- a Request, whoever built it ---

RequestInfo InfoOf(const Request& r) {
  RequestInfo info{.resource_request = true,
                   .verb = std::string(VerbName(r.verb)),
                   .group = r.group,
                   .version = r.version,
                   .resource = r.resource,
                   .subresource = r.subresource,
                   .namespace_name = r.namespace_name,
                   .name = r.name,
                   .in_namespace = !r.namespace_name.empty()};
  if (r.resource == "namespaces" && !info.in_namespace) info.namespace_name = r.name;
  // A watch of a name is the one that /watch/ asks for, which heeds no selectors.
  info.by_prefix = r.verb == Verb::kWatch && !r.name.empty();
  if (info.by_prefix || !HeedsSelectors(info.verb)) return info;
  info.label_selector = r.options.label_selector;
  info.field_selector = r.options.field_selector;
  if (r.verb != Verb::kDeleteCollection) info.name = PinnedName(info.label_selector, info.field_selector);
  return info;
}

namespace {

base::Status CheckSegment(std::string_view what, const std::string& text) {
  auto refuse = [&](std::string why) {
    return object::BadRequest(std::string(what) + " parameter invalid: " + object::GoQuote(text) + ": " +
                              std::move(why));
  };
  auto reasons = object::IsPathSegmentName(text);
  if (!reasons.empty()) return refuse(base::Join(reasons, ";"));
  if (!machinery::value::IsValidUtf8(std::string_view(text))) return refuse("must be valid UTF-8");
  bool control = std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  return control ? refuse("may not contain control characters") : base::Ok();
}

}  // namespace

base::Status CheckSegments(const Request& r) {
  const std::pair<std::string_view, const std::string*> segments[] = {
      {"Group", &r.group}, {"Version", &r.version},        {"Resource", &r.resource}, {"Namespace", &r.namespace_name},
      {"Name", &r.name},   {"Subresource", &r.subresource}};
  for (const auto& [what, text] : segments)
    if (!text->empty()) TRY(CheckSegment(what, *text));
  return base::Ok();
}

base::Status CheckShape(const Request& r) {
  bool named = !r.name.empty(), whole = r.subresource.empty();
  auto refuse = [&](std::string_view why) {
    return object::BadRequest("a request to " + std::string(VerbName(r.verb)) + " " + std::string(why));
  };
  if (r.version.empty()) return object::BadRequest("Version parameter required.");
  if (r.resource.empty()) return object::BadRequest("Resource parameter required.");
  if (r.resource == "watch" || r.resource == "proxy")
    return object::BadRequest("Resource parameter invalid: " + object::GoQuote(r.resource) + ": is a verb of paths");
  switch (r.verb) {
    case Verb::kConnect:
      return refuse("is made by its HTTP method");
    case Verb::kGet:
    case Verb::kUpdate:
    case Verb::kPatch:
    case Verb::kDelete:
      return named ? base::Ok() : refuse("needs a name");
    case Verb::kCreate:
      if (whole) return named ? refuse("takes the name of its object, none of its own") : base::Ok();
      return named ? base::Ok() : refuse("a subresource needs a name");
    case Verb::kList:
    case Verb::kDeleteCollection:
      if (!whole) return refuse("has no subresource");
      return named ? refuse("has no name") : base::Ok();
    case Verb::kWatch:
      return whole ? base::Ok() : refuse("has no subresource");
  }
  return base::Ok();
}

base::Status CheckSayable(const Request& r) {
  TRY(CheckSegments(r));
  return CheckShape(r);
}

auth::Attributes AttributesOf(const Identity& identity, const RequestInfo& info) {
  auth::Attributes a{.identity = identity, .verb = info.verb, .resource_request = info.resource_request};
  if (!a.resource_request) {
    a.path = info.path;
    return a;
  }
  a.group = info.group;
  a.version = info.version;
  a.resource = info.resource;
  a.subresource = info.subresource;
  a.namespace_name = info.namespace_name;
  a.name = info.name;
  a.label_selector = info.label_selector;
  a.field_selector = info.field_selector;
  return a;
}

}  // namespace apiserver::chain
