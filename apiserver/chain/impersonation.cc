#include "apiserver/chain/impersonation.h"

#include <algorithm>

#include "apiserver/auth/question.h"
#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/value/value.h"

namespace apiserver::chain {

namespace object = machinery::object;
using base::net::Headers;
using machinery::request::Identity;

bool IsText(const Identity& who) {
  auto valid = [](std::string_view s) { return machinery::value::IsValidUtf8(s); };
  bool good = valid(who.name) && valid(who.uid) && std::all_of(who.groups.begin(), who.groups.end(), valid);
  for (const auto& [key, values] : who.extra)
    good = good && valid(key) && std::all_of(values.begin(), values.end(), valid);
  return good;
}

namespace {

// The original prints its own structure.
base::Status NobodyToImpersonate(const Impersonation& who) {
  auto strings = [](const std::vector<std::string>& list) {
    if (list.empty()) return std::string("[]string(nil)");
    std::vector<std::string> quoted;
    for (const auto& s : list) quoted.push_back(object::GoQuote(s));
    return "[]string{" + base::Join(quoted, ", ") + "}";
  };
  std::string extra = "map[string][]string(nil)";
  if (!who.extra.empty()) {
    std::vector<std::string> entries;
    for (const auto& [key, values] : who.extra) entries.push_back(object::GoQuote(key) + ":" + strings(values));
    extra = "map[string][]string{" + base::Join(entries, ", ") + "}";
  }
  return object::BadRequest("requested &user.DefaultInfo{Name:\"\", UID:" + object::GoQuote(who.uid) + ", Groups:" +
                            strings(who.groups) + ", Extra:" + extra + "} without impersonating a user name");
}

base::Status Check(auth::Authorizer* authorizer, const Identity& identity, const Impersonation& who) {
  auto check = [&](std::string group, std::string resource, std::string ns, std::string name, std::string subresource) {
    auth::Attributes a{.identity = identity,
                       .verb = "impersonate",
                       .group = std::move(group),
                       .version = "v1",
                       .resource = std::move(resource),
                       .subresource = std::move(subresource),
                       .namespace_name = std::move(ns),
                       .name = std::move(name)};
    auto verdict = auth::Ask(authorizer, a);
    return verdict.decision == auth::Decision::kAllow ? base::Ok() : auth::Refusal(a, verdict);
  };
  constexpr std::string_view kServiceAccount = "system:serviceaccount:";
  if (who.user.starts_with(kServiceAccount)) {
    std::string rest = who.user.substr(kServiceAccount.size());
    auto colon = rest.find(':');
    TRY(check("", "serviceaccounts", rest.substr(0, colon), colon == rest.npos ? "" : rest.substr(colon + 1), ""));
  } else {
    TRY(check("", "users", "", who.user, ""));
  }
  for (const auto& g : who.groups) TRY(check("", "groups", "", g, ""));
  if (!who.uid.empty()) TRY(check("authentication.k8s.io", "uids", "", who.uid, ""));
  for (const auto& [key, values] : who.extra)
    for (const auto& v : values) TRY(check("authentication.k8s.io", "userextras", "", v, key));
  return base::Ok();
}

}  // namespace

base::Result<Identity> Impersonate(auth::Authorizer* authorizer, const Identity& who, Impersonation wish) {
  if (wish.user.empty()) return base::Err(NobodyToImpersonate(wish));
  TRY(Check(authorizer, who, wish));
  Identity other{.name = std::move(wish.user),
                 .uid = std::move(wish.uid),
                 .groups = std::move(wish.groups),
                 .extra = std::move(wish.extra)};
  if (!IsText(other)) return base::Err(object::BadRequest("impersonation headers must be valid UTF-8"));
  constexpr std::string_view kServiceAccount = "system:serviceaccount:";
  if (other.name.starts_with(kServiceAccount) && other.groups.empty()) {
    std::string rest = other.name.substr(kServiceAccount.size());
    other.groups = {"system:serviceaccounts", "system:serviceaccounts:" + rest.substr(0, rest.find(':'))};
  }
  bool anonymous = other.name == "system:anonymous";
  std::string_view crowd = anonymous ? "system:unauthenticated" : "system:authenticated";
  if (!other.InGroup(crowd)) other.groups.emplace_back(crowd);
  return other;
}

Impersonation ImpersonationOf(const Headers& headers) {
  constexpr std::string_view kExtra = "impersonate-extra-";
  Impersonation who;
  for (const auto& [name, value] : headers.fields()) {
    if (!name.starts_with("impersonate-")) continue;
    if (name == "impersonate-user") who.user = value;
    if (name == "impersonate-uid") who.uid = value;
    if (name == "impersonate-group") who.groups.push_back(value);
    if (name.starts_with(kExtra)) who.extra[base::net::PercentDecode(name.substr(kExtra.size()))].push_back(value);
  }
  return who;
}

std::string BearerTokenOf(const Headers& headers) {
  std::string_view value = headers.Get("authorization");
  constexpr std::string_view kBearer = "bearer ";
  if (value.size() <= kBearer.size()) return {};
  bool bearer = std::equal(kBearer.begin(), kBearer.end(), value.begin(),
                           [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
  if (!bearer) return {};
  value.remove_prefix(kBearer.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  return std::string(value);
}

}  // namespace apiserver::chain
