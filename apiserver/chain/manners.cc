#include "apiserver/chain/manners.h"

#include <re2/re2.h>

#include <algorithm>

namespace apiserver::chain {

namespace {

constexpr double kMostGoaways = 0.02;

// A pattern that is not tied to both ends of the host lets hosts in that merely contain it (CVE-2022-1996).
base::Status CheckOrigin(const std::string& pattern) {
  auto wrong = [](const std::string& why) {
    return base::InvalidArgument("--cors-allowed-origins has an invalid regular expression: " + why);
  };
  re2::RE2 compiled(pattern, re2::RE2::Quiet);
  if (!compiled.ok()) return wrong("error parsing regexp: " + compiled.error());
  auto holds = [&](std::string_view text) { return pattern.find(text) != pattern.npos; };
  if (!(holds("^") || holds("//")) || !(holds("$") || holds(":")))
    return wrong("regular expression does not pin to start/end of host in the origin header");
  return base::Ok();
}

base::Status CheckDirective(std::string_view directive) {
  constexpr std::string_view kMaxAge = "max-age=";
  if (directive.find_first_not_of(" \t") == directive.npos)
    return base::InvalidArgument("empty value in strict-transport-security-directives");
  bool age = directive.starts_with(kMaxAge) && std::ranges::count(directive, '=') == 1;
  if (age || directive == "includeSubDomains" || directive == "preload") return base::Ok();
  return base::InvalidArgument(
      "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, includeSubDomains, preload. "
      "see https://tools.ietf.org/html/rfc6797#section-6.1 for more information");
}

}  // namespace

base::Status CheckManners(const Manners& manners) {
  for (const auto& pattern : manners.cors_allowed_origins) TRY(CheckOrigin(pattern));
  for (const auto& directive : manners.strict_transport_security_directives) TRY(CheckDirective(directive));
  if (!(manners.goaway_chance >= 0 && manners.goaway_chance <= kMostGoaways))
    return base::InvalidArgument("--goaway-chance can not be less than 0 or greater than 0.02");
  return base::Ok();
}

}  // namespace apiserver::chain
