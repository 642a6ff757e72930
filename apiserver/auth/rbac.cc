#include "apiserver/auth/rbac.h"

#include <algorithm>

#include "apiserver/registry/registry.h"
#include "base/strings.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::auth {

namespace object = machinery::object;
using machinery::request::Identity;
using machinery::value::Value;

namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

std::string Joined(const std::vector<std::string>& errors) {
  return errors.size() == 1 ? errors[0] : "[" + base::Join(errors, ", ") + "]";
}

}  // namespace

Rbac::Rbac(registry::Registry& registry) {
  Watch(registry, "clusterroles", &Rbac::OnClusterRole);
  Watch(registry, "roles", &Rbac::OnRole);
  Watch(registry, "clusterrolebindings", &Rbac::OnClusterRoleBinding);
  Watch(registry, "rolebindings", &Rbac::OnRoleBinding);
}

void Rbac::Watch(registry::Registry& registry, const char* resource, void (Rbac::*on_change)(const storage::Change&)) {
  auto* store = registry.FindStore(kGroup, resource);
  if (!store) return;
  store->cache().AddObserver([this, on_change](const storage::Change& c) { (this->*on_change)(c); });
  store->cache().ForEach([&](const storage::ObjectPtr& o) {
    (this->*on_change)(storage::Change{o->revision(), false, o, nullptr});
    return true;
  });
}

void Rbac::OnRole(const storage::Change& c) {
  if (c.deleted) {
    roles_.erase(c.object->key());
    return;
  }
  roles_[c.object->key()] = RulesFromTree(c.object->Tree().At("rules"));
}

void Rbac::OnClusterRole(const storage::Change& c) {
  if (c.deleted) {
    cluster_roles_.erase(c.object->key());
    return;
  }
  cluster_roles_[c.object->key()] = RulesFromTree(c.object->Tree().At("rules"));
}

namespace {

std::vector<Subject> SubjectsOf(const Value& list, const std::string& ns) {
  std::vector<Subject> out;
  if (!list.is_list()) return out;
  for (const auto& s : list.list()) {
    Subject one{std::string(s.At("kind").string_or()), std::string(s.At("name").string_or()),
                std::string(s.At("namespace").string_or())};
    if (one.kind == "ServiceAccount" && one.namespace_name.empty()) one.namespace_name = ns;
    if (one.kind != "ServiceAccount") one.namespace_name.clear();
    out.push_back(std::move(one));
  }
  return out;
}

std::string SubjectKey(const Subject& s) { return s.kind == "Group" ? "g:" + s.name : "u:" + s.UserName(); }

}  // namespace

void Rbac::Bindings::Replace(const std::string& key, std::shared_ptr<const Binding> binding) {
  if (auto old = by_key.find(key); old != by_key.end()) {
    for (const auto& s : old->second->subjects) {
      auto place = by_subject.find(SubjectKey(s));
      if (place == by_subject.end()) continue;
      place->second.erase(key);
      if (place->second.empty()) by_subject.erase(place);
    }
    by_key.erase(old);
  }
  if (!binding) return;
  for (const auto& s : binding->subjects) by_subject[SubjectKey(s)][key] = binding;
  by_key[key] = std::move(binding);
}

void Rbac::OnRoleBinding(const storage::Change& c) {
  std::string ns(c.object->namespace_name());
  std::shared_ptr<Binding> binding;
  if (!c.deleted) {
    Value tree = c.object->Tree();
    binding = std::make_shared<Binding>(
        Binding{c.object->key(), ns, std::string(c.object->name()), std::string(tree.At("roleRef", "kind").string_or()),
                std::string(tree.At("roleRef", "name").string_or()), SubjectsOf(tree.At("subjects"), ns)});
  }
  bindings_[ns].Replace(c.object->key(), std::move(binding));
}

void Rbac::OnClusterRoleBinding(const storage::Change& c) {
  std::shared_ptr<Binding> binding;
  if (!c.deleted) {
    Value tree = c.object->Tree();
    binding = std::make_shared<Binding>(
        Binding{c.object->key(), "", std::string(c.object->name()), std::string(tree.At("roleRef", "kind").string_or()),
                std::string(tree.At("roleRef", "name").string_or()), SubjectsOf(tree.At("subjects"), "")});
  }
  cluster_bindings_.Replace(c.object->key(), std::move(binding));
}

const std::vector<PolicyRule>* Rbac::Find(const std::string& ns, std::string_view kind, const std::string& name) {
  auto& roles = kind == "ClusterRole" ? cluster_roles_ : roles_;
  auto it = roles.find(kind == "ClusterRole" ? name : ns + "/" + name);
  return it == roles.end() ? nullptr : &it->second;
}

template <class Visit>
void Rbac::ForUser(const Bindings& bindings, const Identity& user, Visit visit) {
  auto at = [&](const std::string& key) {
    auto it = bindings.by_subject.find(key);
    if (it == bindings.by_subject.end()) return true;
    for (const auto& [name, binding] : it->second)
      if (!visit(*binding, key)) return false;
    return true;
  };
  if (!at("u:" + user.name)) return;
  for (const auto& group : user.groups)
    if (!at("g:" + group)) return;
}

namespace {

std::string NotFoundText(std::string_view kind, const std::string& name) {
  return std::string(kind == "ClusterRole" ? "clusterrole" : "role") + ".rbac.authorization.k8s.io " +
         object::GoQuote(name) + " not found";
}

}  // namespace

Verdict Rbac::Authorize(const Attributes& a) {
  Verdict verdict;
  std::vector<std::string> errors;
  auto visit = [&](const Binding& b, const std::string& key) {
    const auto* rules = Find(b.namespace_name, b.role_kind, b.role_name);
    if (!rules) {
      errors.push_back(NotFoundText(b.role_kind, b.role_name));
      return true;
    }
    if (std::none_of(rules->begin(), rules->end(), [&](const auto& r) { return RuleAllows(r, a); })) return true;
    auto who = std::find_if(b.subjects.begin(), b.subjects.end(), [&](const auto& s) { return SubjectKey(s) == key; });
    verdict.decision = Decision::kAllow;
    bool cluster = b.namespace_name.empty();
    verdict.reason = std::string("RBAC: allowed by ") + (cluster ? "ClusterRoleBinding " : "RoleBinding ") +
                     object::GoQuote(cluster ? b.name : b.name + "/" + b.namespace_name) + " of " + b.role_kind + " " +
                     object::GoQuote(b.role_name) + " to " + who->ToText();
    return false;
  };
  ForUser(cluster_bindings_, a.identity, visit);
  if (verdict.decision == Decision::kAllow) return verdict;
  if (a.resource_request && !a.namespace_name.empty())
    if (auto it = bindings_.find(a.namespace_name); it != bindings_.end()) ForUser(it->second, a.identity, visit);
  if (verdict.decision == Decision::kAllow || errors.empty()) return verdict;
  std::sort(errors.begin(), errors.end());
  errors.erase(std::unique(errors.begin(), errors.end()), errors.end());
  verdict.reason = "RBAC: " + Joined(errors);
  return verdict;
}

std::vector<PolicyRule> Rbac::RulesFor(const Identity& user, const std::string& ns, std::vector<std::string>* errors) {
  std::vector<PolicyRule> out;
  // A binding that names the user twice (directly and by group) counts once, in the order of names.
  std::map<std::string, const Binding*> seen;
  auto collect = [&](const Binding& b, const std::string&) {
    seen[b.key] = &b;
    return true;
  };
  auto flush = [&] {
    for (const auto& [key, b] : seen) {
      if (const auto* rules = Find(b->namespace_name, b->role_kind, b->role_name))
        out.insert(out.end(), rules->begin(), rules->end());
      else if (errors)
        errors->push_back(NotFoundText(b->role_kind, b->role_name));
    }
    seen.clear();
  };
  ForUser(cluster_bindings_, user, collect);
  flush();
  if (!ns.empty())
    if (auto it = bindings_.find(ns); it != bindings_.end()) ForUser(it->second, user, collect);
  flush();
  return out;
}

std::optional<std::vector<PolicyRule>> Rbac::RulesOfRole(const std::string& ns, const std::string& kind,
                                                         const std::string& name) {
  const auto* rules = Find(ns, kind, name);
  if (!rules) return std::nullopt;
  return *rules;
}

}  // namespace apiserver::auth
