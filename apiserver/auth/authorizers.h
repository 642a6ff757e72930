// The simple authorizers, and the chain that --authorization-mode names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/auth/authorizer.h"
#include "apiserver/auth/rules.h"

namespace apiserver::registry {
class Registry;
}

namespace apiserver::auth {

std::unique_ptr<Authorizer> AlwaysAllow();
std::unique_ptr<Authorizer> AlwaysDeny();
// Members of these groups (system:masters) may do everything.
std::unique_ptr<Authorizer> PrivilegedGroups(std::vector<std::string> groups);

class Rbac;
struct Authorization {
  std::unique_ptr<Authorizer> authorizer;
  Rbac* rbac = nullptr;  // part of `authorizer`; null without the mode RBAC
};
// `modes` as --authorization-mode: AlwaysAllow, AlwaysDeny, Node, RBAC in order; Webhook is an error that says so.
// system:masters is privileged whatever the modes are. `node_rules`: what every node may do beside its own objects
// (the rules of ClusterRole system:node).
base::Result<Authorization> MakeAuthorization(registry::Registry& registry, const std::vector<std::string>& modes,
                                              std::vector<PolicyRule> node_rules);

}  // namespace apiserver::auth
