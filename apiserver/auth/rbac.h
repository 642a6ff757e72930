// RBAC: who may do what by the Role, ClusterRole, RoleBinding and ClusterRoleBinding objects. Keeps a parsed copy of
// them, fed by the registry's caches; the rules of a ClusterRole with an aggregationRule are written into it by a
// controller. Answers are synchronous.
//
// Owned by the Server, on its loop; made before the caches are filled.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/auth/authorizer.h"
#include "apiserver/auth/rules.h"

namespace apiserver::storage {
struct Change;
}
namespace apiserver::registry {
class Registry;
}

namespace apiserver::auth {

class Rbac final : public Authorizer, public RuleResolver {
 public:
  explicit Rbac(registry::Registry& registry);
  Verdict Authorize(const Attributes& a) override;
  std::vector<PolicyRule> RulesFor(const machinery::request::Identity& user, const std::string& namespace_name,
                                   std::vector<std::string>* errors) override;
  std::optional<std::vector<PolicyRule>> RulesOfRole(const std::string& namespace_name, const std::string& kind,
                                                     const std::string& name) override;

 private:
  struct Binding {
    std::string key, namespace_name, name;  // key: "ns/name" or "name"
    std::string role_kind, role_name;
    std::vector<Subject> subjects;
  };
  // The bindings of a scope by subject: "u:alice", "g:devs".
  struct Bindings {
    std::map<std::string, std::shared_ptr<const Binding>, std::less<>> by_key;
    std::map<std::string, std::map<std::string, std::shared_ptr<const Binding>>, std::less<>> by_subject;
    void Replace(const std::string& key, std::shared_ptr<const Binding> binding);
  };

  void Watch(registry::Registry& registry, const char* resource, void (Rbac::*on_change)(const storage::Change&));
  void OnRole(const storage::Change& c);
  void OnClusterRole(const storage::Change& c);
  void OnRoleBinding(const storage::Change& c);
  void OnClusterRoleBinding(const storage::Change& c);
  const std::vector<PolicyRule>* Find(const std::string& namespace_name, std::string_view kind,
                                      const std::string& name);
  // Calls `visit` with every binding that applies to the user, until it returns false.
  template <class Visit>
  void ForUser(const Bindings& bindings, const machinery::request::Identity& user, Visit visit);

  std::map<std::string, std::vector<PolicyRule>, std::less<>> cluster_roles_;
  std::map<std::string, std::vector<PolicyRule>, std::less<>> roles_;  // "ns/name"
  Bindings cluster_bindings_;
  std::map<std::string, Bindings, std::less<>> bindings_;  // by namespace
};

}  // namespace apiserver::auth
