// Policy rules as values: whether one allows a request, whether some cover another (escalation), and who a subject is.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/auth/authorizer.h"
#include "machinery/value/value.h"

namespace apiserver::auth {

struct PolicyRule {
  std::vector<std::string> verbs, groups, resources, names, paths;
  static PolicyRule FromTree(const machinery::value::Value& v);
  machinery::value::Value ToTree() const;
  // {APIGroups:[""], Resources:["secrets"], Verbs:["get"]}
  std::string ToCompactText() const;
  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};
std::vector<PolicyRule> RulesFromTree(const machinery::value::Value& list);

bool RuleAllows(const PolicyRule& rule, const Attributes& a);
// Those of `wanted`, broken down to single verbs and resources, that no rule of `held` covers.
std::vector<PolicyRule> Uncovered(const std::vector<PolicyRule>& held, const std::vector<PolicyRule>& wanted);
// Rules that differ only in their single verb are put together again, as error texts show them.
std::vector<PolicyRule> Compact(std::vector<PolicyRule> rules);

struct Subject {
  std::string kind, name, namespace_name;
  std::string UserName() const;  // "system:serviceaccount:ns:name", or the name
  std::string ToText() const;    // `Group "z"`, `ServiceAccount "n/ns"`
};

// What a user may do, seen as rules.
class RuleResolver {
 public:
  virtual ~RuleResolver() = default;
  // Rules of all bindings that apply; `errors` (may be null) gets what could not be resolved.
  virtual std::vector<PolicyRule> RulesFor(const machinery::request::Identity& user, const std::string& namespace_name,
                                           std::vector<std::string>* errors) = 0;
  // Of a Role (in the namespace) or ClusterRole; nullopt when there is none.
  virtual std::optional<std::vector<PolicyRule>> RulesOfRole(const std::string& namespace_name, const std::string& kind,
                                                             const std::string& name) = 0;
};

// OK when the user holds every one of `wanted` (or is in system:masters); else the text why not.
base::Status CheckNoEscalation(RuleResolver& resolver, const machinery::request::Identity& user,
                               const std::string& namespace_name, const std::vector<PolicyRule>& wanted);

}  // namespace apiserver::auth
