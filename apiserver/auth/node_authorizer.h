// What a kubelet may touch: its own Node, Lease and pods, and the Secrets, ConfigMaps, claims, volumes and service
// accounts that pods bound to it name. Keeps an index from such objects to nodes, fed by the pod cache.
//
// Owned by the Server, on its loop; made before the caches are filled.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/auth/authorizer.h"
#include "apiserver/auth/rules.h"

namespace apiserver::storage {
struct Change;
class Object;
}  // namespace apiserver::storage
namespace apiserver::registry {
class Registry;
}

namespace apiserver::auth {

// The node of `system:node:<name>` in group system:nodes; nullptr: no node. "" is a node without a name.
bool NodeOf(const machinery::request::Identity& identity, std::string* node);

// What a pod names, as "secrets/ns/name", "configmaps/...", "persistentvolumeclaims/...", "serviceaccounts/...",
// "resourceclaims/...". `pod` is a tree. Each once.
std::vector<std::string> ReferencesOf(const machinery::value::Value& pod);

class NodeAuthorizer final : public Authorizer {
 public:
  NodeAuthorizer(registry::Registry& registry, std::vector<PolicyRule> rules);
  Verdict Authorize(const Attributes& a) override;

 private:
  using Counts = std::map<std::string, int, std::less<>>;  // pods, by node

  void OnPod(const storage::Change& c);
  void Count(const storage::Object& pod, int by);
  bool Related(const std::string& node, const std::string& object) const;
  Verdict Read(const std::string& node, const Attributes& a, bool get_only);
  Verdict ServiceAccount(const std::string& node, const Attributes& a);
  Verdict Volume(const std::string& node, const Attributes& a);
  Verdict Attachment(const std::string& node, const Attributes& a);
  Verdict Lease(const std::string& node, const Attributes& a);
  Verdict OwnNamed(const std::string& node, const Attributes& a, std::string_view what);
  Verdict Slice(const std::string& node, const Attributes& a);
  Verdict Node(const std::string& node, const Attributes& a);
  Verdict Pod(const std::string& node, const Attributes& a);

  registry::Registry& registry_;
  std::vector<PolicyRule> rules_;
  std::map<std::string, Counts, std::less<>> nodes_of_;  // by object
};

}  // namespace apiserver::auth
