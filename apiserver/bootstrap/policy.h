// policy.yaml as objects: what every server of this version creates and keeps up to date. Pure.
#pragma once

#include <string>
#include <vector>

#include "apiserver/auth/rules.h"
#include "machinery/value/value.h"

namespace apiserver::bootstrap {

struct Policy {
  // Trees with apiVersion, kind, metadata and content, as a client would send them.
  std::vector<machinery::value::Value> cluster_roles, cluster_role_bindings, roles, role_bindings, priority_classes,
      priority_levels, flow_schemas;
  struct GroupVersion {
    std::string group, version;
    int64_t group_priority = 0, version_priority = 0;
  };
  std::vector<GroupVersion> api_services;
};
Policy LoadPolicy();

// What a node may do beside its own objects: the rules of ClusterRole system:node.
std::vector<auth::PolicyRule> NodeRules(const Policy& policy);

}  // namespace apiserver::bootstrap
