// Roles and bindings: nobody grants what he does not hold, unless he may escalate or bind.
#include "apiserver/admission/ask.h"
#include "apiserver/auth/rules.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

class RbacStrategy : public Strategy {
 public:
  using Strategy::Strategy;
  object::NameRule name_rule() const override { return object::NameIsPathSegment; }

 protected:
  // Whether the user may `verb` (escalate, bind) this object anyway.
  bool May(const Operation& op, const std::string& verb, const std::string& resource, const std::string& ns,
           const std::string& name) const {
    admission::Question q{.verb = verb,
                          .group = std::string(kGroup),
                          .version = "v1",
                          .resource = resource,
                          .namespace_name = ns,
                          .name = name};
    return admission::MayAlso(op.registry->facilities().authorizer, op.request, q);
  }
  base::Status Refuse(const Value& obj, const base::Status& why) const {
    if (why.ok()) return why;
    return object::Forbidden({std::string(kGroup), kind_.resource}, object::NameOf(obj), why.message());
  }
};

class RoleStrategy final : public RbacStrategy {
 public:
  using RbacStrategy::RbacStrategy;
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginCreate(Operation op, Value& role) const override {
    CO_TRY(Check(op, role));
    co_return std::unique_ptr<Reservation>();
  }
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginUpdate(Operation op, Value& role,
                                                                     const Value& old) const override {
    bool same = role.At("rules") == old.At("rules") && role.At("aggregationRule") == old.At("aggregationRule");
    if (!same) CO_TRY(Check(op, role));
    co_return std::unique_ptr<Reservation>();
  }

 private:
  base::Status Check(const Operation& op, const Value& role) const {
    auto* resolver = op.registry->facilities().rules;
    if (!resolver) return base::Ok();
    std::string ns(object::NamespaceOf(role)), name(object::NameOf(role));
    if (op.request->identity.InGroup("system:masters") || May(op, "escalate", kind_.resource, ns, name))
      return base::Ok();
    auto rules = auth::RulesFromTree(role.At("rules"));
    // What a role aggregates is not known beforehand: it takes everything.
    if (!role.At("aggregationRule").is_null())
      rules = {{.verbs = {"*"}, .groups = {"*"}, .resources = {"*"}}, {.verbs = {"*"}, .paths = {"*"}}};
    return Refuse(role, auth::CheckNoEscalation(*resolver, op.request->identity, ns, rules));
  }
};

class BindingStrategy final : public RbacStrategy {
 public:
  using RbacStrategy::RbacStrategy;
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginCreate(Operation op, Value& binding) const override {
    CO_TRY(Check(op, binding));
    co_return std::unique_ptr<Reservation>();
  }
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginUpdate(Operation op, Value& binding,
                                                                     const Value& old) const override {
    bool same = binding.At("roleRef") == old.At("roleRef") && binding.At("subjects") == old.At("subjects");
    if (!same) CO_TRY(Check(op, binding));
    co_return std::unique_ptr<Reservation>();
  }

 private:
  base::Status Check(const Operation& op, const Value& binding) const {
    auto* resolver = op.registry->facilities().rules;
    if (!resolver) return base::Ok();
    std::string ns(object::NamespaceOf(binding));
    std::string kind(binding.At("roleRef", "kind").string_or()), name(binding.At("roleRef", "name").string_or());
    std::string resource = kind == "ClusterRole" ? "clusterroles" : "roles";
    if (op.request->identity.InGroup("system:masters") || May(op, "bind", resource, ns, name)) return base::Ok();
    auto rules = resolver->RulesOfRole(ns, kind, name);
    if (!rules) return object::NotFound({std::string(kGroup), resource}, name);
    return Refuse(binding, auth::CheckNoEscalation(*resolver, op.request->identity, ns, *rules));
  }
};

}  // namespace

std::unique_ptr<Strategy> NewRoleStrategy(const Kind& kind) { return std::make_unique<RoleStrategy>(kind); }
std::unique_ptr<Strategy> NewRoleBindingStrategy(const Kind& kind) { return std::make_unique<BindingStrategy>(kind); }

}  // namespace apiserver::registry
