#include "apiserver/auth/authorizers.h"

#include <algorithm>

#include "apiserver/auth/node_authorizer.h"
#include "apiserver/auth/rbac.h"

namespace apiserver::auth {

Verdict AuthorizerChain::Authorize(const Attributes& a) {
  Verdict all;
  for (auto& member : members_) {
    Verdict v = member->Authorize(a);
    if (v.decision != Decision::kNoOpinion) return v;
    if (!v.reason.empty()) all.reason += (all.reason.empty() ? "" : "\n") + v.reason;
    if (!v.error.empty()) all.error += (all.error.empty() ? "" : "; ") + v.error;
  }
  return all;
}

namespace {

class Constant final : public Authorizer {
 public:
  explicit Constant(Verdict v) : verdict_(std::move(v)) {}
  Verdict Authorize(const Attributes&) override { return verdict_; }

 private:
  Verdict verdict_;
};

class Privileged final : public Authorizer {
 public:
  explicit Privileged(std::vector<std::string> groups) : groups_(std::move(groups)) {}
  Verdict Authorize(const Attributes& a) override {
    for (const auto& g : groups_)
      if (a.identity.InGroup(g)) return {.decision = Decision::kAllow};
    return {};
  }

 private:
  std::vector<std::string> groups_;
};

}  // namespace

std::unique_ptr<Authorizer> AlwaysAllow() { return std::make_unique<Constant>(Verdict{.decision = Decision::kAllow}); }
std::unique_ptr<Authorizer> AlwaysDeny() {
  return std::make_unique<Constant>(Verdict{.reason = "Everything is forbidden."});
}
std::unique_ptr<Authorizer> PrivilegedGroups(std::vector<std::string> groups) {
  return std::make_unique<Privileged>(std::move(groups));
}

base::Result<Authorization> MakeAuthorization(registry::Registry& registry, const std::vector<std::string>& modes,
                                              std::vector<PolicyRule> node_rules) {
  Authorization out;
  std::vector<std::unique_ptr<Authorizer>> members;
  members.push_back(PrivilegedGroups({"system:masters"}));
  std::vector<std::string> seen;
  for (const auto& mode : modes) {
    if (std::find(seen.begin(), seen.end(), mode) != seen.end())
      return base::Err(base::InvalidArgument("authorization-mode \"" + mode + "\" has mode specified more than once"));
    seen.push_back(mode);
    if (mode == "AlwaysAllow") {
      members.push_back(AlwaysAllow());
    } else if (mode == "AlwaysDeny") {
      members.push_back(AlwaysDeny());
    } else if (mode == "Node") {
      members.push_back(std::make_unique<NodeAuthorizer>(registry, node_rules));
    } else if (mode == "RBAC") {
      auto rbac = std::make_unique<Rbac>(registry);
      out.rbac = rbac.get();
      members.push_back(std::move(rbac));
    } else if (mode == "Webhook" || mode == "ABAC") {
      return base::Err(base::Unimplemented("authorization mode " + mode + " is not supported yet by keelson"));
    } else {
      return base::Err(base::InvalidArgument("authorization-mode \"" + mode + "\" is not a valid mode"));
    }
  }
  if (modes.empty()) return base::Err(base::InvalidArgument("at least one authorization-mode must be passed"));
  out.authorizer = std::make_unique<AuthorizerChain>(std::move(members));
  return out;
}

}  // namespace apiserver::auth
