// What the server serves, as documents: the legacy lists (/api, /apis, /apis/G, /apis/G/V) and the aggregated ones
// (apidiscovery.k8s.io v2 and v2beta1). Made from the registry at each call; callers cache. Pure reading.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/bootstrap/policy.h"
#include "apiserver/registry/registry.h"

namespace apiserver::paths {

class Discovery {
 public:
  // `priorities` order groups and versions; `server_address` ("192.0.2.10:6443") is what /api tells clients.
  Discovery(const registry::Registry& registry, std::vector<bootstrap::Policy::GroupVersion> priorities,
            std::string server_address);

  using Value = machinery::value::Value;
  Value Versions() const;                                                                  // APIVersions
  Value Groups() const;                                                                    // APIGroupList
  std::optional<Value> Group(std::string_view group) const;                                // APIGroup
  std::optional<Value> Resources(std::string_view group, std::string_view version) const;  // APIResourceList
  // APIGroupDiscoveryList of the core group, or of all others.
  Value Aggregated(bool core, std::string_view version) const;

  struct GroupVersions {
    std::string group;
    std::vector<std::string> versions;  // preferred first
  };
  // In order of priority, the core group first.
  const std::vector<GroupVersions>& groups() const { return groups_; }

 private:
  std::vector<const machinery::schema::Kind*> KindsOf(std::string_view group, std::string_view version) const;

  const registry::Registry& registry_;
  std::string server_address_;
  std::vector<GroupVersions> groups_;
};

}  // namespace apiserver::paths
