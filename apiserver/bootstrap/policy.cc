#include "apiserver/bootstrap/policy.h"

#include "base/status.h"
#include "base/strings.h"
#include "machinery/object/meta.h"
#include "proto/embed_blob.h"

KEELSON_EMBED(keelson_bootstrap_policy, KEELSON_BOOTSTRAP_POLICY)

namespace apiserver::bootstrap {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

namespace {

constexpr std::string_view kRbac = "rbac.authorization.k8s.io";

Value Make(std::string_view api_version, std::string_view kind, std::string_view name) {
  return Value(
      Map{{"kind", Value(kind)}, {"apiVersion", Value(api_version)}, {"metadata", Value(Map{{"name", Value(name)}})}});
}

Value MakeRbac(std::string_view kind, const Value& from) {
  Value out = Make("rbac.authorization.k8s.io/v1", kind, from.At("name").string_or());
  if (auto ns = from.At("namespace").string_or(); !ns.empty()) object::SetNamespace(out, ns);
  object::SetLabel(out, "kubernetes.io/bootstrapping", "rbac-defaults");
  if (const Value& labels = from.At("labels"); labels.is_map())
    for (const auto& e : labels.map()) object::SetLabel(out, e.key, e.value.string_or());
  object::SetAnnotation(out, "rbac.authorization.kubernetes.io/autoupdate", "true");
  return out;
}

Value Role(std::string_view kind, const Value& from) {
  Value out = MakeRbac(kind, from);
  if (auto label = from.At("aggregates").string_or(); !label.empty()) {
    Value selector(Map{{"matchLabels", Value(Map{{std::string(label), Value("true")}})}});
    out.Set("aggregationRule", Value(Map{{"clusterRoleSelectors", Value(List{selector})}}));
  } else {
    out.Set("rules", from.At("rules"));
  }
  return out;
}

// "Group/system:masters", "ServiceAccount/kube-system/x".
Value Subject(const std::string& text) {
  auto parts = base::Split(text, '/');
  if (parts[0] == "ServiceAccount")
    return Value(Map{{"kind", Value(parts[0])}, {"name", Value(parts[2])}, {"namespace", Value(parts[1])}});
  return Value(Map{{"kind", Value(parts[0])}, {"apiGroup", Value(kRbac)}, {"name", Value(parts[1])}});
}

Value Binding(std::string_view kind, std::string_view role_kind, const Value& from) {
  Value out = MakeRbac(kind, from);
  List subjects;
  for (const auto& s : from.At("subjects").list()) subjects.push_back(Subject(s.as_string()));
  if (!subjects.empty()) out.Set("subjects", Value(std::move(subjects)));
  out.Set("roleRef", Value(Map{{"apiGroup", Value(kRbac)}, {"kind", Value(role_kind)}, {"name", from.At("role")}}));
  return out;
}

Value PriorityClass(const Value& from) {
  Value out = Make("scheduling.k8s.io/v1", "PriorityClass", from.At("name").string_or());
  out.Set("value", from.At("value"));
  out.Set("description", from.At("description"));
  return out;
}

Value FlowControl(std::string_view kind, const Value& from) {
  Value out = Make("flowcontrol.apiserver.k8s.io/v1", kind, from.At("name").string_or());
  object::SetAnnotation(out, "apf.kubernetes.io/autoupdate-spec", "true");
  out.Set("spec", from.At("spec"));
  return out;
}

}  // namespace

Policy LoadPolicy() {
  std::string_view text(keelson_bootstrap_policy_begin,
                        static_cast<size_t>(keelson_bootstrap_policy_end - keelson_bootstrap_policy_begin));
  auto parsed = machinery::value::FromYaml(text);
  CHECK_MSG(parsed.has_value(), "policy.yaml");
  const Value& doc = *parsed;
  Policy out;
  auto each = [&](std::string_view list, std::vector<Value>& into, auto make) {
    for (const Value& v : doc.At(list).list()) into.push_back(make(v));
  };
  each("clusterRoles", out.cluster_roles, [](const Value& v) { return Role("ClusterRole", v); });
  each("roles", out.roles, [](const Value& v) { return Role("Role", v); });
  each("clusterRoleBindings", out.cluster_role_bindings,
       [](const Value& v) { return Binding("ClusterRoleBinding", "ClusterRole", v); });
  each("roleBindings", out.role_bindings, [](const Value& v) { return Binding("RoleBinding", "Role", v); });
  each("priorityClasses", out.priority_classes, PriorityClass);
  each("priorityLevels", out.priority_levels,
       [](const Value& v) { return FlowControl("PriorityLevelConfiguration", v); });
  each("flowSchemas", out.flow_schemas, [](const Value& v) { return FlowControl("FlowSchema", v); });
  for (const Value& v : doc.At("apiServices").list())
    out.api_services.push_back({std::string(v.At("group").string_or()), std::string(v.At("version").string_or()),
                                v.At("groupPriorityMinimum").int_or(), v.At("versionPriority").int_or()});
  return out;
}

std::vector<auth::PolicyRule> NodeRules(const Policy& policy) {
  for (const Value& role : policy.cluster_roles)
    if (object::NameOf(role) == "system:node") return auth::RulesFromTree(role.At("rules"));
  return {};
}

}  // namespace apiserver::bootstrap
