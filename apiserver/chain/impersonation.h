// Who asks, by headers: bearer tokens, and the wish to be treated as somebody else.
//
// Pure, but for the authorizer that is asked.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apiserver/auth/authorizer.h"
#include "base/net/http.h"

namespace apiserver::chain {

// "" when there is none.
std::string BearerTokenOf(const base::net::Headers& headers);

// What the impersonation headers ask for.
struct Impersonation {
  std::string user, uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  bool requested() const { return !user.empty() || !uid.empty() || !groups.empty() || !extra.empty(); }
};
Impersonation ImpersonationOf(const base::net::Headers& headers);

// Who `wish` names, if `who` may be each part of it: 403 when not, 400 when it names nobody.
base::Result<machinery::request::Identity> Impersonate(auth::Authorizer* authorizer,
                                                       const machinery::request::Identity& who, Impersonation wish);

// What authenticators and headers say of a caller ends up in objects (CSRs, bindings) and in answers: it must be UTF-8.
bool IsText(const machinery::request::Identity& who);

}  // namespace apiserver::chain
